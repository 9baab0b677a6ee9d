"""Teach a trained network of points further, on stars whose flares people have labelled. Ours.

Each member learns for some epochs, with a tenth of the learning rate of its first training, from the stretches of the
labelled stars: several copies of each with flares injected anew, since there are few of them. Doubts among the labels
do not count (`labelled`), and the network's running means stay those of the simulated stars. The epoch of the lowest
loss on further injections into the same stars is taken. The threshold becomes the lowest that leaves as many events a
day in these stars upside down as the variant allows: no list says which events are false, and upside down all are.
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from varistar.experiments.content import ModelContent, content_hash, read_content, write_content
from varistar.experiments.ensemble import count_members
from varistar.experiments.fit import Metrics, fit
from varistar.experiments.splits import Split, SplitSettings
from varistar.experiments.tracking import run
from varistar.foundation.accelerator import Accelerator
from varistar.foundation.errors import ConfigError, DataError
from varistar.foundation.params import lookup, read_params, read_section
from varistar.foundation.settings import Settings

from .calibrate import lowest_threshold
from .draws import TrainingDraw
from .events import EventSettings, find_events
from .examples import ExampleSettings, StretchSettings, star_stretches
from .finder import FlareFinder, of_cadence
from .inject import flip, searched_days
from .known import KnownStar, at_cadence, read_known
from .labelled import require_labelled, version_of
from .matching import event_scores
from .network import Ensemble, FlareNetwork, build_network, make_loss
from .network_settings import network_settings_of
from .orbits import Array, Orbit
from .train import score_point_logits
from .variants import WING, FlareVariant, folder_of, read_variant, stage_of
from .verdict import SEED, match_known

#: The splits of labelled stars that are learned from; those of the test are kept to judge by.
TAUGHT: tuple[Split, ...] = ("train", "validation", "calibration")


class TuningSettings(Settings):
    """How a network is taught further.

    Attributes
    ----------
    epochs : at most.
    copies, held : how often the stars are learned from, each time with other injected flares, and how often they are
        looked at to choose the epoch.
    slower : share of the learning rate of the first training.
    seed : of the injected flares, apart from those that the network learned from before.
    """

    epochs: Annotated[int, Field(ge=1)] = 3
    copies: Annotated[int, Field(ge=1)] = 8
    held: Annotated[int, Field(ge=1)] = 2
    slower: Annotated[float, Field(gt=0)] = 0.1
    seed: int = 1988


class Tuned(NamedTuple):
    """The folder of the model, the stars it learned from, and `counted_f1` on those kept aside, before and after; None
    where none was."""

    folder: Path
    stars: int
    kept_aside: int
    before: float | None
    after: float | None


class Stretches:
    """Stretches in memory, as `fit` reads them."""

    def __init__(self, arrays: NDArray[np.float16]) -> None:
        self.arrays = arrays
        self.targets: NDArray[np.float32] = arrays[:, -2:].astype(np.float32)

    def __len__(self) -> int:
        return len(self.arrays)

    def gather(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What the network reads."""
        return self.arrays[rows][:, :-2].astype(np.float32)


