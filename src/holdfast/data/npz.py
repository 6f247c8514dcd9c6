"""Arrays of one's own in an .npz file."""

from __future__ import annotations

from holdfast.core.errors import BadValueError
from holdfast.data._arrays import ArrayDataset, check_images, open_arrays, read_classes
from holdfast.data._base import DATASETS, Dataset, OpenClasses, Request
from holdfast.data._labels import read_labels


@DATASETS.register("npz")
def build(request: Request) -> Dataset:
    """Arrays in a NumPy file: npz:FILE with x uint8 [N, H, W, 3] or [N, H, W], and y [N].

    The split is a name only: the file holds one. `labels` give names to the classes; without
    them classes are "0", "1", ... up to the largest label, and the model may have more: some
    images of a set may lack its last classes. Pickled content is refused.

    Raises:
        MissingError: No such file.
        BadValueError: Arrays missing, of a wrong type or shape, of different lengths, or labels
            out of range.
    """
    images, targets = open_arrays(request.path("npz:FILE"), ("x", "y"))
    check_images(images)
    count = images.shape[0]
    if targets.shape[:1] != (count,):
        raise BadValueError(
            f"{images.path}: expected one label an image, got {images} and {targets}"
        )
    given = None if request.labels is None else read_labels(request.labels).classes
    labels = read_classes(targets, count, None if given is None else len(given))
    classes = given or OpenClasses(str(index) for index in range(int(labels.max()) + 1))
    return ArrayDataset(request.spec, request.split, classes, images, labels)
