"""A sky is the same in whatever order and company it is made, and its truth shows in its light curves."""

import numpy as np
import polars as pl
import pytest
from astropy.timeseries import LombScargle

from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import validate
from varistar.lightcurves.cuts import Cuts, apply_cuts
from varistar.lightcurves.table import COLUMNS, LightCurves
from varistar.sky.ground import (
    Sky,
    SkySettings,
    StarCounts,
    iterate_fields,
    simulate_field,
    simulate_sky,
    survey_nights,
)

SMALL = SkySettings(
    n_fields=6,
    counts=StarCounts(clump=40, quasar=24, rotator=60, eclipsing=6, pulsating=36, semiregular=6, constant=24),
)


@pytest.fixture(scope="module")
def sky() -> Sky:
    return simulate_sky(SMALL)


def same(a: LightCurves, b: LightCurves) -> None:
    assert a.star_id == b.star_id
    np.testing.assert_array_equal(a.offsets, b.offsets)
    for name in COLUMNS:
        np.testing.assert_array_equal(a[name], b[name])


def test_the_tables_hold_the_same_stars_in_the_same_order(sky: Sky) -> None:
    assert sky.light_curves.star_id == tuple(sky.stars["star_id"]) == tuple(sky.truth["star_id"])
    assert sky.truth["star_id"].is_unique().all()
    counted = dict(sky.truth.group_by("kind").len().iter_rows())
    assert counted == SMALL.counts.model_dump()


def test_truth_is_only_in_the_truth(sky: Sky) -> None:
    assert set(sky.stars.columns) & set(sky.truth.columns) == {"star_id"}
    assert (sky.stars["catalog_source"] == "milliquas").to_list() == (sky.truth["kind"] == "quasar").to_list()
    # within a field the stars stand in the order of their ids, so that no row number tells the kind
    for _, field in sky.truth.group_by("field"):
        assert field["star_id"].is_sorted()


def test_fields_may_be_made_in_any_order(sky: Sky) -> None:
    nights = survey_nights(SMALL)
    backwards = {field: simulate_field(SMALL, field, nights) for field in reversed(range(SMALL.n_fields))}
    start = 0
    for field in range(SMALL.n_fields):
        part = backwards[field]
        same(sky.light_curves.slice(start, start + len(part.light_curves)), part.light_curves)
        assert sky.truth[start : start + len(part.light_curves)].equals(part.truth)
        start += len(part.light_curves)
    assert start == len(sky.light_curves)


def test_more_stars_change_none(sky: Sky) -> None:
    more = SMALL.model_copy(update={"counts": SMALL.counts.model_copy(update={"clump": 80, "constant": 0})})
    larger = next(iterate_fields(more))
    kept = [star for star in larger.light_curves.star_id if star in set(sky.light_curves.star_id)]
    assert 20 < len(kept) < len(larger.light_curves)
    rows = [sky.light_curves.star_id.index(star) for star in kept]
    same(sky.light_curves.take(rows), larger.light_curves.take([larger.light_curves.star_id.index(s) for s in kept]))
    assert sky.stars[rows].equals(larger.stars.filter(pl.col("star_id").is_in(kept)))


def test_another_seed_is_another_sky(sky: Sky) -> None:
    other = next(iterate_fields(SMALL.model_copy(update={"seed": 89})))
    assert not set(other.light_curves.star_id) & set(sky.light_curves.star_id)
    assert not np.isin(other.light_curves["time"], sky.light_curves["time"]).all()


def test_stars_of_a_field_share_its_exposures(sky: Sky) -> None:
    fields = sky.truth["field"].to_numpy()
    mine = [sky.light_curves.star(i)["time"] for i in np.flatnonzero(fields == 2)]
    every = np.unique(np.concatenate(mine))
    shares = np.array([len(np.unique(time)) / len(every) for time in mine])
    assert np.all(shares > 0.98) and shares.mean() < 0.999


def test_columns_are_typed_ascending_and_ascii(sky: Sky) -> None:
    lightcurves = sky.light_curves
    for name, column in COLUMNS.items():
        assert np.issubdtype(lightcurves[name].dtype, column.dtype)
    for i in range(len(lightcurves)):
        assert np.all(np.diff(lightcurves.star(i)["time"]) >= 0)
    assert all(code.isascii() for code in np.unique(lightcurves["camera"]))
    assert np.all(np.isfinite(lightcurves["flux"])) and np.all(lightcurves["flux_err"] > 0)


