"""The commands about flares: predict a catalog, show a star; and the stage of the embedded survey."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from varistar.catalog.flare_survey import main
from varistar.experiments.content import content_hash
from varistar.lightcurves.shards import write_shard
from varistar.lightcurves.table import concatenate

from .test_flares import spotted  # type: ignore[import-not-found]


@pytest.fixture
def survey(project: Path) -> Path:
    """A project with a survey of two stars."""
    folder = project / "data/space/light_curves"
    folder.mkdir(parents=True)
    write_shard(folder / "part-00000.parquet", concatenate([spotted("flaring", True, 1), spotted("quiet", False, 2)]))
    table = {"star_id": ["flaring", "quiet"], "tmag": [10.0, 11.0], "teff": [3300.0, 4000.0], "radius_val": [0.4, 0.7]}
    pl.DataFrame(table).write_parquet(project / "data/space/stars.parquet")
    return project


def test_predict_and_show(survey: Path, flare_model: Path, varistar: Callable[..., Any]) -> None:
    model = ("--model", flare_model, "--accelerator", "cpu")
    answer = varistar("predict", "flares", "data/space/light_curves", "--output", "f.csv", "--workers", "1", *model)
    assert answer.code == 0
    assert "f.csv: 4 flares" in answer.out
    assert "f.stars.csv: 2 stars" in answer.out
    assert "f.refused.csv: 0 refused, with reasons" in answer.out
    assert pl.read_csv(survey / "f.csv")["energy_erg"].is_null().all()
    answer = varistar("show", "flaring", "--inputs", "data/space/light_curves", "--output", "star.png", *model)
    assert answer.code == 0
    assert (survey / "star.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_commands_refuse(
    survey: Path, flare_model: Path, period_model: Path, refuses: Callable[..., str]
) -> None:
    shard = "data/space/light_curves"
    assert "'nobody'" in refuses("show", "nobody", "--inputs", shard, "--output", "s.png", "--model", flare_model)
    assert "ending .png" in refuses("show", "quiet", "--inputs", shard, "--output", "s.pdf", "--model", flare_model)
    words = ("predict", "periods", shard, "--output", "c.csv", "--model", period_model)
    assert "--stars is of flares" in refuses(*words, "--stars", "data/space/stars.parquet")
    assert "no champion for flares" in refuses("predict", "flares", shard, "--output", "c.csv")


def test_the_stage_of_the_embedded_survey(
    survey: Path,
    flare_model: Path,
    crown_flares: Callable[[Path, Path], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crown_flares(survey, flare_model)
    monkeypatch.setattr("varistar.bulk.local.available_processors", lambda: 1)
    main()
    assert capsys.readouterr().out == "4 flares of 2 stars; 0 stars refused, with reasons\n"
    flares = pl.read_parquet(survey / "build/catalog/flares.parquet")
    assert set(flares["model"]) == {content_hash(flare_model)}
    assert flares["energy_erg"].is_not_null().all()
    stars = pl.read_parquet(survey / "build/catalog/flares.stars.parquet")
    assert stars["equivalent_duration_50_s"].is_not_null().all()
    assert (stars["amplitude_50"] < 0.05).all()
    assert pl.read_parquet(survey / "build/catalog/flares.recovery.parquet").height > 30
