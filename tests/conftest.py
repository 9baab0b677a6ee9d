"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def real_data_folder() -> Path | None:
    """The folder of real light curves, or None where this machine has none."""
    folder = Path(os.environ.get("VARISTAR_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real light curves; the test is skipped without it."""
    folder = real_data_folder()
    if folder is None:
        pytest.skip("no real light curves (set VARISTAR_REAL_DATA)")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests went without the real data."""
    without = [r for r in terminalreporter.stats.get("skipped", []) if "VARISTAR_REAL_DATA" in str(r.longrepr)]
    if without:
        terminalreporter.write_line(f"{len(without)} tests were skipped for want of real data (VARISTAR_REAL_DATA)")
