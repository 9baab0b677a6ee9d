"""Loose points become tables in the order of stars and times."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from varistar.lightcurves.assemble import assemble, codes_of, count_per_star, merge_stars
from varistar.lightcurves.table import concatenate

POINTS = st.lists(
    st.tuples(st.sampled_from(["a", "bé", "☆"]), st.sampled_from([1.0, 2.0, 2.5, np.nan, -3.0])), max_size=30
)


@settings(deadline=None)
@given(POINTS)
def test_against_a_slow_sort(points):
    stars = [star for star, _ in points]
    times = np.array([time for _, time in points])
    columns = {"time": times, "flux": np.arange(len(points)), "flux_err": np.ones(len(points))}
    table = assemble(columns, np.array(stars, dtype=np.str_), "BTJD", "relative", "s")
    assert table.star_id == tuple(dict.fromkeys(stars))
    for i, star in enumerate(table.star_id):
        mine = [k for k, owner in enumerate(stars) if owner == star]
        expected = sorted(mine, key=lambda k: (np.isnan(times[k]), np.nan_to_num(times[k])))
        assert table.star(i)["flux"].tolist() == expected
    assert table["flux"].dtype == np.float32 and table["time"].dtype == np.float64


def test_one_star_may_have_no_points():
    table = assemble({name: np.empty(0) for name in ("time", "flux", "flux_err")}, "x", "BTJD")
    assert table.star_id == ("x",) and table.offsets.tolist() == [0, 0]


def test_merging_joins_rows_of_one_star(make_lightcurves):
    a, b = make_lightcurves([3, 2, 0], seed=1), make_lightcurves([4, 0, 5], seed=2)
    b = type(b)(("star 0", "new", "star 2"), b.offsets, b.columns, b.time_system, b.flux_unit, b.survey)
    merged = merge_stars(concatenate([a, b]))
    assert merged.star_id == ("star 0", "star 1", "star 2", "new")
    assert merged.n_points.tolist() == [7, 2, 5, 0]
    both = np.concatenate([a.star(0)["time"], b.star(0)["time"]])
    np.testing.assert_array_equal(merged.star(0)["time"], np.sort(both))
    order = np.argsort(both, kind="stable")
    cameras = np.concatenate([a.star(0)["camera"], b.star(0)["camera"]])[order]
    assert merged.star(0)["camera"].tolist() == cameras.tolist()


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_counts_per_star(flags, cuts):
    flags = np.array(flags, dtype=np.bool_)
    offsets = np.sort([0, *[min(cut, len(flags)) for cut in cuts], len(flags)])
    expected = [int(flags[a:b].sum()) for a, b in itertools.pairwise(offsets)]
    assert count_per_star(flags, offsets).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3), max_size=30))
def test_codes(words):
    first = list(dict.fromkeys(words))
    assert codes_of(np.array(words, dtype=np.str_)).tolist() == [first.index(word) for word in words]
