"""Wilson's interval is scipy's, of numbers and of arrays."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from varistar.foundation.intervals import wilson_interval


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_the_interval_is_scipys(counted: tuple[int, int], level: float) -> None:
    expected = binomtest(*counted).proportion_ci(level, "wilson")
    assert wilson_interval(*counted, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_of_arrays_it_is_that_of_each() -> None:
    k, n = np.array([0, 1, 2, 0, 13]), np.array([1, 1, 3, 0, 57])
    each = np.array([wilson_interval(*one) for one in zip(k, n, strict=True)])
    np.testing.assert_array_equal(np.transpose(wilson_interval(k, n)), each)


def test_nothing_counted_is_nothing_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_what_is_not_known_has_no_interval() -> None:
    assert np.isnan(wilson_interval(np.nan, 0)).all()


def test_numbers_go_into_json() -> None:
    assert json.loads(json.dumps(wilson_interval(1, 1)))[1] == 1.0
