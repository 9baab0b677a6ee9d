"""The injected light curves in a representation, written as the memory-mapped arrays that networks train on."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from varistar.bulk.arrays import collect_arrays, write_array_shard
from varistar.bulk.engine import Engine, for_device
from varistar.bulk.job import Done, run_job
from varistar.experiments.splits import SPLITS
from varistar.foundation.accelerator import Accelerator, choose_device
from varistar.foundation.errors import one_sentence
from varistar.foundation.files import atomic_folder, folder_hash
from varistar.foundation.params import find_root, lookup, read_params, read_section
from varistar.foundation.settings import Settings
from varistar.lightcurves.shards import read_shard

from .preprocess import AnyRepresentation, preprocess, read_representation

ImagePiece = tuple[Path, AnyRepresentation, str]


class ImageSettings(Settings):
    """One image set: which sample is shown, and how."""

    sample: str
    representation: str


def build_images(
    injected: Path,
    representation: AnyRepresentation,
    folder: Path,
    engine: Engine | None = None,
    accelerator: Accelerator = "auto",
) -> int | None:
    """The images of every split of a sample; returns their number.

    A resumable job, whose work is kept beside `folder` until it is done; None in a process of an array that is not the
    last.

    Parameters
    ----------
    injected : folder of an injected sample.
    folder : replaced; receives one array set for each split, `<split>/`, whose index is the sample's truth.
    """
    parts = {split: sorted((injected / split).glob("part-*.parquet")) for split in SPLITS}
    device = choose_device(accelerator).type
    items: list[ImagePiece] = [(part, representation, device) for split in SPLITS for part in parts[split]]
    described = {"representation": representation.model_dump(mode="json"), "device": device}

    def deliver(done: Iterator[Done]) -> int:
        total = 0
        with atomic_folder(folder) as whole:
            for split in SPLITS:
                targets = [target for target, _ in islice(done, len(parts[split]))]
                truth = pl.read_parquet(injected / split / "truth.parquet", glob=False)
                total += collect_arrays(whole / split, ["example", *representation.axes], targets, described, truth)
        return total

    return run_job(
        _image_shard,
        items,
        folder.with_name(f"{folder.name}.parts"),
        described | {"injected": folder_hash(injected)},
        deliver,
        for_device(engine, device),
        "images",
        lambda item: item[0],
    )


def _image_shard(item: ImagePiece, target: Path) -> dict[str, int]:
    path, representation, device = item
    light_curves = read_shard(path)
    images = preprocess(light_curves, representation, device)
    write_array_shard(target, images, pl.DataFrame({"star_id": list(light_curves.star_id)}))
    return {"images": len(images)}


def main(name: str) -> None:
    """The stage: image set `name` of params.yaml."""
    root = find_root()
    settings = read_section(root, f"periods.images.{name}", ImageSettings)
    representation = read_representation(root, settings.representation)
    build = root / "build/periods"
    accelerator = lookup(read_params(root), "accelerator")
    injected, folder = build / "injected" / settings.sample, build / "images" / name
    total = build_images(injected, representation, folder, accelerator=accelerator)
    if total is not None:
        print(f"{name}: {total} arrays of {representation.shape[0]} x {representation.shape[1]}")


if __name__ == "__main__":
    with one_sentence():
        main(*sys.argv[1:])
