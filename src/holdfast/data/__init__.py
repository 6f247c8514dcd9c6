"""Where images come from, one data set or reader a file.

Each public module registers what a command line names; `open_dataset` finds it. Images are read
one after another and never kept, so memory does not grow with the size of a set.
"""

from holdfast.core.registry import import_siblings
from holdfast.data._base import (
    DATASETS,
    Broken,
    Dataset,
    OpenClasses,
    Request,
    Sample,
    at_home,
    data_root,
    known_data,
    open_dataset,
)
from holdfast.data._subset import choose, shuffled, stratified_order

import_siblings(__name__)

__all__ = [
    "DATASETS",
    "Broken",
    "Dataset",
    "OpenClasses",
    "Request",
    "Sample",
    "at_home",
    "choose",
    "data_root",
    "known_data",
    "open_dataset",
    "shuffled",
    "stratified_order",
]