def test_numbers_are_rounded_as_promised(sky: Sky) -> None:
    lightcurves = sky.light_curves
    flux, flux_err = lightcurves["flux"].astype(float), lightcurves["flux_err"].astype(float)
    step = 2.0 ** np.floor(np.log2(flux_err / SMALL.steps_per_error))
    np.testing.assert_array_equal(flux, np.round(flux / step) * step)
    np.testing.assert_array_equal(lightcurves["limit"] * 64, np.round(lightcurves["limit"] * 64))
    np.testing.assert_allclose(lightcurves["time"], np.round(lightcurves["time"], 5), rtol=0, atol=1e-9)
    limit_flux = 10.0 ** (-0.4 * (lightcurves["limit"].astype(float) - 16.4))
    np.testing.assert_array_equal(np.isnan(lightcurves["mag"]), flux < limit_flux)


def test_cuts_have_something_to_cut_and_leave_templates(sky: Sky) -> None:
    _, report = apply_cuts(sky.light_curves, Cuts(bands=("g",), window=SMALL.window))
    report = report.join(sky.truth, on="star_id")
    for reason in ("lost_window", "lost_non_detection", "lost_quality"):
        assert report[reason].sum() > 100
    assert report.filter(pl.col("kind") != "quasar")["kept"].all()
    faint = report.filter(pl.col("kind") == "quasar", pl.col("g_mag") > 17.5)
    assert 0.4 < (faint["lost_non_detection"] / faint["n_before"]).median() < 0.9


def strongest_period(lightcurves: LightCurves, shortest: float) -> float:
    """The highest Lomb-Scargle peak from `shortest` to 50 d, after the mean of each 60 days is taken out."""
    good = np.isfinite(lightcurves["mag"]) & (lightcurves["quality"] == 0)
    time, mag = lightcurves["time"][good], lightcurves["mag"][good].astype(float)
    block = ((time - time[0]) // 60.0).astype(int)
    mag -= (np.bincount(block, mag) / np.maximum(np.bincount(block), 1))[block]
    frequency = np.arange(1 / 50, 1 / shortest, 1 / (4 * 1870.0))
    search = LombScargle(time, mag, lightcurves["mag_err"][good])
    power = search.power(frequency, method="fast", assume_regular_frequency=True)
    return 1 / frequency[np.argmax(power)]


@pytest.mark.parametrize(("kind", "shortest", "share"), [("rotator", 0.9, 0.7), ("pulsating", 0.22, 0.9)])
def test_true_periods_are_found_in_bright_stars(sky: Sky, kind: str, shortest: float, share: float) -> None:
    chosen = (pl.col("kind") == kind) & (pl.col("g_mag") < 14.5) & (pl.col("period_days") > 1.1 * shortest)
    bright = sky.truth.with_row_index().filter(chosen).head(12)
    assert bright.height >= 10
    ratios = np.array(
        [
            strongest_period(sky.light_curves.star(row["index"]), shortest) / row["period_days"]
            for row in bright.iter_rows(named=True)
        ]
    )
    assert np.mean(np.abs(ratios - 1) < 0.05) >= share


def test_amplitudes_show_in_the_scatter(sky: Sky) -> None:
    bright = sky.truth.with_row_index().filter(pl.col("g_mag") < 14.0)
    scatter = np.array([np.nanstd(sky.light_curves.star(i)["mag"]) for i in bright["index"]])
    amplitude = bright["amplitude"].to_numpy()
    assert np.median(scatter[amplitude > 0.3]) > 3 * np.median(scatter[amplitude < 0.05])


def test_an_empty_sky_has_tables_too() -> None:
    nothing = StarCounts(**dict.fromkeys(StarCounts.model_fields, 0))
    field = simulate_field(SkySettings(n_fields=1, counts=nothing), 0, survey_nights(SMALL))
    assert len(field.light_curves) == 0 and field.stars.height == 0 and field.truth.height == 0
    assert not list(iterate_fields(SkySettings(n_fields=1, counts=nothing)))


def test_a_star_that_is_never_exposed_has_an_empty_light_curve() -> None:
    one_of_each = StarCounts(**dict.fromkeys(StarCounts.model_fields, 1))
    evening = SkySettings(n_fields=1, counts=one_of_each, window=(58500.0, 58500.001), margin_days=0.0)
    sky = simulate_sky(evening)
    assert len(sky.light_curves) == sky.truth.height == 7
    assert sky.light_curves.offsets[-1] == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"counts": {"clumps": 3}}, "key 'counts.clumps' does not exist"),
        ({"n_fields": 0}, "'n_fields'"),
        ({"window": (60000.0, 59000.0)}, "window must run from the earlier"),
        ({"declinations": (-90.0, 10.0)}, "declinations must ascend"),
        ({"losses": 1.0}, "'losses'"),
    ],
)
def test_wrong_settings_are_named(values: dict, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        validate(SkySettings, values, "params.yaml")
