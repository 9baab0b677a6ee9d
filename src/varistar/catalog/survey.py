"""The catalog of the embedded survey: the champion over every star of data/."""

from pathlib import Path

from varistar.experiments.registry import champion
from varistar.foundation.errors import one_sentence
from varistar.foundation.params import find_root, lookup, read_params
from varistar.periods.measure import WING

from .predict import Prediction, predict


def predict_survey(root: Path) -> Prediction | None:
    """Run the champion over the project's light curves; the catalog is `build/catalog/periods.parquet`."""
    folder = champion(root, WING).folder
    output = root / "build/catalog/periods.parquet"
    accelerator = lookup(read_params(root), "accelerator")
    return predict([root / "data/ground/light_curves"], folder, output, accelerator=accelerator)


def main() -> None:
    """The stage."""
    if done := predict_survey(find_root()):
        print(f"catalog of {done.n_stars} stars; {done.n_refused} refused, with reasons")


if __name__ == "__main__":
    with one_sentence():
        main()
