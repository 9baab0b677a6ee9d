"""What the evaluation of a variant adds to its MLflow run."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .content import ModelContent, content_hash
from .packaging import package
from .tracking import find_run, run

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def publish(
    root: Path,
    wing: str,
    name: str,
    networks: Path,
    content: Path,
    scores: Mapping[str, float],
    figures: Path,
    served: "Callable[[ModelContent], tuple[torch.nn.Module, NDArray[Any]]]",
) -> None:
    """Add scores, figures and the packaged model to the run that trained the variant's first member.

    Where the store has none, since it was emptied or the training came from DVC's cache, a run is made, so that the
    comparison in the UI is whole.

    Parameters
    ----------
    networks : folder of the members' contents, as `train_members` writes it.
    content : folder of the calibrated model.
    figures : folder of PNG files.
    served : what is packaged of a content; see `package`.
    """
    tags = {"wing": wing, "variant": name, "weights": content_hash(networks / "0")}
    found = find_run(root, wing, tags)
    with nullcontext(found) if found else run(root, wing, name, tags=tags) as tracked:
        tracked.metrics(scores)
        for figure in sorted(figures.glob("*.png")):
            tracked.file(figure, "figures")
        package(root, content, served, experiment=wing, run_id=tracked.id)