def tune_trial(
    root: Path,
    name: str,
    labelled: Path,
    output: Path | None = None,
    model: Path | None = None,
    tuning: TuningSettings | None = None,
) -> Tuned:
    """Teach the model of variant `name` further, as one MLflow run, and write it to `output`.

    Parameters
    ----------
    labelled : folder, as `varistar label flares` writes it; its test stars (`flares.split`) are not learned from.
    output : by default `build/trials/<name>-tuned`.
    model : folder of the calibrated model to start from; by default the variant's own of the last rebuild.

    Raises
    ------
    ConfigError
        When variant or model do not exist or do not read points, or there is no number of false events to keep to.
    DataError
        When model or labelled light curves are not there, or all labelled stars are in the test.
    """
    variant = read_variant(root, name)
    if variant.network.trunk != "points" or variant.false_per_day is None:
        raise ConfigError(f"{name}: only a network of points whose threshold keeps to false_per_day is taught further")
    model = model or folder_of(root, name) / "calibrated" / name
    if not model.is_dir():
        raise DataError(f"{model}: no such model; make it with `dvc repro {stage_of(root, name, 'calibrate')}`")
    content = read_content(model)
    accelerator = lookup(read_params(root), "accelerator")
    finder = FlareFinder.of_content(content, accelerator)
    if finder.representation is None:
        raise ConfigError(f"{model}: a network of windows, where one of points was expected")
    splits = read_section(root, "flares.split", SplitSettings)
    stars, aside = (
        [star for split in chosen for star in read_known(require_labelled(labelled), finder.orbits, splits, split)]
        for chosen in (TAUGHT, ("test",))
    )
    if not stars:
        raise DataError(f"{labelled}: all labelled stars are in the test; flares.split must leave some to learn from")
    settings = read_section(root, "flares.examples", ExampleSettings).points
    tuning = tuning or TuningSettings()
    output, label = output or root / "build/trials" / f"{name}-tuned", f"{name}-tuned"
    tags = {"wing": WING, "variant": name, "labelled": version_of(labelled), "from": content_hash(model)}
    with run(root, WING, label, tags=tags) as tracked:
        tracked.parameters({"variant": variant.model_dump(mode="json")})
        steps = iter(range(10**6))
        checkpoints = output.with_name(f"{output.name}.checkpoints")
        key = _key((tags["from"], tags["labelled"]), (variant, splits, settings, tuning))
        tuned = fine_tune(
            content,
            stars,
            variant,
            settings,
            tuning,
            checkpoints / key,
            accelerator,
            lambda epoch, metrics: tracked.metrics(metrics, next(steps)),
        )
        data = tuned.spec.training_data | {"labelled": version_of(labelled)}
        tuned = replace(tuned, spec=tuned.spec.model_copy(update={"training_data": data}))
        tracked.tags({"weights": write_content(output, tuned)})
        shutil.rmtree(checkpoints)
    scores = [labelled_f1(one, aside) for one in (finder, FlareFinder.of_content(tuned, accelerator))]
    return Tuned(output, len(stars), len(aside), *scores)


