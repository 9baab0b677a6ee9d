"""The trained members of a variant as one model."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .content import ModelContent, read_content

#: In an ensemble's content, what the names of a member's tensors begin with, before its number.
MEMBER = "members"


def gather_members(folder: Path, ensemble: bool) -> ModelContent:
    """The model of a variant's trained members: the first, or all of them averaged.

    Parameters
    ----------
    folder : as `train_members` writes it.
    """
    members = [read_content(path) for path in sorted(folder.iterdir(), key=lambda path: int(path.name))]
    if not ensemble:
        return members[0]
    tensors = {
        f"{MEMBER}.{number}.{name}": tensor
        for number, member in enumerate(members)
        for name, tensor in member.tensors.items()
    }
    # the mean validation metrics of the members; what they reach together is measured on the test set
    metrics = {name: _mean([member.spec.metrics[name] for member in members]) for name in members[0].spec.metrics}
    return ModelContent(members[0].spec.model_copy(update={"metrics": metrics}), tensors)


def count_members(tensors: Iterable[str]) -> int:
    """How many networks an ensemble's tensors belong to, by their names; 0 for those of a single network."""
    return len({name.split(".")[1] for name in tensors if name.startswith(f"{MEMBER}.")})


def _mean(values: list[float | None]) -> float | None:
    """Their mean; None, undefined, if one is."""
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 6) if len(known) == len(values) else None
