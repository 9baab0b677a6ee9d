"""A fit gives the best epoch's weights, and the same ones however often it was interrupted."""

import math
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from varistar.experiments import fit as fit_module
from varistar.experiments.fit import Fit, Metrics, OnEpoch, fit
from varistar.experiments.fit_settings import FitSettings
from varistar.foundation.errors import ConfigError
from varistar.foundation.settings import validate

FAST = FitSettings(
    learning_rate=0.02, schedule="constant", batch_size=16, max_epochs=6, patience=50, shuffle=True, threads=1
)


@dataclass
class Memory:
    """Examples in memory that remember in which order they were asked for, and may fail at one request."""

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    fail_at: int = -1
    asked: list[list[int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.inputs)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if len(self.asked) == self.fail_at:
            raise RuntimeError("killed in the middle of an epoch")
        self.asked.append(rows.tolist())
        return self.inputs[rows]

    def epochs(self) -> list[list[int]]:
        """The order of the examples in each epoch."""
        order = [row for batch in self.asked for row in batch]
        return [order[start : start + len(self)] for start in range(0, len(order), len(self))]


def examples(n: int, seed: int, noise: float = 0.1) -> Memory:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 3)).astype(np.float32)
    targets = inputs @ np.float32([1.0, -2.0, 0.5]) + noise * rng.normal(size=n)
    return Memory(inputs, targets.astype(np.float32))


def squared_error(raw: Tensor, target: Tensor) -> Tensor:
    return ((raw[:, 0] - target) ** 2).mean()


def absolute_error(raw: Tensor, target: Tensor) -> Metrics:
    return {"absolute_error": float((raw[:, 0] - target).abs().mean())}


def without_slope(raw: Tensor, target: Tensor) -> Tensor:
    """A loss that never becomes better and moves no weight."""
    return 1.0 + 0.0 * raw.sum()


def small_network(dropout: float = 0.2) -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1))


@pytest.fixture(autouse=True)
def _as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit may leave nothing where it is started; threads and determinism are torch's own state."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Fit]:
    """Fit the small network to 70 examples, checked on 30."""

    def start(
        settings: FitSettings = FAST,
        *,
        train: Memory | None = None,
        network: nn.Module | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] = squared_error,
        on_epoch: OnEpoch | None = None,
        folder: str = "undisturbed",
    ) -> Fit:
        return fit(
            network or small_network(),
            loss,
            absolute_error,
            train or examples(70, seed=1),
            examples(30, seed=2),
            settings,
            tmp_path / "checkpoints" / folder,
            on_epoch,
        )

    return start


def same(a: Fit, b: Fit) -> None:
    assert a.history == b.history
    assert a.best_epoch == b.best_epoch
    assert a.weights.keys() == b.weights.keys()
    assert all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


def kill_after(epoch: int, error: type[BaseException] = RuntimeError) -> OnEpoch:
    def on_epoch(number: int, metrics: Metrics) -> None:
        if number == epoch:
            raise error("killed")

    return on_epoch


# ---------------------------------------------------------------------------------------------------------------------
# What a fit returns


def test_it_learns_and_returns_the_best_epoch(run: Callable[..., Fit]) -> None:
    # A step this large makes some later epochs worse than earlier ones.
    done = run(FAST.model_copy(update={"learning_rate": 0.3, "max_epochs": 12}))
    losses = [metrics["validation_loss"] for metrics in done.history]
    assert done.best_epoch == int(np.argmin(losses)) < len(losses) - 1
    validation = examples(30, seed=2)
    assert min(losses) < 0.3 * validation.targets.var()

    network = small_network()
    network.load_state_dict(done.weights)
    with torch.no_grad():
        raw = network.eval()(torch.from_numpy(validation.inputs))
    target = torch.from_numpy(validation.targets)
    assert done.history[done.best_epoch]["validation_loss"] == pytest.approx(
        float(squared_error(raw, target)), rel=1e-5
    )
    assert done.history[done.best_epoch]["validation_absolute_error"] == pytest.approx(
        absolute_error(raw, target)["absolute_error"], rel=1e-5
    )


