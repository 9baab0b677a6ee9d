"""Inject flares into the test stars and see which of them every method finds.

The test stars' own flares are known and kept clear. What a method finds in them as they are and no label fits, and
what it finds in them upside down, is false. Stars that are quiet but for spots and flares are counted apart from those
whose light changes otherwise: their eclipses and transits, upside down, are bumps, and pulsations hide flares.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import torch

from varistar.bulk.engine import Engine, run_all
from varistar.experiments.content import content_hash
from varistar.figures.recovery import by_snr_figure, recovered_figure, surface_figure
from varistar.figures.style import save_figure
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import DataError, one_sentence
from varistar.foundation.files import atomic_folder, write_json
from varistar.foundation.params import find_root, lookup, read_params, read_section

from .draws import GridDraw
from .finder import FlareFinder
from .known import KnownStar
from .measured import CHUNK
from .recovery import (
    SNR_BINS,
    Method,
    Recovery,
    false_positives,
    join_recoveries,
    judge,
    recovery_table,
    run_recovery,
)
from .simple import SIMPLE, read_test

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The kinds of stars that the headline is about; the others stand beside.
CALM = ("quiet", "flaring")
#: Edges of the bins in equivalent duration [s].
DURATIONS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
#: Edges of the bins in amplitude.
AMPLITUDES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0)


class _Piece(NamedTuple):
    contents: dict[str, Path]
    stars: tuple[KnownStar, ...]
    draw: GridDraw
    accelerator: Accelerator


def recover_known(
    known: Sequence[KnownStar],
    contents: Mapping[str, Path],
    draw: GridDraw,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
) -> Recovery:
    """Inject into stars, and search them with each model and each simple method.

    Parameters
    ----------
    contents : folders of calibrated models, by the names that their methods are to have.

    Raises
    ------
    DataError
        When there is no star.
    """
    if not known:
        raise DataError("no star is left to inject flares into; there are too few stars for a test split")
    chunks = [tuple(known[first : first + CHUNK]) for first in range(0, len(known), CHUNK)]
    items = [_Piece(dict(contents), chunk, draw, accelerator) for chunk in chunks]
    done = run_all(_recover_chunk, items, engine, "recovery", lambda item: f"star {item.stars[0].star_id}")
    found = {item.stars[0].star_id: recovery for item, recovery in done}
    return join_recoveries(found[chunk[0].star_id] for chunk in chunks)


def recovery_tables(recovery: Recovery, known: Sequence[KnownStar], draw: GridDraw) -> dict[str, pl.DataFrame]:
    """What came of it, as tables.

    Returns
    -------
    `judged`, a row per method and flare (`judge`); the recovered share `by_snr`, `by_amplitude`, `by_duration` and, by
    the draw's own cells of height and width, `surface` (`recovery_table`); `false` (`false_positives`).

    Raises
    ------
    DataError
        When nothing was injected.
    """
    judged = judge(recovery)
    if judged.is_empty():
        raise DataError("no flare found room in the test stars; raise flares.recovery.per_cell_per_day")
    height, edges = ("peak_snr", draw.peak_snrs) if draw.peak_snrs else ("amplitude", draw.amplitudes)
    return {
        "judged": judged,
        "by_snr": recovery_table(judged, {"peak_snr": SNR_BINS}),
        "by_amplitude": recovery_table(judged, {"amplitude": AMPLITUDES}),
        "by_duration": recovery_table(judged, {"equivalent_duration_s": DURATIONS}),
        "surface": recovery_table(judged, {height: edges, "fwhm_minutes": draw.fwhm_minutes}),
        "false": false_positives(recovery, pl.concat([star.labels for star in known])),
    }


def recovery_report(tables: Mapping[str, pl.DataFrame]) -> dict[str, dict[str, Any]]:
    """By method: the recovered share `by_snr`, `by_amplitude` and `by_duration`, and `false` events a day in the light
    curves as they are and upside down; each with its interval, `low` to `high`."""
    report: dict[str, dict[str, Any]] = {}
    for name in ("by_snr", "by_amplitude", "by_duration"):
        for row in tables[name].iter_rows(named=True):
            of_method = report.setdefault(row.pop("method"), {})
            low, high = (row.pop(next(key for key in row if key.endswith(end))) for end in ("_low", "_high"))
            cell = f"{low:g}-{high:g}" if high < float("inf") else f">={low:g}"
            of_method.setdefault(name, {})[cell] = row
    for row in tables["false"].iter_rows(named=True):
        report[row.pop("method")].setdefault("false", {})[row.pop("light_curve")] = row
    return report


def part_of(recovery: Recovery, star_ids: Sequence[str]) -> Recovery:
    """What concerns these stars."""
    return Recovery(*(table.filter(pl.col("star_id").is_in(list(star_ids))) for table in recovery))


def draw_recovery(tables: Mapping[str, pl.DataFrame]) -> "dict[str, Figure]":
    """The figures of a recovery."""
    title = f"flares injected into {' and '.join(CALM)} test stars"
    return {
        "recovered": recovered_figure(tables["judged"], title),
        "by_snr": by_snr_figure(tables["by_snr"], title),
        "surface": surface_figure(tables["surface"], title),
    }


def _recover_chunk(piece: _Piece) -> Recovery:
    torch.set_num_threads(1)
    finders = {name: FlareFinder.of_folder(path, piece.accelerator) for name, path in piece.contents.items()}
    finds = {name: finder.find for name, finder in finders.items()} | SIMPLE
    return join_recoveries(
        run_recovery(star.star_id, star.orbits, star.labels, _methods(finds, star.star_id), piece.draw)
        for star in piece.stars
    )


def _methods(finds: Mapping[str, Any], star_id: str) -> list[Method]:
    def of_star(find: Any) -> Any:
        return lambda orbits: find(star_id, orbits)

    return [Method(name, of_star(find)) for name, find in finds.items()]


def main() -> None:
    """The stage: all variants that every rebuild trains, and the simple methods."""
    root = find_root()
    params = read_params(root)
    draw = read_section(root, "flares.recovery", GridDraw)
    calibrated = root / "build/flares/calibrated"
    contents = {name: calibrated / name for name in lookup(params, "flares.variants")}
    known = read_test(root)
    recovery = recover_known(known, contents, draw, accelerator=lookup(params, "accelerator"))
    kinds = pl.read_parquet(root / "build/flares/sectors/truth.parquet", columns=["star_id", "kind"], glob=False)
    calm = kinds.filter(pl.col("kind").is_in(CALM))["star_id"].to_list()
    tables = recovery_tables(part_of(recovery, calm), known, draw)
    others = recovery_tables(
        part_of(recovery, [star.star_id for star in known if star.star_id not in calm]), known, draw
    )
    with atomic_folder(root / "build/flares/recovery") as folder:
        for name, table in tables.items():
            both = [table.with_columns(calm=pl.lit(True)), others[name].with_columns(calm=pl.lit(False))]
            pl.concat(both, how="diagonal_relaxed").write_parquet(folder / f"{name}.parquet", compression="zstd")
    methods = recovery_report(tables)
    report = {
        "contents": {name: content_hash(path) for name, path in contents.items()},
        "kinds": list(CALM),
        "methods": methods,
        "others": recovery_report(others),
    }
    write_json(root / "metrics/flares/recovery.json", report)
    for name, figure in draw_recovery(tables).items():
        save_figure(figure, root / "build/figures/flares/recovery" / f"{name}.png")
    for method, of_method in methods.items():
        shares = (
            f"{cell}: {'-' if row['fraction'] is None else format(row['fraction'], '.2f')}"
            for cell, row in of_method["by_snr"].items()
        )
        flipped = of_method["false"]["flipped"]["per_day"]
        print(f"{method}: recovered at S/N {', '.join(shares)}; {flipped:.3f} false a day upside down")


if __name__ == "__main__":
    with one_sentence():
        main()
