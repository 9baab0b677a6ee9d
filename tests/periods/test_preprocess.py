"""One path from light curves to arrays, whichever kind of representation is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from varistar.foundation.errors import ConfigError
from varistar.foundation.params import read_params
from varistar.foundation.settings import Settings, validate
from varistar.lightcurves.table import LightCurves
from varistar.periods.nights import Nights, make_nights
from varistar.periods.preprocess import KINDS, AnyRepresentation, preprocess, read_representation, representation_of
from varistar.periods.representation import PeriodGrid, Representation, make_images
from varistar.periods.statistics import Statistics, make_statistics

from .conftest import REPOSITORY

WINDOW = (58500.0, 58700.0)
SMALL: dict[str, tuple[Any, Callable[..., Any]]] = {
    "image": (Representation(window=WINDOW, nodes=12, periods=PeriodGrid(count=8)), make_images),
    "statistics": (Statistics(window=WINDOW, nodes=12, bins=16), make_statistics),
    "nights": (Nights(window=WINDOW, count=64), make_nights),
}


class Section(Settings):
    """What params.yaml has below `representations`, as a model."""

    shown: AnyRepresentation


@pytest.fixture
def stars(make_stars: Callable[..., LightCurves]) -> LightCurves:
    return make_stars(["a", "b", "c"], n_points=90)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_are_those_of_the_kind_asked_for(stars: LightCurves, kind: str) -> None:
    representation, make = SMALL[kind]
    arrays = preprocess(stars, representation, "cpu")
    assert (arrays.dtype, arrays.shape) == (np.uint8, (3, *representation.shape))
    np.testing.assert_array_equal(arrays, make(stars, representation))
    assert len({array.tobytes() for array in arrays}) == 3
    for i in range(3):
        np.testing.assert_array_equal(preprocess(stars.star(i), representation, "cpu")[0], arrays[i])
    assert preprocess(stars.take([]), representation, "cpu").shape == (0, *representation.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_only_images_are_made_on_an_accelerator(stars: LightCurves, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from varistar.periods import on_torch

    asked: list[Any] = []

    def remember(light_curves: LightCurves, representation: Representation, device: str) -> Any:
        asked.append(device)
        return make_images(light_curves, representation)

    monkeypatch.setattr(on_torch, "make_images", remember)
    representation, make = SMALL[kind]
    np.testing.assert_array_equal(preprocess(stars, representation, "cuda"), make(stars, representation))
    assert asked == (["cuda"] if kind == "image" else [])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_is_read_back(kind: str) -> None:
    representation, _ = SMALL[kind]
    saved = representation.model_dump(mode="json")
    assert saved["kind"] == kind == representation.kind
    assert representation_of(saved, "model.json") == representation
    assert validate(Section, {"shown": saved}, "params.yaml").shown == representation


def test_a_model_of_old_shows_an_image() -> None:
    """Its specification has no kind."""
    representation, _ = SMALL["image"]
    old = representation.model_dump(mode="json", exclude={"kind"})
    assert representation_of(old, "model.json") == representation
    assert validate(Section, {"shown": old}, "params.yaml").shown == representation


@pytest.mark.parametrize("shown", [{"kind": "sketch"}, {"kind": ["image"]}, {"kind": None}])
def test_an_unknown_kind_is_named_with_those_that_exist(shown: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^here: 'kind' must be one of image, statistics, nights \(got '.+'\)$"):
        representation_of(shown, "here")
    with pytest.raises(ConfigError, match=r"^here: 'shown': 'kind' must be one of image, statistics, nights$"):
        validate(Section, {"shown": shown}, "here")


@pytest.mark.parametrize("shown", [3, "paper", None, [1]])
def test_what_is_no_representation_at_all_is_refused_too(shown: object) -> None:
    with pytest.raises(ConfigError, match=r"^here: 'shown': 'kind' must be one of image, statistics, nights"):
        validate(Section, {"shown": shown}, "here")


def test_the_keys_are_those_of_the_kind() -> None:
    values = SMALL["statistics"][0].model_dump(mode="json")
    with pytest.raises(ConfigError, match=r"^here: key 'bins' does not exist; allowed here: count, kind, window"):
        representation_of({"kind": "nights", "window": WINDOW, "bins": 12}, "here")
    with pytest.raises(ConfigError, match=r"^here: key 'pool' does not exist; allowed here: bins, kind, least_width"):
        representation_of(values | {"pool": 2}, "here")


def test_every_representation_of_the_repository_is_read_by_its_name() -> None:
    shown = {
        name: read_representation(REPOSITORY, name) for name in read_params(REPOSITORY)["periods"]["representations"]
    }
    assert {one.kind for one in shown.values()} == set(KINDS)
    assert shown["paper"] == Representation(window=(58484.5, 60311.5))
    with pytest.raises(ConfigError, match=r"params\.yaml: 'periods\.representations\.sketch' does not exist"):
        read_representation(REPOSITORY, "sketch")


def test_a_wrong_value_is_named_by_its_full_key(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("periods: {representations: {late: {kind: nights, window: [2, 1]}}}\n")
    with pytest.raises(ConfigError, match=r"params\.yaml: periods\.representations\.late: window must run from the sm"):
        read_representation(tmp_path, "late")
