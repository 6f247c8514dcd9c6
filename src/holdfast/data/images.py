"""A folder of images without labels."""

from __future__ import annotations

import numpy as np

from holdfast.core.errors import MissingError
from holdfast.data._base import DATASETS, Dataset, Request
from holdfast.data._files import FileDataset, image_files


@DATASETS.register("images")
def build(request: Request) -> Dataset:
    """Unlabelled images in a folder: images:DIR, at any depth, to pretrain on.

    All have one class, `unlabeled`. The split is a word for the record.

    Raises:
        MissingError: No such folder, or no image in it.
    """
    request.no_labels()
    folder = request.path("images:DIR")
    if not folder.is_dir():
        raise MissingError(f"folder {request.argument} does not exist; write images:DIR")
    files = image_files(folder, deep=True)
    if not files:
        raise MissingError(f"no images in {request.argument}, with extensions such as .jpg or .png")
    labels = np.zeros(len(files), dtype=np.int32)
    return FileDataset(request.spec, request.split, ("unlabeled",), folder, files, labels)