def test_the_losses_are_means_over_all_examples(run: Callable[..., Fit]) -> None:
    """Also where the last batch is smaller than the others."""
    train = examples(70, seed=1)
    network = small_network(dropout=0.0)
    with torch.no_grad():
        expected = float(squared_error(network(torch.from_numpy(train.inputs)), torch.from_numpy(train.targets)))
    done = run(
        FAST.model_copy(update={"learning_rate": 1e-9, "max_epochs": 1, "batch_size": 32}), train=train, network=network
    )
    assert done.history[0]["train_loss"] == pytest.approx(expected, rel=1e-4)
    assert done.history[0].keys() == {
        "train_loss", "validation_loss", "validation_absolute_error", "learning_rate"
    }  # fmt: skip


def test_on_epoch_hears_each_epoch_once_and_in_order(run: Callable[..., Fit]) -> None:
    heard: list[tuple[int, Metrics]] = []
    done = run(on_epoch=lambda epoch, metrics: heard.append((epoch, metrics)))
    assert heard == list(enumerate(done.history))
    assert len(done.history) == FAST.max_epochs


def test_nothing_is_left_behind(run: Callable[..., Fit], tmp_path: Path) -> None:
    run()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "checkpoints" / "undisturbed").exists()


def test_training_stops_when_nothing_gets_better(run: Callable[..., Fit]) -> None:
    done = run(FAST.model_copy(update={"patience": 2, "max_epochs": 20}), loss=without_slope)
    assert (len(done.history), done.best_epoch) == (3, 0)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_optimizer_is_the_one_asked_for(run: Callable[..., Fit], optimizer: str) -> None:
    """Without a gradient, Adam's weight decay is one more gradient, AdamW's shrinks the weights by itself."""
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    settings = FAST.model_copy(
        update={"optimizer": optimizer, "weight_decay": 0.5, "learning_rate": 0.01, "max_epochs": 1, "batch_size": 70}
    )
    done = run(settings, network=network, loss=without_slope)
    for name, value in before.items():
        # Adam's first step has the size of the learning rate, whatever the gradient
        expected = value * (1 - 0.01 * 0.5) if optimizer == "adamw" else value - 0.01 * value.sign()
        torch.testing.assert_close(done.weights[name], expected, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Order


def test_without_shuffling_every_epoch_has_the_same_order(run: Callable[..., Fit]) -> None:
    train = examples(70, seed=1)
    run(FAST.model_copy(update={"shuffle": False, "max_epochs": 3}), train=train)
    assert train.epochs() == [list(range(70))] * 3
    assert [len(batch) for batch in train.asked[:5]] == [16, 16, 16, 16, 6]


def test_shuffling_is_a_new_order_in_each_epoch_that_follows_from_the_seed(run: Callable[..., Fit]) -> None:
    def orders(seed: int) -> list[list[int]]:
        train = examples(70, seed=1)
        run(FAST.model_copy(update={"seed": seed, "max_epochs": 3}), train=train)
        return train.epochs()

    first, again, other = orders(0), orders(0), orders(1)
    assert first == again
    assert all(sorted(order) == list(range(70)) for order in first)
    assert len({tuple(order) for order in [*first, *other]}) == 6


def test_the_result_follows_from_the_seed_and_not_from_the_global_generators(run: Callable[..., Fit]) -> None:
    def fitted(seed: int, state: int) -> Fit:
        network = small_network()
        torch.manual_seed(state)
        return run(FAST.model_copy(update={"seed": seed}), network=network)

    first = fitted(seed=0, state=11)
    same(first, fitted(seed=0, state=12))
    assert first.history != fitted(seed=1, state=11).history


# ---------------------------------------------------------------------------------------------------------------------
# Schedules


def test_plateau_lowers_the_rate_after_more_than_three_epochs_without_a_better_loss(run: Callable[..., Fit]) -> None:
    settings = FAST.model_copy(update={"schedule": "plateau", "learning_rate": 0.1, "max_epochs": 11})
    rates = [metrics["learning_rate"] for metrics in run(settings, loss=without_slope).history]
    # Epoch 0 is the best; 1, 2 and 3 are waited for, and after 4 it is enough.
    assert rates == pytest.approx([0.1] * 5 + [0.07] * 4 + [0.049] * 2)


def test_plateau_keeps_the_rate_while_the_loss_gets_better(run: Callable[..., Fit]) -> None:
    settings = FAST.model_copy(update={"schedule": "plateau", "learning_rate": 0.001, "max_epochs": 8})
    done = run(settings)
    losses = [metrics["validation_loss"] for metrics in done.history]
    assert losses == sorted(losses, reverse=True), "this training gets better in every epoch"
    assert {metrics["learning_rate"] for metrics in done.history} == {0.001}


def test_onecycle_rises_to_the_rate_and_falls_to_nothing_within_the_epochs(run: Callable[..., Fit]) -> None:
    settings = FAST.model_copy(
        update={"schedule": "onecycle", "learning_rate": 0.1, "max_epochs": 21, "batch_size": 70}
    )
    rates = [metrics["learning_rate"] for metrics in run(settings).history]
    # One batch an epoch. Three tenths of the way up from 1/25, then down to a 10,000th of where it began: cosines.
    top = 0.3 * 21 - 1
    steps = np.arange(21)
    up = 0.1 / 25 + (0.1 - 0.1 / 25) * (1 - np.cos(np.pi * steps / top)) / 2
    down = 0.1 / 25e4 + (0.1 - 0.1 / 25e4) * (1 + np.cos(np.pi * (steps - top) / (20 - top))) / 2
    assert rates == pytest.approx(np.where(steps <= top, up, down), rel=1e-6)


def test_cosine_falls_from_the_rate_to_nothing_within_the_epochs(run: Callable[..., Fit]) -> None:
    """By the batch: each epoch begins where the one before it ended."""
    settings = FAST.model_copy(update={"schedule": "cosine", "learning_rate": 0.1, "max_epochs": 8, "batch_size": 32})
    rates = [metrics["learning_rate"] for metrics in run(settings).history]
    steps = 3 * np.arange(8)  # 70 examples in batches of 32
    assert rates == pytest.approx(0.1 * (1 + np.cos(np.pi * steps / 24)) / 2, rel=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Precision


class Recording(nn.Linear):
    """A layer that remembers in which types it worked."""

    def __init__(self) -> None:
        super().__init__(3, 1)
        self.types: set[torch.dtype] = set()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        self.types.add(outputs.dtype)
        return outputs


@pytest.mark.parametrize(("precision", "inside"), [("float32", torch.float32), ("mixed", torch.bfloat16)])
def test_mixed_precision_is_the_networks_alone(run: Callable[..., Fit], precision: str, inside: torch.dtype) -> None:
    """Weights, loss and metrics stay float32."""
    network, seen = Recording(), set()

    def loss(raw: Tensor, target: Tensor) -> Tensor:
        seen.add(raw.dtype)
        return squared_error(raw, target)

    done = run(FAST.model_copy(update={"precision": precision, "max_epochs": 2}), network=network, loss=loss)
    assert network.types == {inside}
    assert seen == {torch.float32}
    assert {value.dtype for value in done.weights.values()} == {torch.float32}


def test_mixed_precision_learns_about_the_same(run: Callable[..., Fit]) -> None:
    """bfloat16 has eight bits: a relative error of 2^-8 in a product, and not the same bits."""
    plain, mixed = (
        run(FAST.model_copy(update={"precision": precision, "max_epochs": 12}), network=small_network(dropout=0.0))
        for precision in ("float32", "mixed")
    )
    losses = [done.history[done.best_epoch]["validation_loss"] for done in (plain, mixed)]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[0] != losses[1]


def test_a_resumed_fit_in_mixed_precision_ends_like_an_undisturbed_one(run: Callable[..., Fit]) -> None:
    settings = FAST.model_copy(update={"precision": "mixed", "schedule": "cosine"})
    undisturbed = run(settings)
    with pytest.raises(RuntimeError, match="killed"):
        run(settings, on_epoch=kill_after(2), folder="killed")
    same(run(settings, folder="killed"), undisturbed)


# ---------------------------------------------------------------------------------------------------------------------
# Interruptions


@pytest.mark.parametrize("schedule", ["plateau", "onecycle", "cosine", "constant"])
@pytest.mark.parametrize("epoch", [0, 4, 5, 8])
def test_a_resumed_fit_ends_like_an_undisturbed_one(run: Callable[..., Fit], schedule: str, epoch: int) -> None:
    """To the bit, with dropout and shuffling, and across the epochs at which the plateau lowers the rate."""
    settings = FAST.model_copy(update={"schedule": schedule, "max_epochs": 10, "learning_rate": 0.1})
    # What is mostly noise is soon learned by heart, and the validation loss rises.
    undisturbed = run(settings, train=examples(70, seed=1, noise=20))
    with pytest.raises(RuntimeError, match="killed"):
        run(settings, train=examples(70, seed=1, noise=20), on_epoch=kill_after(epoch), folder="killed")
    same(run(settings, train=examples(70, seed=1, noise=20), folder="killed"), undisturbed)
    if schedule == "plateau":
        rates = [metrics["learning_rate"] for metrics in undisturbed.history]
        assert rates[4] > rates[9], f"the plateau was not reached: {undisturbed.history}"


def test_a_fit_that_was_killed_again_and_again_ends_like_an_undisturbed_one(run: Callable[..., Fit]) -> None:
    settings = FAST.model_copy(update={"schedule": "plateau", "max_epochs": 12})
    undisturbed = run(settings, loss=without_slope)
    for epoch in range(1, 12):
        with pytest.raises(RuntimeError, match="killed"):
            run(settings, loss=without_slope, on_epoch=kill_after(epoch), folder="killed")
    same(run(settings, loss=without_slope, folder="killed"), undisturbed)


@pytest.mark.parametrize("loss", [squared_error, without_slope])
def test_a_fit_killed_within_an_epoch_repeats_that_epoch_alone(
    run: Callable[..., Fit], loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Whether the epochs before it were the best ones or not."""
    undisturbed = run(loss=loss)
    heard: list[int] = []
    train = examples(70, seed=1)
    train.fail_at = 2 * 5 + 2  # the third batch of epoch 2
    with pytest.raises(RuntimeError, match="in the middle of an epoch"):
        run(loss=loss, train=train, on_epoch=lambda epoch, metrics: heard.append(epoch), folder="killed")
    assert heard == [0, 1]
    again = examples(70, seed=1)
    resumed = run(loss=loss, train=again, on_epoch=lambda epoch, metrics: heard.append(epoch), folder="killed")
    assert heard == list(range(FAST.max_epochs))
    assert len(again.epochs()) == FAST.max_epochs - 2
    same(resumed, undisturbed)


@pytest.mark.parametrize("loss", [squared_error, without_slope])
def test_a_fit_killed_after_its_last_epoch_is_not_trained_further(
    run: Callable[..., Fit], monkeypatch: pytest.MonkeyPatch, loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Neither one that reached its last epoch nor one that was stopped because nothing got better."""
    settings = FAST.model_copy(update={"patience": 2})
    undisturbed = run(settings, loss=loss)

    def killed(*args: object, **kwargs: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(fit_module.torch, "load", killed)
        run(settings, loss=loss, folder="killed")
    train = examples(70, seed=1)
    same(run(settings, loss=loss, train=train, folder="killed"), undisturbed)
    assert train.asked == []


def test_a_fit_killed_while_it_cleaned_up_can_be_run_again(
    run: Callable[..., Fit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run()

    def remove_one_file(folder: Path, *args: object, **kwargs: object) -> None:
        (folder / "best.ckpt").unlink()
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(fit_module.shutil, "rmtree", remove_one_file)
        run(folder="killed")
    same(run(folder="killed"), undisturbed)
    assert not (tmp_path / "checkpoints" / "killed").exists()


def test_an_interruption_from_the_keyboard_stays_one(run: Callable[..., Fit]) -> None:
    """The caller can clean up, the next Ctrl-C counts again, and the fit can be resumed."""
    undisturbed = run()
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(on_epoch=kill_after(2, KeyboardInterrupt), folder="killed")
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, before)
    same(run(folder="killed"), undisturbed)


# ---------------------------------------------------------------------------------------------------------------------
# Settings


def test_the_defaults_are_the_papers() -> None:
    paper = FitSettings()
    assert (paper.optimizer, paper.learning_rate, paper.weight_decay) == ("adam", 1e-5, 0.0)
    assert (paper.batch_size, paper.max_epochs, paper.patience) == (100, 500, 20)
    assert (paper.schedule, paper.shuffle, paper.precision) == ("plateau", False, "float32")


@pytest.mark.parametrize(
    ("key", "value"),
    [("learning_rate", 0), ("batch_size", 0), ("max_epochs", 0), ("patience", 0), ("threads", 0), ("schedule", "step"),
     ("precision", "bfloat16"),
     ("weight_decay", -1), ("optimiser", "adam"), ("learning_rate", math.nan)],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^params\.yaml: .*'{key}'"):
        validate(FitSettings, {key: value}, "params.yaml")