def _key(hashes: Sequence[str], settings: Sequence[Settings]) -> str:
    """What makes this the same teaching, so that no other goes on from its checkpoints."""
    said = [*hashes, *(one.model_dump(mode="json") for one in settings)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def labelled_f1(finder: FlareFinder, stars: Sequence[KnownStar]) -> float | None:
    """`counted_f1` of the events that are found in labelled stars; None without stars, or where nothing counts."""
    if not stars:
        return None
    events = pl.concat([finder.find(star.star_id, star.orbits) for star in stars])
    return event_scores(match_known(events, pl.concat([star.labels for star in stars])), SEED)["counted_f1"]


def fine_tune(
    content: ModelContent,
    stars: Sequence[KnownStar],
    variant: FlareVariant,
    settings: StretchSettings,
    tuning: TuningSettings,
    scratch: Path,
    accelerator: Accelerator = "auto",
    on_epoch: Callable[[int, Metrics], None] | None = None,
) -> ModelContent:
    """The content with every member taught further on these stars, and a threshold found on them.

    Parameters
    ----------
    content : calibrated, of a network of points.
    settings : of the stretches; representation and cadences become the model's, and the injection's seed is replaced.
    scratch : folder that may be written to; what was interrupted with the same arguments goes on from there.
    on_epoch : is told each epoch's metrics, member after member.
    """
    finder = FlareFinder.of_content(content, accelerator)
    assert variant.false_per_day is not None
    own = {"representation": finder.representation, "cadences": tuple(sorted(finder.rules))}
    settings = settings.model_copy(update=own)
    train = make_stretches(stars, settings, range(tuning.copies), tuning.seed)
    held = make_stretches(stars, settings, range(tuning.copies, tuning.copies + tuning.held), tuning.seed)
    network = _unfused(content, finder)
    for number, part in enumerate(network.parts):
        taught = {
            "learning_rate": tuning.slower * variant.training.learning_rate,
            "schedule": "cosine",
            "max_epochs": tuning.epochs,
            "patience": tuning.epochs,
            "seed": variant.training.seed + number,
        }
        training = variant.training.model_copy(update=taught)
        _hold_statistics(part.train())
        loss, folder = make_loss(variant.network), scratch / str(number)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            done = fit(part, loss, score_point_logits, train, held, training, folder, on_epoch, accelerator)
        part.load_state_dict(done.weights)
    tensors = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    tuned = replace(content, tensors=tensors)
    tuned = replace(tuned, spec=content.spec.model_copy(update={"metrics": {}}))  # those of the first training
    return with_seeds(tuned, thresholds_upside_down(tuned, stars, variant.false_per_day, accelerator))


def thresholds_upside_down(
    content: ModelContent, stars: Sequence[KnownStar], per_day: float, accelerator: Accelerator = "auto"
) -> dict[str, float]:
    """Of each cadence that the network knows, the lowest threshold that leaves at most `per_day` events a day in these
    stars upside down, as it is served; by its key in a calibration."""
    finder = FlareFinder.of_content(_without_seeds(content), accelerator)
    found = {}
    for minutes, rule in finder.rules.items():
        turned = [flip(at_cadence(star, minutes).orbits) for star in stars]
        scored = [(orbits, finder.scores(orbits)) for orbits in turned]
        left = partial(_count_events, scored, rule.events)
        allowed = int(per_day * sum(searched_days(orbits) for orbits in turned))
        found[of_cadence("seed", minutes, list(finder.rules))] = lowest_threshold(left, allowed)
    return found


def _count_events(scored: Sequence[tuple[list[Orbit], list[Array]]], rule: EventSettings, seed: float) -> int:
    return sum(find_events(orbits, scores, rule.at(seed), "").height for orbits, scores in scored)


def with_seeds(content: ModelContent, seeds: dict[str, float]) -> ModelContent:
    """The content with these thresholds."""
    calibration: dict[str, Any] = content.spec.calibration | seeds
    return replace(content, spec=content.spec.model_copy(update={"calibration": calibration}))


def _without_seeds(content: ModelContent) -> ModelContent:
    """The content without thresholds: a rule at one of them no longer says how far it grows at others."""
    kept = {name: value for name, value in content.spec.calibration.items() if name.partition("@")[0] != "seed"}
    return replace(content, spec=content.spec.model_copy(update={"calibration": kept}))


def make_stretches(stars: Sequence[KnownStar], settings: StretchSettings, copies: range, seed: int) -> Stretches:
    """Stretches of all stars, once for each of `copies`, which with the seed say the flares that are injected."""
    found = []
    for star in stars:
        for number in copies:
            inject = settings.inject
            if isinstance(inject, TrainingDraw):
                inject = inject.model_copy(update={"seed": seed + number})
            once = settings.model_copy(update={"inject": inject})
            found.append(star_stretches(star.star_id, star.orbits, star.labels, once)[0])
    return Stretches(np.concatenate(found))


def _unfused(content: ModelContent, finder: FlareFinder) -> FlareNetwork:
    """The network as it was trained; what is served has no normalisation left."""
    settings = network_settings_of(content.spec.architecture.settings, "architecture")
    count = count_members(content.tensors)
    networks = [build_network(settings, finder.representation) for _ in range(max(count, 1))]
    network: FlareNetwork = Ensemble(networks) if count else networks[0]
    network.load_state_dict(content.state_dict())
    return network


def _hold_statistics(network: nn.Module) -> None:
    """Keep running means and variances as they are, and normalise by them: a few stars have others."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
