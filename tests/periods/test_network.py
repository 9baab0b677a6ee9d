"""The published layers, and heads whose numbers are those of the distributions they stand for.

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
from torch import Tensor, nn

from varistar.foundation.errors import ConfigError
from varistar.periods.network import CalibratedNetwork, DistributionHead, LaplaceHead, PeriodNetwork
from varistar.periods.variants import NetworkSettings

ONE = torch.ones(())
BINS = 40


def images(n: int, shape: tuple[int, int] = (8, 36)) -> Tensor:
    return torch.from_numpy(np.random.default_rng(n).integers(0, 256, (n, 1, *shape), dtype=np.uint8))


def network(shape: tuple[int, int] = (8, 36), **settings: Any) -> PeriodNetwork:
    torch.manual_seed(0)
    return PeriodNetwork(NetworkSettings(**settings), shape)


# ---------------------------------------------------------------------------------------------------------------------
# Layers


@pytest.mark.parametrize(
    ("filters", "parameters"),
    [((8, 16, 32), 497_858), ((16, 32, 64), 990_402), ((32, 64, 128), 2_010_050), ((64, 128, 256), 4_187_586)],
)
def test_the_published_networks_have_their_number_of_parameters(filters: tuple[int, int, int], parameters: int) -> None:
    assert sum(p.numel() for p in network((64, 64), filters=filters).parameters()) == parameters


def test_the_published_layers_have_the_shapes_of_table_2() -> None:
    shapes: dict[type, list[tuple[int, ...]]] = {}
    published = network((64, 64)).eval()
    for layer in published.modules():
        layer.register_forward_hook(
            lambda layer, _, output: shapes.setdefault(type(layer), []).append(tuple(output.shape[1:]))
        )
    assert published(images(2, (64, 64))).shape == (2, 2)
    # channels, rows (periods), columns (times)
    assert shapes[nn.Conv2d] == [(8, 62, 62), (16, 60, 18), (32, 58, 4)]
    assert shapes[nn.MaxPool2d] == [(8, 62, 20), (16, 60, 6), (32, 58, 1)]
    assert shapes[nn.Flatten] == [(1856,)]
    assert shapes[nn.Linear] == [(256,), (64,), (2,)]
    assert len(shapes[nn.ReLU]) == 5
    assert [layer.p for layer in published.modules() if isinstance(layer, nn.Dropout2d)] == [0.1] * 3
    assert [layer.p for layer in published.modules() if isinstance(layer, nn.Dropout)] == [0.1] * 2


def test_bytes_are_read_as_fractions_of_255() -> None:
    """The first convolution, by hand, at one place."""
    published = network().eval()
    batch = images(1)
    convolution = next(layer for layer in published.modules() if isinstance(layer, nn.Conv2d))
    outputs: list[Tensor] = []
    convolution.register_forward_hook(lambda layer, _, output: outputs.append(output))
    published(batch)
    patch = batch[0, 0, 2:5, 3:6].double() / 255
    expected = (convolution.weight[4, 0].double() * patch).sum() + convolution.bias[4].double()
    torch.testing.assert_close(outputs[0][0, 4, 2, 3].double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", ["laplace", "distribution"])
def test_an_answer_does_not_depend_on_the_batch(head: Any) -> None:
    served = CalibratedNetwork(network(head=head), 1.3).eval()
    batch = images(7)
    with torch.no_grad():
        together = served(batch)
        alone = torch.cat([served(batch[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert together.shape == (7, 3)
    assert len(together.unique(dim=0)) == 7


@pytest.mark.parametrize("shape", [(6, 36), (8, 34), (1, 1)])
def test_an_image_that_is_too_small_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"images of {shape[0]} x {shape[1]} pixels are too small"):
        network(shape)


def test_the_smallest_image_has_an_answer() -> None:
    assert network((7, 35)).eval()(images(2, (7, 35))).shape == (2, 2)


# ---------------------------------------------------------------------------------------------------------------------
# The Laplace head

SIGMAS = ["standard_deviation", "scale"]


def laplace(sigma: Any, maximum_period: float = 30.0) -> LaplaceHead:
    return LaplaceHead(NetworkSettings(sigma=sigma, maximum_period=maximum_period))


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
@pytest.mark.parametrize("stretch", [1.0, 0.4, 2.5])
def test_the_laplace_answer_is_that_of_its_distribution(raw: Tensor, sigma: str, stretch: float) -> None:
    answer = laplace(sigma).answer(raw, torch.tensor(stretch))
    distribution = laplace_of(raw, sigma, 30.0, stretch)
    np.testing.assert_allclose(answer.period, distribution.mean(), rtol=1e-5)
    np.testing.assert_allclose(answer.sigma, distribution.std(), rtol=1e-3)
    for i, (period, p) in enumerate(zip(answer.period.double(), answer.p_within_10pct, strict=True)):
        alone = laplace_of(raw[i : i + 1], sigma, 30.0, stretch)
        sides = [(float(period) / 1.1, float(period)), (float(period), float(period) / 0.9)]
        right = sum(integrate.quad(lambda t, one=alone: one.pdf(t)[0], *side)[0] for side in sides)
        assert float(p) == pytest.approx(right, abs=1e-4)


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
    answer = laplace(sigma).answer(raw.detach(), ONE)
    assert all(torch.isfinite(value).all() for value in answer)
    assert ((answer.p_within_10pct >= 0) & (answer.p_within_10pct <= 1)).all()


# ---------------------------------------------------------------------------------------------------------------------
# The distribution head

EDGES = np.linspace(math.log(1), math.log(30), BINS + 1)
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2


def distribution(softness: float = 0.05) -> DistributionHead:
    return DistributionHead(NetworkSettings(head="distribution", bins=BINS, softness=softness))


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
    two = np.log(
        np.exp(-0.5 * ((CENTRES - math.log(6)) / 0.1) ** 2) + 0.9 * np.exp(-0.5 * ((CENTRES - math.log(12)) / 0.1) ** 2)
    )
    noise = rng.normal(0, 2, (20, BINS))
    return torch.from_numpy(np.concatenate([noise, one, [two], [np.zeros(BINS)]]).astype(np.float32))


@pytest.mark.parametrize("stretch", [1.0, 0.5, 3.0])
def test_the_distribution_answers_with_its_best_window(logits: Tensor, stretch: float) -> None:
    """Of the truths for which a bin's centre is right, most probability; the histogram cut into very fine pieces."""
    answer = distribution().answer(logits, torch.tensor(stretch))
    fine = 400
    pieces = np.linspace(EDGES[0], EDGES[-1], BINS * fine + 1)
    truths = np.exp((pieces[1:] + pieces[:-1]) / 2)
    right = np.abs(np.exp(CENTRES)[:, None] - truths) <= 0.1 * truths  # (centre, piece)
    for i, p in enumerate(probabilities(logits, stretch)):
        mass = right @ np.repeat(p / fine, fine)
        assert float(answer.p_within_10pct[i]) == pytest.approx(mass.max(), abs=2 * p.max() / fine + 1e-5)
        # The period is the mean of ln(P) over a window that holds as much.
        best = np.flatnonzero(mass > mass.max() - 2 * p.max() / fine - 1e-5)
        share = right.reshape(BINS, BINS, fine).mean(axis=2) * p
        means = [np.exp((share[k] @ CENTRES) / share[k].sum()) for k in best]
        assert np.abs(np.array(means) / float(answer.period[i]) - 1).min() < 2e-3


