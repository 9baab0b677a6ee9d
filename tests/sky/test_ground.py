"""A sky is the same in whatever pieces and company it is made, and its truth shows in its light curves."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from astropy.timeseries import LombScargle
from hypothesis import given
from hypothesis import strategies as st

from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import validate
from varistar.lightcurves.cuts import Cuts, apply_cuts
from varistar.lightcurves.table import COLUMNS, LightCurves
from varistar.sky import ground
from varistar.sky.ground import (
    CATALOG,
    CATALOG_DIGITS,
    TRUTH,
    Piece,
    Sky,
    SkySettings,
    StarCounts,
    field_exposures,
    field_place,
    simulate_piece,
    simulate_sky,
    sky_pieces,
)
from varistar.sky.noise import LIMIT_STEP, MOUNT_OF
from varistar.sky.population import HALF_SIDE, KINDS, Kind

SMALL = SkySettings(
    n_fields=4,
    counts=StarCounts(
        **{"clump": 30, "quasar": 24, "rotator": 50, "oscillating": 8, "cepheid": 16, "rr_lyrae": 12},
        **{"delta_scuti": 8, "eclipsing": 12, "semiregular": 6, "irregular": 6, "young": 16, "constant": 24},
    ),
)
WINDOW = (58484.5, 60311.5)
NEVER = (58500.0, 58500.001)


def one_of_each() -> StarCounts:
    return StarCounts(**dict.fromkeys(StarCounts.model_fields, 1))


def only(**counts: int) -> StarCounts:
    return StarCounts(**dict.fromkeys(StarCounts.model_fields, 0) | counts)


def brief(**changes: object) -> SkySettings:
    """One of each kind in one field, for half a year."""
    return SkySettings(**{"n_fields": 1, "counts": one_of_each(), "span": (58500.0, 58700.0)} | changes)


@pytest.fixture(scope="module")
def sky() -> Sky:
    return simulate_sky(SMALL)


def same(a: Sky, b: Sky, stars: list[str] | None = None) -> None:
    """That both skies say the same of these stars, of all by default."""
    stars = list(a.truth["star_id"]) if stars is None else stars
    assert stars
    for name in ("stars", "truth"):
        left, right = (getattr(sky, name).filter(pl.col("star_id").is_in(stars)).sort("star_id") for sky in (a, b))
        assert left.equals(right)
        assert left.height == len(stars)
    left, right = (s.light_curves.take([s.light_curves.star_id.index(star) for star in stars]) for s in (a, b))
    np.testing.assert_array_equal(left.offsets, right.offsets)
    for name in COLUMNS:
        np.testing.assert_array_equal(left[name], right[name])


# ---------------------------------------------------------------------------------------------------------------------
# How many stars


@given(
    st.lists(st.integers(0, 5000), min_size=len(KINDS), max_size=len(KINDS)).filter(any),
    st.integers(0, 10**6),
)
def test_another_number_of_stars_in_the_same_mixture(counts: list[int], total: int) -> None:
    mixture = StarCounts(**dict(zip(KINDS, counts, strict=True)))
    scaled = list(mixture.of(total).model_dump().values())
    assert sum(scaled) == total
    for number, share in zip(scaled, np.array(counts) * (total / sum(counts)), strict=True):
        assert abs(number - share) <= 1 + 1e-6
    assert mixture.of(sum(counts)) == mixture


def test_nothing_of_nothing_is_nothing() -> None:
    assert only().of(100) == only()


def test_kinds_are_those_of_the_population() -> None:
    assert tuple(StarCounts.model_fields) == KINDS


# ---------------------------------------------------------------------------------------------------------------------
# The tables


def test_the_tables_hold_the_same_stars_in_the_same_order(sky: Sky) -> None:
    assert sky.light_curves.star_id == tuple(sky.stars["star_id"]) == tuple(sky.truth["star_id"])
    assert sky.truth["star_id"].is_unique().all()
    assert dict(sky.truth.group_by("kind").len().iter_rows()) == SMALL.counts.model_dump()


def test_truth_joins_the_catalog_and_is_only_in_the_truth(sky: Sky) -> None:
    assert set(sky.stars.columns) & set(sky.truth.columns) == {"star_id"}
    joined = sky.truth.join(sky.stars, on="star_id", how="full", coalesce=True)
    assert joined.height == sky.truth.height
    assert (joined["catalog_source"] == "milliquas").to_list() == (joined["kind"] == "quasar").to_list()
    assert set(joined["catalog_source"]) == {"milliquas", "stellar_main"}
    # within a field the stars stand in the order of their ids, so that no row number tells the kind
    for _, field in sky.truth.group_by("field"):
        assert field["star_id"].is_sorted()


def test_columns_have_their_types_and_digits(sky: Sky) -> None:
    assert dict(sky.stars.schema) == CATALOG and dict(sky.truth.schema) == TRUTH
    for table, digits in ((sky.stars, CATALOG_DIGITS), (sky.truth, ground.TRUTH_DIGITS)):
        for name, decimals in digits.items():
            values = table[name]
            assert not values.is_nan().any(), "a missing number is null"
            assert values.equals(values.round(decimals))


def test_truth_is_null_exactly_where_a_star_has_no_such_value(sky: Sky) -> None:
    truth = sky.truth
    assert set(truth["kind"]) == set(KINDS)
    aperiodic = truth["kind"].is_in(["clump", "quasar", "irregular", "constant"]) | (truth["subtype"] == "burster")
    for name in ("period_days", "shown_period_days", "harmonics"):
        assert truth[name].is_null().to_list() == aperiodic.to_list()
    spotted = (truth["kind"] == "rotator") | (truth["subtype"] == "spotted")
    assert (truth["spots"] != "").to_list() == spotted.to_list()
    turning = spotted | (truth["kind"] == "eclipsing") | (truth["subtype"] == "dipper")
    assert truth["inclination"].is_not_null().to_list() == turning.to_list()
    assert (truth["population"] == "").to_list() == (truth["kind"] == "quasar").to_list()
    rest = ["star_id", "kind", "subtype", "population", "spots", "field", "g_mag", "v_mag", "amplitude", "blend"]
    assert truth.select(rest).null_count().sum_horizontal().item() == 0
    assert truth["subtype"].str.len_chars().min() > 0
    assert truth["inclination"].drop_nulls().is_between(0, 90).all()


def test_harmonics_are_in_units_of_the_strongest(sky: Sky) -> None:
    harmonics = np.array(sky.truth["harmonics"].drop_nulls().to_list())
    assert harmonics.shape[1] == 4
    np.testing.assert_array_equal(harmonics.max(axis=1), 1.0)
    assert harmonics.min() >= 0


def test_spotted_stars_show_the_period_of_their_spots(sky: Sky) -> None:
    truth = sky.truth.with_columns(ratio=pl.col("shown_period_days") / pl.col("period_days"))
    ratio = {spots: stars["ratio"] for (spots,), stars in truth.drop_nulls("period_days").group_by("spots")}
    assert (ratio[""] == 1).all()
    # nearly rigid; slower towards the poles, by three tenths at most; with shear of either sign
    assert ratio["stable"].is_between(0.95, 1.05).all()
    assert ratio["independent"].is_between(1.0, 1.45).all() and ratio["independent"].max() > 1.01
    assert ratio["paper"].min() < 0.99 and ratio["paper"].max() > 1.01


# ---------------------------------------------------------------------------------------------------------------------
# A star is the same in any company


@pytest.mark.parametrize("kind", KINDS)
def test_a_star_alone_is_the_star_in_the_sky(sky: Sky, kind: Kind) -> None:
    number = SMALL.counts.model_dump()[kind] - 1
    (piece,) = (
        Piece(piece.field, ((kind, range(number, number + 1)),))
        for piece in sky_pieces(SMALL)
        if number in dict(piece.stars)[kind]
    )
    alone = simulate_piece(SMALL, piece)
    assert alone.truth["kind"].to_list() == [kind]
    same(alone, sky)


def test_pieces_may_be_made_in_any_order(sky: Sky) -> None:
    ground._nights.cache_clear()
    pieces = sky_pieces(SMALL)
    same(ground.join_skies([simulate_piece(SMALL, piece) for piece in reversed(pieces)]), sky)


@pytest.mark.parametrize("most", [1, 5, 13, 50])
def test_fields_come_in_pieces_that_are_bounded_and_even(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    whole = sky_pieces(SMALL)
    assert [piece.field for piece in whole] == [0, 1, 2, 3]
    monkeypatch.setattr(ground, "STARS_PER_PIECE", most)
    pieces = sky_pieces(SMALL)
    sizes = np.array([piece.n_stars for piece in pieces])
    assert sizes.min() > 0 and sizes.max() <= most
    assert sum(sizes) == sum(SMALL.counts.model_dump().values())
    for field in whole:
        parts = [piece for piece in pieces if piece.field == field.field]
        assert np.ptp([piece.n_stars for piece in parts]) <= 1
        for kind, numbers in field.stars:
            shared = [number for part in parts for number in dict(part.stars)[kind]]
            assert sorted(shared) == list(numbers)
    assert [piece.field for piece in pieces] == sorted(piece.field for piece in pieces)


def test_smaller_pieces_hold_the_same_stars(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "STARS_PER_PIECE", 20)
    assert len(sky_pieces(SMALL)) > 2 * SMALL.n_fields
    smaller = simulate_sky(SMALL)
    assert smaller.light_curves.star_id != sky.light_curves.star_id
    same(smaller, sky)


def test_more_stars_change_none(sky: Sky) -> None:
    counts = SMALL.counts.model_copy(update={"clump": 61, "constant": 0, "rotator": 53})
    larger = simulate_piece(SMALL.model_copy(update={"counts": counts}), sky_pieces(SMALL)[0])
    more = SMALL.model_copy(update={"counts": counts})
    larger = simulate_piece(more, sky_pieces(more)[0])
    kept = [star for star in larger.light_curves.star_id if star in set(sky.light_curves.star_id)]
    assert 20 < len(kept) < len(larger.light_curves)
    same(larger, sky, kept)


def test_another_seed_is_another_sky(sky: Sky) -> None:
    other = simulate_sky(brief(seed=89))
    assert not set(other.light_curves.star_id) & set(sky.light_curves.star_id)
    here = simulate_sky(brief())
    assert not np.isin(other.light_curves["time"], here.light_curves["time"]).all()


# ---------------------------------------------------------------------------------------------------------------------
# Fields


def test_stars_stand_in_their_field(sky: Sky) -> None:
    for (field,), stars in sky.truth.join(sky.stars, on="star_id").group_by("field"):
        assert isinstance(field, int)
        place = field_place(SMALL, field)
        assert -np.radians(78) <= place.dec <= np.radians(55)
        off = (stars["dec_deg"] - np.degrees(place.dec)).abs()
        assert off.max() < 1.1 * HALF_SIDE


def test_fields_lie_at_the_places_that_are_asked_for() -> None:
    places = ((10.0, -30.0), (200.0, 40.0))
    settings = brief(n_fields=3, places=places, counts=only(constant=3), span=NEVER)
    for field in range(3):
        assert np.degrees(field_place(settings, field)) == pytest.approx(places[field % 2])
    joined = simulate_sky(settings).truth.join(simulate_sky(settings).stars, on="star_id")
    for row in joined.iter_rows(named=True):
        ra, dec = places[row["field"] % 2]
        assert abs(row["dec_deg"] - dec) < 1.1 * HALF_SIDE
        assert abs(row["ra_deg"] - ra) * np.cos(np.radians(dec)) < 1.1 * HALF_SIDE


def test_fields_are_even_over_the_sphere() -> None:
    settings = SkySettings(n_fields=400, declinations=(-60.0, 30.0))
    places = [field_place(settings, field) for field in range(400)]
    low, high = np.sin(np.radians(settings.declinations))
    for even in (
        [(np.sin(place.dec) - low) / (high - low) for place in places],
        [place.ra / (2 * np.pi) for place in places],
    ):
        # the Kolmogorov-Smirnov distance of 400 draws exceeds 1.95 / 20 once in a thousand
        assert np.max(np.abs(np.sort(even) - np.linspace(0, 1, 400))) < 1.95 / 20 + 1 / 400


def test_stars_of_a_field_share_its_exposures_and_lack_few(sky: Sky) -> None:
    for field in range(SMALL.n_fields):
        visits = field_exposures(SMALL, field).visits
        stars = np.flatnonzero(sky.truth["field"] == field)
        number = np.array([len(sky.light_curves.star(i)["time"]) for i in stars])
        assert all(np.isin(sky.light_curves.star(i)["time"], visits.time).all() for i in stars)
        lost = len(stars) * len(visits.time) - number.sum()
        expected = SMALL.losses * len(stars) * len(visits.time)
        assert lost == pytest.approx(expected, abs=5 * np.sqrt(expected))
    whole = simulate_sky(brief(losses=0.0)).light_curves
    assert len(set(whole.n_points)) == 1


def test_rows_that_are_not_coadded_are_three_for_one() -> None:
    settings = brief(losses=0.0)
    one, three = (simulate_sky(brief(losses=0.0, coadded=coadded)) for coadded in (True, False))
    visits = len(set(field_exposures(settings, 0).visits.visit))
    assert three.light_curves.n_points.tolist() == [3 * visits] * len(KINDS)
    assert visits <= one.light_curves.n_points[0] < 1.2 * visits
    assert np.median(one.light_curves["limit"]) - np.median(three.light_curves["limit"]) == pytest.approx(0.6, abs=0.1)
    assert three.stars.equals(one.stars)


# ---------------------------------------------------------------------------------------------------------------------
# What the light curves show


def test_columns_are_typed_ascending_and_ascii(sky: Sky) -> None:
    lightcurves = sky.light_curves
    for name, column in COLUMNS.items():
        assert np.issubdtype(lightcurves[name].dtype, column.dtype)
    for i in range(len(lightcurves)):
        assert np.all(np.diff(lightcurves.star(i)["time"]) >= 0)
    assert lightcurves["time"].min() >= SMALL.span[0] and lightcurves["time"].max() < SMALL.span[1]
    assert all(code.isascii() for code in np.unique(lightcurves["camera"]))
    assert np.all(np.isfinite(lightcurves["flux"])) and np.all(lightcurves["flux_err"] > 0)


def test_numbers_are_rounded_as_promised(sky: Sky) -> None:
    lightcurves = sky.light_curves
    flux, flux_err = lightcurves["flux"].astype(float), lightcurves["flux_err"].astype(float)
    step = 2.0 ** np.floor(np.log2(flux_err / SMALL.steps_per_error))
    np.testing.assert_array_equal(flux, np.round(flux / step) * step)
    np.testing.assert_array_equal(lightcurves["limit"] % LIMIT_STEP, 0)
    np.testing.assert_allclose(lightcurves["time"], np.round(lightcurves["time"], 5), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(np.isnan(lightcurves["mag"]), flux < 5 * flux_err)
    assert np.nanmin(lightcurves["mag_err"]) > 0


def test_cameras_see_their_bands(sky: Sky) -> None:
    codes, first = np.unique(sky.light_curves["camera"], return_index=True)
    bands = dict(zip(codes, sky.light_curves["band"][first], strict=True))
    assert bands == {code: MOUNT_OF[code].band for code in codes}
    assert set(bands.values()) == {"V", "g"}
    np.testing.assert_array_equal(sky.light_curves["band"], [bands[code] for code in sky.light_curves["camera"]])


@pytest.mark.parametrize(("band", "truth"), [("g", "g_mag"), ("V", "v_mag")])
def test_medians_are_the_true_magnitudes(band: str, truth: str) -> None:
    places = ((310.0, -35.0), (330.0, -10.0), (120.0, 15.0), (20.0, -20.0))
    stars = simulate_sky(SkySettings(n_fields=4, counts=only(clump=60), span=(57900.0, 58500.0), places=places))
    apart = []
    for index, row in enumerate(stars.truth.iter_rows(named=True)):
        star = stars.light_curves.star(index)
        shown = star["mag"][star["band"] == band]
        if len(shown) >= 20 and np.isnan(shown).mean() < 0.2:
            whole = row[truth] + 2.5 * np.log10(1 - row["blend"])
            apart.append(np.nanmedian(shown) - whole)
    assert len(apart) > 20
    # cameras are some hundredths of a magnitude apart, in both directions
    assert abs(np.median(apart)) < 0.03 and np.max(np.abs(apart)) < 0.3


def test_v_and_g_are_different_magnitudes(sky: Sky) -> None:
    colour = (sky.truth["g_mag"] - sky.truth["v_mag"]).to_numpy()
    assert np.median(colour) > 0.2 and np.ptp(colour) > 0.5


def strongest_period(lightcurves: LightCurves, shortest: float) -> float:
    """The highest Lomb-Scargle peak from `shortest` to 50 d, after the mean of each 60 days is taken out."""
    good = np.isfinite(lightcurves["mag"]) & (lightcurves["quality"] == 0) & (lightcurves["band"] == "g")
    time, mag = lightcurves["time"][good], lightcurves["mag"][good].astype(float)
    block = ((time - time[0]) // 60.0).astype(int)
    mag -= (np.bincount(block, mag) / np.maximum(np.bincount(block), 1))[block]
    frequency = np.arange(1 / 50, 1 / shortest, 1 / (4 * 1870.0))
    search = LombScargle(time, mag, lightcurves["mag_err"][good])
    power = search.power(frequency, method="fast", assume_regular_frequency=True)
    return 1 / frequency[np.argmax(power)]


@pytest.mark.parametrize(
    ("kind", "shortest", "share"), [("rotator", 1.1, 0.7), ("cepheid", 1.1, 0.9), ("rr_lyrae", 0.22, 0.8)]
)
def test_true_periods_are_found_where_they_are_large_and_last(kind: str, shortest: float, share: float) -> None:
    sky = simulate_sky(SkySettings(n_fields=2, counts=only(**{kind: 90 if kind == "rotator" else 16})))
    # spots that come and go have no one period over five years
    lasting = (pl.col("amplitude") > 0.08) & pl.col("spots").is_in(["", "stable"])
    in_reach = pl.col("shown_period_days").is_between(1.1 * shortest, 45.0) & pl.col("g_mag").is_between(11.5, 15)
    stars = sky.truth.with_row_index().filter(lasting & in_reach).head(10)
    assert stars.height >= 6
    ratios = np.array(
        [
            strongest_period(sky.light_curves.star(row["index"]), shortest) / row["shown_period_days"]
            for row in stars.iter_rows(named=True)
        ]
    )
    # two groups of spots on opposite sides make half the period the stronger
    found = np.minimum(np.abs(ratios - 1), np.abs(2 * ratios - 1)) < 0.05
    assert np.mean(found) >= share


def test_amplitudes_show_in_the_scatter(sky: Sky) -> None:
    bright = sky.truth.with_row_index().filter(pl.col("g_mag").is_between(12.0, 14.5))
    scatter = np.array([np.nanstd(sky.light_curves.star(i)["mag"]) for i in bright["index"]])
    amplitude = bright["amplitude"].to_numpy()
    assert np.median(scatter[amplitude > 0.4]) > 2 * np.median(scatter[amplitude < 0.05])


def test_cuts_have_something_to_cut_and_leave_templates(sky: Sky) -> None:
    _, report = apply_cuts(sky.light_curves, Cuts(bands=("g",), window=WINDOW))
    report = report.join(sky.truth, on="star_id")
    for reason in ("lost_band", "lost_window", "lost_non_detection", "lost_quality"):
        assert report[reason].sum() > 100
    assert report.filter(pl.col("g_mag") < 15)["kept"].all()
    lost = report["lost_non_detection"] / report["n_before"]
    faint, bright = (lost.filter(which).median() for which in (report["g_mag"] > 17.5, report["g_mag"] < 15))
    assert isinstance(faint, float) and isinstance(bright, float)
    assert faint > 0.05 and faint > 10 * bright


# ---------------------------------------------------------------------------------------------------------------------
# Neighbours


def test_blends_are_shares_of_the_light(sky: Sky) -> None:
    blend = sky.truth["blend"]
    assert blend.min() >= 0 and blend.max() < 1
    blended = blend.filter(blend > 0)
    assert len(blended) > 20 and blended.n_unique() > 0.9 * len(blended), "each star has neighbours of its own"
    faint, bright = (blend.filter(which) for which in (sky.truth["g_mag"] > 16.5, sky.truth["g_mag"] < 13.5))
    assert faint.mean() > bright.mean()


def test_neighbours_dilute_a_star_and_add_to_its_light(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = brief(counts=StarCounts().of(60), span=(58484.5, 58800.0))
    skies = []
    for light in (0.0, 1.0):
        monkeypatch.setattr(ground, "neighbours_light", lambda *_, light=light: light)
        skies.append(simulate_sky(settings))
    alone, beside = skies
    assert set(alone.truth["blend"]) == {0.0} and set(beside.truth["blend"]) == {0.5}
    before, after = (sky.truth["amplitude"].to_numpy() for sky in skies)
    assert np.all(after <= before) and np.all(after[before > 0.001] < before[before > 0.001])
    # of a small change half is left
    small = (before > 0.01) & (before < 0.05)
    assert small.sum() > 3
    np.testing.assert_allclose(after[small], before[small] / 2, rtol=0.04)
    for index, row in enumerate(alone.truth.iter_rows(named=True)):
        if 12.5 < row["g_mag"] < 15 and row["amplitude"] < 0.2:
            change = np.nanmedian(beside.light_curves.star(index)["mag"] - alone.light_curves.star(index)["mag"])
            assert change == pytest.approx(-2.5 * np.log10(2), abs=0.05)
    assert beside.truth.drop("amplitude", "blend").equals(alone.truth.drop("amplitude", "blend"))


@given(st.floats(-3, 3), st.floats(0, 10))
def test_dilution_in_fluxes(change: float, neighbours: float) -> None:
    seen = float(ground._diluted(np.array([change]), neighbours)[0])
    star = 10 ** (-0.4 * change)
    assert 10 ** (-0.4 * seen) == pytest.approx((star + neighbours) / (1 + neighbours), rel=1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# Edges


@pytest.mark.parametrize("span", [NEVER, (10000.0, 10100.0)])
def test_a_star_that_is_never_exposed_has_a_truth_and_no_points(span: tuple[float, float]) -> None:
    sky = simulate_sky(brief(span=span))
    assert len(sky.light_curves) == sky.truth.height == sky.stars.height == len(KINDS)
    assert sky.light_curves.offsets[-1] == 0
    there = simulate_sky(brief())
    for name in ("kind", "subtype", "period_days", "g_mag", "v_mag", "blend"):
        assert sky.truth[name].equals(there.truth[name])


def test_a_sky_without_stars_has_no_pieces() -> None:
    assert sky_pieces(SkySettings(counts=only())) == []
    assert Counter(piece.field for piece in sky_pieces(SkySettings(n_fields=50, counts=only(clump=3)))) == {
        0: 1,
        1: 1,
        2: 1,
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"counts": {"clumps": 3}}, "key 'counts.clumps' does not exist"),
        ({"counts": {"clump": -3}}, "'counts.clump'"),
        ({"n_fields": 0}, "'n_fields'"),
        ({"seed": -1}, "'seed'"),
        ({"span": (60000.0, 59000.0)}, "span must run from the earlier"),
        ({"declinations": (-90.0, 10.0)}, "declinations must ascend"),
        ({"declinations": (20.0, 10.0)}, "declinations must ascend"),
        ({"places": ((10.0, 80.0),)}, "places must lie in -78 to 70 degrees"),
        ({"losses": 1.0}, "'losses'"),
        ({"steps_per_error": 0.5}, "'steps_per_error'"),
    ],
)
def test_wrong_settings_are_named_in_one_sentence(values: dict, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        validate(SkySettings, values, "params.yaml")
    assert "\n" not in str(caught.value) and "params.yaml" in str(caught.value)
