"""Widths and probabilities that were wrong by a known factor are put right, for both heads."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy import special
from torch import Tensor

from varistar.bulk.arrays import open_arrays
from varistar.experiments.calibration import SLOPES, honest_logit
from varistar.experiments.content import ModelContent, content_hash, read_content, write_content
from varistar.experiments.ensemble import gather_members
from varistar.foundation.errors import DataError
from varistar.periods.calibrate import best_stretch, calibrate
from varistar.periods.heads import DistributionHead, Head, LaplaceHead
from varistar.periods.measure import PeriodMeter
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


def test_stars_without_a_period_say_nothing_of_a_laplace_width() -> None:
    head, raw, truth = laplace_by(1.7)
    missing = truth.clone()
    missing[::3] = math.nan
    known = torch.isfinite(missing)
    assert best_stretch(head, raw, missing) == best_stretch(head, raw[known], truth[known])


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_stars_without_a_period_are_a_class_of_the_temperature(factor: float) -> None:
    """Where the head has one; otherwise they say nothing."""
    rng = np.random.default_rng(5)
    _, logits, truth = distribution_by(factor)
    none = torch.from_numpy(rng.normal(2, 2, (N, 1)).astype(np.float32))
    raw = torch.cat([logits, none], dim=1)
    p = torch.softmax(raw / factor, dim=1)[:, -1].numpy()
    truth = torch.where(torch.from_numpy(rng.random(N) < p), math.nan, truth)
    head = DistributionHead(NetworkSettings(head="distribution", bins=40, no_period=True))
    assert best_stretch(head, raw, truth) == pytest.approx(factor, rel=0.06)
    # of a star that has a period the class is wrong, and a network that is sure of it is not to be believed
    sure = torch.cat([logits, torch.full((N, 1), 30.0)], dim=1)
    assert best_stretch(head, sure, torch.nan_to_num(truth, nan=5.0)) > 3
    without, known = distribution_by(factor)[0], torch.isfinite(truth)
    assert best_stretch(without, logits, truth) == best_stretch(without, logits[known], truth[known])


# ---------------------------------------------------------------------------------------------------------------------
# The probability of being right


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (2.0, 1.0), (0.5, -1.5)])
def test_a_known_distortion_of_probabilities_is_undone(slope: float, offset: float) -> None:
    """Within four standard errors, by the inverse of the Fisher information."""
    rng = np.random.default_rng(8)
    x = rng.normal(-0.5, 1.5, 20_000)
    honest = special.expit(slope * x + offset)
    right = rng.random(len(x)) < honest
    found = np.array(honest_logit(special.expit(x), right))
    design = np.stack([x, np.ones_like(x)])
    errors = np.sqrt(np.diag(np.linalg.inv((design * honest * (1 - honest)) @ design.T)))
    assert (np.abs(found - [slope, offset]) < 4 * errors).all()
    calibrated = special.expit(found[0] * x + found[1])
    for some in np.array_split(np.argsort(calibrated), 8):
        assert right[some].mean() == pytest.approx(calibrated[some].mean(), abs=4 * math.sqrt(0.25 / len(some)))


def test_no_other_slope_and_offset_are_likelier() -> None:
    rng = np.random.default_rng(9)
    p, right = rng.uniform(0, 1, 300), rng.random(300) < 0.3

    def log_likelihood(slope: float, offset: float) -> float:
        honest = special.expit(slope * special.logit(p) + offset)
        return float(np.where(right, np.log(honest), np.log1p(-honest)).sum())

    steep = special.logit(p) + rng.logistic(size=300) > 0
    right = right | steep
    slope, offset = honest_logit(p, right)
    assert SLOPES[0] < slope < SLOPES[1]
    for other in ((1.02, 0), (0.98, 0), (1, 0.02), (1, -0.02)):
        assert log_likelihood(slope, offset) > log_likelihood(slope * other[0], offset + other[1])


def test_a_split_that_cannot_tell_changes_nothing() -> None:
    p = np.linspace(0.1, 0.9, 7)
    for right in (np.ones(7, bool), np.zeros(7, bool)):
        assert honest_logit(p, right) == (1.0, 0.0)
    assert honest_logit(p[:0], np.zeros(0, bool)) == (1.0, 0.0)


def test_slopes_stay_within_reason() -> None:
    """Probabilities that sort perfectly ask for an infinite slope, those that sort wrongly for a negative one."""
    p = np.array([0.0, 0.2, 0.3, 0.6, 0.7, 1.0])
    right = p > 0.5
    steep, flat = honest_logit(p, right), honest_logit(p, ~right)
    assert (steep[0], flat[0]) == SLOPES[::-1]
    assert np.isfinite([*steep, *flat]).all()


# ---------------------------------------------------------------------------------------------------------------------
# A variant's members


@pytest.fixture
def members(project: Any) -> Path:
    return project.build / "networks/period-axis"


def test_the_model_of_members_is_the_first_or_all_of_them(members: Path) -> None:
    each = [read_content(members / str(number)) for number in range(2)]
    first, together = gather_members(members, ensemble=False), gather_members(members, ensemble=True)
    assert first.spec == each[0].spec and first.tensors.keys() == each[0].tensors.keys()
    expected = {f"members.{i}.{name}": tensor for i in range(2) for name, tensor in each[i].tensors.items()}
    assert together.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(together.tensors[name], tensor)
    both = PeriodMeter.of_content(together)
    assert len(both.network.network.members) == 2


def test_the_metrics_of_an_ensemble_are_the_mean_of_its_members(members: Path, tmp_path: Path) -> None:
    """Zero is a number like others, and what is undefined for one is undefined."""
    first = read_content(members / "0")
    values = {"within": (0.0, 0.3, 0.6), "coverage": (None, 0.5, 0.1), "loss": (3.0, 2.0, 2.5)}
    for i in range(3):
        metrics = {name: given[i] for name, given in values.items()}
        spec = first.spec.model_copy(update={"metrics": metrics})
        write_content(tmp_path / "networks" / str(i), ModelContent(spec, first.tensors))
    assert gather_members(tmp_path / "networks", True).spec.metrics == {"within": 0.3, "coverage": None, "loss": 2.5}
    write_content(tmp_path / "whole", gather_members(tmp_path / "networks", True))


def test_members_are_in_the_order_of_their_numbers(members: Path, tmp_path: Path) -> None:
    """The tenth after the ninth."""
    first = read_content(members / "0")
    for i in range(11):
        write_content(tmp_path / str(i), ModelContent(first.spec, {"number": np.array([i])}))
    together = gather_members(tmp_path, True)
    assert all(int(together.tensors[f"members.{i}.number"][0]) == i for i in range(11))


# ---------------------------------------------------------------------------------------------------------------------
# A model's content

VARIANTS = {"clump-8-16-32": "clump-paper", "period-axis": "broad-statistics"}


@pytest.fixture(params=VARIANTS)
def trained(request: pytest.FixtureRequest, project: Any) -> tuple[str, ModelContent, Path]:
    """A variant's name, its content as training left it, and the images of its calibration split."""
    name = request.param
    content = gather_members(project.build / "networks" / name, name == "period-axis")
    return name, content, project.build / "images" / VARIANTS[name]


