"""Rotation periods: the criteria one by one, the rule for several sectors, and the embedded stars."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from varistar.flares.orbits import Orbit, OrbitSettings, split_orbits
from varistar.flares.rotation import (
    PAPER,
    PRESETS,
    RELEASED,
    SECTORS,
    STARS,
    Doubt,
    RotationSettings,
    combine_sectors,
    measure_sectors,
    sector_of_orbits,
)
from varistar.foundation.errors import DataError
from varistar.lightcurves.shards import read_shard
from varistar.physics.red_noise import damped_random_walk

CADENCE = 1.0 / 720.0
OURS = RotationSettings()
SPACE = Path(__file__).resolve().parents[2] / "data" / "space"


def make_sector(light, start: float = 1683.0, noise: float = 1e-3, seed: int = 0, offset: float = 0.0) -> list[Orbit]:
    """Two orbits of 12.8 d, a day apart, the second brighter by `offset`; what is left of cadences is on a grid."""
    rng = np.random.default_rng(seed)
    orbits = []
    for number, begin in enumerate((start, start + 13.8)):
        time = begin + CADENCE * np.arange(round(12.8 / CADENCE))
        flux = light(time) + offset * number + noise * rng.standard_normal(len(time))
        orbits.append(Orbit(time, flux, np.full(len(time), noise), np.arange(len(time)), CADENCE))
    return orbits


def spots(period: float, amplitude: float = 0.01, second: float = 0.0):
    return lambda t: 1.0 + amplitude * np.sin(2 * np.pi * t / period) + second * np.sin(4 * np.pi * t / period + 1.0)


def one(orbits: list[Orbit], settings: RotationSettings = OURS) -> dict:
    table = measure_sectors("star", orbits, None, settings)
    assert table.schema == SECTORS and len(table) == 1
    return table.row(0, named=True)


@pytest.mark.parametrize("period", [0.12, 0.4, 1.7, 5.0, 9.0, 11.0])
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_spotted_star_has_its_period(period: float, preset: str) -> None:
    row = one(make_sector(spots(period)), PRESETS[preset])
    # The standard deviation of a frequency, sqrt(6 / n) / (pi span SNR), is below 1e-4 / d here; median-level errors of
    # partial rotations stay below a hundredth of the longest period.
    assert row["period_days"] == pytest.approx(period, rel=0.01)
    assert Doubt(row["flags"]) in (Doubt(0), Doubt.UNSTEADY if period > 6.0 else Doubt(0))
    assert row["power"] > 0.9


def test_the_width_is_that_of_the_peak() -> None:
    # A peak's power is sinc^2 in frequency times the span; a Gaussian of 0.374 / span fits its core best.
    row = one(make_sector(spots(1.0), noise=1e-5))
    assert row["width_days"] == pytest.approx(0.374 / 26.6, rel=0.1)


def test_an_offset_between_orbits_is_no_period() -> None:
    orbits = make_sector(lambda t: np.ones_like(t), noise=1e-4, offset=1e-3)
    ours, paper = one(orbits), one(orbits, PAPER)
    assert paper["power"] > 0.5 and paper["period_days"] > 10.0
    assert ours["power"] < 0.002 and ours["flags"] & Doubt.WEAK
    row = one(make_sector(spots(3.0, 0.001), noise=1e-4, offset=0.01))
    assert row["period_days"] == pytest.approx(3.0, rel=0.005) and row["flags"] == 0


def test_white_noise_is_refused() -> None:
    for seed in range(5):
        for settings in PRESETS.values():
            assert one(make_sector(lambda t: np.ones_like(t), seed=seed), settings)["flags"] & Doubt.WEAK


def test_wandering_light_is_mostly_refused_where_the_paper_accepts() -> None:
    accepted = {name: 0 for name in PRESETS}
    for seed in range(20):
        rng = np.random.default_rng([seed, 5])
        orbits = make_sector(lambda t, rng=rng: 1.0 + damped_random_walk(rng, t, 2.0, 2e-3), noise=3e-4, seed=seed)
        for name, settings in PRESETS.items():
            accepted[name] += one(orbits, settings)["flags"] == 0
    assert accepted["ours"] <= 4 and 2 * accepted["ours"] <= accepted["paper"]


def test_slow_rotation_is_seen_to_be_slow() -> None:
    for settings in PRESETS.values():
        row = one(make_sector(spots(17.0)), settings)
        assert row["flags"] & Doubt.LONG and row["period_days"] > 12.0


def test_two_equal_periods_are_ambiguous() -> None:
    def light(t: np.ndarray) -> np.ndarray:
        return 1.0 + 0.01 * np.sin(2 * np.pi * t / 1.0) + 0.00998 * np.sin(2 * np.pi * t / 2.7)

    row = one(make_sector(light))
    assert row["flags"] == Doubt.AMBIGUOUS
    assert sorted([row["period_days"], row["second_period_days"]]) == pytest.approx([1.0, 2.7], rel=0.01)
    assert one(make_sector(light), OURS.model_copy(update={"max_second": 0.999}))["flags"] == 0


def test_a_resonance_is_no_second_period() -> None:
    row = one(make_sector(spots(2.0, 0.01, second=0.0099)))
    assert row["flags"] == 0 and row["second_power"] < 0.05
    bare = one(make_sector(spots(2.0, 0.01, second=0.0099)), OURS.model_copy(update={"resonances": (1.0,)}))
    assert bare["flags"] == Doubt.AMBIGUOUS


def test_two_spots_show_half_the_period_and_ours_doubles_it() -> None:
    orbits = make_sector(spots(5.0, 0.004, second=0.01))
    ours, paper = one(orbits), one(orbits, PAPER)
    assert (ours["period_days"], paper["period_days"]) == pytest.approx((5.0, 2.5), rel=0.01)
    assert ours["doubled"] and not paper["doubled"]
    assert ours["width_days"] == pytest.approx(2.0 * paper["width_days"], rel=0.05)
    assert not one(make_sector(spots(5.0, 0.01, second=0.004)))["doubled"]


def test_orbits_that_disagree_are_unsteady_for_the_released_code() -> None:
    def light(t: np.ndarray) -> np.ndarray:
        return np.where(t < 1696.5, spots(2.0)(t), spots(5.0)(t))

    assert one(make_sector(light), RELEASED)["flags"] & Doubt.UNSTEADY
    assert not one(make_sector(spots(2.0)), RELEASED)["flags"] & Doubt.UNSTEADY


def test_the_width_criterion_differs_between_the_presets() -> None:
    # Two days of a rotation of one day: the peak is 0.19 / d wide, which the presets must judge by their own limits.
    orbit = make_sector(spots(1.3))[0]
    short = Orbit(orbit.time[:1440], orbit.flux[:1440], orbit.flux_err[:1440], orbit.point[:1440], CADENCE)
    width = one([short], PAPER)["width_days"] / one([short], PAPER)["period_days"]
    for limit, broad in ((0.9 * width, True), (1.1 * width, False)):
        settings = PAPER.model_copy(update={"max_width": limit})
        assert bool(one([short], settings)["flags"] & Doubt.BROAD) == broad
    assert (PAPER.max_width, RELEASED.max_width) == (0.4, 0.6)


def test_masked_flares_do_not_count() -> None:
    orbits = make_sector(spots(2.0, 0.002))
    masks = [np.zeros(len(orbit), dtype=bool) for orbit in orbits]
    for orbit, mask in zip(orbits, masks, strict=True):
        for start in range(300, len(orbit) - 100, 1111):
            mask[start : start + 50] = True
        orbit.flux[mask] += 0.5
    clean, dirty = (measure_sectors("star", orbits, m, OURS).row(0, named=True) for m in (masks, None))
    assert clean["period_days"] == pytest.approx(2.0, rel=0.01) and clean["power"] > 0.5
    assert dirty["power"] < 0.1


def test_nothing_to_measure() -> None:
    orbits = make_sector(spots(2.0))
    everything = [np.ones(len(orbit), dtype=bool) for orbit in orbits]
    table = measure_sectors("star", orbits, everything, OURS)
    assert table["flags"].to_list() == [Doubt.EMPTY] and table["period_days"].to_list() == [None]
    (row,) = combine_sectors(table, OURS).iter_rows(named=True)
    assert not row["accepted"] and row["reason"] == "no sector is trusted: empty"
    assert measure_sectors("star", [], None, OURS).schema == SECTORS
    assert combine_sectors(measure_sectors("star", [], None, OURS), OURS).schema == STARS


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    orbits = make_sector(spots(2.0))
    with pytest.raises(DataError, match="star 7: the masks of flares do not fit"):
        measure_sectors("7", orbits, [np.zeros(3, dtype=bool)] * 2, OURS)
    with pytest.raises(DataError, match="star 7: 1 sectors are named for 2 orbits"):
        measure_sectors("7", orbits, None, OURS, sectors=[14])


def test_orbits_are_put_into_sectors() -> None:
    orbits = [orbit for start in (1683.0, 1711.0, 1900.0) for orbit in make_sector(spots(2.0), start)]
    assert sector_of_orbits(orbits) == [1, 1, 2, 2, 3, 3]
    assert sector_of_orbits(orbits[1:]) == [1, 1, 2, 3, 3]
    assert measure_sectors("star", orbits[:3], None, OURS, [14, 14, 15])["sector"].to_list() == [14, 15]


def sectors_of(*rows: tuple[float, float, int]) -> pl.DataFrame:
    """Sectors with a period, a second peak's period of 0.6 times the power, and flags."""
    table = [
        {"star_id": "s", "sector": i, "period_days": p, "second_period_days": s, "power": 0.5, "second_power": 0.3}
        | {"doubled": False, "width_days": 0.1, "flags": f}
        for i, (p, s, f) in enumerate(rows)
    ]
    return pl.DataFrame(table, schema=SECTORS)


