"""Networks trained on real noise, and what they say of real stars whose periods are published.

    python benchmarks/real_periods.py [--only asassn|ztf] [--simulations N] [--folds K] [--members M] [--output PAGE]

Two surveys: eclipsing binaries and constant stars of ASAS-SN (`real_asassn.py`), and young stars of ZTF
(`real_ztf.py`). The light curves are read from VARISTAR_REAL_DATA (default ../shared/data); none of them is copied into
the project. Every star is measured by a network that has not seen it.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from real_asassn import measure_asassn
from real_data import paragraph
from real_ztf import measure_ztf
from varistar.foundation.params import find_root, lookup, read_params


def main() -> None:
    options = parse_arguments()
    root = find_root()
    start = time.perf_counter()
    sizes = (options.simulations, options.folds, options.members)
    sections = []
    with tempfile.TemporaryDirectory() as scratch:
        if options.only != "asassn":
            figure = options.output.with_name("real-ztf.png")
            sections.append(measure_ztf(root, options.data / "ztf_yso", *sizes, Path(scratch), figure))
        if options.only != "ztf":
            sections.append(measure_asassn(root, options.data / "asassn", *sizes, Path(scratch)))
    size = lookup(read_params(root), "size")
    page = "\n\n".join([introduction(options, size, time.perf_counter() - start), *sections]) + "\n"
    options.output.write_text(page, encoding="utf-8")
    print(page)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("VARISTAR_REAL_DATA", find_root().parent / "shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--only", choices=("asassn", "ztf"))
    parser.add_argument("--simulations", type=int, default=4000, help="of each fold")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--members", type=int, default=3, help="networks whose distributions are averaged")
    parser.add_argument("--output", type=Path, default=find_root() / "docs/real-data.md")
    options = parser.parse_args()
    for name in ("asassn", "ztf_yso"):
        if not (options.data / name).is_dir():
            sys.exit(
                f"{options.data / name}: no such folder; set VARISTAR_REAL_DATA to the folder of real light curves"
            )
    return options


def introduction(options: argparse.Namespace, size: str, seconds: float) -> str:
    """The head of the page: what was done, by which command, and on what machine."""
    command = (
        f"python benchmarks/real_periods.py --simulations {options.simulations} --folds {options.folds} "
        f"--members {options.members}"
    )
    machine = f"{os.cpu_count()} cores ({platform.machine()}), {time.strftime('%Y-%m-%d')}"
    networks = f"""
        Networks of the champion's kind, trained on simulated stars in real noise, measure real stars whose periods are
        published. Stars are dealt into {options.folds} folds, and each fold is measured by a network that has not seen
        any of its stars, but {options.simulations} simulated ones on the noise of other folds, half of them for
        training. The page is made by"""
    made = f"""
        with the epochs of the size `{size}`. It took {seconds / 60:.0f} minutes on {machine}. The light curves are no
        part of the project; the command reads them from `VARISTAR_REAL_DATA`. Flares of real TESS stars have a page of
        their own: [real-flares.md](real-flares.md)."""
    return "\n\n".join(["# Real light curves", paragraph(networks), f"```\n{command}\n```", paragraph(made)])


if __name__ == "__main__":
    main()
