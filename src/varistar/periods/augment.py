"""Make light curves poorer, as other surveys and fields would have them: fewer points, fewer cameras, more noise.

What happens to a light curve depends on its own random stream and on the lenders of windows alone. Every choice takes
the same numbers from the stream, so that switching one on leaves the others as they were.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from varistar.lightcurves.table import LightCurves

from .sample_settings import Augmentation

FEWEST_POINTS = 30
NEAR_DAYS = 0.5
LARGEST_NOISE = 3.0


class Augmented(NamedTuple):
    """Light curves after augmentation.

    Attributes
    ----------
    light_curves : n stars.
    kept : bool (m,), which of the m points that came in are still there.
    noise_factor : (n,), what the errors have been multiplied by.
    """

    light_curves: LightCurves
    kept: NDArray[np.bool_]
    noise_factor: NDArray[np.float64]


def augment(
    light_curves: LightCurves, settings: Augmentation, streams: Sequence[np.random.Generator], lenders: LightCurves
) -> Augmented:
    """Augment each light curve; one that would be left with fewer than `FEWEST_POINTS` stays as it is.

    Parameters
    ----------
    light_curves : n stars.
    streams : of length n, each star's own.
    lenders : light curves whose windows may be borrowed; a star does not borrow from one that has its id.
    """
    kept = np.ones(int(light_curves.offsets[-1]), dtype=np.bool_)
    factors = np.ones(len(light_curves))
    flux, flux_err = light_curves["flux"].copy(), light_curves["flux_err"].copy()
    places = {star: place for place, star in enumerate(lenders.star_id)}
    for i, rng in enumerate(streams):
        star, points = light_curves.star(i), slice(light_curves.offsets[i], light_curves.offsets[i + 1])
        borrows, lender, loses_camera, camera, dropped, is_noisy, noise = rng.random(7)
        lots, normals = rng.random(star.n_points[0]), rng.standard_normal(star.n_points[0])
        keep = lots >= dropped * settings.drop_epochs
        if borrows < settings.borrow_window:
            keep &= _in_borrowed_window(star, lenders, places, lender)
        if loses_camera < settings.drop_camera:
            keep &= _of_other_cameras(star, camera)
        if keep.sum() < FEWEST_POINTS:
            continue
        kept[points] = keep
        if is_noisy < settings.noise:
            factors[i] = LARGEST_NOISE**noise
            # What is added in quadrature to errors e makes them f e.
            flux[points] += np.sqrt(factors[i] ** 2 - 1.0) * flux_err[points] * normals
            flux_err[points] *= factors[i]
    columns = light_curves.columns | {"flux": flux, "flux_err": flux_err}
    return Augmented(replace(light_curves, columns=columns).where(kept), kept, factors)


def _in_borrowed_window(
    star: LightCurves, lenders: LightCurves, places: dict[str, int], lot: float
) -> NDArray[np.bool_]:
    """Which points lie near one of a lender's, or all if there is no lender but the star itself."""
    own = places.get(star.star_id[0], len(lenders))
    others = len(lenders) - (own < len(lenders))
    if not others:
        return np.ones(star.n_points[0], dtype=np.bool_)
    chosen = int(lot * others)
    return _near(star["time"], lenders.star(chosen + (chosen >= own))["time"])


def _near(time: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of `time` lie within `NEAR_DAYS` of one of `other`."""
    edges = np.concatenate([[-np.inf], np.sort(other), [np.inf]])
    after = np.searchsorted(edges, time)
    return np.minimum(edges[after] - time, time - edges[after - 1]) <= NEAR_DAYS


def _of_other_cameras(star: LightCurves, lot: float) -> NDArray[np.bool_]:
    """Which points are not of one camera, or all if there are not several."""
    camera = star.columns.get("camera", np.empty(0))
    cameras = np.unique(camera)
    if len(cameras) < 2:
        return np.ones(star.n_points[0], dtype=np.bool_)
    return camera != cameras[int(lot * len(cameras))]
