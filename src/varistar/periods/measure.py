"""Measure the periods of light curves with a trained network: the one path that evaluation and prediction share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from varistar.experiments.content import Architecture, Metrics, ModelContent, ModelSpec, read_content
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import ConfigError, RegistryError
from varistar.foundation.settings import validate
from varistar.lightcurves.table import LightCurves
from varistar.surveys.definition import Survey, with_alias_ranges

from .network import CalibratedNetwork, PeriodNetwork
from .preprocess import preprocess
from .representation import Representation
from .variants import NetworkSettings

WING = "periods"
BATCH = 64  # larger ones leave the cache of a processor
CUDA_BATCH = 512  # as many stars as a piece of a prediction has


@dataclass(frozen=True)
class PeriodMeter:
    """A network with everything that it needs to measure light curves.

    Attributes
    ----------
    representation : how light curves become images.
    network : image to calibrated answer; in evaluation mode.
    survey : the survey it was trained for; its cuts apply to what is measured.
    device : where images are made, and where the network is.
    """

    representation: Representation
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
            representation = validate(Representation, spec.preprocessing.get("representation", {}), "representation")
            survey = validate(Survey, with_alias_ranges(spec.preprocessing.get("survey", {})), "survey")
            settings = validate(NetworkSettings, spec.architecture.settings, "architecture")
            network = PeriodNetwork(settings, representation.shape)
        except ConfigError as error:
            raise RegistryError(f"model.json: {error}") from None
        try:
            network.load_state_dict(content.state_dict())
        except RuntimeError as error:
            mismatch = str(error).splitlines()[-1].strip()
            raise RegistryError(f"the weights do not fit the architecture: {mismatch}") from None
        stretch = spec.calibration.get("stretch", 1.0)
        if not isinstance(stretch, float | int) or not stretch > 0:
            raise RegistryError(f"model.json: calibration: 'stretch' must be a positive number, not {stretch!r}")
        device = choose_device(accelerator)
        return cls(representation, CalibratedNetwork(network, float(stretch)).eval().to(device), survey, device)

    @classmethod
    def of_folder(cls, folder: Path, accelerator: Accelerator = "auto") -> Self:
        """Build the network whose content stands in `folder`."""
        return cls.of_content(read_content(folder), accelerator)

    def images(self, lightcurves: LightCurves) -> NDArray[np.uint8]:
        """The network's input, shape (n, 1, rows, columns)."""
        return preprocess(lightcurves, self.representation, self.device.type)[:, None]

    def measure(self, lightcurves: LightCurves, images: NDArray[np.uint8] | None = None) -> pl.DataFrame:
        """Period, uncertainty and confidence of n light curves that have passed the survey's cuts.

        `images` spares making them again where they are at hand.

        Returns
        -------
        one row per star: `star_id`, `period` [d], `sigma` [d], `fractional_uncertainty`, `p_within_10pct`, `n_points`.
        """
        answers = self.answers(self.images(lightcurves) if images is None else images)
        period, sigma, p = answers.astype(np.float64).T
        return pl.DataFrame(
            {
                "star_id": pl.Series(list(lightcurves.star_id), dtype=pl.String),
                "period": period,
                "sigma": sigma,
                "fractional_uncertainty": sigma / period,
                "p_within_10pct": p,
                "n_points": lightcurves.n_points,
            }
        )

    def answers(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answers, shape (n, 3), to images, shape (n, 1, rows, columns)."""
        head, stretch = self.network.network.head, self.network.stretch
        return self._in_batches(lambda batch: torch.stack(head.answer(self._raw(batch), stretch), dim=1), images)

    def raw(self, images: NDArray[np.uint8]) -> Tensor:
        """The head's raw output, before calibration."""
        return torch.from_numpy(self._in_batches(self._raw, images))

    def _raw(self, images: Tensor) -> Tensor:
        """The network in mixed precision on CUDA; what the head makes of its output is float32 everywhere."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.network.network(images).float()

    def _in_batches(self, function: Callable[[Tensor], Tensor], images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`function` of the images in batches.

        The last batch is padded to the size of the others: matrix kernels may round differently for another batch size,
        and an answer must not depend on how many stars stand in its shard.
        """
        size = BATCH if self.device.type == "cpu" else CUDA_BATCH
        out = []
        with torch.inference_mode():
            for start in range(0, max(len(images), 1), size):
                batch = images[start : start + size]
                padded = np.zeros((size, *images.shape[1:]), dtype=np.uint8)
                padded[: len(batch)] = batch
                out.append(function(torch.from_numpy(padded).to(self.device)).cpu().numpy()[: len(batch)])
        return np.concatenate(out)


def describe_model(
    network: NetworkSettings,
    representation: Representation,
    survey: Survey,
    metrics: Metrics,
    training_data: dict[str, str],
    device: str = "cpu",
) -> ModelSpec:
    """The specification of an uncalibrated period network.

    `device`, `cpu` or `cuda`, is where the images were made that it learned from.
    """
    return ModelSpec(
        wing=WING,
        architecture=Architecture(name="period_cnn", settings=network.model_dump(mode="json")),
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
    return network, rng.integers(0, 256, (2, 1, *meter.representation.shape), dtype=np.uint8)
