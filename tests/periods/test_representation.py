"""Images against slow and obvious ones, and the ugly light curves."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from astropy.timeseries import LombScargle
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import validate
from varistar.lightcurves.table import LightCurves, concatenate
from varistar.periods.cleaning import clean_flux
from varistar.periods.representation import (
    PeriodGrid,
    Representation,
    image_of_power,
    make_images,
)

START, STOP = 58484.5, 60311.5
EMPTY = 6.0  # window widths; a cell without a point within these holds no data

SMALL = Representation(
    window=(START, STOP), nodes=36, periods=PeriodGrid(minimum=1.0, maximum=30.0, count=10), tradeoff=2.0
)


def variant(**changes: Any) -> Representation:
    plain = {name: value.model_dump() if isinstance(value, PeriodGrid) else value for name, value in changes.items()}
    return validate(Representation, SMALL.model_dump() | plain, "representation")


def observed(n: int, seed: int, star_id: str = "star", period: float = 11.0) -> LightCurves:
    """A star that turns, seen by two cameras in seasons, with a gap of a year and some points far off."""
    rng = np.random.default_rng(seed)
    season = rng.choice([0, 1, 3, 4], n)
    time = np.sort(START + 365.25 * season + rng.uniform(0, 215, n))
    camera = rng.choice(["ba", "bE"], n)
    flux = 5 + 0.4 * np.sin(2 * np.pi * time / period) + rng.normal(0, 0.1, n) + np.where(camera == "ba", 0.0, 0.6)
    flux[rng.random(n) < 0.03] += 5
    columns: dict[str, NDArray] = {
        "time": time,
        "flux": flux.astype(np.float32),
        "flux_err": rng.uniform(0.02, 0.06, n).astype(np.float32),
        "camera": camera,
    }
    return LightCurves((star_id,), np.array([0, n]), columns, "MJD_UTC")


def with_columns(light_curves: LightCurves, **columns: NDArray) -> LightCurves:
    return replace(light_curves, columns=light_curves.columns | columns)


# ---------------------------------------------------------------------------------------------------------------------
# The whole path, slowly


def slow_power(light_curve: LightCurves, representation: Representation) -> tuple[NDArray, NDArray]:
    """The paper's loop: a Lomb-Scargle for each node and period, and whether any point is near; (nodes, periods)."""
    x, y, e = (light_curve[name].astype(np.float64) for name in ("time", "flux", "flux_err"))
    grid = representation.periods
    if grid.spacing == "linear":
        periods = [grid.minimum + (grid.maximum - grid.minimum) * i / (grid.count - 1) for i in range(grid.count)]
    else:
        periods = [grid.minimum * (grid.maximum / grid.minimum) ** (i / (grid.count - 1)) for i in range(grid.count)]
    first, last = representation.window or (x.min(), x.max())
    power = np.zeros((representation.nodes, grid.count))
    near = np.zeros(power.shape, dtype=bool)
    for i in range(representation.nodes):
        node = first + (last - first) * i / (representation.nodes - 1)
        for j, period in enumerate(periods):
            width = representation.tradeoff * period
            weight = np.exp(-0.5 * ((x - node) / width) ** 2)
            near[i, j] = np.abs(x - node).min() <= EMPTY * width
            if near[i, j]:
                power[i, j] = 0.5 * explained(x, y, weight / e, period)
                if np.sum(weight**2) ** 2 > 5 * np.sum(weight**4):  # of fewer points astropy makes NaN or noise
                    seen = weight > 1e-100
                    fit = LombScargle(x[seen], y[seen], e[seen] / weight[seen])
                    power[i, j] = fit.power(1 / period, normalization="psd", method="slow")
                power[i, j] /= math.sqrt(2 * math.pi) * width
    return power, near


def explained(x: NDArray, y: NDArray, root_weight: NDArray, period: float) -> float:
    """The chi^2 by which a constant with a sinusoid fits better than a constant alone, by weighted least squares."""
    model = np.stack([np.ones_like(x), np.sin(2 * np.pi * x / period), np.cos(2 * np.pi * x / period)], axis=1)
    chi2 = []
    for columns in (model[:, :1], model):
        design = columns * root_weight[:, None]
        fitted = np.linalg.lstsq(design, y * root_weight, rcond=None)[0]
        chi2.append(((y * root_weight - design @ fitted) ** 2).sum())
    return chi2[0] - chi2[1]


