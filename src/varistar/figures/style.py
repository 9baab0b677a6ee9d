"""How varistar's figures look, and how they become files."""

from pathlib import Path
from typing import TYPE_CHECKING

from varistar.foundation.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#222222"
ACCENT = "#1f5f8b"
SECOND = "#d1603d"
QUIET = "#9aa5ad"


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple["Figure", list["Axes"]]:
    """An empty figure of `width` x `height` inches and its panels, row by row; it belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(colors=INK, labelsize=9)
    return figure, panels


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a PNG whose bytes depend on the figure alone, atomically."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
