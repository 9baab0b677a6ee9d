"""Fixtures for the tests of the transform."""

from collections.abc import Callable

import pytest

from varistar.spectra.chunked import ChunkedTransform


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
    splits = {"fft": lambda self, n: 0, "point by point": lambda self, n: len(self.periods), "cheapest": None}

    def force(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if split := splits[name]:
            monkeypatch.setattr(ChunkedTransform, "_first_long_window", split)

    return force
