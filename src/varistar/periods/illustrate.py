"""How an example is made, and how it is shown: the paper's Figs. 2, 3 and 7 on stars of the embedded survey."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from varistar.figures.examples import injection_figure
from varistar.figures.periods import image_figure, scaling_figure
from varistar.figures.style import save_figure
from varistar.foundation.errors import ConfigError, DataError, one_sentence
from varistar.foundation.params import find_root, lookup, read_params
from varistar.lightcurves.shards import read_shard
from varistar.lightcurves.table import LightCurves

from .inject import inject
from .preprocess import preprocess, read_representation
from .representation import Representation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Of the representations, those that are shown beside each other: two ways, and two scalings (Fig. 7).
SHOWN = ("paper", "log")
SCALED = ("paper", "ten-times")


def clear_star(simulations: Path, templates: Path) -> tuple[dict[str, Any], LightCurves, NDArray]:
    """A spotted test star whose light changes clearly: more than that of nine in ten.

    Parameters
    ----------
    simulations : of one sample, as `build_simulations` writes them.
    templates : folder of all template sets.

    Returns
    -------
    its truth, its template (one light curve), and the simulated relative flux at the template's epochs, shape (m,).

    Raises
    ------
    DataError
        When no test star has spots.
    """
    parts = [pl.read_parquet(part, glob=False) for part in sorted((simulations / "test").glob("part-*.parquet"))]
    spotted = [part.filter(pl.col("period_days").is_not_null()) for part in parts]
    if not any(part.height for part in spotted):
        raise DataError(f"{simulations / 'test'}: no spotted star, so there is no example to show")
    table = pl.concat(spotted, how="diagonal_relaxed").with_columns(spread=pl.col("spot_flux").list.std())
    star = table.sort("spread", "simulation").row(int(0.9 * (table.height - 1)), named=True)
    template = read_shard(templates / star["templates"] / star["shard"]).take([star["row"]])
    return star, template, np.asarray(star["spot_flux"], dtype=np.float64)


def illustrate(root: Path, sample: str) -> "dict[str, Figure]":
    """The figures by name: `injection` (Fig. 2), `transforms` (Fig. 3) and `scaling` (Fig. 7)."""
    build = root / "build/periods"
    star, template, spot_flux = clear_star(build / "simulations" / sample, build / "templates")
    injected = inject(template, spot_flux, np.array([star["median_flux"]]))
    title = f"template {star['template']}, a spotted star of {star['period_days']:.2f} d"
    figures = {
        "injection": injection_figure(
            template["time"], template["flux"], spot_flux / star["median_flux"], injected["flux"], title
        )
    }
    images = {name: _image(root, injected, name) for name in {*SHOWN, *SCALED}}
    relative = injected["flux"] / np.median(injected["flux"])
    shown = {name: images[name] for name in SHOWN}
    figures["transforms"] = image_figure(injected["time"], relative, shown, star["period_days"], title)
    scaled = {name: images[name] for name in SCALED}
    span = (float(injected["time"].min()), float(injected["time"].max()))
    figures["scaling"] = scaling_figure(scaled, span, star["period_days"], title)
    return figures


def _image(root: Path, light_curve: LightCurves, name: str) -> tuple[NDArray, Representation]:
    representation = read_representation(root, name)
    if not isinstance(representation, Representation):
        raise ConfigError(f"params.yaml: periods.representations.{name} must be of the kind 'image' to be shown")
    return preprocess(light_curve, representation, "cpu")[0], representation


def main() -> None:
    """The stage: the examples of the first test sample."""
    root = find_root()
    sample = lookup(read_params(root), "periods.tests")[0]
    for name, figure in illustrate(root, sample).items():
        save_figure(figure, root / "build/figures/periods/examples" / f"{name}.png")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
