"""Measure the periods of light curves with a trained network: the one path that evaluation and prediction share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from varistar.experiments.content import Architecture, Metrics, ModelContent, ModelSpec, read_content
from varistar.foundation.errors import ConfigError, RegistryError
from varistar.foundation.settings import validate
from varistar.lightcurves.table import LightCurves
from varistar.surveys.definition import Survey

from .network import CalibratedNetwork, PeriodNetwork
from .representation import Representation, make_images
from .variants import NetworkSettings

WING = "periods"
BATCH = 64  # larger ones leave the cache


@dataclass(frozen=True)
class PeriodMeter:
    """A network with everything that it needs to measure light curves.

    Attributes
    ----------
    representation : how light curves become images.
    network : image to calibrated answer; in evaluation mode.
    survey : the survey it was trained for; its cuts apply to what is measured.
    """

    representation: Representation
    network: CalibratedNetwork
    survey: Survey

    @classmethod
    def of_content(cls, content: ModelContent) -> Self:
        """Build the network of a model's content.

        Raises
        ------
        RegistryError
            When the content is not a period network, or its weights do not fit its architecture.
        """
        spec = content.spec
        if spec.wing != WING:
            raise RegistryError(f"this model belongs to the wing '{spec.wing}', not to '{WING}'")
        try:
            representation = validate(Representation, spec.preprocessing.get("representation", {}), "representation")
            survey = validate(Survey, spec.preprocessing.get("survey", {}), "survey")
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
        return cls(representation, CalibratedNetwork(network, float(stretch)).eval(), survey)

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """Build the network whose content stands in `folder`."""
        return cls.of_content(read_content(folder))

    def images(self, lightcurves: LightCurves) -> NDArray[np.uint8]:
        """The network's input, shape (n, 1, rows, columns)."""
        return make_images(lightcurves, self.representation)[:, None]

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
        return run_batches(self.network, images)

    def raw(self, images: NDArray[np.uint8]) -> Tensor:
        """The head's raw output, before calibration."""
        return torch.from_numpy(run_batches(self.network.network, images))


def run_batches(network: torch.nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`network` of the images in batches, on the processor.

    The last batch is padded to the size of the others: matrix kernels may round differently for another batch size, and
    an answer must not depend on how many stars stand in its shard.
    """
    out = []
    with torch.inference_mode():
        for start in range(0, max(len(images), 1), BATCH):
            batch = images[start : start + BATCH]
            padded = np.zeros((BATCH, *images.shape[1:]), dtype=np.uint8)
            padded[: len(batch)] = batch
            out.append(network(torch.from_numpy(padded)).numpy()[: len(batch)])
    return np.concatenate(out)


def describe_model(
    network: NetworkSettings,
    representation: Representation,
    survey: Survey,
    metrics: Metrics,
    training_data: dict[str, str],
) -> ModelSpec:
    """The specification of an uncalibrated period network."""
    return ModelSpec(
        wing=WING,
        architecture=Architecture(name="period_cnn", settings=network.model_dump(mode="json")),
        preprocessing={
            "representation": representation.model_dump(mode="json"),
            "survey": survey.model_dump(mode="json"),
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
    network = meter.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network, rng.integers(0, 256, (2, 1, *meter.representation.shape), dtype=np.uint8)
