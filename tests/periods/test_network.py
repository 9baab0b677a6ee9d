"""The published layers, and ours, whose answers do not depend on where along the axis of periods a star lies.

A bin of the statistics further up stands for a period that is longer by one factor, so that the same light curve played
slower gives the same statistics some bins further on.
"""

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor, nn

from varistar.foundation.errors import ConfigError
from varistar.foundation.params import read_params
from varistar.periods.heads import Answer
from varistar.periods.network import (
    CalibratedNetwork,
    Ensemble,
    NightsNetwork,
    PeriodAxisNetwork,
    PeriodNetwork,
    build_network,
)
from varistar.periods.nights import Nights
from varistar.periods.preprocess import AnyRepresentation
from varistar.periods.representation import PeriodGrid, Representation
from varistar.periods.statistics import CHANNELS, Statistics
from varistar.periods.variants import NetworkSettings

from .conftest import REPOSITORY

WINDOW = (58484.5, 60311.5)
STATISTICS = Statistics(window=WINDOW)
SHORT = Statistics(window=WINDOW, bins=30, margins=(4, 6))
UNIT = 60.0
CHANNEL = {name: number for number, name in enumerate(CHANNELS)}
OURS = {"trunk": "period_axis", "filters": (8, 8, 8), "head": "distribution", "dropout": 0.0, "no_period": True}


def image(rows: int = 8, columns: int = 36) -> Representation:
    return Representation(window=WINDOW, nodes=columns, periods=PeriodGrid(count=rows), pool=1)


def images(n: int, shape: tuple[int, int] = (8, 36)) -> Tensor:
    return torch.from_numpy(np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8))


def network(shape: tuple[int, int] = (8, 36), **settings: Any) -> PeriodNetwork:
    torch.manual_seed(0)
    return build_network(NetworkSettings(**settings), image(*shape))


def period_axis(statistics: Statistics = STATISTICS, seed: int = 0, **settings: Any) -> PeriodAxisNetwork:
    """A network with weights and running means of every size, as after a training."""
    torch.manual_seed(seed)
    network = build_network(NetworkSettings(**{"bins": statistics.bins, **OURS, **settings}), statistics)
    for name, value in network.named_parameters():
        if value.ndim > 1:
            nn.init.normal_(value, std=value[0].numel() ** -0.5)
        else:
            nn.init.normal_(value, mean=float("bias" not in name), std=0.3)
    for name, value in network.named_buffers():
        if "running_var" in name:
            nn.init.uniform_(value, 0.5, 2.0)
        elif "running_mean" in name:
            nn.init.normal_(value, std=0.5)
    assert isinstance(network, PeriodAxisNetwork)
    network.scale.running_mean.fill_(0.0)  # so that levels of 0 are nothing
    network.scale.running_var.fill_(UNIT**2)
    return network.eval()


def nights(**settings: Any) -> PeriodNetwork:
    torch.manual_seed(0)
    given = {"trunk": "nights", "filters": (8, 8, 8), "head": "distribution", "bins": 30, "no_period": True} | settings
    return build_network(NetworkSettings(**given), Nights(window=WINDOW, count=64)).eval()


def ensemble() -> Ensemble:
    return Ensemble([period_axis(SHORT, seed) for seed in range(3)]).eval()


#: Networks of every kind, and the shape of what they read.
KINDS: dict[str, tuple[Any, tuple[int, int]]] = {
    "image, laplace": (lambda: network(head="laplace"), (8, 36)),
    "image, distribution": (lambda: network(head="distribution"), (8, 36)),
    "period_axis": (lambda: period_axis(SHORT), (9, 40)),
    "nights": (nights, (2, 64)),
    "ensemble": (ensemble, (9, 40)),
}

