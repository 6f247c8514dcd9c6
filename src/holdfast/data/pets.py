"""Oxford-IIIT Pet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from holdfast.core.errors import BadValueError, MissingError
from holdfast.data._base import DATASETS, Dataset, Request
from holdfast.data._files import FileDataset
from holdfast.data._shares import asked, official, within_official
from holdfast.data._torchvision import check_present, fetch

_FOLDER = "oxford-iiit-pet"  # where torchvision puts the set
_ADVICE = (
    "fetch images.tar.gz and annotations.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/pets "
    "elsewhere and unpack both into {home}"
)


@DATASETS.register("pets")
def build(request: Request) -> Dataset:
    """Oxford-IIIT Pet: photographs, 37 breeds, 3,680 trainval and 3,669 test images.

    Torchvision fetches the two archives (md5 checked). `trainval` and `test` are the official
    splits; `train` and `validation` divide trainval 85 to 15, and `test1000` is 1,000 of the test
    images, each stratified by breed: the shares of Heuillet et al., not the very images.

    Source: Parkhi et al. 2012, CVPR, "Cats and dogs".

    Raises:
        MissingError: The images are not there and cannot be fetched.
        BadValueError: Another split, or an annotation that cannot be read.
    """
    split = asked(request)
    home = request.root / "pets" / _FOLDER
    if not ((home / "images").is_dir() and (home / "annotations").is_dir()):
        fetch(home, _ADVICE.format(home=home), lambda: _download(home.parent))
    names, labels = _annotations(home / "annotations" / f"{official(split)}.txt")
    chosen = within_official(labels, split)
    files = [f"{names[place]}.jpg" for place in chosen]
    check_present(home / "images", files, home)
    return FileDataset(
        "pets", split, _breeds(names, labels), home / "images", files, labels[chosen]
    )


def _download(root: Path) -> None:
    from torchvision.datasets import OxfordIIITPet  # noqa: PLC0415 - takes seconds

    OxfordIIITPet(root, split="test", download=True)


def _annotations(path: Path) -> tuple[list[str], np.ndarray]:
    """Read lines `name class species breed`; names [N], classes from 0, int32 [N]."""
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        labels = np.array([int(row[1]) - 1 for row in rows], dtype=np.int32)
    except FileNotFoundError:
        raise MissingError(f"no file {path}; unpack annotations.tar.gz there") from None
    except (ValueError, IndexError):
        raise BadValueError(f"{path} must hold lines of name and class; unpack it anew") from None
    return [row[0] for row in rows], labels


def _breeds(names: list[str], labels: np.ndarray) -> tuple[str, ...]:
    breed = {
        label: name.rpartition("_")[0] for name, label in zip(names, labels.tolist(), strict=True)
    }
    return tuple(breed[label] for label in sorted(breed))
