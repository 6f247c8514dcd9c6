"""Caltech 101."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.data._base import DATASETS, Dataset, Request
from holdfast.data._files import FileDataset, image_files, subfolders
from holdfast.data._shares import asked, check_count, within_whole
from holdfast.data._torchvision import fetch

CLASSES = 101
COUNT = 8_677
_FOLDER = "101_ObjectCategories"
_BACKGROUND = "BACKGROUND_Google"
_ADVICE = (
    "fetch caltech-101.zip from https://data.caltech.edu/records/mzrjq-6wc02 elsewhere and unpack "
    "the 101_ObjectCategories.tar.gz in it into {parent}"
)


@DATASETS.register("caltech101")
def build(request: Request) -> Dataset:
    """Caltech 101: photographs, 101 classes, 6,942 trainval and 1,735 test images.

    Torchvision fetches the archive (md5 checked). The classes are its categories; the background
    is none. There is no official division: `test` is a fifth, `train` and `validation` divide the
    rest, `trainval`, 85 to 15, and `test1000` is 1,000 of the test images, each stratified: the
    shares of Heuillet et al. 2025, arXiv:2508.14079, not the very images.

    Source: Fei-Fei et al. 2004, "Learning generative visual models from few training examples".

    Raises:
        MissingError: The images are not there and cannot be fetched.
        BadValueError: Another split, or not all of the images.
    """
    split = asked(request)
    home = request.root / "caltech101" / "caltech101" / _FOLDER  # where torchvision unpacks it
    if not home.is_dir():
        advice = _ADVICE.format(parent=home.parent)
        fetch(home, advice, lambda: _download(home.parents[1]))
    classes = tuple(name for name in subfolders(home) if name != _BACKGROUND)
    if len(classes) != CLASSES:
        raise BadValueError(
            f"expected {CLASSES} folders of images in {home}, found {len(classes)}; delete it and "
            "try again"
        )
    found = [(c, file) for c in classes for file in image_files(home / c, deep=False)]
    check_count(str(home), COUNT, len(found))
    index = {name: place for place, name in enumerate(classes)}
    labels = np.array([index[c] for c, _ in found], dtype=np.int32)
    chosen = within_whole(labels, split)
    files = ["/".join(found[place]) for place in chosen]
    return FileDataset("caltech101", split, classes, home, files, labels[chosen])


def _download(root: Path) -> None:
    from torchvision.datasets import Caltech101  # noqa: PLC0415 - takes seconds

    Caltech101(root, download=True)
