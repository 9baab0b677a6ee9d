"""The report from files to folder: what is written, what is left out, what is refused, and the same bytes twice."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.foundation.errors import DataError
from varistar.foundation.files import folder_hash
from varistar.lightcurves.readers import read
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.table import LightCurves
from varistar.realism import report
from varistar.realism.names import QUANTITIES
from varistar.realism.report import CONTENT, WINDOW, measure_realism
from varistar.realism.words import summary_lines


@pytest.fixture(scope="module", autouse=True)
def few_trees() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "tell_apart", partial(report.tell_apart, repeats=1, trees=5))
        yield


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, make_survey: Callable[..., LightCurves], write_skypatrol: Callable
) -> Path:
    """Six stars as Sky Patrol files, real enough, and a simulated survey of forty with truth."""
    folder = tmp_path_factory.mktemp("realism")
    survey = make_survey(6, seed=30)
    for i in range(6):
        write_skypatrol(folder / "real" / f"{i}.csv", survey.star(i))
    simulated = make_survey(40, seed=31, gap=150.0)
    write_shard(folder / "simulated" / "light_curves" / "part-00000.parquet", simulated)
    pl.DataFrame(
        {
            "star_id": simulated.star_id,
            "kind": ["clump"] * 30 + ["rotator"] * 10,
            "field": [i % 7 for i in range(40)],
            "g_mag": [13.0] * 40,
        }
    ).write_parquet(folder / "simulated" / "truth.parquet")
    return folder


def compared(files: Path, output: Path, **changes: object) -> report.Realism:
    options = {"kinds": ["clump"], "half": "both"} | changes
    return measure_realism([files / "real"], files / "simulated", output, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def written(files: Path) -> tuple[Path, report.Realism]:
    """A report's folder, and what was found."""
    return files / "report", compared(files, files / "report")


def test_what_is_written(written: tuple[Path, report.Realism]) -> None:
    folder, found = written
    assert {path.name for path in folder.iterdir()} == CONTENT
    assert found.n_real == 6 and 6 <= found.n_simulated <= 30 and found.n_simulated % 6 == 0
    table = pl.read_parquet(folder / "quantities.parquet")
    assert table["is_real"].sum() == 6 and table.height == 6 + found.n_simulated
    assert set(table.filter(~pl.col("is_real"))["cluster"]) <= {f"field {i}" for i in range(7)}
    assert set(QUANTITIES) <= set(table.columns)
    said = json.loads((folder / "report.json").read_text())
    assert said["tell_apart"]["stars"]["auc"] == found.stars.auc
    gap = said["quantities"]["season_gap"]
    # The seasons of the simulated survey are 50 d shorter.
    assert gap["change"] == pytest.approx(gap["simulated_p50"] / gap["real_p50"]) and gap["change"] > 1.3
    assert not gap["alike"] and said["quantities"]["error"]["alike"]
    page = (folder / "report.md").read_text()
    assert "6 real stars" in page and "| `season_gap` |" in page and f"{found.stars.auc:.3f}" in page
    assert all(f"| `{name}` |" in page for name in QUANTITIES)
    lines = summary_lines(found)
    own = found.table.filter(~pl.col("intrinsic"))["alike"]
    assert lines[1].startswith(f"{own.sum()} of {own.count()} ") and f"**{own.sum()} of {own.count()}**" in page
    assert f"AUC by star {found.stars.auc:.3f}" in lines[2] and found.stars.telltale["quantity"][0] in lines[3]


def test_the_same_bytes_twice_and_the_folder_is_replaced(
    files: Path, written: tuple[Path, report.Realism], tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "report.md").write_text("old")
    compared(files, tmp_path / "a")
    assert folder_hash(tmp_path / "a") == folder_hash(written[0])
    (tmp_path / "a" / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match=r"holds 'mine.txt'"):
        compared(files, tmp_path / "a")


def test_kinds_choose_the_simulated_stars(files: Path, tmp_path: Path) -> None:
    some = compared(files, tmp_path / "out", kinds=["rotator"], match_magnitude=False)
    assert some.n_simulated == 10
    chosen = pl.read_parquet(tmp_path / "out" / "quantities.parquet").filter(~pl.col("is_real"))["star_id"]
    assert set(chosen) == {f"star {i}" for i in range(30, 40)}