@pytest.mark.parametrize(
    ("rows", "period", "agreeing", "accepted"),
    [
        ([(3.0, 7.0, 0)], 3.0, 1, True),
        ([(3.0, 7.0, 0), (3.02, 8.0, 0), (1.51, 8.5, 0)], 3.02, 3, True),
        ([(3.0, 7.0, 0), (6.04, 8.0, 0), (3.01, 8.5, 0)], 3.01, 3, True),
        ([(3.0, 7.0, 0), (9.0, 3.03, 0), (3.01, 8.5, 0)], 3.01, 3, True),
        ([(3.0, 7.0, 0), (9.0, 10.0, 8), (3.02, 8.5, 0)], 3.01, 2, True),
        ([(3.0, 7.0, 0), (4.4, 10.0, 0)], None, 1, False),
        ([(3.0, 7.0, 2), (4.4, 10.0, 8)], 3.0, 0, False),
    ],
)
@pytest.mark.parametrize("settings", [OURS, PAPER, RELEASED], ids=["ours", "paper", "released"])
def test_sectors_make_one_period(rows, period, agreeing, accepted, settings) -> None:
    (row,) = combine_sectors(sectors_of(*rows), settings).iter_rows(named=True)
    if period is not None:
        assert row["period_days"] == pytest.approx(period)
    assert (row["n_sectors"], row["n_sectors_agreeing"], row["accepted"]) == (len(rows), agreeing, accepted)
    assert bool(row["reason"]) != accepted


