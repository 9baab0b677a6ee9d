"""Injected flares are found or not by every method, and stars are counted where they belong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from varistar.bulk.engine import Engine
from varistar.flares import recover
from varistar.flares.draws import GridDraw
from varistar.flares.known import KnownStar
from varistar.flares.labels import LABELS
from varistar.flares.orbits import Orbit
from varistar.flares.simple import SIMPLE
from varistar.foundation.errors import DataError

ALONE = Engine(workers=1)
DRAW = GridDraw(peak_snrs=(5.0, 30.0, 300.0), fwhm_minutes=(4.0, 16.0), per_cell_per_day=0.5)


def white_star(name: str, seed: int) -> KnownStar:
    time = np.arange(7000) * 2 / 1440
    flux = 1 + 0.001 * np.random.default_rng(seed).standard_normal(7000)
    orbit = Orbit(time, flux, np.full(7000, 0.001), np.arange(7000), 2 / 1440)
    return KnownStar(name, [orbit], pl.DataFrame(schema=LABELS))


STARS = [white_star(name, number) for number, name in enumerate("abcdef")]


@pytest.fixture(scope="module")
def recovery() -> Any:
    return recover.recover_known(STARS, {}, DRAW, ALONE)


def test_bright_flares_in_white_noise_are_recovered_and_nothing_else_is_found(recovery: Any) -> None:
    report = recover.recovery_report(recover.recovery_tables(recovery, STARS, DRAW))
    assert report.keys() == SIMPLE.keys()
    cells = report["matched filter"]["by_snr"]
    assert list(cells) == ["5-7", "7-10", "10-15", "15-30", ">=30"]
    assert cells[">=30"]["n"] > 20 and cells[">=30"]["fraction"] == 1.0
    assert sum(cell["n"] for cell in cells.values()) <= recovery.injected.height
    for kind in ("uninjected", "flipped"):
        false = report["matched filter"]["false"][kind]
        assert false["days"] == pytest.approx(6 * 7000 * 2 / 1440)
        assert false["per_day"] < 0.1
    # the paper's baseline is blind to faint flares, which its trend follows
    assert report["three sigma, Savitzky-Golay"]["by_snr"]["5-7"]["fraction"] < cells["5-7"]["fraction"]


def test_the_surface_has_the_cells_that_were_drawn(recovery: Any) -> None:
    tables = recover.recovery_tables(recovery, STARS, DRAW)
    surface = tables["surface"].filter(method="matched filter")
    assert surface.select("peak_snr_low", "fwhm_minutes_low").rows() == [(5.0, 4.0), (30.0, 4.0)]
    assert set(recover.draw_recovery(tables)) == {"recovered", "by_snr", "surface"}
    amplitudes = GridDraw(amplitudes=(0.002, 0.05, 1.0))
    assert "amplitude_low" in recover.recovery_tables(recovery, STARS, amplitudes)["surface"].columns


def test_results_do_not_depend_on_how_the_work_is_shared(recovery: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "CHUNK", 1)
    apart = recover.recover_known(STARS, {}, DRAW, ALONE)
    assert all(one.equals(other) for one, other in zip(apart, recovery, strict=True))


def test_a_part_has_its_own_stars_only(recovery: Any) -> None:
    part = recover.part_of(recovery, ["b", "d"])
    assert all(set(table["star_id"]) <= {"b", "d"} for table in part)
    assert part.searched.height == 2 * 3 * len(SIMPLE)
    rest = recover.part_of(recovery, ["a", "c", "e", "f"])
    assert part.injected.height + rest.injected.height == recovery.injected.height


def test_no_star_and_no_flare_are_one_sentence_each(recovery: Any) -> None:
    with pytest.raises(DataError, match="no star is left"):
        recover.recover_known([], {}, DRAW, ALONE)
    with pytest.raises(DataError, match="no flare found room"):
        recover.recovery_tables(recovery._replace(injected=recovery.injected.clear()), STARS, DRAW)


def test_networks_are_searched_with_under_their_names(project: Any, in_project: Callable[[Path], Any]) -> None:
    contents = {name: project.build / "calibrated" / name for name in ("points", "windows")}
    with in_project(project.root):
        found = recover.recover_known(STARS[:1], contents, DRAW, ALONE, "cpu")
    assert found.searched["method"].unique(maintain_order=True).to_list() == ["points", "windows", *SIMPLE]