def test_what_one_side_lacks_the_other_does_not_use(files: Path, tmp_path: Path) -> None:
    simulated = read(files / "simulated" / "light_curves" / "part-00000.parquet")
    bare = replace(simulated, columns={k: v for k, v in simulated.columns.items() if k != "quality"})
    write_shard(tmp_path / "bare" / "part-00000.parquet", bare)
    found = measure_realism(
        [files / "real"], tmp_path / "bare", tmp_path / "out", kinds=None, half="both", match_magnitude=False
    )
    assert found.n_simulated == 40 and found.n_real == 6
    assert "flagged" not in found.table["quantity"] and "error" in found.table["quantity"]
    assert "nothing that needs `quality`" in (tmp_path / "out" / "report.md").read_text()
    table = pl.read_parquet(tmp_path / "out" / "quantities.parquet").filter(pl.col("is_real"))
    rows = [read(path)["time"] for path in sorted((files / "real").iterdir())]
    assert table["n_good"].to_list() == [((time >= WINDOW[0]) & (time <= WINDOW[1])).sum() for time in rows]
    assert found.about["columns_left_out"] == ["quality"]


def test_mistakes_are_one_sentence_each(files: Path, tmp_path: Path, write_skypatrol: Callable) -> None:
    def refused(match: str, real: list[Path], simulated: Path, **changes: object) -> None:
        with pytest.raises(DataError, match=match) as error:
            measure_realism(real, simulated, tmp_path / "out", **({"half": "both", "kinds": ["clump"]} | changes))  # type: ignore[arg-type]
        assert "\n" not in str(error.value) and not (tmp_path / "out").exists()

    real, simulated = [files / "real"], files / "simulated"
    refused("holds no light curves", [], simulated)
    refused("nowhere", [tmp_path / "nowhere"], simulated)
    refused("none of the 6 light curves has enough good points in MJD 50000 to 50001", real, simulated,
            window=(50000.0, 50001.0))  # fmt: skip
    refused("and band V", real, simulated, bands=("V",))
    refused(
        "only 2 of the 2 light curves have .* needs 5", [files / "real" / "0.csv", files / "real" / "1.csv"], simulated
    )
    refused("holds no truth.parquet, which says what kind", real, simulated / "light_curves")
    refused("no star of the kind 'planet'; it has clump, rotator", real, simulated, kinds=["planet"])
    copy = tmp_path / "copy.csv"
    copy.write_bytes((files / "real" / "0.csv").read_bytes())
    refused("the star '0' stands in a file before it", [*real, _renamed(copy, tmp_path / "more" / "0.csv")], simulated)
    faint = read(files / "simulated" / "light_curves" / "part-00000.parquet")
    faint = replace(faint, columns=faint.columns | {"mag": faint["mag"] + np.float32(3.0)})
    write_shard(tmp_path / "faint" / "part-00000.parquet", faint)
    refused("within 0.25 mag of only 0 real ones", real, tmp_path / "faint", kinds=None)
    # Near enough to be measured, but partners of two only.
    faint = replace(faint, columns=faint.columns | {"mag": faint["mag"] - np.float32(2.4)})
    write_shard(tmp_path / "fainter" / "part-00000.parquet", faint)
    refused("mag of only 2 real ones", real, tmp_path / "fainter", kinds=None)
    dark = replace(faint, columns={k: v for k, v in faint.columns.items() if k not in ("mag", "mag_err")})
    write_shard(tmp_path / "dark" / "part-00000.parquet", dark)
    refused("part-00000.parquet: lacks the column 'mag'", real, tmp_path / "dark", kinds=None)


def _renamed(source: Path, target: Path) -> Path:
    target.parent.mkdir()
    return source.rename(target)


@pytest.mark.realdata
def test_real_stars_against_the_embedded_sky(real_data: Path, tmp_path: Path) -> None:
    """Twenty-one real stars and the project's simulated survey: medians that the simulator was made to meet."""
    data = Path(__file__).resolve().parents[2] / "data"
    survey = next((folder for folder in (data / "ground", data) if (folder / "truth.parquet").is_file()), None)
    if survey is None:
        pytest.skip("the embedded survey is not here")
    real = sorted((real_data / "asassn" / "skypatrol_v2").glob("[0-9]*.csv"))
    found = measure_realism(real, survey, tmp_path / "out", half="judge")
    assert found.n_real == 21 and found.n_simulated >= 100
    alike = dict(found.table.select("quantity", "alike").iter_rows())
    for name in ("epochs_per_season", "season_length", "gap_median", "gap_90", "cameras", "camera_share"):
        assert alike[name], name
    for name in ("fwhm_median", "scatter", "camera_offsets"):
        assert alike[name], name
