"""Oxford 102 Flower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.errors import BadValueError, MissingError
from holdfast.data._base import DATASETS, Dataset, Request
from holdfast.data._files import FileDataset
from holdfast.data._shares import asked, within_official
from holdfast.data._torchvision import check_present, fetch

_FOLDER = "flowers-102"  # where torchvision puts the set
_LABELS, _SETS = "imagelabels.mat", "setid.mat"
_CLASSES = 102
_ADVICE = (
    "fetch 102flowers.tgz, imagelabels.mat and setid.mat from "
    "https://www.robots.ox.ac.uk/~vgg/data/flowers/102 elsewhere, unpack the first into {home} "
    "and put the others there"
)
# Names of the sets in setid.mat.
_PARTS = {
    "train": ("trnid",),
    "validation": ("valid",),
    "trainval": ("trnid", "valid"),
    "test": ("tstid",),
    "test1000": ("tstid",),
}


@DATASETS.register("flowers102")
def build(request: Request) -> Dataset:
    """Oxford 102 Flower: photographs, 1,020 train, 1,020 validation and 6,149 test images.

    Torchvision fetches the archive and the two lists (md5 checked) and knows the names of the 102
    classes, in the order of the labels. The splits are the official ones (`val` is validation),
    and `trainval`; `test1000` is 1,000 of the test images, stratified: the share of Heuillet et
    al. 2025, arXiv:2508.14079, not the very images.

    Source: Nilsback and Zisserman 2008, ICVGIP, "Automated flower classification over a large
    number of classes".

    Raises:
        MissingError: The images are not there and cannot be fetched.
        BadValueError: Another split, or a list that cannot be read.
    """
    split = asked(request)
    home = request.root / "flowers102" / _FOLDER
    folder = home / "jpg"
    if not (folder.is_dir() and (home / _LABELS).is_file() and (home / _SETS).is_file()):
        fetch(home, _ADVICE.format(home=home), lambda: _download(home.parent))
    numbers, labels = _annotations(home, _PARTS[split])
    chosen = within_official(labels, split) if split == "test1000" else np.arange(len(labels))
    files = [f"image_{number:05d}.jpg" for number in numbers[chosen].tolist()]
    check_present(folder, files, home)
    return FileDataset("flowers102", split, _names(), folder, files, labels[chosen])


def _download(root: Path) -> None:
    from torchvision.datasets import Flowers102  # noqa: PLC0415 - takes seconds

    Flowers102(root, split="test", download=True)


def _names() -> tuple[str, ...]:
    from torchvision.datasets import Flowers102  # noqa: PLC0415 - takes seconds

    return tuple(Flowers102.classes)


def _annotations(home: Path, parts: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the images of some sets, from 1, int64 [N], and their classes, int32 [N]."""
    sets, classes = _matrix(home / _SETS), _matrix(home / _LABELS)
    try:
        numbers = np.concatenate([np.ravel(sets[part]) for part in parts]).astype(np.int64)
        labels = np.ravel(classes["labels"]).astype(np.int32)[numbers - 1] - 1
    except (KeyError, IndexError, ValueError, TypeError):
        raise BadValueError(
            f"{home / _SETS} must hold trnid, valid and tstid, and {home / _LABELS} a label for "
            "each image; fetch both anew"
        ) from None
    if labels.size and not 0 <= labels.min() <= labels.max() < _CLASSES:
        raise BadValueError(f"{home / _LABELS} must hold labels in 1..{_CLASSES}; fetch it anew")
    return numbers, labels


def _matrix(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat  # noqa: PLC0415 - only here

    try:
        found: dict[str, Any] = loadmat(path, squeeze_me=True)
    except FileNotFoundError:
        raise MissingError(f"no file {path}; fetch it, or delete {path.parent}") from None
    except Exception as error:  # what scipy raises depends on where a file is damaged
        raise BadValueError(f"{path} cannot be read ({error}); fetch it anew") from error
    return found
