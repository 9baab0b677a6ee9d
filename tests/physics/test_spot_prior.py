"""The distribution of spotted stars: Table 1 of the paper."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import validate
from varistar.physics.spot_prior import SpotParameters, SpotPrior, draw_spot_parameters

N_STARS = 4000
STAR = SpotParameters(
    period=10.0,
    activity=1.0,
    cycle_period=10.0,
    cycle_overlap=1.0,
    min_latitude=10.0,
    max_latitude=40.0,
    spot_lifetime=3.0,
    inclination=60.0,
    shear=0.2,
)


def draw_many(prior: SpotPrior) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    stars = [asdict(draw_spot_parameters(prior, rng)) for _ in range(N_STARS)]
    return {name: np.array([star[name] for star in stars]) for name in stars[0]}


@pytest.fixture(scope="module")
def table_1() -> dict[str, np.ndarray]:
    return draw_many(SpotPrior())


def log_share(value, low, high):
    """Where `value` stands between `low` and `high` in its logarithm."""
    return np.log(value / low) / np.log(high / low)


def is_uniform(share) -> bool:
    """One false alarm in 10^4 such tests; the seed is fixed, so it is the same every time."""
    return share.min() >= -1e-12 and share.max() <= 1 + 1e-12 and stats.kstest(share, "uniform").pvalue > 1e-4


def is_fraction(flags, probability) -> bool:
    return stats.binomtest(int(np.sum(flags)), len(flags), probability).pvalue > 1e-4


def test_table_1(table_1):
    t = table_1
    assert is_uniform((t["period"] - 1) / 29)
    assert is_uniform(log_share(t["activity"], 0.1, 10))
    assert is_uniform(log_share(t["cycle_period"], 1, 40))
    assert is_uniform(log_share(t["cycle_overlap"], 0.1, t["cycle_period"]))
    assert is_uniform(t["min_latitude"] / 40)
    assert is_uniform((t["max_latitude"] - t["min_latitude"] - 5) / (80 - t["min_latitude"]))
    assert is_uniform(log_share(t["spot_lifetime"], 1, 10))
    assert is_uniform(np.sin(np.radians(t["inclination"])) ** 2)
    assert np.all(t["alpha_med"] == 0.005)
    assert is_fraction(t["butterfly"], 0.8)


def test_table_1_shear(table_1):
    shear = table_1["shear"]
    assert is_fraction(shear > 0, 0.5)
    assert is_fraction(shear == 0, 0.25)
    assert is_fraction(shear < 0, 0.25)
    assert is_uniform(log_share(shear[shear > 0], 0.1, 1))
    assert is_uniform(log_share(-shear[shear < 0], 0.1, 1))


def test_choices_beside_the_papers():
    prior = SpotPrior(
        inclination_law="isotropic",
        period_law="log",
        spot_lifetime=(10, 316),
        spot_lifetime_unit="days",
        shear_weights=(0, 1, 0),
        butterfly_fraction=0,
    )
    t = draw_many(prior)
    assert is_uniform(np.cos(np.radians(t["inclination"])))
    assert is_uniform(log_share(t["period"], 1, 30))
    assert is_uniform(log_share(t["spot_lifetime"] * t["period"], 10, 316))
    assert np.all(t["shear"] == 0)
    assert not np.any(t["butterfly"])


def test_a_share_of_the_periods_may_be_short():
    t = draw_many(SpotPrior(short_period=(2.0, 5.0), short_period_share=0.4, period=(10.0, 30.0)))
    short = t["period"] < 10
    assert is_fraction(short, 0.4)
    assert is_uniform(log_share(t["period"][short], 2, 5))
    assert is_uniform((t["period"][~short] - 10) / 20)
    assert draw_many(SpotPrior(short_period_share=1.0))["period"].max() <= 10


def test_without_short_periods_their_range_changes_no_star():
    ours = draw_spot_parameters(SpotPrior(short_period=(2.0, 3.0)), np.random.default_rng(88))
    rng = np.random.default_rng(88)
    assert ours.period == rng.uniform(1.0, 30.0), "the first number of the stream, as in the published generator"
    assert ours == draw_spot_parameters(SpotPrior(), np.random.default_rng(88))


def test_a_range_of_one_value_is_that_value():
    prior = SpotPrior(period=(7.0, 7.0), activity=(3.0, 3.0), min_latitude=(20.0, 20.0))
    star = draw_spot_parameters(prior, np.random.default_rng(0))
    assert (star.period, star.activity, star.min_latitude) == (7.0, 3.0, 20.0)


def test_the_same_stream_gives_the_same_star():
    first, second = (draw_spot_parameters(SpotPrior(), np.random.default_rng(5)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"period": (30, 1)}, "period"),
        ({"period": (0, 30)}, "period"),
        ({"activity": (0.1, float("inf"))}, "activity"),
        ({"activity": (float("nan"), 1)}, "activity"),
        ({"cycle_period": (0.05, 40)}, "min_cycle_overlap"),
        ({"min_latitude": (0, 84)}, "min_latitude"),
        ({"min_latitude": (-5, 40)}, "min_latitude"),
        ({"max_latitude": 95}, "max_latitude"),
        ({"shear": (0.1, 2)}, "shear"),
        ({"shear_weights": (0, 0, 0)}, "shear_weights"),
        ({"shear_weights": (1, -1, 1)}, "shear_weights"),
        ({"alpha_med": 0}, "alpha_med"),
        ({"butterfly_fraction": 1.5}, "butterfly_fraction"),
        ({"inclination_law": "cos"}, "inclination_law"),
        ({"short_period": (0, 10)}, "short_period"),
        ({"short_period_share": 1.2}, "short_period_share"),
        ({"spot_life": (1, 10)}, "spot_life"),
    ],
)
def test_an_impossible_prior_is_refused(values, key):
    with pytest.raises(ConfigError, match=f"^params.yaml: .*{key}"):
        validate(SpotPrior, values, "params.yaml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("period", 0.0),
        ("period", float("nan")),
        ("period", float("inf")),
        ("activity", -0.1),
        ("cycle_period", 0.0),
        ("cycle_overlap", 10.1),
        ("cycle_overlap", -1.0),
        ("min_latitude", -1.0),
        ("min_latitude", 40.0),
        ("max_latitude", 90.0),
        ("max_latitude", float("nan")),
        ("spot_lifetime", 0.0),
        ("inclination", 91.0),
        ("inclination", -1.0),
        ("shear", 1.1),
        ("shear", float("nan")),
        ("alpha_med", -0.005),
    ],
)
def test_an_impossible_star_is_refused(name, value):
    with pytest.raises(ConfigError, match=r"^spot parameters: .* must .* \(got "):
        replace(STAR, **{name: value})


def test_timescales():
    assert STAR.decay_days == pytest.approx(30.0)
    assert STAR.emergence_days == 2.0
    assert replace(STAR, period=1.0).emergence_days == pytest.approx(0.3)
