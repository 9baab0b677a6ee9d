"""What a sweep of period networks aims at, and what it tries where params.yaml does not say."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from varistar.experiments.search_space import SearchSettings, Values, make_space
from varistar.foundation.settings import Settings

from .variants import Variant

SPACE: dict[str, dict[str, Any]] = {
    "training.learning_rate": {"from": 2e-4, "to": 2e-2, "log": True},
    "training.batch_size": {"choices": [32, 64, 100, 200]},
    "training.schedule": {"choices": ["onecycle", "plateau"]},
    "network.filters": {"choices": [[8, 16, 32], [16, 32, 64]]},
    "network.dropout": {"from": 0.0, "to": 0.3},
    "network.softness": {"from": 0.01, "to": 0.1, "log": True, "where": {"network.head": "distribution"}},
}


class SweepSettings(SearchSettings):
    """How variants of periods are swept.

    Attributes
    ----------
    objectives : `within_10pct_at_20pct_coverage`, on the validation stars, and `fit_seconds`.
    """

    wing: ClassVar[str] = "periods"
    swept: ClassVar[type[Settings]] = Variant

    objectives: Annotated[
        tuple[Literal["within_10pct_at_20pct_coverage", "fit_seconds"], ...], Field(min_length=1, max_length=2)
    ] = ("within_10pct_at_20pct_coverage",)
    space: Annotated[dict[str, Values], Field(min_length=1)] = Field(default_factory=lambda: make_space(SPACE))
