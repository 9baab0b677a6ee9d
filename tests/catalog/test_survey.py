"""The stage `catalog`: the champion over the embedded survey."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from varistar.catalog.survey import main, predict_survey
from varistar.experiments.content import content_hash
from varistar.foundation.errors import DataError, RegistryError
from varistar.lightcurves.store import Store
from varistar.lightcurves.table import LightCurves, concatenate


@pytest.fixture
def survey(project: Path, make_stars: Callable[..., LightCurves]) -> Path:
    """A project with a survey of five stars, one of which has too few points."""
    sky = concatenate([make_stars([f"star {i}" for i in range(4)]), make_stars(["sparse"], n_points=5)])
    Store(project / "data/ground/light_curves").append(sky)
    return project


def test_the_stage_writes_catalog_and_refused(
    survey: Path,
    period_model: Path,
    crown: Callable[[Path, Path], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crown(survey, period_model)
    monkeypatch.setattr("varistar.bulk.local.available_processors", lambda: 1)
    main()
    assert capsys.readouterr().out == "catalog of 4 stars; 1 refused, with reasons\n"
    catalog = pl.read_parquet(survey / "build/catalog/periods.parquet")
    assert catalog["star_id"].to_list() == [f"star {i}" for i in range(4)]
    assert set(catalog["model"]) == {content_hash(period_model)}
    refused = pl.read_parquet(survey / "build/catalog/periods.refused.parquet")
    assert refused.rows() == [("sparse", "data/ground/light_curves/part-00000.parquet", "fewer than 20 points")]
    before = {path.name: path.read_bytes() for path in (survey / "build/catalog").iterdir()}
    main()
    assert {path.name: path.read_bytes() for path in (survey / "build/catalog").iterdir()} == before


def test_without_a_champion(survey: Path) -> None:
    with pytest.raises(RegistryError, match="no champion for periods: train one and run varistar promote periods"):
        predict_survey(survey)


def test_without_the_survey(project: Path, period_model: Path, crown: Callable[[Path, Path], None]) -> None:
    crown(project, period_model)
    with pytest.raises(DataError, match="light_curves: no such file or folder"):
        predict_survey(project)
