"""Heads whose numbers are those of the distributions they stand for.

A period counts as right when it is within 10% of the truth: of a true period T, |P - T| <= T / 10, so that a period P
is right for every truth between P / 1.1 and P / 0.9.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import integrate, special, stats
from torch import Tensor

from varistar.periods.heads import DistributionHead, LaplaceHead, make_head
from varistar.periods.variants import NetworkSettings

ONE = torch.ones(())
BINS = 40


# ---------------------------------------------------------------------------------------------------------------------
# The Laplace head

SIGMAS = ["standard_deviation", "scale"]


def laplace(sigma: Any = "standard_deviation", maximum_period: float = 30.0, beta: float = 0.0) -> LaplaceHead:
    return LaplaceHead(NetworkSettings(sigma=sigma, maximum_period=maximum_period, beta=beta))


def soft_plus(x: NDArray) -> NDArray:
    return np.log1p(np.exp(x))


def laplace_of(raw: Tensor, sigma: str, unit: float, stretch: float = 1.0) -> Any:
    """The distributions of the true period [d] that raw outputs stand for (000, eqs. 4-5; AMB-10 and AMB-11)."""
    period, width = soft_plus(raw.double().numpy()).T
    scale = width / math.sqrt(2) if sigma == "standard_deviation" else width
    return stats.laplace(unit * period, stretch * unit * scale)


@pytest.fixture(scope="module")
def raw() -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal([0.0, -1.0], [1.0, 1.5], (60, 2)).astype(np.float32))


@pytest.fixture(scope="module")
def truth() -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).uniform(1, 30, 60).astype(np.float32))


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("unit", [30.0, 100.0])
def test_the_laplace_loss_is_minus_the_log_of_the_density(raw: Tensor, truth: Tensor, sigma: str, unit: float) -> None:
    """Of the period in units of the longest one."""
    density = unit * laplace_of(raw, sigma, unit).pdf(truth.numpy())
    loss = laplace(sigma, unit).loss(raw, truth)
    assert float(loss) == pytest.approx(-np.log(density).mean(), rel=1e-4)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("beta", [0.3, 0.5, 1.0])
def test_beta_weighs_each_star_by_a_power_of_its_variance(raw: Tensor, truth: Tensor, sigma: str, beta: float) -> None:
    """Of the Laplace scale, as if that were a constant: its gradient is the likelihood's, weighed."""
    period, width = soft_plus(raw.double().numpy()).T
    scale = width / math.sqrt(2) if sigma == "standard_deviation" else width
    each = np.log(2 * scale) + np.abs(period - truth.numpy() / 30) / scale
    weighed, plain = raw.clone().requires_grad_(), raw.clone().requires_grad_()
    loss = laplace(sigma, beta=beta).loss(weighed, truth)
    assert loss.item() == pytest.approx((scale ** (2 * beta) * each).mean(), rel=1e-4, abs=1e-6)
    loss.backward()
    laplace(sigma).loss(plain, truth).backward()
    expected = plain.grad.double().numpy() * scale[:, None] ** (2 * beta)
    np.testing.assert_allclose(weighed.grad, expected, rtol=1e-3, atol=1e-7)


def test_without_beta_the_loss_is_the_published_one_to_the_bit(raw: Tensor, truth: Tensor) -> None:
    head = laplace(beta=0.0)
    predicted, scale = head.positive(raw)
    published = (torch.log(2 * scale) + (predicted - truth / head.unit).abs() / scale).mean()
    assert torch.equal(head.loss(raw, truth), published)
    assert not torch.equal(laplace(beta=0.5).loss(raw, truth), published)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("stretch", [1.0, 0.4, 2.5])
def test_the_laplace_answer_is_that_of_its_distribution(raw: Tensor, sigma: str, stretch: float) -> None:
    answer = laplace(sigma).answer(raw, torch.tensor(stretch))
    distribution = laplace_of(raw, sigma, 30.0, stretch)
    np.testing.assert_allclose(answer.period, distribution.mean(), rtol=1e-5)
    np.testing.assert_allclose(answer.sigma, distribution.std(), rtol=1e-3)
    for name, sigmas in (("period_low", -1), ("period_high", 1)):
        np.testing.assert_allclose(
            getattr(answer, name), distribution.ppf(stats.norm.cdf(sigmas)), rtol=1e-3, atol=1e-3
        )
    for name, factor in (("p_within_10pct", 1.0), ("p_half", 0.5), ("p_double", 2.0)):
        other = factor * answer.period.double().numpy()
        right = 0.0
        for end in (other / 1.1, other / 0.9):  # from the period itself, where a Laplace density has its kink
            truths = np.linspace(other, end, 4001)
            right = right + np.abs(integrate.simpson(distribution.pdf(truths), x=truths, axis=0))
        np.testing.assert_allclose(getattr(answer, name), right, atol=1e-4)


