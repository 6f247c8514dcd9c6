"""Stanford Cars."""

from __future__ import annotations

from dataclasses import replace

from holdfast.data._base import DATASETS, Dataset, Request
from holdfast.data._hub_parquet import HubFiles, open_parts
from holdfast.data._shares import asked, official, within_official

# The publisher's address is dead, and with it torchvision's downloader.
FILES = HubFiles(
    repository="tanganke/stanford_cars",
    revision="9abf6cf7d6dfa7b95152a0d6e791ea9435b47a40",
    files={
        "trainval": ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"),
        "test": ("data/test-00000-of-00002.parquet", "data/test-00001-of-00002.parquet"),
    },
)
CLASSES = 196
ROWS = {"trainval": 8_144, "test": 8_041}


@DATASETS.register("cars")
def build(request: Request) -> Dataset:
    """Stanford Cars: photographs, 196 models of car, 8,144 trainval and 8,041 test images.

    Four files of a copy on the Hugging Face hub, 1.9 GB in all. `trainval` is what its publishers
    call train, and `test` is theirs; `train` and `validation` divide trainval 85 to 15, and
    `test1000` is 1,000 of the test images, each stratified: the shares of Heuillet et al. 2025,
    arXiv:2508.14079, not the very images. For non-commercial research only.

    Source: Krause et al. 2013, 3DRR, "3D object representations for fine-grained categorization".

    Raises:
        MissingError: The files are not there and cannot be fetched.
        BadValueError: Another split, or damaged files.
    """
    split = asked(request)
    part = official(split)
    paths = FILES.fetch(request.root / "cars", part)
    whole = open_parts(paths, classes=CLASSES, rows=ROWS[part])
    chosen = within_official(whole.labels, split)
    return replace(whole, name="cars", split=split, places=chosen, labels=whole.labels[chosen])
