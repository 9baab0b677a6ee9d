"""One training outside the pipeline: the same run, checkpoint and calibration, but its result is not a stage's."""

import shutil
from pathlib import Path

from varistar.experiments.content import write_content
from varistar.experiments.ensemble import gather_members
from varistar.experiments.members import train_members
from varistar.foundation.errors import DataError

from .calibrate import calibrate_variant
from .train import learn
from .variants import WING, read_variant


def train_trial(root: Path, name: str, output: Path | None = None) -> Path:
    """Train and calibrate variant `name`; returns the folder of the model, by default `build/trials/<name>`.

    Raises
    ------
    DataError
        When the variant's examples have not been made.
    """
    variant = read_variant(root, name)
    examples = root / "build/flares/examples" / variant.examples
    if not examples.is_dir():
        raise DataError(
            f"{examples}: these examples have not been made; make them with "
            f"`dvc repro flares/dvc.yaml:examples@{variant.examples}`"
        )
    output = output or root / "build/trials" / name
    members = output.with_name(f"{output.name}.members")
    history = output.with_name(f"{output.name}.history.parquet")
    train_members(root, WING, name, variant, examples, learn, members, history)
    write_content(output, calibrate_variant(root, variant, gather_members(members, variant.ensemble)))
    shutil.rmtree(members)
    return output
