"""Measure the periods of light curves with a trained network: the one path that evaluation and prediction share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from varistar.experiments.content import Architecture, Metrics, ModelContent, ModelSpec, read_content
from varistar.experiments.ensemble import count_members
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import ConfigError, RegistryError
from varistar.foundation.settings import validate
from varistar.lightcurves.table import LightCurves
from varistar.surveys.definition import Survey, with_alias_ranges

from .heads import Answer
from .network import CalibratedNetwork, Ensemble, PeriodNetwork, build_network
from .preprocess import AnyRepresentation, preprocess, representation_of
from .variants import NetworkSettings

WING = "periods"
BATCH = 64  # larger ones leave the cache of a processor
CUDA_BATCH = 512  # as many stars as a piece of a prediction has
#: The numbers that calibration finds, and what stands for an uncalibrated network.
CALIBRATION = {"stretch": 1.0, "slope": 1.0, "offset": 0.0}


@dataclass(frozen=True)
class PeriodMeter:
    """A network with everything that it needs to measure light curves.

    Attributes
    ----------
    representation : how light curves become arrays.
    network : array to calibrated answer; in evaluation mode.
    survey : the survey it was trained for; its cuts apply to what is measured.
    device : where images are made, and where the network is.
    """

    representation: AnyRepresentation
    network: CalibratedNetwork
    survey: Survey
    device: torch.device

    @classmethod
    def of_content(cls, content: ModelContent, accelerator: Accelerator = "auto") -> Self:
        """Build the network of a model's content.

        Raises
        ------
        ConfigError
            When CUDA is asked for and there is none.
        RegistryError
            When the content is not a period network, or its weights do not fit its architecture.
        """
        spec = content.spec
        if spec.wing != WING:
            raise RegistryError(f"this model belongs to the wing '{spec.wing}', not to '{WING}'")
        try:
            representation = representation_of(spec.preprocessing.get("representation", {}), "representation")
            survey = validate(Survey, with_alias_ranges(spec.preprocessing.get("survey", {})), "survey")
            settings = validate(NetworkSettings, spec.architecture.settings, "architecture")
            network = _untrained(settings, representation, content.tensors)
        except ConfigError as error:
            raise RegistryError(f"model.json: {error}") from None
        try:
            network.load_state_dict(content.state_dict())
        except RuntimeError as error:
            mismatch = str(error).splitlines()[-1].strip()
            raise RegistryError(f"the weights do not fit the architecture: {mismatch}") from None
        calibrated = CalibratedNetwork(network, **_calibration(spec.calibration))
        device = choose_device(accelerator)
        return cls(representation, calibrated.eval().to(device), survey, device)

    @classmethod
    def of_folder(cls, folder: Path, accelerator: Accelerator = "auto") -> Self:
        """Build the network whose content stands in `folder`."""
        return cls.of_content(read_content(folder), accelerator)

    def arrays(self, lightcurves: LightCurves) -> NDArray[np.uint8]:
        """The network's input, shape (n, *representation.shape)."""
        return preprocess(lightcurves, self.representation, self.device.type)

    def measure(self, lightcurves: LightCurves, raw: Tensor | None = None) -> pl.DataFrame:
        """What the network says of n light curves that have passed the survey's cuts.

        `raw` spares making it again where it is at hand.

        Returns
        -------
        one row per star: `star_id`, the fields of `heads.Answer`, `fractional_uncertainty` (sigma / period) and
        `n_points`.
        """
        answers = self._calibrated(self.raw(self.arrays(lightcurves)) if raw is None else raw)
        columns = dict(zip(Answer._fields, answers.astype(np.float64).T, strict=True))
        columns["second_period"] = np.where(columns["second_p"] > 0, columns["second_period"], np.nan)
        return pl.DataFrame(
            {"star_id": pl.Series(list(lightcurves.star_id), dtype=pl.String)}
            | columns
            | {"fractional_uncertainty": columns["sigma"] / columns["period"], "n_points": lightcurves.n_points}
        )

    def answers(self, arrays: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answers, shape (n, fields of `Answer`), to arrays, shape (n, *representation.shape)."""
        return self._calibrated(self.raw(arrays))

    def raw(self, arrays: NDArray[np.uint8]) -> Tensor:
        """The head's raw output, before calibration."""
        return torch.from_numpy(self._in_batches(self._raw, arrays))

    def _calibrated(self, raw: Tensor) -> NDArray[np.float32]:
        return self._in_batches(self.network.answers, raw.numpy())

    def _raw(self, arrays: Tensor) -> Tensor:
        """The network in mixed precision on CUDA; what the head makes of its output is float32 everywhere."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.network.network(arrays).float()

    def _in_batches(self, function: Callable[[Tensor], Tensor], arrays: NDArray) -> NDArray[np.float32]:
        """`function` of the arrays in batches.

        The last batch is padded to the size of the others: matrix kernels may round differently for another batch size,
        and an answer must not depend on how many stars stand in its shard.
        """
        size = BATCH if self.device.type == "cpu" else CUDA_BATCH
        out = []
        with torch.inference_mode():
            for start in range(0, max(len(arrays), 1), size):
                batch = arrays[start : start + size]
                padded = np.zeros((size, *arrays.shape[1:]), dtype=arrays.dtype)
                padded[: len(batch)] = batch
                out.append(function(torch.from_numpy(padded).to(self.device)).cpu().numpy()[: len(batch)])
        return np.concatenate(out)


def _untrained(
    settings: NetworkSettings, representation: AnyRepresentation, tensors: Mapping[str, Any]
) -> PeriodNetwork:
    """The network that these tensors belong to: one, or an ensemble whose members they number."""
    members = count_members(tensors)
    if not members:
        return build_network(settings, representation)
    return Ensemble([build_network(settings, representation) for _ in range(members)])


def _calibration(given: Mapping[str, Any]) -> dict[str, float]:
    """The calibration of a model, with what an older or uncalibrated one lacks."""
    numbers = {name: given.get(name, default) for name, default in CALIBRATION.items()}
    for name, value in numbers.items():
        if not isinstance(value, float | int) or not np.isfinite(value):
            raise RegistryError(f"model.json: calibration: '{name}' must be a finite number, not {value!r}")
        if name != "offset" and not value > 0:
            raise RegistryError(f"model.json: calibration: '{name}' must be a positive number, not {value!r}")
    return {name: float(value) for name, value in numbers.items()}


def describe_model(
    network: NetworkSettings,
    representation: AnyRepresentation,
    survey: Survey,
    metrics: Metrics,
    training_data: dict[str, str],
    device: str = "cpu",
) -> ModelSpec:
    """The specification of an uncalibrated period network.

    `device`, `cpu` or `cuda`, is where the arrays were made that it learned from.
    """
    return ModelSpec(
        wing=WING,
        architecture=Architecture(name=network.trunk, settings=network.model_dump(mode="json")),
        preprocessing={
            "representation": representation.model_dump(mode="json"),
            "survey": survey.model_dump(mode="json"),
            "device": device,
        },
        calibration={},
        metrics=metrics,
        training_data=training_data,
    )


def served_network(content: ModelContent) -> tuple[torch.nn.Module, NDArray[np.uint8]]:
    """What the model registry packages: the calibrated network, and a batch of its input."""
    meter = PeriodMeter.of_content(content)
    rng = np.random.default_rng(0)
    # torch.export wants weights in their plain order
    network = meter.network.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network, rng.integers(0, 256, (2, *meter.representation.shape), dtype=np.uint8)
