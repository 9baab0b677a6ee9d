"""Who may be promoted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from varistar.experiments.gates import Comparison, Difference, Gate, Scores, cluster_bootstrap, gate, paired_bootstrap
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


# ---------------------------------------------------------------------------------------------------------------------
# Examples that come in groups


def one_star_at_a_time(difference: np.ndarray, seed: int, n: int) -> tuple[float, float, float]:
    """What the promotions on record were decided with."""
    generator = np.random.default_rng(seed)
    means = [difference[generator.integers(0, difference.size, difference.size)].mean() for _ in range(n)]
    return float(difference.mean()), *(float(end) for end in np.percentile(means, [2.5, 97.5]))


@pytest.mark.parametrize("size", [1, 7, 1213])
def test_without_groups_every_star_is_its_own_to_the_last_bit(size):
    challenger, champion = np.random.default_rng(size).normal(0, 1, (2, size))
    expected = one_star_at_a_time(challenger - champion, seed=20, n=100)
    assert paired_bootstrap(challenger, champion, seed=20, n=100) == expected
    assert paired_bootstrap(challenger, champion, seed=20, n=100, groups=np.arange(size)) == expected


def test_whole_groups_are_drawn():
    """By brute force: lists of the examples of the groups drawn, one after the other."""
    generator = np.random.default_rng(2)
    names = generator.choice(["a", "b", "c", "d", "e"], 40, p=[0.4, 0.3, 0.1, 0.1, 0.1])
    values = generator.normal(0, 1, 40)
    by_name = [values[names == name] for name in "abcde"]
    drawn = np.random.default_rng(9)
    means = [np.concatenate([by_name[i] for i in drawn.integers(0, 5, 5)]).mean() for _ in range(300)]
    expected = (values.mean(), *np.percentile(means, [2.5, 97.5]))
    assert cluster_bootstrap(values, names, seed=9, n=300) == pytest.approx(expected, abs=1e-12)
    assert paired_bootstrap(values + 2, np.full(40, 2.0), 9, 300, names) == pytest.approx(expected, abs=1e-12)


def test_examples_that_repeat_tell_no_more_than_one():
    """Sixteen equal examples of each group: four times too narrow when they are taken for independent."""
    values = np.random.default_rng(3).normal(0, 1, 200)
    alone, copies = cluster_bootstrap(values, np.arange(200), seed=1), np.repeat(values, 16)
    assert cluster_bootstrap(copies, np.repeat(np.arange(200), 16), seed=1) == pytest.approx(alone, abs=1e-12)
    _, low, high = cluster_bootstrap(copies, np.arange(3200), seed=1)
    # Each width scatters by its Monte-Carlo error of some 3 %.
    assert (alone[2] - alone[1]) / (high - low) == pytest.approx(4, rel=0.15)


def test_the_interval_of_groups_holds_the_truth_as_often_as_it_says():
    """Of 40 groups of 1 to 30 examples that share half their variance, 95 % less the shortfall of so few groups."""
    generator = np.random.default_rng(5)
    held = np.zeros((200, 2), dtype=bool)
    for trial in range(200):
        groups = np.repeat(np.arange(40), generator.integers(1, 31, 40))
        values = generator.normal(0, 1, 40)[groups] + generator.normal(0, 1, groups.size)
        for column, by in enumerate((groups, np.arange(groups.size))):
            _, low, high = cluster_bootstrap(values, by, seed=trial, n=200)
            held[trial, column] = low <= 0 <= high
    honest, too_narrow = held.mean(axis=0)
    assert 0.87 <= honest <= 0.99
    assert too_narrow < 0.7


def test_one_group_alone_has_no_interval():
    mean, low, high = paired_bootstrap([1.0, 0.0, 1.0], [0.0, 0.0, 1.0], seed=0, groups=["t", "t", "t"])
    assert mean == pytest.approx(1 / 3)
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize(
    ("values", "groups", "sentence"),
    [
        ([], [], "one value and one group per example"),
        ([1.0, 2.0], ["a"], "one value and one group per example"),
        ([[1.0]], [["a"]], "one value and one group per example"),
        ([1.0, math.inf], ["a", "b"], "finite values, got inf for example 1"),
    ],
)
def test_a_bootstrap_of_groups_refuses_what_has_none(values, groups, sentence):
    with pytest.raises(DataError, match=f"a bootstrap needs {sentence}"):
        cluster_bootstrap(values, groups, seed=0)
