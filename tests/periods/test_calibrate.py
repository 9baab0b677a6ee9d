"""Widths that were wrong by a known factor are put right, for both heads."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from varistar.bulk.arrays import open_arrays
from varistar.experiments.content import WEIGHTS, ModelContent, read_content
from varistar.foundation.errors import DataError
from varistar.periods.calibrate import best_stretch, calibrate
from varistar.periods.measure import PeriodMeter
from varistar.periods.network import DistributionHead, Head, LaplaceHead
from varistar.periods.scores import interval_coverage
from varistar.periods.variants import NetworkSettings

N = 6_000
Overconfident = Callable[[float], tuple[Head, Tensor, Tensor]]


def laplace_by(factor: float, sigma: Any = "standard_deviation") -> tuple[Head, Tensor, Tensor]:
    """A Laplace head whose widths must be multiplied by `factor`: raw outputs and true periods."""
    rng = np.random.default_rng(1)
    head = LaplaceHead(NetworkSettings(sigma=sigma))
    raw = torch.from_numpy(rng.normal([0.5, -3.0], [0.3, 0.5], (N, 2)).astype(np.float32))
    period, scale = (head.unit * value.double().numpy() for value in head.positive(raw))
    return head, raw, torch.from_numpy(rng.laplace(period, factor * scale).astype(np.float32))


def distribution_by(factor: float) -> tuple[Head, Tensor, Tensor]:
    """A distribution head whose logits must be divided by `factor`."""
    rng = np.random.default_rng(2)
    head = DistributionHead(NetworkSettings(head="distribution", bins=40))
    centre, width = rng.uniform(5, 35, (N, 1)), rng.uniform(2, 6, (N, 1))
    logits = -0.5 * ((np.arange(40) - centre) / width) ** 2 + rng.normal(0, 0.3, (N, 40))
    p = np.exp(logits / factor)
    below = np.cumsum(p / p.sum(axis=1, keepdims=True), axis=1)
    drawn = (below < rng.random((N, 1))).sum(axis=1).clip(max=39)
    log_period = np.log(30) * (drawn + rng.random(N)) / 40
    return head, torch.from_numpy(logits.astype(np.float32)), torch.from_numpy(np.exp(log_period).astype(np.float32))


def laplace_scale_by(factor: float) -> tuple[Head, Tensor, Tensor]:
    return laplace_by(factor, "scale")


HEADS = [laplace_by, laplace_scale_by, distribution_by]


@pytest.mark.parametrize("overconfident", HEADS)
@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_a_known_factor_is_found_and_makes_intervals_honest(overconfident: Overconfident, factor: float) -> None:
    head, raw, truth = overconfident(factor)
    stretch = best_stretch(head, raw, truth)
    # the standard error of the Laplace factor is 1 / sqrt(N), 1.3%
    assert stretch == pytest.approx(factor, rel=0.04)
    covered = interval_coverage(head.cumulative(raw, torch.tensor(stretch), truth).numpy())
    before = interval_coverage(head.cumulative(raw, torch.ones(()), truth).numpy())
    for level, share in covered.items():
        # four standard errors of a fraction
        assert share == pytest.approx(float(level), abs=4 * math.sqrt(0.25 / N))
        if factor != 1:
            assert np.sign(before[level] - float(level)) == np.sign(1 - factor)


@pytest.mark.parametrize("overconfident", HEADS)
def test_no_other_stretch_is_likelier(overconfident: Overconfident) -> None:
    """Likelihood by way of the cumulative probability of a thin slice around each truth."""
    head, raw, truth = overconfident(1.7)
    raw, truth = raw.double(), truth.double().clamp(1.01, 29.7)
    for name, buffer in list(head.named_buffers()):
        setattr(head, name, buffer.double())

    def log_likelihood(stretch: float) -> float:
        sides = [head.cumulative(raw, torch.tensor(stretch), truth * (1 + step)) for step in (-1e-4, 1e-4)]
        return float(torch.log(sides[1] - sides[0] + 1e-300).mean())

    best = best_stretch(head, raw, truth)
    assert all(log_likelihood(best) > log_likelihood(best * other) for other in (0.8, 0.93, 1.07, 1.25))


def test_a_temperature_stays_within_reason() -> None:
    """Logits that are always wrong ask for an infinite temperature."""
    head, raw, truth = distribution_by(1.0)
    assert 0.1 <= best_stretch(head, -100 * raw, truth) <= 10.0


def test_calibration_changes_no_laplace_period_and_no_ranking() -> None:
    head, raw, _ = laplace_by(1.0)
    before, after = head.answer(raw, torch.ones(())), head.answer(raw, torch.tensor(3.0))
    assert torch.equal(before.period, after.period)
    torch.testing.assert_close(after.sigma, 3 * before.sigma)


# ---------------------------------------------------------------------------------------------------------------------
# A model's content

VARIANTS = {"clump-8-16-32": "clump-paper", "clump-log-distribution": "clump-log", "quasar-8-16-32": "quasar-paper"}


@pytest.fixture(params=VARIANTS)
def trained(request: pytest.FixtureRequest, project: Any) -> tuple[str, ModelContent, Path]:
    """A network's name, its content as training left it, and the images of its calibration split."""
    name = request.param
    return name, read_content(project.build / "networks" / name), project.build / "images" / VARIANTS[name]


