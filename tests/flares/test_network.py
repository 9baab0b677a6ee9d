"""The published layers with their number of weights, and ours, which nothing reaches from what is missing."""

import io
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from varistar.flares.network import (
    CalibratedFlareNetwork,
    Ensemble,
    FlareNetwork,
    PointNetwork,
    WindowNetwork,
    build_network,
    fuse,
    make_loss,
    mean_logit,
    point_loss,
)
from varistar.flares.network_settings import PointSettings, WindowSettings, network_settings_of
from varistar.flares.representation import PointRepresentation
from varistar.foundation.errors import ConfigError

CHANNELS = PointRepresentation().channels
SMALL = PointSettings(filters=(4, 6, 8), kernel=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def points_network(settings: PointSettings = SMALL, seed: int = 0) -> PointNetwork:
    """A network with weights and running means of every size, as after a training."""
    torch.manual_seed(seed)
    network = build_network(settings, PointRepresentation())
    assert isinstance(network, PointNetwork)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias, std=0.5)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.3, 2.0)
    for weights in (network.last.weight, *(narrow.weight for narrow in network.narrow)):
        nn.init.normal_(weights)
    return network.eval()


def window_network(seed: int = 0, **settings: Any) -> WindowNetwork:
    torch.manual_seed(seed)
    network = build_network(WindowSettings(**settings))
    assert isinstance(network, WindowNetwork)
    return network.eval()


