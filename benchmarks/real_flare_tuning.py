"""A network of points, trained on simulated stars, taught further by real ones, and asked of a star it never saw.

Everything is fixed in advance and nothing looks at the star that is scored: each member learns for `EPOCHS` epochs,
with a tenth of the learning rate of its first training, from stretches of the other labelled stars, `COPIES` of each
with flares injected anew. Where the network as it was finds a strong event that no label fits, the cadences do not
count, since lists are incomplete. The epoch of the lowest loss on `HELD` further injections into the same stars is
taken. The threshold is the lowest that leaves as many events a day in the other stars' light curves, upside down, as
the variant allows.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from real_flare_data import event_snr, left_over
from varistar.experiments.fit import fit
from varistar.flares.calibrate import SEEDS, threshold_for
from varistar.flares.draws import TrainingDraw
from varistar.flares.events import find_events
from varistar.flares.examples import StretchSettings, star_stretches
from varistar.flares.finder import FlareFinder
from varistar.flares.inject import flip, searched_days
from varistar.flares.known import KnownStar
from varistar.flares.network import CalibratedFlareNetwork, Ensemble, make_loss
from varistar.flares.train import score_point_logits
from varistar.flares.variants import FlareVariant

EPOCHS, COPIES, HELD = 3, 8, 2
SLOWER = 0.1
#: Of the injected flares, apart from those that the network learned from before.
SEED = 1988


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


def fine_tune(
    finder: FlareFinder, others: Sequence[KnownStar], variant: FlareVariant, settings: StretchSettings, scratch: Path
) -> FlareFinder:
    """The finder with every member trained further on these stars, and a threshold found on them.

    Parameters
    ----------
    finder : of a network of points.
    settings : of the stretches; their injection's seed is replaced.
    scratch : folder that may be written to.
    """
    train = make_stretches(finder, others, settings, range(COPIES))
    held = make_stretches(finder, others, settings, range(COPIES, COPIES + HELD))
    members = []
    for number, part in enumerate(finder.network.network.parts):
        training = variant.training.model_copy(
            update={
                "learning_rate": SLOWER * variant.training.learning_rate,
                "schedule": "cosine",
                "max_epochs": EPOCHS,
                "patience": EPOCHS,
                "seed": variant.training.seed + number,
            }
        )
        network = copy.deepcopy(part).train()
        loss = make_loss(variant.network)
        done = fit(network, loss, score_point_logits, train, held, training, scratch / str(number), accelerator="cpu")
        network.load_state_dict(done.weights)
        members.append(network)
    slope, offset = float(finder.network.slope), float(finder.network.offset)
    served = CalibratedFlareNetwork(Ensemble(members), slope, offset).eval()
    return with_threshold(replace(finder, network=served.to(finder.device)), others, variant)


def with_threshold(finder: FlareFinder, stars: Sequence[KnownStar], variant: FlareVariant) -> FlareFinder:
    """The finder with the threshold that these stars upside down ask for."""
    assert variant.false_per_day is not None
    low = finder.events.model_copy(update={"seed": SEEDS[0], "grow": SEEDS[0]})
    scores = []
    for star in stars:
        orbits = flip(star.orbits)
        scores.append(find_events(orbits, finder.scores(orbits), low, star.star_id)["p"].to_numpy())
    days = sum(searched_days(star.orbits) for star in stars)
    seed = threshold_for(np.concatenate(scores), days, variant.false_per_day)
    grow = min(finder.events.grow, seed)
    return replace(finder, events=finder.events.model_copy(update={"seed": seed, "grow": grow}))


def make_stretches(
    finder: FlareFinder, stars: Sequence[KnownStar], settings: StretchSettings, copies: range
) -> Stretches:
    """Stretches of all stars, once for each of `copies`, which seed the flares that are injected."""
    assert isinstance(settings.inject, TrainingDraw)
    found = []
    for star in stars:
        events = event_snr(finder.find(star.star_id, star.orbits), star.orbits)
        unlabelled = left_over(events, star.labels).select("orbit", "first", "last").rows()
        for number in copies:
            draw = settings.inject.model_copy(update={"seed": SEED + number})
            arrays, index = star_stretches(
                star.star_id, star.orbits, star.labels, settings.model_copy(update={"inject": draw})
            )
            for orbit, first, last in unlabelled:
                _leave_out(arrays, index.select("orbit", "first").rows(), orbit, first, last)
            found.append(arrays)
    return Stretches(np.concatenate(found))


def _leave_out(
    arrays: NDArray[np.float16], starts: Sequence[tuple[int, ...]], orbit: int, first: int, last: int
) -> None:
    """Give the cadences of an event no weight."""
    length = arrays.shape[2]
    for row, (own, start) in enumerate(starts):
        if own == orbit and start <= last and first < start + length:
            arrays[row, -1, max(first - start, 0) : last + 1 - start] = 0.0