# ---------------------------------------------------------------------------------------------------------------------
# Every network


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_an_answer_does_not_depend_on_the_batch(kind: str) -> None:
    make, shape = KINDS[kind]
    served = CalibratedNetwork(make(), 1.3, 0.8, -0.2).eval()
    batch = images(7, shape)
    assert batch.dtype == torch.uint8
    with torch.no_grad():
        together = served(batch)
        alone = torch.cat([served(batch[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4, equal_nan=True)
    assert together.shape == (7, len(Answer._fields))
    assert len(together[:, 0].unique()) == 7


def test_the_calibrated_network_can_be_exported_for_any_batch(kind: str) -> None:
    """And written as pt2."""
    make, shape = KINDS[kind]
    served = CalibratedNetwork(make(), 0.8, 1.2, 0.3).eval()
    exported = torch.export.export(served, (images(2, shape),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    with torch.no_grad():
        for n in (1, 2, 9):
            batch = images(n, shape)
            torch.testing.assert_close(loaded(batch), served(batch), rtol=1e-4, atol=1e-5, equal_nan=True)


def test_the_calibrated_network_gives_the_heads_answer_and_an_honest_probability(kind: str) -> None:
    make, shape = KINDS[kind]
    inner = make().eval()
    batch = images(5, shape)
    with torch.no_grad():
        answer = inner.head.answer(inner(batch), torch.tensor(1.7))
        served = Answer(*CalibratedNetwork(inner, 1.7, 0.6, -1.1)(batch).unbind(dim=1))
        plain = CalibratedNetwork(inner, 1.7)(batch)
    p = answer.p_within_10pct.double().numpy()
    np.testing.assert_allclose(served.p_within_10pct, special.expit(0.6 * special.logit(p) - 1.1), rtol=1e-4)
    honest = served.p_within_10pct
    others = {"second_p", "p_half", "p_double"}
    for name in others:  # the odds against the first, unless too little is left
        kept = torch.minimum(getattr(answer, name) * honest / answer.p_within_10pct, 1 - honest)
        torch.testing.assert_close(getattr(served, name), kept, rtol=1e-4, atol=1e-6)
    for name in set(Answer._fields) - {"p_within_10pct"} - others:
        torch.testing.assert_close(getattr(served, name), getattr(answer, name), equal_nan=True)
    torch.testing.assert_close(plain, torch.stack(answer, dim=1), rtol=1e-4, atol=1e-6, equal_nan=True)


def test_the_weights_are_what_is_learned_alone(kind: str) -> None:
    """What follows from the settings or is calibrated later is no part of a trained network's weights."""
    network = KINDS[kind][0]()
    learned = {name for name, _ in network.named_parameters()}
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    assert {name for name in network.state_dict() if name.rpartition(".")[2] not in statistics} == learned
    assert CalibratedNetwork(network).state_dict().keys() == {f"network.{name}" for name in network.state_dict()}


@pytest.mark.parametrize(
    ("trunk", "shown", "sentence"),
    [
        ("period_axis", image(), "of the kind 'image' is read by the trunk 'image', not by 'period_axis'"),
        ("image", STATISTICS, "of the kind 'statistics' is read by the trunk 'period_axis', not by 'image'"),
        ("image", Nights(window=WINDOW), "of the kind 'nights' is read by the trunk 'nights', not by 'image'"),
        ("nights", STATISTICS, "of the kind 'statistics' is read by the trunk 'period_axis', not by 'nights'"),
    ],
)
def test_a_trunk_reads_one_kind_of_representation(trunk: Any, shown: AnyRepresentation, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_network(NetworkSettings(trunk=trunk), shown)


# ---------------------------------------------------------------------------------------------------------------------
# The published layers


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
    patch = batch[0, 2:5, 3:6].double() / 255
    expected = (convolution.weight[4, 0].double() * patch).sum() + convolution.bias[4].double()
    torch.testing.assert_close(outputs[0][0, 4, 2, 3].double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 36), (8, 34), (1, 1)])
def test_an_image_that_is_too_small_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"images of {shape[0]} x {shape[1]} pixels are too small"):
        network(shape)


def test_the_smallest_image_has_an_answer() -> None:
    assert network((7, 35)).eval()(images(2, (7, 35))).shape == (2, 2)


# ---------------------------------------------------------------------------------------------------------------------
# Along the axis of periods


def test_the_champions_network_has_thirty_thousand_parameters() -> None:
    periods = read_params(REPOSITORY)["periods"]
    settings = NetworkSettings.model_validate(periods["variants"]["period-axis"]["network"])
    ours = build_network(settings, Statistics.model_validate(periods["representations"]["statistics"]))
    # nine channels, three of them at four other periods, one at the alias, and ln(period); kernels of 5, 32 filters
    block = 2 * 2 * 32 + (32 * 5 + 1) * 32 + (64 + 1) * 32 + (32 + 1) * 32
    expected = (23 * 5 + 1) * 32 + 3 * block + 2 * 32 + 33 + (64 + 1) * 16 + 17
    assert sum(p.numel() for p in ours.parameters()) == expected == 30_114


def seen_by_the_stem(network: PeriodAxisNetwork, batch: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = network.stem.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        network(batch)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("name", PeriodAxisNetwork.SHIFTED)
def test_half_twice_a_third_and_thrice_a_period_stand_beside_it(name: str) -> None:
    """What stands at a period of 5 d is seen beside the bins of 10, 2.5, 15 and 5/3 d."""
    ours = period_axis()
    periods = STATISTICS.periods()
    place = int(np.abs(periods - 5.0).argmin())
    batch = torch.zeros((1, *STATISTICS.shape), dtype=torch.uint8)
    batch[0, CHANNEL[name], place] = 250
    seen = seen_by_the_stem(ours, batch)[0]
    rows = [len(CHANNELS) + 3 * k + PeriodAxisNetwork.SHIFTED.index(name) for k in range(4)]
    for row, factor in zip(rows, PeriodAxisNetwork.FACTORS, strict=True):
        found = int(seen[row].argmax())
        assert abs(math.log(factor * periods[found] / periods[place])) <= STATISTICS.step / 2 + 1e-9
        assert torch.count_nonzero(seen[row]) == 1
        np.testing.assert_allclose(seen[row, found], 250 / UNIT, rtol=1e-3)
    assert torch.count_nonzero(seen[len(CHANNELS) : -2]) == 4, "no other channel knows of it"


def test_harmonics_beyond_the_axis_are_nothing() -> None:
    """Where the axis is shorter than a factor of two or three, too."""
    narrow = Statistics(window=WINDOW, period_range=(1.0, 1.5), bins=20, margins=(2, 3))
    ours = period_axis(narrow, period_range=(1.0, 1.5))
    seen = seen_by_the_stem(ours, images(2, narrow.shape))
    assert torch.count_nonzero(seen[:, len(CHANNELS) : -2]) == 0
    assert ours(images(2, narrow.shape)).shape == (2, 21)


def test_the_alias_of_a_day_stands_beside_a_period() -> None:
    """At 1 / |1 - 1/P|, by the bins' edges; nothing where that is no bin."""
    ours = period_axis()
    batch = images(1, STATISTICS.shape)
    row = len(CHANNELS) + 4 * len(PeriodAxisNetwork.SHIFTED)
    seen = seen_by_the_stem(ours, batch)[0, row]
    scaled = batch[0, CHANNEL["periodogram"]].double() / UNIT
    edges, missing = STATISTICS.edges(), 0
    for i, period in enumerate(STATISTICS.periods()):
        alias = 1 / abs(1 - 1 / period)
        place = int(np.searchsorted(edges, alias)) - 1
        if not 0 <= place < len(scaled):
            missing += 1
            assert float(seen[i]) == 0
        elif np.abs(np.log(edges / alias)).min() > 1e-6:
            assert float(seen[i]) == pytest.approx(float(scaled[place]), abs=1e-3)
    assert 0 < missing < len(scaled) / 2
    assert 1 / abs(1 - 1 / 1.05) == pytest.approx(21), "a star of 21 d looks like one of 1.05 d"


def shifted_pair(shift: int) -> tuple[Tensor, Tensor]:
    """Statistics that are alike but where a star shows something, and there again `shift` bins further."""
    rng = np.random.default_rng(4)
    first = np.zeros((3, *STATISTICS.shape), dtype=np.uint8)
    whole = [CHANNEL[name] for name in ("points", "scatter", "error")]
    first[:, whole] = rng.integers(0, 256, (3, 3, 1))
    second = first.copy()
    of_bins = [row for row in range(len(CHANNELS)) if row not in whole]
    shown = rng.integers(0, 256, (3, len(of_bins), 16), dtype=np.uint8)
    # far enough from both ends that neither harmonics nor what convolutions make of them reach what padding touches
    first[:, of_bins, 94:110] = shown
    second[:, of_bins, 94 + shift : 110 + shift] = shown
    return torch.from_numpy(first), torch.from_numpy(second)


REACH = 2 + 2 * (1 + 2 + 4)  # bins that the stem and the blocks look to either side


@pytest.mark.parametrize("shift", [1, 5, -4])
@pytest.mark.parametrize("filters", [(8, 8, 8), (6, 8, 10)])
def test_statistics_further_along_the_axis_give_logits_further_along_it(shift: int, filters: Any) -> None:
    """To rounding, but near the ends: all that knows the period itself are the channels of the alias and of its log."""
    ours = period_axis(filters=filters)
    before, after = shifted_pair(shift)
    reference = ours.stem.weight.detach().clone()
    with torch.no_grad():
        ours.stem.weight[:, -2:] = 0.0
        first, second = ours(before), ours(after)
        inside = slice(REACH, STATISTICS.bins - REACH)
        moved = second.roll(-shift, dims=1)[:, :-1]
        np.testing.assert_allclose(moved[:, inside], first[:, :-1][:, inside], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(second[:, -1], first[:, -1], rtol=1e-4, atol=1e-4)
        assert (first[:, inside] - second[:, inside]).abs().max() > 0.05, "logits that do not move prove nothing"
        ours.stem.weight.copy_(reference)
        first, second = ours(before), ours(after)
        assert (second.roll(-shift, dims=1)[:, inside] - first[:, inside]).abs().max() > 0.01


def test_a_peak_anywhere_is_known_everywhere() -> None:
    """By the mean and maximum over the axis, further than convolutions and harmonics look."""
    ours = period_axis()
    before, _ = shifted_pair(0)
    after = before.clone()
    after[:, CHANNEL["mean_logarithm"], 60] = 255  # no shifted channel
    with torch.no_grad():
        first, second = ours(before), ours(after)
    far = STATISTICS.margins[0] + np.arange(STATISTICS.bins) > 60 + REACH
    assert ((first - second)[:, :-1][:, far].abs().amax(dim=1) > 1e-4).all()
    assert ((first - second)[:, -1].abs() > 1e-5).all()


def test_noise_is_added_in_training_alone() -> None:
    batch = images(16, SHORT.shape)
    for noise in (0.0, 0.5):
        ours = period_axis(SHORT, noise=noise)
        assert torch.equal(ours(batch), ours(batch))
        ours.train()
        assert torch.equal(ours(batch), ours(batch)) == (noise == 0.0)


@pytest.mark.parametrize(
    "changes", [{"head": "laplace", "no_period": False}, {"bins": 31}, {"period_range": (1.0, 20.0)}]
)
def test_a_period_axis_without_a_distribution_over_its_bins_is_refused(changes: dict[str, Any]) -> None:
    sentence = r"gives a distribution over the 30 bins of its representation, from 1 to 30 d; .* must say the same"
    with pytest.raises(ConfigError, match=sentence):
        period_axis(SHORT, **changes)


# ---------------------------------------------------------------------------------------------------------------------
# Nights


def test_nights_are_read_about_their_median() -> None:
    """A level of 128 is 0, and 25.5 levels are one scatter."""
    ours = nights()
    assert isinstance(ours, NightsNetwork)
    seen: list[Tensor] = []
    next(iter(ours.convolutions)).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    batch = images(3, (2, 64))
    assert ours(batch).shape == (3, 31)
    np.testing.assert_allclose(seen[0], (batch.double() - 128) / 25.5, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Ensembles


def test_an_ensemble_averages_probabilities() -> None:
    together = ensemble()
    batch = images(6, SHORT.shape)
    with torch.no_grad():
        each = [special.softmax(member(batch).double().numpy(), axis=1) for member in together.members]
        raw = together(batch).double().numpy()
    np.testing.assert_allclose(special.softmax(raw, axis=1), np.mean(each, axis=0), rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(special.logsumexp(raw, axis=1), 0.0, atol=1e-5)
    assert np.abs(each[0] - each[1]).max() > 0.01, "members that agree prove nothing"


def test_an_ensemble_of_one_is_its_member() -> None:
    one = period_axis(SHORT)
    batch = images(4, SHORT.shape)
    with torch.no_grad():
        alone, together = (CalibratedNetwork(some)(batch) for some in (one, Ensemble([one])))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_members_that_are_sure_of_different_things_leave_both_possible() -> None:
    members = [period_axis(SHORT, seed) for seed in range(2)]
    batch = images(2, SHORT.shape)
    for member, place in zip(members, (5, 20), strict=True):
        with torch.no_grad():
            member.logits.weight.fill_(0.0), member.logits.bias.fill_(0.0)
            member.none[2].weight.fill_(0.0), member.none[2].bias.fill_(-1e4)
        member.logits.register_forward_hook(
            lambda _, given, raw, place=place: raw + 1e3 * (torch.arange(raw.shape[2]) == place + SHORT.margins[0])
        )
    with torch.no_grad():
        p = torch.softmax(Ensemble(members)(batch), dim=1)
    expected = np.zeros(31)
    expected[[5, 20]] = 0.5
    np.testing.assert_allclose(p, np.tile(expected, (2, 1)), atol=1e-5)


def test_an_ensemble_of_laplace_heads_is_refused() -> None:
    with pytest.raises(ConfigError, match="an ensemble averages distributions; a Laplace head has none to average"):
        Ensemble([network(head="laplace")])