def points(n: int, m: int, seed: int = 0) -> Tensor:
    """Inputs of which a tenth is missing."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, CHANNELS, m, generator=generator)
    values[:, -1] = (torch.rand(n, m, generator=generator) > 0.1).float()
    return values * values[:, -1:]


def windows(n: int, seed: int = 0) -> Tensor:
    return 1 + torch.randn(n, 200, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------------------------------------------
# The published network


def test_the_published_network_has_its_published_number_of_weights() -> None:
    assert sum(weights.numel() for weights in window_network().parameters()) == 105_729


def test_the_window_network_computes_what_keras_would() -> None:
    """Written out in float64: kernels (taps, inputs, outputs), values (positions, channels), Flatten row by row."""
    network = window_network(filters=(3, 5), dense=4, initialisation="torch")

    def convolved(values: np.ndarray, layer: nn.Conv1d) -> np.ndarray:
        kernel = layer.weight.detach().double().numpy().transpose(2, 1, 0)
        bias = layer.bias.detach().double().numpy()
        half = len(kernel) // 2
        padded = np.pad(values, ((half, half), (0, 0)))
        rows = [np.tensordot(padded[i : i + len(kernel)], kernel, 2) + bias for i in range(len(values))]
        return np.maximum(rows, 0).reshape(-1, 2, kernel.shape[2]).max(axis=1)

    batch = windows(4)
    for window, logit in zip(batch.double().numpy(), network(batch).detach().numpy(), strict=True):
        flat = convolved(convolved(window[:, None], network.first), network.second).ravel()
        dense, last = (
            (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy())
            for layer in (network.dense, network.last)
        )
        expected = last[0] @ np.maximum(dense[0] @ flat + dense[1], 0) + last[1]
        assert logit == pytest.approx(expected.item(), rel=1e-5, abs=1e-6)


def test_weights_begin_as_keras_draws_them() -> None:
    network = window_network()
    layers = {network.first: (7, 112), network.second: (48, 192), network.dense: (3200, 32), network.last: (32, 1)}
    for layer, fans in layers.items():
        bound = math.sqrt(6 / sum(fans))
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert not layer.bias.any()
    assert window_network(initialisation="torch").first.bias.any()


def test_dropout_is_for_training_alone() -> None:
    network, batch = window_network(), windows(8)
    assert torch.equal(network(batch), network(batch))
    network.train()
    assert not torch.equal(network(batch), network(batch))


# ---------------------------------------------------------------------------------------------------------------------
# Our network


def test_our_network_is_small_and_has_the_receptive_field_that_it_says() -> None:
    network = build_network(PointSettings(), PointRepresentation())
    assert isinstance(network, PointNetwork)
    assert 30_000 < sum(weights.numel() for weights in network.parameters()) < 60_000
    assert network.receptive_field == 328


@pytest.mark.parametrize("settings", [SMALL, PointSettings(filters=(3,)), PointSettings(filters=(2, 3), kernel=5)])
def test_the_receptive_field_is_exact(settings: PointSettings) -> None:
    """With weights above zero every change passes; the widest span over all places in a cell is the field."""
    network = points_network(settings).double()
    for name, value in network.named_parameters():
        if value.ndim > 1:
            nn.init.uniform_(value, 0.1, 1.0)
        else:
            nn.init.constant_(value, float("bias" not in name))
    for name, value in network.named_buffers():
        if "running" in name:
            value.fill_(float("var" in name))
    flat = torch.ones(1, CHANNELS, 160, dtype=torch.float64)
    changed = flat.repeat(160, 1, 1)
    changed[torch.arange(160), 0, torch.arange(160)] = 1000.0
    with torch.no_grad():
        felt = (network(changed) - network(flat)).abs() > 0  # which change (row) is felt at which cadence (column)
    spans = [int(np.ptp(np.flatnonzero(column))) + 1 for column in felt.numpy().T[48:112]]
    assert max(spans) == network.receptive_field


@pytest.mark.parametrize("m", [1, 15, 16, 17, 100, 333])
def test_an_orbit_of_any_length_gets_the_same_answers_whatever_is_appended_with_mask_zero(m: int) -> None:
    network, given = points_network(PointSettings()), points(2, m)
    with torch.no_grad():
        answers = network(given)
        longer = network(torch.cat([given, torch.zeros(2, CHANNELS, 77)], dim=2))
    assert answers.shape == (2, m)
    torch.testing.assert_close(longer[:, :m], answers, rtol=1e-4, atol=1e-4)


def test_what_stands_at_missing_cadences_does_not_matter_but_that_they_are_missing_does() -> None:
    network, given = points_network(), points(2, 120)
    missing = given[:, -1:] == 0
    garbage = torch.where(missing & (torch.arange(CHANNELS) < CHANNELS - 1)[:, None], 50.0, given)
    filled = given.clone()
    filled[:, -1] = 1.0
    with torch.no_grad():
        answers = network(given)
        torch.testing.assert_close(network(garbage), answers)
        assert (network(filled) - answers).abs().max() > 1e-3


def test_no_layer_sees_anything_at_missing_cadences() -> None:
    """Going down and coming up: a cell is missing where all of its cadences are."""
    network, given = points_network(), points(2, 128)
    given[:, :, 40:60] = 0.0
    seen: list[Tensor] = []
    for module in network.modules():
        if isinstance(module, nn.Conv1d) and module.kernel_size != (1,):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(given)
    assert len(seen) == 8
    for values in seen:
        missing = given[:, -1].unflatten(1, (values.shape[2], -1)).amax(dim=2) == 0
        assert not values.transpose(1, 2)[missing].any()
        assert missing.any() and values.transpose(1, 2)[~missing].any()


def test_answers_do_not_depend_on_the_batch() -> None:
    network, given = points_network(), points(5, 90)
    with torch.no_grad():
        alone = torch.cat([network(given[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(network(given), alone, rtol=1e-4, atol=1e-5)
    assert alone.std() > 0.1


def test_flares_are_rare_to_an_untrained_network() -> None:
    p = torch.sigmoid(build_network(PointSettings(), PointRepresentation()).eval()(points(2, 500)))
    assert 0.003 < p.median() < 0.03


# ---------------------------------------------------------------------------------------------------------------------
# Losses


def test_the_loss_of_points_is_cross_entropy_and_dice_of_what_counts() -> None:
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=(3, 50)), rng.integers(0, 2, (3, 50)).astype(float)
    weight = rng.choice([0.0, 0.5, 1.0], (3, 50))
    p = 1 / (1 + np.exp(-logits))
    cross_entropy = -np.average(label * np.log(p) + (1 - label) * np.log(1 - p), weights=weight)
    dice = 1 - (2 * np.sum(weight * p * label) + 1) / (np.sum(weight * (p + label)) + 1)
    given = torch.tensor(logits), torch.tensor(np.stack([label, weight], axis=1))
    for amount in (0.0, 1.0, 2.5):
        assert point_loss(*given, amount).item() == pytest.approx(cross_entropy + amount * dice)
        loss = make_loss(PointSettings(dice=amount))
        assert loss(*given).item() == pytest.approx(cross_entropy + amount * dice)


def test_cadences_without_weight_have_no_part_in_the_loss() -> None:
    logits = torch.randn(2, 30, requires_grad=True)
    targets = torch.ones(2, 2, 30)
    targets[:, 1, ::3] = 0.0
    targets[:, 0, ::3] = math.nan
    point_loss(logits, targets, 1.0).backward()
    assert not logits.grad[:, ::3].any()
    assert (logits.grad[:, 1::3] < 0).all()


@pytest.mark.parametrize("level", [-200.0, 0.0, 200.0])
def test_the_loss_is_finite_where_nothing_counts_or_nothing_flares(level: float) -> None:
    logits = torch.full((2, 30), level, requires_grad=True)
    nothing = torch.zeros(2, 2, 30)
    assert point_loss(logits, nothing, 1.0).item() == 0.0
    quiet = torch.stack([torch.zeros(2, 30), torch.ones(2, 30)], dim=1)
    point_loss(logits, quiet, 1.0).backward()
    assert torch.isfinite(logits.grad).all()


def test_the_loss_of_windows_is_cross_entropy() -> None:
    loss = make_loss(WindowSettings())(torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0]))
    assert loss.item() == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2)


def test_training_lowers_the_loss_of_either_network() -> None:
    torch.manual_seed(0)
    label = torch.zeros(4, 64)
    label[:, 20:30] = 1.0
    shown = points(4, 64)
    shown[:, 0] += 3 * label * shown[:, -1]
    cases: list[tuple[FlareNetwork, Any, Tensor, Tensor]] = [
        (
            build_network(SMALL, PointRepresentation()),
            make_loss(SMALL),
            shown,
            torch.stack([label, shown[:, -1]], dim=1),
        ),
        (window_network(), make_loss(WindowSettings()), windows(8), torch.tensor([0.0, 1.0] * 4)),
    ]
    for network, loss, inputs, targets in cases:
        network.train()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
        history = []
        for _ in range(40):
            optimiser.zero_grad()
            value = loss(network(inputs), targets)
            value.backward()
            optimiser.step()
            history.append(value.item())
        assert history[-1] < 0.5 * history[0]


# ---------------------------------------------------------------------------------------------------------------------
# Ensembles, calibration, export


def test_a_fused_network_answers_the_same_without_a_normalisation() -> None:
    torch.manual_seed(3)
    network = PointNetwork(SMALL, CHANNELS)
    points = torch.randn(4, CHANNELS, 90)
    points[:, -1] = (torch.rand(4, 90) > 0.2).float()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
    network(points)  # moves the running means and variances away from 0 and 1
    with torch.inference_mode():
        expected = network.eval()(points)
        fused = fuse(network)
        torch.testing.assert_close(fused(points), expected, rtol=1e-5, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in fused.modules())


def test_an_ensemble_averages_probabilities() -> None:
    networks = [points_network(seed=seed) for seed in range(3)]
    given = points(2, 70)
    with torch.no_grad():
        each = torch.stack([torch.sigmoid(network(given).double()) for network in networks])
        together = torch.sigmoid(Ensemble(networks)(given).double())
    torch.testing.assert_close(together, each.mean(dim=0), rtol=1e-5, atol=1e-7)
    assert (each[0] - each[1]).abs().max() > 0.01, "members that agree prove nothing"


def test_a_mean_of_sure_members_stays_finite() -> None:
    logits = torch.tensor([[200.0, -200.0, 0.0], [200.0, -200.0, 0.0], [-200.0, -200.0, 1.0]])
    mean = mean_logit(logits)
    assert mean[0].item() == pytest.approx(math.log(2), rel=1e-5)  # two of three
    assert mean[1].item() == pytest.approx(-200.0)
    assert torch.sigmoid(mean[2]).item() == pytest.approx((1 + 1 / (1 + math.exp(-1))) / 3)


def test_calibration_acts_on_the_logit_and_what_is_missing_has_no_probability() -> None:
    network, given = points_network(), points(2, 50)
    with torch.no_grad():
        logits = network(given)
        p = CalibratedFlareNetwork(network, 0.7, -0.4)(given)
    seen = given[:, -1] > 0
    torch.testing.assert_close(p[seen], torch.sigmoid(0.7 * logits - 0.4)[seen])
    assert torch.isnan(p[~seen]).all() and (~seen).any()
    inner, batch = window_network(), windows(3)
    with torch.no_grad():
        torch.testing.assert_close(
            CalibratedFlareNetwork(inner, 0.7, -0.4)(batch), torch.sigmoid(0.7 * inner(batch) - 0.4)
        )


@pytest.mark.parametrize("kind", ["points", "window"])
def test_what_is_served_can_be_exported_for_any_batch_and_any_length(kind: str) -> None:
    """And written as pt2."""
    members: list[FlareNetwork]
    if kind == "points":
        members, shapes = [points_network(SMALL)], ((1, 5), (3, 400), (2, 1001))
        make: Any = points
    else:
        members, shapes = [window_network(seed) for seed in range(2)], ((1,), (2,), (9,))
        make = windows
    served = CalibratedFlareNetwork(Ensemble(members), 0.8, 0.3).eval()
    dynamic: dict[int, Any] = {0: torch.export.Dim("batch")}
    if kind == "points":
        dynamic[2] = torch.export.Dim("cadences", min=5)
    example = make(2, 250) if kind == "points" else make(2)
    file = io.BytesIO()
    torch.export.save(torch.export.export(served, (example,), dynamic_shapes=(dynamic,)), file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    with torch.no_grad():
        for shape in shapes:
            given = make(*shape, seed=3)
            torch.testing.assert_close(loaded(given), served(given), rtol=1e-4, atol=1e-6, equal_nan=True)


# ---------------------------------------------------------------------------------------------------------------------
# Settings


@pytest.mark.parametrize("settings", [WindowSettings(dense=8), SMALL])
def test_settings_survive_json_and_build_the_network_again(settings: WindowSettings | PointSettings) -> None:
    again = network_settings_of(json.loads(settings.model_dump_json()), "model.json")
    assert again == settings
    representation = None if isinstance(settings, WindowSettings) else PointRepresentation()
    weights = build_network(settings, representation).state_dict()
    build_network(again, representation).load_state_dict(weights)


def test_settings_that_mean_nothing_are_refused() -> None:
    for values, sentence in (
        ({"trunk": "points", "kernel": 4}, "x: kernel must be odd"),
        ({"trunk": "points", "dense": 4}, "x: key 'dense' does not exist"),
        ({"trunk": "image"}, r"x: 'trunk' must be one of window, points \(got 'image'\)"),
        ({}, r"x: 'trunk' must be one of window, points \(got None\)"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            network_settings_of(values, "x")
    with pytest.raises(ConfigError, match="takes no representation"):
        build_network(WindowSettings(), PointRepresentation())
    with pytest.raises(ConfigError, match="needs a representation"):
        build_network(PointSettings())
