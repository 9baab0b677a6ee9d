"""A flare network that needs no training."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def flare_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flare network made by hand: it answers yes where the mean of three cadences is high enough above the running
    median of an hour and a half; to be read only."""
    import torch

    from varistar.experiments.content import Architecture, ModelContent, ModelSpec, write_content
    from varistar.flares.events import EventSettings
    from varistar.flares.network import build_network
    from varistar.flares.network_settings import PointSettings
    from varistar.flares.orbits import OrbitSettings
    from varistar.flares.representation import PointRepresentation
    from varistar.foundation.params import read_section
    from varistar.surveys.definition import Survey

    settings, representation = PointSettings(filters=(1,), kernel=3, dropout=0.0), PointRepresentation()
    network = build_network(settings, representation)
    with torch.no_grad():
        (first, second), last = network.down[0], network.last
        for layer in (first.weights, second.weights, last):
            layer.weight.zero_()
        first.weights.weight[0, 1] = 1 / 3
        second.weights.weight[0, 0, 1] = 1.0
        last.weight.fill_(8.0)
        last.bias.fill_(-14.0)
    spec = ModelSpec(
        wing="flares",
        architecture=Architecture(name="points", settings=settings.model_dump(mode="json")),
        preprocessing={
            "representation": representation.model_dump(mode="json"),
            "orbits": OrbitSettings().model_dump(mode="json"),
            "events": EventSettings().model_dump(mode="json"),
            "survey": read_section(Path(__file__).parents[2], "surveys.tess", Survey).model_dump(mode="json"),
        },
        calibration={},
        metrics={},
        training_data={},
    )
    folder = tmp_path_factory.mktemp("flare model") / "model"
    write_content(folder, ModelContent(spec, network.state_dict()))
    return folder


@pytest.fixture(scope="session")
def crown_flares() -> Callable[[Path, Path], None]:
    """A function that makes a model the champion of the flares in a project's folder, with no questions."""
    from varistar.experiments.content import content_hash
    from varistar.experiments.gates import Comparison, Scores
    from varistar.experiments.registry import promote

    def make_champion(root: Path, model: Path) -> None:
        scores = Scores(content=content_hash(model), test_set="frozen", metrics={"f1": 0.5})
        promote(root, "flares", model, Comparison(challenger=scores), "for a test", gates={}, forced=True)

    return make_champion