def test_half_a_period_in_one_of_two_sectors_is_the_half() -> None:
    (row,) = combine_sectors(sectors_of((4.0, 9.0, 0), (8.05, 5.0, 0)), OURS).iter_rows(named=True)
    assert row["accepted"] and row["period_days"] == pytest.approx(8.025)


def test_agreement_is_relative_for_us_and_in_days_for_the_paper() -> None:
    slow, fast = sectors_of((9.0, 4.0, 0), (9.3, 4.0, 0)), sectors_of((0.16, 4.0, 0), (0.23, 5.0, 0))
    assert [combine_sectors(t, OURS)["n_sectors_agreeing"].item() for t in (slow, fast)] == [2, 1]
    assert [combine_sectors(t, PAPER)["n_sectors_agreeing"].item() for t in (slow, fast)] == [1, 2]


@pytest.fixture(scope="module")
def embedded() -> dict[str, pl.DataFrame]:
    """The embedded stars' periods by preset, beside the truth."""
    if not (SPACE / "light_curves").is_dir():
        pytest.fail("data/space is missing: `make pull` fetches it")
    flares = pl.read_parquet(SPACE / "flares.parquet").filter(pl.col("peak_snr") > 3.0)
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in PRESETS}
    for path in sorted((SPACE / "light_curves").glob("part-*.parquet")):
        shard = read_shard(path)
        for i, star_id in enumerate(shard.star_id):
            star, mine = shard.star(i), flares.filter(pl.col("star_id") == star_id)
            orbits = split_orbits(*(star[n] for n in ("time", "flux", "flux_err", "quality")), OrbitSettings())
            masks = [flaring(orbit, mine) for orbit in orbits]
            for name, settings in PRESETS.items():
                parts[name].append(measure_sectors(star_id, orbits, masks, settings))
    truth = pl.read_parquet(SPACE / "truth.parquet").select("star_id", "kind", "subtype", "shown_period_days")
    return {n: combine_sectors(pl.concat(p), PRESETS[n]).join(truth, on="star_id") for n, p in parts.items()}


def flaring(orbit: Orbit, flares: pl.DataFrame) -> np.ndarray:
    """The cadences of known flares, from one and a half widths before the peak to six after."""
    mask = np.zeros(len(orbit), dtype=bool)
    for peak, minutes in flares.select("tpeak", "fwhm_minutes").iter_rows():
        first, last = np.searchsorted(orbit.time, [peak - minutes / 960.0 - 0.002, peak + minutes / 240.0 + 0.002])
        mask[first:last] = True
    return mask


RIGHT = (pl.col("period_days") / pl.col("shown_period_days") - 1.0).abs() < 0.1


def test_embedded_flaring_stars_have_their_periods(embedded: dict[str, pl.DataFrame]) -> None:
    right = {}
    for name, stars in embedded.items():
        active = stars.filter((pl.col("kind") == "flaring") & (pl.col("shown_period_days") < 12.0))
        assert len(active) == 37
        right[name] = active.filter(pl.col("accepted") & RIGHT).height
        fast = active.filter(pl.col("shown_period_days") < 1.0)
        assert len(fast) == 12 and fast.filter(pl.col("accepted") & RIGHT).height >= 11, name
    assert right["ours"] >= 32 and right["paper"] >= 28
    assert right["ours"] > max(right["paper"], right["released"])


def test_embedded_stars_without_rotation_are_refused(embedded: dict[str, pl.DataFrame]) -> None:
    for name, stars in embedded.items():
        constant = stars.filter((pl.col("kind") == "quiet") & pl.col("shown_period_days").is_null())
        assert len(constant) == 6 and not constant["accepted"].any(), name
        # Beyond 12 d only half a period may pass: most must not.
        slow = stars.filter(pl.col("shown_period_days") > 13.0)
        assert slow["accepted"].mean() <= 0.2, name
