"""FGVC-Aircraft."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from holdfast.core.errors import BadValueError, MissingError
from holdfast.data._base import DATASETS, Dataset, Request
from holdfast.data._files import FileDataset
from holdfast.data._shares import asked, within_official
from holdfast.data._torchvision import check_present, fetch

_FOLDER = "fgvc-aircraft-2013b"  # the archive's, where torchvision unpacks it
_ADVICE = (
    "fetch fgvc-aircraft-2013b.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft "
    "elsewhere and unpack it into {parent}"
)
_PARTS = {"validation": "val", "test1000": "test"}  # their names in the archive


@DATASETS.register("aircraft")
def build(request: Request) -> Dataset:
    """FGVC-Aircraft: photographs, 100 variants, 3,334 train, 3,333 val and 3,333 test images.

    Torchvision fetches the archive. The splits are the official ones (`val` is validation), and
    `trainval`; `test1000` is 1,000 of the test images, stratified: the share of Heuillet et al.
    2025, arXiv:2508.14079, not the very images. The strip with the photographer's name below each
    picture is left in, as torchvision and they leave it. For non-commercial research only.

    Source: Maji et al. 2013, arXiv:1306.5151.

    Raises:
        MissingError: The images are not there and cannot be fetched.
        BadValueError: Another split, or an annotation that cannot be read.
    """
    split = asked(request)
    home = request.root / "aircraft" / _FOLDER
    if not (home / "data").is_dir():
        advice = _ADVICE.format(parent=home.parent)
        fetch(home, advice, lambda: _download(home.parent))
    classes = tuple(_lines(home / "data" / "variants.txt"))
    path = home / "data" / f"images_variant_{_PARTS.get(split, split)}.txt"
    names, labels = _annotations(path, classes)
    chosen = within_official(labels, split) if split == "test1000" else np.arange(len(labels))
    files = [f"{names[place]}.jpg" for place in chosen]
    folder = home / "data" / "images"
    check_present(folder, files, home)
    return FileDataset("aircraft", split, classes, folder, files, labels[chosen])


def _download(root: Path) -> None:
    from torchvision.datasets import FGVCAircraft  # noqa: PLC0415 - takes seconds

    FGVCAircraft(root, split="test", download=True)


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line]
    except FileNotFoundError:
        raise MissingError(f"no file {path}; delete {path.parents[1]} and try again") from None
    except ValueError:
        raise BadValueError(f"{path} must be text; unpack it anew") from None


def _annotations(path: Path, classes: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """Read lines `name variant`, the variant with blanks; names [N], classes int32 [N]."""
    index = {name: place for place, name in enumerate(classes)}
    rows = [line.partition(" ") for line in _lines(path)]
    try:
        labels = np.array([index[variant] for _, _, variant in rows], dtype=np.int32)
    except KeyError as error:
        raise BadValueError(
            f"{path} names the variant {error.args[0]!r}, which variants.txt lacks; unpack "
            "both anew"
        ) from None
    return [name for name, _, _ in rows], labels
