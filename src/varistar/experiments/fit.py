"""Fitting a network with Lightning: one loop for every wing, resumable to the bit.

Batches, dropout and shuffling depend on (seed, epoch) alone, so a run that was killed and resumed from its last
checkpoint ends with the same weights as one that was not.
"""

import logging
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor, nn

from varistar.foundation.accelerator import Accelerator, choose_device

from .fit_settings import FitSettings

Metrics = dict[str, float]
OnEpoch = Callable[[int, Metrics], None]


class Examples(Protocol):
    """Inputs on disk or in memory, gathered by row, with their targets."""

    targets: NDArray[np.float32]

    def __len__(self) -> int: ...

    def gather(self, rows: NDArray[np.int64]) -> NDArray: ...


@dataclass(frozen=True)
class Fit:
    """The outcome of a fit: the weights of the best epoch, and each epoch's metrics."""

    weights: dict[str, Tensor]
    best_epoch: int
    history: list[Metrics]


def fit(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    score: Callable[[Tensor, Tensor], Metrics],
    train: Examples,
    validation: Examples,
    settings: FitSettings,
    checkpoints: Path,
    on_epoch: OnEpoch | None = None,
    accelerator: Accelerator = "auto",
) -> Fit:
    """Train `network` and return the weights of the epoch with the lowest validation loss.

    Parameters
    ----------
    network : maps a batch of inputs to raw outputs.
    loss : mean loss of raw outputs against targets.
    score : further metrics of the raw outputs of the whole validation set.
    checkpoints : folder that holds `last.ckpt` while the fit is under way; if it is there, the fit goes on from it. The
        folder is removed at the end.
    on_epoch : called after each epoch with its number, from 0, and its metrics; called again for no epoch on resuming.
    accelerator : on CUDA the network computes in mixed precision (bfloat16 beside float32), the loss in float32, and
        results are equal to the bit only as far as the device's kernels are deterministic.
    """
    on_cuda = choose_device(accelerator).type == "cuda"
    _quiet()
    torch.set_num_threads(settings.threads)
    # Inputs and loaders are made anew in each epoch, so that order and dropout follow from (seed, epoch).
    recorder = _Recorder(on_epoch)
    stopping = _Stopping("validation_loss", patience=settings.patience)
    best = ModelCheckpoint(checkpoints, filename="best", monitor="validation_loss", enable_version_counter=False)
    # Not `save_last` of the above, which keeps the last epoch only if it was the best.
    every = ModelCheckpoint(checkpoints, filename="last", enable_version_counter=False)
    trainer = lightning.Trainer(
        max_epochs=settings.max_epochs,
        accelerator="cuda" if on_cuda else "cpu",
        devices=1,
        precision="bf16-mixed" if on_cuda or settings.precision == "mixed" else "32-true",
        deterministic="warn" if on_cuda else True,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[recorder, stopping, best, every],
    )
    module = _Module(network, loss, score, settings, steps=-(-len(train) // settings.batch_size))
    batches = _Batches(train, settings, module), _Batches(validation, settings, None)
    last = checkpoints / "last.ckpt"
    with _keyboard_interrupts():
        trainer.fit(module, *batches, ckpt_path=last if last.exists() else None)
    state = torch.load(best.best_model_path, weights_only=True, map_location="cpu")
    weights = {name.removeprefix("network."): value for name, value in state["state_dict"].items()}
    last.unlink()  # first, since a last epoch without its best one could not be resumed
    shutil.rmtree(checkpoints)
    return Fit(weights, int(state["epoch"]), recorder.history)


class _Module(lightning.LightningModule):
    """Network, loss and optimiser, in Lightning's terms."""

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        score: Callable[[Tensor, Tensor], Metrics],
        settings: FitSettings,
        steps: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.score = score
        self.settings = settings
        self.steps = steps
        self.outputs: list[tuple[Tensor, Tensor]] = []

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(int(np.random.SeedSequence((self.settings.seed, self.current_epoch)).generate_state(1)[0]))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = batch
        loss = self.loss(self.network(inputs).float(), targets)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(inputs))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        inputs, targets = batch
        self.outputs.append((self.network(inputs).float(), targets))

    def on_validation_epoch_end(self) -> None:
        raw, targets = (torch.cat(parts) for parts in zip(*self.outputs, strict=True))
        self.outputs.clear()
        self.log("validation_loss", self.loss(raw, targets))
        self.log_dict({f"validation_{name}": value for name, value in self.score(raw, targets).items()})

    def configure_optimizers(self) -> Any:
        s = self.settings
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[s.optimizer]
        optimizer = kind(self.network.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
        if s.schedule == "constant":
            return optimizer
        if s.schedule == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.7, patience=3)
            # After the epoch's last batch: Lightning's own "epoch" comes after the checkpoint, which would miss it.
            when = {"monitor": "validation_loss", "interval": "step", "frequency": self.steps}
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, **when}}
        total = s.max_epochs * self.steps
        cycle: torch.optim.lr_scheduler.LRScheduler
        if s.schedule == "cosine":
            cycle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
        else:
            cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, s.learning_rate, total_steps=total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class _Batches:
    """Batches of (inputs, targets) as tensors, in an order that follows from (seed, epoch)."""

    def __init__(self, examples: Examples, settings: FitSettings, module: lightning.LightningModule | None) -> None:
        self.examples = examples
        self.settings = settings
        self.module = module

    def __len__(self) -> int:
        return -(-len(self.examples) // self.settings.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rows = np.arange(len(self.examples))
        if self.settings.shuffle and self.module is not None:
            # 1 keeps this stream apart from dropout's
            rows = np.random.default_rng((self.settings.seed, self.module.current_epoch, 1)).permutation(rows)
        for start in range(0, len(rows), self.settings.batch_size):
            batch = rows[start : start + self.settings.batch_size]
            yield torch.from_numpy(self.examples.gather(batch)), torch.from_numpy(self.examples.targets[batch])


class _Recorder(Callback):
    """Collects each epoch's metrics and the rate it began with, survives a checkpoint, and tells `on_epoch`."""

    def __init__(self, on_epoch: OnEpoch | None) -> None:
        self.on_epoch = on_epoch
        self.history: list[Metrics] = []
        self.learning_rate = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        metrics["learning_rate"] = self.learning_rate
        self.history.append(metrics)
        if self.on_epoch:
            self.on_epoch(trainer.current_epoch, metrics)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])


class _Stopping(EarlyStopping):
    """Early stopping that does not train on when it is resumed after its last epoch."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience


@contextmanager
def _keyboard_interrupts() -> Iterator[None]:
    """Keep Ctrl-C what it is: Lightning makes an exit of the first and ignores all that follow."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def _quiet() -> None:
    """Silence Lightning's tips and the hints that do not apply to small in-memory data."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory.*exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
