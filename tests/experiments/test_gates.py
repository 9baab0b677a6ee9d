"""Who may be promoted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from varistar.experiments.gates import Comparison, Difference, Gate, Scores, gate, paired_bootstrap
from varistar.foundation.errors import ConfigError, DataError, RegistryError
from varistar.foundation.settings import validate


def comparison(
    challenger: float | None, champion: float | None, interval: tuple[float, float] | None = None
) -> Comparison:
    first = Scores(content="c", test_set="t", metrics={"acc": challenger})
    second = Scores(content="d", test_set="t", metrics={"acc": champion})
    differences = {}
    if interval:
        differences["acc"] = Difference(mean=challenger - champion, low=interval[0], high=interval[1])
    return Comparison(challenger=first, champion=second, differences=differences)


@pytest.mark.parametrize(
    ("compared", "bounds", "failure"),
    [
        (comparison(0.5, 0.5), {"minimum": 0.5}, None),
        (comparison(0.49, 0.1), {"minimum": 0.5}, "acc is 0.49, below the minimum 0.5"),
        (comparison(0.5, 0.5), {"maximum": 0.5}, None),
        (comparison(0.51, 0.9), {"maximum": 0.5}, "acc is 0.51, above the maximum 0.5"),
        (comparison(0.5, 0.5), {"least_change": 0.0}, None),
        (comparison(0.49, 0.5), {"least_change": -0.02}, None),
        (comparison(0.47, 0.5), {"least_change": -0.02}, "acc changes by -0.03, less than -0.02"),
        (comparison(0.75, 0.5), {"most_change": 0.0}, "acc changes by +0.25, more than +0"),
        (comparison(0.25, 0.5), {"most_change": 0.0}, None),
        (comparison(0.6, 0.5, (-0.1, 0.3)), {"least_change": 0.0}, None),
        (
            comparison(0.6, 0.5, (-0.1, 0.3)),
            {"least_change": 0.0, "confident": True},
            "acc changes by at the end of its interval -0.1, less than +0",
        ),
        (comparison(0.6, 0.5, (0.01, 0.2)), {"least_change": 0.0, "confident": True}, None),
        (
            comparison(0.4, 0.5, (-0.3, 0.1)),
            {"most_change": 0.0, "confident": True},
            "acc changes by at the end of its interval +0.1, more than +0",
        ),
        (comparison(0.6, 0.5), {"least_change": 0.0, "confident": True}, "acc has no bootstrap interval"),
        (comparison(None, 0.5), {"minimum": 0.0}, "acc was not measured or is undefined"),
        (comparison(math.nan, 0.5), {"minimum": 0.0}, "acc was not measured or is undefined"),
        (comparison(0.5, None), {"least_change": 0.0}, "acc cannot be compared"),
    ],
)
def test_a_gate(compared, bounds, failure):
    failures = gate(compared, {"acc": Gate(**bounds)})
    if failure is None:
        assert failures == []
    else:
        (sentence,) = failures
        assert sentence.startswith(failure)


def test_a_first_champion_passes_the_absolute_gates_only():
    alone = Comparison(challenger=Scores(content="c", test_set="t", metrics={"acc": 0.4}))
    assert gate(alone, {"acc": Gate(minimum=0.3, least_change=0.5, confident=True)}) == []
    assert gate(alone, {"acc": Gate(minimum=0.5)}) == ["acc is 0.4, below the minimum 0.5"]


def test_every_failure_is_told():
    failures = gate(comparison(0.1, 0.5), {"acc": Gate(minimum=0.3, least_change=0.0), "other": Gate(minimum=0.0)})
    assert [sentence.split()[0] for sentence in failures] == ["acc", "acc", "other"]


def test_without_gates_nothing_passes():
    assert gate(comparison(1.0, 0.0), {}) == ["there are no gates"]


def test_different_test_sets_are_refused():
    compared = comparison(0.9, 0.1)
    other = compared.champion.model_copy(update={"test_set": "u"})
    with pytest.raises(RegistryError, match="different test sets"):
        gate(compared.model_copy(update={"champion": other}), {"acc": Gate(minimum=0.0)})


@pytest.mark.parametrize("values", [{}, {"confident": True}, {"minimum": "high"}, {"min": 0.5}])
def test_what_is_not_a_gate_is_refused(values):
    with pytest.raises(ConfigError, match=r"^params\.yaml"):
        validate(Gate, values, "params.yaml")


def test_the_bootstrap_agrees_with_scipy():
    """The same estimator by other hands: both intervals scatter by their Monte-Carlo error only."""
    generator = np.random.default_rng(8)
    champion = (generator.random(400) < 0.6).astype(float)
    challenger = np.where(generator.random(400) < 0.2, 1 - champion, champion)
    mean, low, high = paired_bootstrap(challenger, champion, seed=1, n=5000)
    reference = stats.bootstrap((challenger - champion,), np.mean, n_resamples=5000, method="percentile", rng=2)
    spread = reference.standard_error
    assert mean == pytest.approx((challenger - champion).mean(), abs=1e-15)
    # The 2.5th percentile of 5000 draws scatters by sqrt(p (1 - p) / n) / density = 0.038 standard deviations.
    tolerance = 5 * math.sqrt(2) * 0.038 * spread
    assert low == pytest.approx(reference.confidence_interval.low, abs=tolerance)
    assert high == pytest.approx(reference.confidence_interval.high, abs=tolerance)


def test_the_bootstrap_is_paired():
    """Stars that are hard for both must not widen the interval: unpaired, it would be 20 times wider."""
    champion = np.random.default_rng(1).normal(0, 10, 500)
    _, low, high = paired_bootstrap(champion + 1, champion, seed=0)
    assert low == pytest.approx(1)
    assert high == pytest.approx(1)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_the_interval_holds_the_mean_and_turns_with_the_sign(correct, seed):
    challenger, champion = np.array(correct, float), np.array(correct[::-1], float)
    mean, low, high = paired_bootstrap(challenger, champion, seed, n=50)
    assert -1 <= low <= high <= 1
    assert paired_bootstrap(challenger, champion, seed, n=50) == (mean, low, high)
    backwards = paired_bootstrap(champion, challenger, seed, n=50)
    assert backwards == pytest.approx((-mean, -high, -low), abs=1e-12)


@pytest.mark.parametrize(
    ("challenger", "champion"), [([], []), ([1.0], [1.0, 0.0]), ([[1.0]], [[1.0]]), ([1.0, math.nan], [0.0, 0.0])]
)
def test_the_bootstrap_refuses_what_is_not_paired(challenger, champion):
    with pytest.raises(DataError, match="a paired comparison needs"):
        paired_bootstrap(challenger, champion, seed=0)
