"""Fixtures for the tests of the transform."""

from collections.abc import Callable

import numpy as np
import pytest

from varistar.spectra.maps import ChunkedTransforms


@pytest.fixture(params=["fft", "point by point", "cheapest"])
def path(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    force_path: Callable[[str, pytest.MonkeyPatch], None],
) -> str:
    """The transform with all cells by FFT, with none, and as it chooses itself."""
    force_path(request.param, monkeypatch)
    return request.param


@pytest.fixture(scope="session")
def force_path() -> Callable[[str, pytest.MonkeyPatch], None]:
    """A function that makes transforms take the path of this name."""
    choices = {
        "fft": lambda self, n: np.arange(len(self._periods)),
        "point by point": lambda self, n: np.arange(0),
        "cheapest": None,
    }

    def force(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if choice := choices[name]:
            monkeypatch.setattr(ChunkedTransforms, "_rows_by_fft", choice)

    return force