def test_the_content_gets_its_calibration_and_nothing_else(trained: tuple[str, ModelContent, Path]) -> None:
    _, content, images = trained
    calibrated = calibrate(content, [images / "calibration"])
    arrays = open_arrays(images / "calibration")
    meter = PeriodMeter.of_content(content)
    raw = meter.raw(arrays.gather(np.arange(len(arrays))))
    truth = torch.tensor([math.nan if p is None else p for p in arrays.index["period_days"]], dtype=torch.float32)
    head = meter.network.network.head
    stretch = best_stretch(head, raw, truth)
    answer = head.answer(raw, torch.tensor(stretch))
    # a star without a period is not right, whatever it is given
    right = np.array([bool(abs(p - t) <= 0.1 * t) for p, t in zip(answer.period, truth, strict=True)])
    assert not right[truth.isnan().numpy()].any() and truth.isnan().any()
    slope, offset = honest_logit(answer.p_within_10pct.numpy(), right)
    assert calibrated.spec.calibration == {
        "stretch": stretch, "slope": slope, "offset": offset, "examples": len(arrays)
    }  # fmt: skip
    assert calibrated.spec.model_copy(update={"calibration": {}}) == content.spec
    assert content.spec.calibration == {}
    assert calibrated.tensors.keys() == content.tensors.keys()
    for name in content.tensors:
        np.testing.assert_array_equal(calibrated.tensors[name], content.tensors[name])


def test_calibrating_again_gives_the_same(trained: tuple[str, ModelContent, Path]) -> None:
    _, content, images = trained
    once = calibrate(content, [images / "calibration"])
    assert calibrate(once, [images / "calibration"]).spec == once.spec


def test_the_target_is_the_one_that_was_learned(project: Any) -> None:
    """Against the shown periods, here half of the others, other stars are right."""
    images = project.build / "images/clump-paper"
    content = gather_members(project.build / "networks/clump-8-16-32", False)
    equatorial, shown = (
        calibrate(content, [images / "calibration"], target=target).spec.calibration
        for target in ("period_days", "effective_period_days")
    )
    assert equatorial["stretch"] != shown["stretch"]


def test_the_stage_wrote_the_calibrated_content(
    trained: tuple[str, ModelContent, Path], project: Any, tmp_path: Path
) -> None:
    name, content, images = trained
    again = write_content(tmp_path / "again", calibrate(content, [images / "calibration"]))
    assert content_hash(project.build / "calibrated" / name) == again


def test_several_sets_are_calibrated_on_together(trained: tuple[str, ModelContent, Path]) -> None:
    _, content, images = trained
    one, both = (
        calibrate(content, [images / split for split in splits]).spec.calibration
        for splits in (["calibration"], ["calibration", "validation"])
    )
    assert both["examples"] == one["examples"] + len(open_arrays(images / "validation"))


@pytest.mark.parametrize("stars", ["none", "without a period"])
def test_an_empty_split_is_an_error_that_says_so(copied: Any, stars: str) -> None:
    folder = copied.build / "images/clump-paper/calibration"
    index = pl.read_parquet(folder / "index.parquet")
    without = index.clear() if stars == "none" else index.with_columns(period_days=pl.lit(None, pl.Float64))
    without.write_parquet(folder / "index.parquet")
    with pytest.raises(DataError, match=r"calibration: the calibration split is empty; give it a fraction"):
        calibrate(read_content(copied.build / "networks/clump-8-16-32/0"), [folder])
