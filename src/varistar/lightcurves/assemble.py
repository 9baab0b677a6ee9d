"""From loose points to a table: each star's points together, in the order of time."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .table import COLUMNS, FluxUnit, LightCurves, TimeSystem


def assemble(
    columns: Mapping[str, NDArray],
    star: str | NDArray[np.str_],
    time_system: TimeSystem,
    flux_unit: FluxUnit = "mJy",
    survey: str = "",
) -> LightCurves:
    """Make a table of points that come in any order.

    Parameters
    ----------
    columns : dict of name to array, each of shape (m,)
        Columns of `table.COLUMNS`; each is brought to its column's dtype.
    star : str, or array of str of shape (m,)
        The star of all points, or of each.
    time_system, flux_unit, survey
        As in `LightCurves`.

    Returns
    -------
    LightCurves
        Stars in the order of their first point, points in the order of time. Points of equal time keep their order,
        for two cameras may expose at once; a point without a time comes last.
    """
    typed: dict[str, NDArray] = {
        name: values.astype(COLUMNS[name].dtype, copy=False) for name, values in columns.items()
    }
    stars: tuple[str, ...]
    if isinstance(star, str):
        stars, owner = (star,), np.zeros(len(typed["time"]), dtype=np.int64)
    else:
        stars, owner = _number(star)
    offsets, ordered = _in_order(typed, owner, len(stars))
    return LightCurves(stars, offsets, ordered, time_system, flux_unit, survey)


def merge_stars(lightcurves: LightCurves) -> LightCurves:
    """Join the rows of one star into one row, in the order of time: its sectors, its bands, its files.

    Stars keep the order of their first row; one without points stays.
    """
    stars, owner = _number(np.array(lightcurves.star_id, dtype=np.str_))
    offsets, ordered = _in_order(lightcurves.columns, np.repeat(owner, lightcurves.n_points), len(stars))
    return replace(lightcurves, star_id=stars, offsets=offsets, columns=ordered)


def count_per_star(flags: NDArray[np.bool_], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many points of each star are flagged, shape (n,); 0 for a star without points."""
    return np.diff(np.searchsorted(np.flatnonzero(flags), offsets))


def codes_of(words: NDArray[np.str_]) -> NDArray[np.int64]:
    """A number for each different word, from 0 on, in the order of their first appearance; shape (m,)."""
    whole = {4: np.uint32, 8: np.uint64}.get(words.dtype.itemsize)  # short words are told apart as integers, faster
    values = pa.array(words, type=pa.string()) if whole is None else pa.array(np.ascontiguousarray(words).view(whole))
    return values.dictionary_encode().indices.to_numpy().astype(np.int64)


def _number(labels: NDArray[np.str_]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The different labels in the order of their first appearance, and the number of each label among them."""
    coded = pa.array(labels, type=pa.string()).dictionary_encode()
    return tuple(coded.dictionary.to_pylist()), coded.indices.to_numpy().astype(np.int64)


def _in_order(
    columns: dict[str, NDArray], owner: NDArray[np.int64], n_stars: int
) -> tuple[NDArray[np.int64], dict[str, NDArray]]:
    """Offsets and columns of points sorted by star and then by time, keeping the order of equals."""
    order = np.lexsort((columns["time"], owner))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n_stars))]).astype(np.int64)
    return offsets, {name: values[order] for name, values in columns.items()}
