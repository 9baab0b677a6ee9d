"""Evaluate a variant on test stars whose flares are known, along the path that prediction takes.

Events, windows and cadences are scored, and the events of each member by itself; what is measured of events is held
against what is true, with flares injected into the same stars too. The scores go into `metrics/` and to
the variant's MLflow run, with the figures, the packaged model and what a search costs, which no file holds since it is
another each time.
"""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from varistar.bulk.engine import Engine
from varistar.experiments.content import content_hash
from varistar.experiments.publish import publish
from varistar.experiments.splits import SplitSettings
from varistar.figures.style import save_figure
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import one_sentence
from varistar.foundation.files import atomic_path, folder_hash, write_json
from varistar.foundation.params import find_root, lookup, read_params, read_section

from .examples import ExampleSettings, TruthSettings
from .fidelity import fidelity_report, measure_known
from .finder import FlareFinder, served_network
from .illustrate import draw_variant
from .known import KnownStar, read_known
from .matching import Matched, average_precision_of_events, event_scores
from .measure import MeasureSettings
from .measured import Searched, search_known
from .variants import WING, FlareVariant, folder_of, read_variant, section_of
from .verdict import NEAR_CENTRE, SEED, counted, match_known, search_report

if TYPE_CHECKING:
    pass

#: The scores of what every rebuild trains, and those of the study.
REPORTS = {"variants": "metrics/flares", "study": "metrics/study/flares"}
#: What is said of each member.
OF_MEMBERS = {
    "events": ("counted_f1", "counted_precision", "counted_recall", "average_precision"),
    "windows": ("accuracy", "average_precision"),
    "cadences": ("dice", "average_precision"),
}
#: Days of a sector, gaps left out.
SECTOR_DAYS = 25.0


def evaluate_variant(
    content: Path,
    members: Sequence[Path],
    known: Sequence[KnownStar],
    stars: pl.DataFrame,
    variant: FlareVariant,
    settings: ExampleSettings,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
) -> tuple[dict[str, Any], Searched, Matched, pl.DataFrame]:
    """Search and score test stars.

    Parameters
    ----------
    content : folder of the calibrated model.
    members : folders of its members' contents, as `train_members` writes them.
    known : stars with a light curve.
    stars : the truth of all stars.

    Returns
    -------
    the scores of `events`, `windows` and `cadences`, and of `members`, a list for each; what the model found, its
    served events matched, and the windows with their `p`.
    """
    apart = members if len(members) > 1 else []
    searched = search_known(content, apart, known, settings.points.truth, engine, accelerator)
    near = NEAR_CENTRE if variant.network.trunk == "points" else 0
    reports = [search_report(one, known, stars, settings.windows, near) for one in searched]
    report, matched, windows = reports[0]
    each = [one for one, _, _ in reports[1:]] or [report]
    spread = {
        what: {name: [member[what][name] for member in each] for name in names} for what, names in OF_MEMBERS.items()
    }
    return report | {"members": spread}, searched[0], matched, windows


def validation_scores(
    content: Path,
    known: Sequence[KnownStar],
    truth: TruthSettings,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
) -> dict[str, float | None]:
    """`average_precision` and `f1` of the events of validation stars: what may be looked at to choose a variant."""
    (searched,) = search_known(content, [], known, truth, engine, accelerator)
    labels = pl.concat([star.labels for star in known])
    matched, candidates = (match_known(table, labels) for table in (searched.events, searched.candidates))
    return {
        "average_precision": average_precision_of_events(counted(candidates)),
        "f1": event_scores(matched, SEED)["counted_f1"],
    }


def test_set_hash(sectors: Path, known: Sequence[KnownStar]) -> str:
    """What makes this the same test: the simulated sectors, and which of their stars are in it."""
    return hashlib.sha256("\n".join([folder_hash(sectors), *(star.star_id for star in known)]).encode()).hexdigest()


def numbers_of(report: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among nested scores, with their keys joined as MLflow takes them; intervals as `low` and `high`."""
    found: dict[str, float] = {}
    for key, value in report.items():
        if isinstance(value, Mapping):
            found |= numbers_of(value, f"{prefix}{key}.")
        elif isinstance(value, float | int):
            found[f"{prefix}{key}".replace("<", "below ").replace(">=", "from ")] = value
        elif key.endswith("_interval") and value is not None:
            found |= numbers_of(dict(zip(("low", "high"), value, strict=True)), f"{prefix}{key}.")
        elif isinstance(value, list):
            found |= numbers_of({str(place): one for place, one in enumerate(value)}, f"{prefix}{key}.")
    return found


def main(name: str) -> None:
    """The stage: variant `name` of params.yaml."""
    root = find_root()
    variant, accelerator = read_variant(root, name), lookup(read_params(root), "accelerator")
    settings = read_section(root, "flares.examples", ExampleSettings)
    splits = read_section(root, "flares.split", SplitSettings)
    sectors, own = root / "build/flares/sectors", folder_of(root, name)
    content = own / "calibrated" / name
    orbits = FlareFinder.of_folder(content, "cpu").orbits
    known, validation = (
        [star for star in read_known(sectors, orbits, splits, split) if star.orbits] for split in ("test", "validation")
    )
    stars = pl.read_parquet(sectors / "truth.parquet", glob=False)
    members = sorted((own / "networks" / name).iterdir(), key=lambda path: int(path.name))
    scores, searched, matched, windows = evaluate_variant(
        content, members, known, stars, variant, settings, accelerator=accelerator
    )
    for folder, table in (("measured", matched.events), ("recalled", matched.labels)):
        with atomic_path(own / folder / f"{name}.parquet") as temporary:
            table.write_parquet(temporary, compression="zstd")
    measures: dict[str, pl.DataFrame] = {}
    if variant.measures:
        measure = read_section(root, "flares.measure", MeasureSettings)
        measures = measure_known(content, known, searched.events, measure, accelerator=accelerator)
    report = {
        "content": content_hash(content),
        "test_set": test_set_hash(sectors, known),
        "n_stars": len(known),
        "days": float(searched.days["days"].sum()),
        "validation": validation_scores(content, validation, settings.points.truth, accelerator=accelerator),
        **scores,
        "measures": {of: fidelity_report(table) for of, table in measures.items()},
    }
    write_json(root / REPORTS[section_of(root, name)] / f"{name}.json", report)
    history = pl.read_parquet(own / "histories" / f"{name}.parquet", glob=False)
    figures = draw_variant(name, searched, known, matched, windows, settings.windows, history, measures.get("injected"))
    drawn = root / "build/figures/flares" / name
    for key, figure in figures.items():
        save_figure(figure, drawn / f"{key}.png")
    # a thousand numbers of what was measured are for the file
    numbers = numbers_of({key: value for key, value in report.items() if key != "measures"})
    numbers["seconds_per_sector"] = searched.seconds_per_day * SECTOR_DAYS
    publish(root, WING, name, own / "networks" / name, content, numbers, drawn, served_network)
    events = scores["events"]
    print(
        f"{name}: F1 {events['counted_f1'] or 0:.3f} of events on {len(known)} test stars, average precision"
        f" {events['average_precision'] or 0:.3f}, {events['false']['all']['per_day']:.3f} false a day"
    )


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