def slow_image(power: NDArray, near: NDArray, representation: Representation) -> NDArray[np.uint8]:
    """Masked, pooled and scaled pixel by pixel."""
    power = np.where(near, power, power[near].min() if representation.mask == "minimum" else 0.0)
    rows, columns = representation.periods.count // representation.pool, representation.nodes // representation.pool
    pooled = np.empty((rows, columns))
    for r in range(rows):
        for c in range(columns):
            cells = [
                power[c * representation.pool + i, r * representation.pool + j]
                for i in range(representation.pool)
                for j in range(representation.pool)
            ]
            pooled[r, c] = sum(cells) / len(cells)
    if representation.scale == "log":
        unit = np.log(1 + pooled) / np.log(1 + representation.ceiling)
    else:
        unit = (pooled - pooled.min()) / (pooled - pooled.min()).max()
    image = np.empty((rows, columns), np.uint8)
    for r in range(rows):
        for c in range(columns):
            image[r, c] = int(min(255 * representation.gain * unit[r, c], 255))
    return image


@pytest.fixture(scope="module")
def slow() -> tuple[LightCurves, NDArray, NDArray]:
    star = observed(260, seed=1)
    return star, *slow_power(star, SMALL)


def close(image: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Equal but where rounding decides on which side of a whole number a pixel lies."""
    difference = np.abs(image.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02
    assert len(np.unique(expected)) > 10, "an image of nothing proves nothing"


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("mask", ["zero", "minimum"])
@pytest.mark.parametrize("gain", [1.0, 10.0])
def test_the_published_image(slow: tuple[LightCurves, NDArray, NDArray], pool: int, mask: str, gain: float) -> None:
    star, power, near = slow
    assert 0.01 < (~near).mean() < 0.5, "some cells have no data"
    representation = variant(pool=pool, mask=mask, gain=gain)
    (image,) = make_images(star, representation)
    close(image, slow_image(power, near, representation))
    if gain == 10:
        assert (image == 255).sum() > 2, "clipped, and not folded over (AMB-9)"


@pytest.mark.parametrize(
    "changes", [{"tradeoff": 5.0}, {"window": None}, {"periods": PeriodGrid(count=8, spacing="log")}]
)
def test_the_published_image_on_other_grids(changes: dict[str, Any]) -> None:
    star = observed(200, seed=2)
    representation = variant(**{"nodes": 20, "periods": PeriodGrid(count=8), **changes})
    close(make_images(star, representation)[0], slow_image(*slow_power(star, representation), representation))


def test_delta_chi2_is_what_a_sinusoid_explains() -> None:
    """On logarithmic axes: weighted least squares with and without the sinusoid, in each window."""
    star = observed(150, seed=3)
    representation = variant(
        nodes=10, pool=1, periods=PeriodGrid(count=6, spacing="log"), power="delta_chi2", scale="log", ceiling=3000.0
    )
    x, y, e = (star[name].astype(np.float64) for name in ("time", "flux", "flux_err"))
    expected = np.zeros((6, 10), np.uint8)
    for c, node in enumerate(np.linspace(START, STOP, 10)):
        for r, period in enumerate(np.geomspace(1, 30, 6)):
            if np.abs(x - node).min() > EMPTY * 2 * period:
                continue
            root_weight = np.exp(-0.5 * ((x - node) / (2 * period)) ** 2) / e
            unit = math.log(1 + explained(x, y, root_weight, period)) / math.log(1 + 3000)
            expected[r, c] = int(min(255 * unit, 255))
    close(make_images(star, representation)[0], expected)


# ---------------------------------------------------------------------------------------------------------------------
# Masks and scales, on a power map made by hand

RAMP = np.add.outer(3.0 * np.arange(8), 5.0 * np.arange(6)) + 7  # (nodes, periods)
HOLE = np.ones((8, 6), dtype=bool)
HOLE[3:5, 2:4] = False
WHOLE = variant(nodes=8, periods=PeriodGrid(count=6), pool=1)


def scaled(power: NDArray) -> NDArray[np.uint8]:
    unit = (power - power.min()) / np.ptp(power)
    return (255 * unit).astype(np.uint8).T


def test_rows_are_periods_and_columns_are_times() -> None:
    image = image_of_power(RAMP, np.ones_like(HOLE), WHOLE)
    assert image.shape == (6, 8)
    np.testing.assert_array_equal(image, scaled(RAMP))
    assert (image[0, 0], image[-1, -1]) == (0, 255)


@pytest.mark.parametrize(("mask", "filling"), [("zero", 0.0), ("minimum", 7.0), ("interpolate", RAMP[3:5, 2:4])])
def test_each_mask_fills_the_hole_its_own_way(mask: Any, filling: Any) -> None:
    """What stands in the cells without data is not looked at; a cubic patch of a ramp is the ramp."""
    damaged = RAMP.copy()
    damaged[~HOLE] = 1e6
    expected = RAMP.copy()
    expected[3:5, 2:4] = filling
    image = image_of_power(damaged, HOLE, WHOLE.model_copy(update={"mask": mask}))
    assert np.abs(image.astype(int) - scaled(expected).astype(int)).max() <= (1 if mask == "interpolate" else 0)


def test_interpolation_fills_the_outside_with_zeros_and_nothing_below_zero() -> None:
    power = np.zeros((8, 6))
    power[4, 3] = 100.0
    valid = np.ones((8, 6), dtype=bool)
    valid[::2, ::3] = valid[0, :] = False
    valid[4, 3] = True
    image = image_of_power(power, valid, WHOLE.model_copy(update={"mask": "interpolate"}))
    assert image[3, 4] == 255
    assert (image[:, 0] == 0).all(), "before the first cell with data there is nothing to go by"


@pytest.mark.parametrize("mask", ["zero", "minimum", "interpolate"])
@pytest.mark.parametrize("cells", [[], [(2, 2)], [(2, 2), (5, 4)], [(1, 1), (2, 1), (3, 1), (4, 1)]])
def test_few_cells_with_data_are_no_reason_to_fail(mask: Any, cells: list[tuple[int, int]]) -> None:
    """Three cells in a line span no area to interpolate in."""
    power, valid = np.zeros((8, 6)), np.zeros((8, 6), dtype=bool)
    for cell in cells:
        power[cell], valid[cell] = 4.0, True
    image = image_of_power(power, valid, WHOLE.model_copy(update={"mask": mask}))
    for i, j in cells if mask != "minimum" else []:
        assert image[j, i] == 255
    assert image.dtype == np.uint8


def test_a_map_of_one_value_is_black() -> None:
    np.testing.assert_array_equal(image_of_power(np.full((8, 6), 3.0), np.ones((8, 6), bool), WHOLE), 0)


@settings(deadline=None)
@given(st.floats(0.01, 1e6), st.floats(0, 1e9))
def test_the_logarithm_has_a_fixed_ceiling(ceiling: float, value: float) -> None:
    representation = WHOLE.model_copy(update={"scale": "log", "ceiling": ceiling})
    (pixel,) = set(image_of_power(np.full((8, 6), value), np.ones((8, 6), bool), representation).ravel())
    assert abs(int(pixel) - min(255 * math.log1p(value) / math.log1p(ceiling), 255)) <= 1


# ---------------------------------------------------------------------------------------------------------------------
# Cleaning


def slow_clean(flux: NDArray, flux_err: NDArray, camera: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Cleaning as its description says it, star by star in NumPy."""
    median = np.median(flux)
    unit = abs(median) or 1.0
    centres = {c: np.median(flux[camera == c]) if (camera == c).sum() >= 12 else median for c in set(camera.tolist())}
    relative = (flux - np.array([centres[c] for c in camera.tolist()])) / unit
    keep = np.full(len(flux), True)
    for _ in range(2):
        centre = np.median(relative[keep])
        scatter = 1.4826 * np.median(np.abs(relative[keep] - centre))
        keep = keep & (np.abs(relative - centre) <= 5 * max(scatter, 1e-12))
    error = flux_err / unit
    lacking = max(scatter**2 - np.median(error[keep]) ** 2, 0)
    return relative, np.sqrt(error**2 + lacking), keep


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 4), st.floats(-5, 5), st.integers(0, 10**6), st.sampled_from([0.01, 1.0]))
def test_cleaning_does_what_it_says(n: int, cameras: int, level: float, seed: int, error: float) -> None:
    rng = np.random.default_rng(seed)
    camera = rng.integers(0, cameras, n)
    flux = level + 0.3 * camera + rng.standard_t(2, n)
    flux_err = error * rng.uniform(0.5, 2, n)
    relative, errors, keep = clean_flux(flux, flux_err, camera)
    expected = slow_clean(flux, flux_err, camera)
    np.testing.assert_allclose(relative, expected[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(keep, expected[2])
    np.testing.assert_allclose(errors, expected[1], rtol=1e-9)
    assert keep.any()


def test_cleaned_errors_are_honest_and_outliers_are_gone() -> None:
    rng = np.random.default_rng(0)
    flux = 8 + rng.normal(0, 0.2, 999)
    flux[[5, 50, 500]] = [30, -30, 11]
    relative, error, keep = clean_flux(flux, np.full(999, 0.01), np.zeros(999, np.int64))
    assert np.flatnonzero(~keep).tolist() == [5, 50, 500]
    assert np.median(error[keep]) == pytest.approx(relative[keep].std(), rel=0.1)
    assert np.median(error[keep]) == pytest.approx(0.2 / 8, rel=0.1)


def test_errors_that_are_large_enough_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    _, error, _ = clean_flux(2 + rng.normal(0, 0.01, 50), np.full(50, 0.5), np.zeros(50, np.int64))
    np.testing.assert_allclose(error, 0.25, rtol=0.02)


@pytest.mark.parametrize("shown", [{}, {"power": "delta_chi2", "scale": "log"}])
def test_a_clean_image_is_the_image_of_the_cleaned_light_curve(shown: dict[str, Any]) -> None:
    star = observed(300, seed=4)
    codes = np.unique(star["camera"], return_inverse=True)[1]
    flux, error, keep = slow_clean(star["flux"].astype(np.float64), star["flux_err"].astype(np.float64), codes)
    assert 3 < (~keep).sum() < 30
    by_hand = replace(
        star,
        offsets=np.array([0, keep.sum()]),
        columns={"time": star["time"][keep], "flux": flux[keep], "flux_err": error[keep]},
    )
    cleaned, expected = (
        make_images(light_curve, variant(clean=clean, **shown))[0]
        for light_curve, clean in ((star, True), (by_hand, False))
    )
    close(cleaned, expected)
    assert (cleaned != make_images(star, variant(**shown))[0]).any()


def test_cleaning_does_not_need_cameras() -> None:
    star = observed(300, seed=4)
    alone = with_columns(star, camera=np.full(300, "ba"))
    unknown = replace(star, columns={name: star[name] for name in ("time", "flux", "flux_err")})
    np.testing.assert_array_equal(make_images(alone, variant(clean=True)), make_images(unknown, variant(clean=True)))


# ---------------------------------------------------------------------------------------------------------------------
# Company, order and ugly light curves

REPRESENTATIONS = {
    "paper": SMALL,
    "interpolated": variant(mask="interpolate"),
    "minimum": variant(mask="minimum"),
    "own window": variant(window=None),
    "log": variant(periods=PeriodGrid(count=10, spacing="log"), clean=True, power="delta_chi2", scale="log"),
}


@pytest.mark.parametrize("representation", REPRESENTATIONS.values(), ids=REPRESENTATIONS)
def test_an_image_does_not_depend_on_the_neighbours(representation: Representation) -> None:
    stars = [observed(n, seed=n, star_id=str(n)) for n in (220, 90, 150, 3, 300)]
    together = concatenate(stars)
    images = make_images(together, representation)
    assert images.shape == (5, *representation.shape)
    assert images.dtype == np.uint8
    for i, star in enumerate(stars):
        np.testing.assert_array_equal(make_images(star, representation)[0], images[i])
    order = [4, 2, 2, 0, 3]
    np.testing.assert_array_equal(make_images(together.take(order), representation), images[order])
    assert len({image.tobytes() for image in images}) == 5


def test_points_may_stand_in_any_order() -> None:
    star = observed(250, seed=6)
    order = np.random.default_rng(0).permutation(250)
    shuffled = replace(star, columns={name: values[order] for name, values in star.columns.items()})
    for representation in REPRESENTATIONS.values():
        np.testing.assert_array_equal(make_images(shuffled, representation), make_images(star, representation))


def points(time: list[float], flux: list[float]) -> LightCurves:
    columns = {
        "time": np.array(time, np.float64),
        "flux": np.array(flux, np.float32),
        "flux_err": np.full(len(time), 0.1, np.float32),
        "camera": np.full(len(time), "ba"),
    }
    return LightCurves(("star",), np.array([0, len(time)]), columns, "MJD_UTC")


UGLY: dict[str, Callable[[], LightCurves]] = {
    "no point": lambda: points([], []),
    "one point": lambda: points([59000.0], [3.0]),
    "two points": lambda: points([59000.0, 59001.0], [3.0, 4.0]),
    "two points far apart": lambda: points([58500.0, 60300.0], [3.0, 4.0]),
    "one time": lambda: points([59000.0] * 20, list(range(20))),
    "constant": lambda: points(list(np.linspace(START, STOP, 300)), [2.5] * 300),
    "nothing": lambda: points(list(np.linspace(START, STOP, 300)), [0.0] * 300),
    "mean of zero": lambda: points(list(np.linspace(START, STOP, 300)), [-1.0, 1.0] * 150),
    "half constant": lambda: points(list(np.linspace(START, STOP, 300)), [2.0] * 200 + [3.0] * 100),
    "far outside the window": lambda: points(list(np.linspace(40000.0, 40100.0, 50)), list(range(50))),
    "faint": lambda: points(list(np.linspace(START, STOP, 300)), list(1e-30 * np.sin(np.arange(300)))),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("representation", REPRESENTATIONS.values(), ids=REPRESENTATIONS)
@pytest.mark.parametrize("ugly", UGLY.values(), ids=UGLY)
def test_an_ugly_light_curve_has_an_image_and_spoils_no_other(
    representation: Representation, ugly: Callable[[], LightCurves]
) -> None:
    pretty = observed(120, seed=9)
    images = make_images(concatenate([pretty, ugly(), pretty]), representation)
    (expected,) = make_images(pretty, representation)
    np.testing.assert_array_equal(images[0], expected)
    np.testing.assert_array_equal(images[2], expected)


@pytest.mark.parametrize("ugly", ["no point", "one point", "one time", "constant", "nothing", "far outside the window"])
def test_nothing_to_see_is_an_empty_image(ugly: str) -> None:
    for representation in REPRESENTATIONS.values():
        if ugly != "far outside the window" or representation.window:
            np.testing.assert_array_equal(make_images(UGLY[ugly](), representation), 0)


def test_no_stars_have_no_images() -> None:
    nobody = observed(10, seed=1).take([])
    assert make_images(nobody, SMALL).shape == (0, *SMALL.shape)


def test_images_of_a_survey_are_not_all_alike(injected: Callable[..., LightCurves], project: Any) -> None:
    params = project.params["periods"]["representations"]
    for name in ("paper", "log"):
        images = make_images(injected("clump", "train"), validate(Representation, params[name], name))
        assert len({image.tobytes() for image in images}) == len(images)
        assert images.std(axis=(1, 2)).min() > 2


# ---------------------------------------------------------------------------------------------------------------------
# Settings


def test_the_defaults_are_the_papers() -> None:
    paper = Representation(window=(START, STOP))
    periods = paper.periods.values()
    assert (len(periods), periods[0], periods[-1], np.ptp(np.diff(periods)) < 1e-12) == (128, 1, 30, True)
    assert (paper.nodes, paper.tradeoff, paper.pool, paper.shape) == (128, 2.0, 2, (64, 64))
    assert (paper.power, paper.mask, paper.scale, paper.gain, paper.clean) == ("psd", "zero", "image", 1.0, False)


def test_logarithmic_periods_have_equal_ratios() -> None:
    periods = PeriodGrid(minimum=0.5, maximum=60.0, count=33, spacing="log").values()
    assert (len(periods), periods[0], periods[-1]) == (33, pytest.approx(0.5), pytest.approx(60))
    np.testing.assert_allclose(periods[1:] / periods[:-1], 120 ** (1 / 32), rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pool": 3, "nodes": 36}, "pool must divide nodes and periods.count"),
        ({"pool": 2, "nodes": 35}, "pool must divide nodes and periods.count"),
        ({"window": (STOP, START)}, "window must run from the smaller to the larger"),
        ({"periods": {"minimum": 30.0, "maximum": 1.0}}, "minimum must be below maximum"),
        ({"periods": {"minimum": 0.0}}, r"'periods\.minimum': .*greater than 0"),
        ({"tradeoff": 0}, "'tradeoff'"),
        ({"gain": -1}, "'gain'"),
        ({"ceiling": 0}, "'ceiling'"),
        ({"mask": "mean"}, "'mask'"),
        ({"grid": "star"}, "'grid' does not exist; allowed here: .*window"),
    ],
)
def test_representations_that_cannot_be_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        variant(**changes)
