"""What a sweep of flare networks aims at, and what it tries where params.yaml does not say."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from varistar.experiments.search_space import SearchSettings, Values, make_space
from varistar.foundation.settings import Settings

from .variants import WING, FlareVariant

_OF_POINTS: dict[str, Any] = {"where": {"network.trunk": "points"}}
SPACE: dict[str, dict[str, Any]] = {
    "training.learning_rate": {"from": 5e-4, "to": 2e-2, "log": True},
    "training.weight_decay": {"choices": [0.0, 1e-5, 1e-4, 1e-3, 1e-2]},
    "training.batch_size": {"choices": [8, 16, 32, 64]},
    "network.dropout": {"from": 0.0, "to": 0.3},
    "network.filters": {"choices": [[8, 12, 16, 24], [8, 16, 24, 32, 48, 64], [16, 24, 32, 48, 64]], **_OF_POINTS},
    "network.kernel": {"choices": [3, 5, 7, 9], **_OF_POINTS},
    "network.dice": {"from": 0.0, "to": 2.0, **_OF_POINTS},
}


class SweepSettings(SearchSettings):
    """How variants of flares are swept.

    Attributes
    ----------
    objectives : `average_precision`, of the validation examples' cadences, or windows; and `seconds_per_sector`, of the
        processor, that one network takes to search 25 days of two-minute cadences.
    """

    wing: ClassVar[str] = WING
    swept: ClassVar[type[Settings]] = FlareVariant

    objectives: Annotated[
        tuple[Literal["average_precision", "seconds_per_sector"], ...], Field(min_length=1, max_length=2)
    ] = ("average_precision",)
    space: Annotated[dict[str, Values], Field(min_length=1)] = Field(default_factory=lambda: make_space(SPACE))
