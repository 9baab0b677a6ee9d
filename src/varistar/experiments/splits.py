"""Which split a star belongs to: a hash of its id, so that a star is in one split however often it is used."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from varistar.foundation.settings import Settings

Split = Literal["train", "validation", "calibration", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "calibration", "test")

Fraction = Annotated[float, Field(ge=0, le=1)]


class SplitSettings(Settings):
    """The fraction of stars in each split, and the seed of the hash."""

    train: Fraction = 0.7
    validation: Fraction = 0.1
    calibration: Fraction = 0.1
    test: Fraction = 0.1
    seed: int = 88

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError(f"the four fractions must add up to 1, not {sum(self.fractions):g}")
        return self

    @property
    def fractions(self) -> tuple[float, ...]:
        return tuple(getattr(self, split) for split in SPLITS)


def split_stars(star_ids: Sequence[str], settings: SplitSettings) -> NDArray[np.str_]:
    """The split of each star, shape (n,): a pure function of its id and the seed.

    A BLAKE2b hash of `seed/star_id` is read as a number in [0, 1) and compared with the cumulated fractions, so adding
    stars never moves another.
    """
    uniform = np.array([_uniform(f"{settings.seed}/{star}") for star in star_ids])
    edges = np.cumsum(settings.fractions)[:-1]
    return np.array(SPLITS)[np.searchsorted(edges, uniform, side="right")]


def _uniform(text: str) -> float:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