@pytest.mark.parametrize("stretch", [1.0, 0.5, 3.0])
def test_the_distributions_sigma_is_half_its_central_68_percent(logits: Tensor, stretch: float) -> None:
    sigma = distribution().answer(logits, torch.tensor(stretch)).sigma
    for p, found in zip(probabilities(logits, stretch), sigma, strict=True):
        below = np.concatenate([[0], np.cumsum(p)])
        low, high = np.exp(np.interp(stats.norm.cdf([-1, 1]), below, EDGES))
        assert float(found) == pytest.approx((high - low) / 2, rel=2e-3)


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


def test_a_truth_outside_the_histogram_belongs_to_its_end() -> None:
    head = distribution()
    logits = torch.zeros((2, BINS), requires_grad=True)
    head.loss(logits, torch.tensor([0.3, 80.0])).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.argmin(dim=1).tolist() == [0, BINS - 1]


def test_raw_outputs_of_any_size_have_an_answer() -> None:
    logits = torch.zeros((3, BINS))
    logits[0, 7], logits[1, :20], logits[2] = 1e4, -1e4, torch.arange(BINS) * 50.0
    answer = distribution().answer(logits, ONE)
    assert all(torch.isfinite(value).all() for value in answer)
    assert ((answer.p_within_10pct >= 0) & (answer.p_within_10pct <= 1)).all()
    assert float(answer.period[0]) == pytest.approx(math.exp(CENTRES[7]), rel=1e-4)
    assert float(answer.p_within_10pct[0]) == pytest.approx(1)


# ---------------------------------------------------------------------------------------------------------------------
# What is served


@pytest.mark.parametrize("head", ["laplace", "distribution"])
def test_the_calibrated_network_gives_the_heads_answer(head: Any) -> None:
    inner = network(head=head).eval()
    served = CalibratedNetwork(inner, 1.7).eval()
    batch = images(5)
    with torch.no_grad():
        expected = inner.head.answer(inner(batch), torch.tensor(1.7))
        torch.testing.assert_close(served(batch), torch.stack(expected, dim=1))


@pytest.mark.parametrize("head", ["laplace", "distribution"])
def test_the_calibrated_network_can_be_exported_for_any_batch(head: Any) -> None:
    served = CalibratedNetwork(network(head=head), 0.8).eval()
    exported = torch.export.export(served, (images(2),), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    with torch.no_grad():
        for n in (1, 2, 9):
            torch.testing.assert_close(exported(images(n)), served(images(n)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["laplace", "distribution"])
def test_the_weights_are_the_layers_alone(head: Any) -> None:
    """What follows from the settings or is calibrated later is no part of a trained network's weights."""
    names = set(network(head=head).state_dict())
    assert names == {name for name, _ in network(head=head).named_parameters()}
    assert len(names) == 12