def test_a_laplace_head_knows_neither_stars_without_a_period_nor_a_second_one(raw: Tensor) -> None:
    head = laplace()
    answer = head.answer(raw, ONE)
    assert not head.no_period
    assert torch.equal(answer.p_no_period, torch.zeros(len(raw)))
    assert torch.equal(answer.second_p, torch.zeros(len(raw)))
    assert answer.second_period.isnan().all()
    assert all(value.shape == (len(raw),) for value in answer)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_laplace_cumulative(raw: Tensor, truth: Tensor, sigma: str) -> None:
    cumulative = laplace(sigma).cumulative(raw, torch.tensor(0.7), truth)
    np.testing.assert_allclose(cumulative, laplace_of(raw, sigma, 30.0, 0.7).cdf(truth.numpy()), atol=1e-4)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_raw_outputs_of_any_size_have_a_finite_loss_and_gradient(sigma: str) -> None:
    raw = torch.tensor([[-1e4, -1e4], [1e4, -1e4], [-1e4, 1e4], [0.0, -100.0]], requires_grad=True)
    loss = laplace(sigma).loss(raw, torch.tensor([1.0, 30.0, 15.0, 20.0]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(raw.grad).all()
    answer = laplace(sigma).answer(raw.detach(), ONE)._asdict()
    assert answer.pop("second_period").isnan().all()
    assert all(torch.isfinite(value).all() for value in answer.values())
    for name in ("p_within_10pct", "p_half", "p_double"):
        assert ((answer[name] >= 0) & (answer[name] <= 1)).all()


# ---------------------------------------------------------------------------------------------------------------------
# The distribution head

EDGES = np.linspace(math.log(1), math.log(30), BINS + 1)
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2


def distribution(softness: float = 0.05, no_period: bool = False) -> DistributionHead:
    settings = NetworkSettings(head="distribution", bins=BINS, softness=softness, no_period=no_period)
    return DistributionHead(settings)


def probabilities(logits: Tensor, stretch: float = 1.0) -> NDArray[np.float64]:
    exponent = logits.double().numpy() / stretch
    weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def logits() -> Tensor:
    """Histograms of every kind: noise, one peak, two peaks at P and 2P, flat, and all at an end."""
    rng = np.random.default_rng(5)
    peaks = [(math.log(p), w) for p, w in ((1.05, 0.02), (5.0, 0.1), (12.0, 0.3), (29.5, 0.02))]
    one = [-0.5 * ((CENTRES - place) / width) ** 2 for place, width in peaks]
    six, twelve = (np.exp(-0.5 * ((CENTRES - math.log(p)) / 0.1) ** 2) for p in (6, 12))
    two = [np.log(six + 0.9 * twelve), np.log(0.9 * six + twelve)]
    noise = rng.normal(0, 2, (20, BINS))
    return torch.from_numpy(np.concatenate([noise, one, two, [np.zeros(BINS)]]).astype(np.float32))


FINE = 400  # pieces of a bin


def right_truths() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Truths [d] in the middle of very fine pieces of the bins, and for which of them each bin's centre is right."""
    pieces = np.linspace(EDGES[0], EDGES[-1], BINS * FINE + 1)
    truths = np.exp((pieces[1:] + pieces[:-1]) / 2)
    return truths, np.abs(np.exp(CENTRES)[:, None] - truths) <= 0.1 * truths


def mean_period(p: NDArray, right: NDArray) -> float:
    """The mean of ln(period) over the truths that are right, as a period [d]."""
    share = right.reshape(BINS, FINE).mean(axis=1) * (p + 1e-30)  # also of a window that holds nothing
    return float(np.exp((share @ CENTRES) / share.sum()))


@pytest.mark.parametrize("stretch", [1.0, 0.5, 3.0])
def test_the_distribution_answers_with_its_best_window_and_its_second(logits: Tensor, stretch: float) -> None:
    """Of the truths for which a bin's centre is right, most probability; the second more than 20% away."""
    answer = distribution().answer(logits, torch.tensor(stretch))
    truths, right = right_truths()
    for i, p in enumerate(probabilities(logits, stretch)):
        p = np.repeat(p / FINE, FINE)
        close = {"abs": 2 * p.max() + 1e-5}
        mass = right @ p
        assert float(answer.p_within_10pct[i]) == pytest.approx(mass.max(), **close)
        # of several windows that hold as much, it answers with one
        found = []
        for best in np.flatnonzero(mass > mass.max() - close["abs"]):
            apart = np.where(np.abs(CENTRES - CENTRES[best]) > math.log(1.2), mass, 0.0)
            harmonics = [np.abs(f * np.exp(CENTRES[best]) - truths) <= 0.1 * truths for f in (0.5, 2.0)]
            for second in np.flatnonzero(apart > apart.max() - close["abs"]):
                periods = [mean_period(p.reshape(BINS, FINE).sum(axis=1), right[k]) for k in (best, second)]
                found.append((*periods, apart.max(), *(p @ one for one in harmonics)))
        values = [getattr(answer, name)[i] for name in ("period", "second_period", "second_p", "p_half", "p_double")]
        off = np.abs(np.array(found) - np.array(values)) / [*values[:2], 1, 1, 1]
        assert (off < [2e-3, 2e-3, *[4 * p.max() + 1e-5] * 3]).all(axis=1).any()
    assert answer.p_half.max() > 0.1 and answer.p_double.max() > 0.1, "two peaks at P and 2P are among them"


@pytest.mark.parametrize("stretch", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("no_period", [False, True])
def test_the_distributions_interval_is_its_central_68_percent(logits: Tensor, stretch: float, no_period: bool) -> None:
    """Of the period if there is one, and sigma half of it."""
    raw = torch.cat([logits, torch.linspace(-3, 9, len(logits))[:, None]], dim=1) if no_period else logits
    answer = distribution(no_period=no_period).answer(raw, torch.tensor(stretch))
    for i, p in enumerate(probabilities(logits, stretch)):
        below = np.concatenate([[0], np.cumsum(p)])
        low, high = np.exp(np.interp(stats.norm.cdf([-1, 1]), below, EDGES))
        assert float(answer.period_low[i]) == pytest.approx(low, rel=1e-3)
        assert float(answer.period_high[i]) == pytest.approx(high, rel=1e-3)
        assert float(answer.sigma[i]) == pytest.approx((high - low) / 2, rel=2e-3)


@pytest.mark.parametrize("stretch", [1.0, 0.5, 3.0])
def test_a_class_without_a_period_takes_from_all_probabilities_alike(logits: Tensor, stretch: float) -> None:
    """And changes neither the period nor what else is said of it."""
    without = distribution().answer(logits, torch.tensor(stretch))._asdict()
    none = torch.from_numpy(np.random.default_rng(6).normal(2, 3, len(logits)).astype(np.float32))
    head = distribution(no_period=True)
    assert (head.outputs, distribution().outputs) == (BINS + 1, BINS)
    answer = head.answer(torch.cat([logits, none[:, None]], dim=1), torch.tensor(stretch))._asdict()
    assert torch.equal(without.pop("p_no_period"), torch.zeros(len(logits)))
    odds = special.logsumexp(logits.double().numpy() / stretch, axis=1) - none.double().numpy() / stretch
    np.testing.assert_allclose(answer.pop("p_no_period"), special.expit(-odds), atol=1e-6)
    for name, value in without.items():
        part = special.expit(odds) if name.startswith("p_") or name == "second_p" else 1.0
        if name.startswith("period_"):
            part = 1.0
        np.testing.assert_allclose(answer[name], part * value.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("stretch", [1.0, 0.5, 3.0])
def test_the_distributions_cumulative(logits: Tensor, stretch: float) -> None:
    head = distribution()
    for period in (1.0, 1.01, 3.3, 7.0, 29.0, 30.0):
        truths = torch.full((len(logits),), period)
        cumulative = head.cumulative(logits, torch.tensor(stretch), truths)
        for p, found in zip(probabilities(logits, stretch), cumulative, strict=True):
            below = np.concatenate([[0], np.cumsum(p)])
            assert float(found) == pytest.approx(np.interp(math.log(period), EDGES, below), abs=2e-4)
    for period, expected in ((0.2, 0.0), (90.0, 1.0)):
        cumulative = head.cumulative(logits, ONE, torch.full((len(logits),), period))
        np.testing.assert_allclose(cumulative, expected, atol=2e-4)


@pytest.mark.parametrize("softness", [0.02, 0.1, 1.0])
def test_the_distribution_learns_a_soft_label(logits: Tensor, softness: float) -> None:
    head = distribution(softness)
    truth = np.random.default_rng(1).uniform(1, 30, len(logits))
    label = np.exp(-0.5 * ((np.log(truth)[:, None] - CENTRES) / softness) ** 2)
    label /= label.sum(axis=1, keepdims=True)
    expected = -(label * special.log_softmax(logits.double().numpy(), axis=1)).sum(axis=1).mean()
    target = torch.from_numpy(truth.astype(np.float32))
    assert float(head.loss(logits, target)) == pytest.approx(expected, rel=1e-4)
    # The label itself is what is learned: nothing scores better.
    least = float(head.loss(torch.from_numpy(np.log(label + 1e-30).astype(np.float32)), target))
    assert least <= float(head.loss(logits, target))
    assert least == pytest.approx(-(label * np.log(label + 1e-30)).sum(axis=1).mean(), rel=1e-3)


def test_stars_without_a_period_teach_the_last_class(logits: Tensor) -> None:
    head = distribution(no_period=True)
    raw = torch.cat([logits, torch.ones(len(logits), 1)], dim=1)
    truth = torch.from_numpy(np.random.default_rng(1).uniform(1, 30, len(raw)).astype(np.float32))
    truth[::3] = math.nan
    label = np.exp(-0.5 * ((np.log(truth.double().numpy())[:, None] - CENTRES) / 0.05) ** 2)
    label = np.concatenate([label / label.sum(axis=1, keepdims=True), np.zeros((len(raw), 1))], axis=1)
    label[::3] = np.eye(BINS + 1)[BINS]
    expected = -(label * special.log_softmax(raw.double().numpy(), axis=1)).sum(axis=1).mean()
    raw.requires_grad_()
    loss = head.loss(raw, truth)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    # what softmax and cross-entropy have for a gradient, which is finite where a target is not
    gradient = (special.softmax(raw.detach().double().numpy(), axis=1) - label) / len(raw)
    np.testing.assert_allclose(raw.grad, gradient, atol=1e-6)


def test_a_truth_outside_the_histogram_belongs_to_its_end() -> None:
    head = distribution()
    logits = torch.zeros((2, BINS), requires_grad=True)
    head.loss(logits, torch.tensor([0.3, 80.0])).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.argmin(dim=1).tolist() == [0, BINS - 1]


@pytest.mark.parametrize("no_period", [False, True])
def test_raw_outputs_of_any_size_have_an_answer(no_period: bool) -> None:
    logits = torch.zeros((4, BINS + no_period))
    logits[0, 7], logits[1, :20], logits[2], logits[3, -1] = 1e4, -1e4, torch.arange(BINS + no_period) * 50.0, 1e4
    head = distribution(no_period=no_period)
    answer = head.answer(logits, ONE)
    assert all(torch.isfinite(value).all() for value in answer)
    for name in ("p_within_10pct", "p_no_period", "second_p", "p_half", "p_double"):
        assert ((getattr(answer, name) >= 0) & (getattr(answer, name) <= 1)).all()
    assert ((answer.period_low >= 0.999) & (answer.period_low <= answer.period_high)).all()
    assert (answer.period_high <= 30.01).all()
    assert float(answer.period[0]) == pytest.approx(math.exp(CENTRES[7]), rel=1e-4)
    assert float(answer.p_within_10pct[0]) == pytest.approx(1)
    assert float(answer.second_p[0]) == 0
    assert float(answer.p_no_period[3]) == no_period
    loss = head.loss(logits.requires_grad_(), torch.tensor([1.0, 30.0, 15.0, math.nan if no_period else 20.0]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_the_settings_name_the_head() -> None:
    assert isinstance(make_head(NetworkSettings(head="laplace")), LaplaceHead)
    made = make_head(NetworkSettings(head="distribution", bins=9, period_range=(2.0, 8.0)))
    assert isinstance(made, DistributionHead)
    np.testing.assert_allclose(made.edges, np.linspace(math.log(2), math.log(8), 10), rtol=1e-6)
