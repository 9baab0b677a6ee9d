"""One training outside the pipeline: the same run, checkpoint and calibration, but its result is not a stage's."""

import shutil
from pathlib import Path

from varistar.experiments.content import write_content
from varistar.experiments.ensemble import gather_members
from varistar.foundation.errors import DataError
from varistar.foundation.params import lookup, read_params, read_section

from .calibrate import calibrate
from .settings import Preset
from .train import train_variant
from .variants import TARGETS, read_variant


def train_trial(root: Path, name: str, preset: str | None = None, output: Path | None = None) -> Path:
    """Train and calibrate variant `name`; returns the folder of the model.

    Parameters
    ----------
    preset : takes network and training from `periods.presets` instead of the variant's own.
    output : folder of the model; by default `build/trials/<name>`, or `<name>-<preset>`.

    Raises
    ------
    DataError
        When the variant's images have not been made.
    """
    variant = read_variant(root, name)
    label = name
    if preset:
        chosen = read_section(root, f"periods.presets.{preset}", Preset)
        variant = variant.model_copy(update={"network": chosen.network, "training": chosen.training})
        label = f"{name}-{preset}"
    images = root / "build/periods/images" / variant.images
    if not images.is_dir():
        raise DataError(
            f"{images}: these images have not been made; make them with `dvc repro images@{variant.images}`"
        )
    output = output or root / "build/trials" / label
    members = output.with_name(f"{output.name}.members")
    train_variant(root, label, variant, members, output.with_name(f"{output.name}.history.parquet"))
    content = gather_members(members, variant.ensemble)
    accelerator = lookup(read_params(root), "accelerator")
    write_content(output, calibrate(content, [images / "calibration"], accelerator, TARGETS[variant.target]))
    shutil.rmtree(members)
    return output
