"""Images of the injected light curves, written as the memory-mapped arrays that networks train on."""

import sys
from pathlib import Path

import polars as pl

from varistar.bulk.arrays import write_array_index, write_array_shard
from varistar.bulk.local import run_all
from varistar.foundation.errors import one_sentence
from varistar.foundation.files import atomic_folder
from varistar.foundation.params import find_root, read_section
from varistar.foundation.settings import Settings
from varistar.lightcurves.shards import read_shard

from .representation import Representation, make_images
from .splits import SPLITS

_NOTHING = pl.DataFrame(schema={"star_id": pl.String, "shard": pl.Int32, "row": pl.Int32})


class ImageSettings(Settings):
    """One image set: which sample is shown, and how."""

    sample: str
    representation: str


def build_images(injected: Path, representation: Representation, folder: Path, workers: int | None = None) -> int:
    """The images of every split of a sample; returns their number.

    Parameters
    ----------
    injected : folder of an injected sample.
    folder : receives one array set for each split, `<split>/`, whose index is the sample's truth.
    """
    items = [
        (part, number, representation, folder / split)
        for split in SPLITS
        for number, part in enumerate(sorted((injected / split).glob("part-*.parquet")))
    ]
    indices: dict[Path, list[pl.DataFrame]] = {folder / split: [_NOTHING] for split in SPLITS}
    for item, rows in run_all(_image_shard, items, workers, "images", lambda item: item[0]):
        indices[item[-1]].append(rows)
    describe = {"representation": representation.model_dump(mode="json")}
    for split in SPLITS:
        truth = pl.read_parquet(injected / split / "truth.parquet")
        index = pl.concat(indices[folder / split]).join(truth, on="star_id", how="left", maintain_order="left")
        write_array_index(folder / split, ["example", "period", "time"], index, describe)
    return sum(len(part) for parts in indices.values() for part in parts)


def _image_shard(item: tuple[Path, int, Representation, Path]) -> pl.DataFrame:
    path, number, representation, folder = item
    light_curves = read_shard(path)
    images = make_images(light_curves, representation)
    return write_array_shard(folder, number, images, pl.DataFrame({"star_id": list(light_curves.star_id)}))


def main(name: str) -> None:
    """The stage: image set `name` of params.yaml."""
    root = find_root()
    settings = read_section(root, f"periods.images.{name}", ImageSettings)
    representation = read_section(root, f"periods.representations.{settings.representation}", Representation)
    build = root / "build/periods"
    with atomic_folder(build / "images" / name) as folder:
        total = build_images(build / "injected" / settings.sample, representation, folder)
    print(f"{name}: {total} images of {representation.shape[0]} x {representation.shape[1]} pixels")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
