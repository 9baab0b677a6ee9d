"""The light of the sky's spotted stars, scaled so that it changes in a turn as much as a star of its kind is to.

The spot model is linear in the spots' size, so a star is simulated once, measured, and scaled; its period, shape and
history are those of its prior.
"""

from dataclasses import dataclass, replace

import numpy as np

from varistar.physics.dimming import effective_period_of, flux_of
from varistar.physics.spot_prior import SpotPrior, draw_spot_parameters
from varistar.physics.spots import SpotSimulation, View, draw_view

from .ephemeris import Array
from .population import SpotsKind

#: The paper's Table 1; spots that live for days whatever the rotation, on a star with the Sun's kind of shear; and few,
#: large and long-lived spots on a star that turns almost rigidly. Period and inclination are the star's own.
PRIORS: dict[SpotsKind, SpotPrior] = {
    "paper": SpotPrior(),
    "independent": SpotPrior(
        activity=(0.1, 1.0),
        spot_lifetime=(10.0, 316.0),
        spot_lifetime_unit="days",
        shear=(0.05, 0.3),
        shear_weights=(1.0, 0.0, 0.0),
    ),
    "stable": SpotPrior(
        activity=(0.02, 0.1),
        cycle_period=(5.0, 30.0),
        min_latitude=(0.0, 20.0),
        max_latitude=45.0,
        spot_lifetime=(300.0, 900.0),
        spot_lifetime_unit="days",
        shear=(0.005, 0.05),
        shear_weights=(0.7, 0.3, 0.0),
    ),
}
#: The signal is probed in so many windows, each of two turns with so many samples.
WINDOWS = 12
SAMPLES = 32
#: The range in a turn is taken as at least this share of the deepest dimming, so that a star seen from its pole is not
#: made to vary by its activity cycle instead; and the deepest dimming is at most this flux.
SMALLEST_SHARE = 0.08
DEEPEST = 0.5


@dataclass(frozen=True)
class SpottedLight:
    """Flux at the epochs in units of the unspotted star's, shape (m,); the period it shows [d]; its harmonics, (4,)."""

    flux: Array
    shown_period: float
    harmonics: Array


def spotted_light(
    rng: np.random.Generator, spots: SpotsKind, period_days: float, inclination: float, wanted: float, time: Array
) -> SpottedLight:
    """A spotted star at ascending `time` [d], shape (m,), whose 5-95 percentile range is `wanted` in a median turn.

    Two cycles of the long-lived spots overlap by half, which keeps their activity constant (sin^2 + cos^2).
    """
    prior = PRIORS[spots].model_copy(update={"period": (period_days, period_days)})
    parameters = replace(draw_spot_parameters(prior, rng), inclination=inclination)
    if spots == "stable":
        parameters = replace(parameters, cycle_overlap=parameters.cycle_period)
    view = draw_view(parameters, time, float(time[0]), rng, SpotSimulation())
    dimming = 1.0 - flux_of(view.spots, view.time)
    shown = effective_period_of(view.spots, view.window_start, view.window_stop)
    turns = _turns(view, shown if np.isfinite(shown) else period_days)
    ranges = np.subtract(*np.percentile(turns, [95, 5], axis=1))
    deepest = max(float(dimming.max()), float(turns.max()), 1e-12)
    scale = min(wanted / max(float(np.median(ranges)), SMALLEST_SHARE * deepest), DEEPEST / deepest)
    return SpottedLight(1.0 - scale * dimming, shown, _harmonics(turns))


def _turns(view: View, period: float) -> Array:
    """Dimming over two turns of `period` in windows spread evenly over the observed time, shape (WINDOWS, SAMPLES)."""
    starts = np.linspace(view.window_start, view.window_stop - 2.0 * period, WINDOWS)
    offsets = 2.0 * period * np.arange(SAMPLES) / SAMPLES
    time = starts[:, None] + offsets
    return 1.0 - flux_of(view.spots, time.ravel()).reshape(time.shape)


def _harmonics(turns: Array) -> Array:
    """Amplitudes of the first four harmonics, in units of the strongest, each the quadratic mean over the windows."""
    amplitudes = np.sqrt(np.mean(np.abs(np.fft.rfft(turns, axis=1)[:, 2:9:2]) ** 2, axis=0))
    return amplitudes / amplitudes.max() if amplitudes.max() > 0 else np.full(4, np.nan)