def test_the_content_gets_its_calibration_and_nothing_else(trained: tuple[str, ModelContent, Path]) -> None:
    _, content, images = trained
    calibrated = calibrate(content, [images / "calibration"])
    arrays = open_arrays(images / "calibration")
    meter = PeriodMeter.of_content(content)
    raw = meter.raw(arrays.gather(np.arange(len(arrays)))[:, None])
    truth = torch.from_numpy(arrays.index["period_days"].to_numpy().astype(np.float32))
    assert calibrated.spec.calibration == {
        "stretch": best_stretch(meter.network.network.head, raw, truth),
        "examples": len(arrays),
    }
    assert calibrated.spec.model_copy(update={"calibration": {}}) == content.spec
    assert content.spec.calibration == {}
    assert calibrated.tensors.keys() == content.tensors.keys()
    for name in content.tensors:
        np.testing.assert_array_equal(calibrated.tensors[name], content.tensors[name])


def test_calibrating_again_gives_the_same(trained: tuple[str, ModelContent, Path]) -> None:
    _, content, images = trained
    once = calibrate(content, [images / "calibration"])
    assert calibrate(once, [images / "calibration"]).spec == once.spec


def test_the_stage_wrote_the_calibrated_content(trained: tuple[str, ModelContent, Path], project: Any) -> None:
    name, content, images = trained
    folder = project.build / "calibrated" / name
    assert read_content(folder).spec == calibrate(content, [images / "calibration"]).spec
    assert (folder / WEIGHTS).read_bytes() == (project.build / "networks" / name / WEIGHTS).read_bytes()


def test_several_sets_are_calibrated_on_together(trained: tuple[str, ModelContent, Path]) -> None:
    _, content, images = trained
    one, both = (
        calibrate(content, [images / split for split in splits]).spec.calibration
        for splits in (["calibration"], ["calibration", "validation"])
    )
    assert both["examples"] == one["examples"] + len(open_arrays(images / "validation"))


def test_an_empty_split_is_an_error_that_says_so(project: Any, tmp_path: Path) -> None:
    for name in ("index.parquet", "axes.json"):
        (tmp_path / "calibration").mkdir(exist_ok=True)
        source = project.build / "images/clump-paper/calibration" / name
        (tmp_path / "calibration" / name).write_bytes(source.read_bytes())
    index = open_arrays(project.build / "images/clump-paper/calibration").index
    index.clear().write_parquet(tmp_path / "calibration/index.parquet")
    with pytest.raises(DataError, match=r"calibration: the calibration split is empty; give it a fraction"):
        calibrate(read_content(project.build / "networks/clump-8-16-32"), [tmp_path / "calibration"])
