"""UC Merced Land Use."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from holdfast.core.errors import BadValueError, MissingError
from holdfast.data._base import DATASETS, Dataset, Request
from holdfast.data._download import Remote
from holdfast.data._files import FileDataset, image_files, subfolders
from holdfast.data._shares import asked, check_count, within_whole

# The publisher's server has no https; this copy and its md5 are those that torchgeo uses.
ARCHIVE = Remote(
    url="https://huggingface.co/datasets/torchgeo/ucmerced/resolve/main/UCMerced_LandUse.zip",
    file="UCMerced_LandUse.zip",
    algorithm="md5",
    checksum="5b7ec56793786b6dc8a908e8854ac0e4",
)
CLASSES = 21
COUNT = 2_100
_INSIDE = ("UCMerced_LandUse", "Images")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@DATASETS.register("ucmerced")
def build(request: Request) -> Dataset:
    """UC Merced Land Use: aerial images, 256 x 256 pixels, 21 classes of 100 images.

    There is no official division: `test` is a fifth, 420, and as `test1000` too; `train` and
    `validation` divide the rest, `trainval`, 85 to 15, each stratified: the shares of Heuillet et
    al. 2025, arXiv:2508.14079, not the very images.

    Source: Yang and Newsam 2010, ACM SIGSPATIAL, "Bag-of-visual-words and spatial extensions for
    land-use classification".

    Raises:
        MissingError: The archive is not there and cannot be fetched.
        BadValueError: Another split, a damaged archive, or not all of the images.
    """
    split = asked(request)
    home = request.root / "ucmerced"
    folder = home.joinpath(*_INSIDE)
    if not folder.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        _unpack(ARCHIVE.fetch(home), folder)
    classes = tuple(subfolders(folder))
    found = [(c, file) for c in classes for file in image_files(folder / c, deep=False)]
    check_count(str(folder), COUNT, len(found))
    if len(classes) != CLASSES:
        raise BadValueError(
            f"expected {CLASSES} folders of images in {folder}, found {len(classes)}; delete it "
            "and try again"
        )
    index = {name: place for place, name in enumerate(classes)}
    labels = np.array([index[c] for c, _ in found], dtype=np.int32)
    chosen = within_whole(labels, split)
    files = ["/".join(found[place]) for place in chosen]
    return FileDataset("ucmerced", split, classes, folder, files, labels[chosen])


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the images, and nothing else; the folder shows only when it is whole."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                parts = PurePosixPath(member.filename).parts
                if member.is_dir() or len(parts) != 4 or parts[:2] != _INSIDE or ".." in parts:
                    continue
                place = part / parts[2] / parts[3]
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, place.open("wb") as target:
                    shutil.copyfileobj(source, target)
        part.mkdir(parents=True, exist_ok=True)  # an archive without images is told by its count
        part.rename(folder)
    except _DAMAGED as error:
        raise BadValueError(
            f"{archive} is damaged or no zip archive ({error}); delete it and try again"
        ) from error
    except OSError as error:
        raise MissingError(
            f"{archive} could not be unpacked beside itself ({error}); make room, or set "
            "HOLDFAST_DATA to a folder that can be written"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
