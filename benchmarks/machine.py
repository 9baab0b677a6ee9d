"""The machine that a benchmark ran on, in a line."""

import os
import platform
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "numba", "finufft", "torch")


def describe() -> str:
    """Processor, cores, load, versions and date."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{next(_models(), platform.processor())}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, {versions}; {date.today().isoformat()}"
    )


def _models() -> Iterator[str]:
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    return (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
