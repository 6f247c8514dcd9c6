"""How Heuillet et al. divide sets that come without a validation or a test split."""

from __future__ import annotations

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.data._base import Request
from holdfast.data._subset import stratified_order

SPLITS = ("trainval", "train", "validation", "test", "test1000")
_TEST = 0.20  # of a set without an official test split
_VALIDATION = 0.15  # of what is left for training
_FEWER = 1_000  # test images that they measure
_SEED = 42
_FEWER_SEED = 0


def asked(request: Request) -> str:
    """Split that is asked for of a set that takes neither argument nor labels.

    `trainval` is all but the test images, `test` all of them, `test1000` at most 1,000.

    Raises:
        BadValueError: There is no such split, or the set takes no argument or no labels.
    """
    request.no_argument()
    request.no_labels()
    return request.known_split(*SPLITS)


def official(split: str) -> str:
    """Official part, `trainval` or `test`, that a split is taken from."""
    return "test" if split.startswith("test") else "trainval"


def within_official(labels: np.ndarray, split: str) -> np.ndarray:
    """Positions of a split in its official part, int64 [N], ascending.

    `train` and `validation` divide trainval 85 to 15, stratified, keyed by seed 42; `test1000`
    takes 1,000 test images, stratified, keyed by seed 0, or all where there are fewer. The shares
    and seeds are those of Heuillet et al. 2025, arXiv:2508.14079 (their code: sklearn's
    train_test_split); the very images are not, for our shuffle is keyed by hash.

    Args:
        labels: Classes of the official part that `official` names, [M].
        split: One of `SPLITS`.
    """
    if split in ("trainval", "test"):
        return np.arange(len(labels))
    if split == "test1000":
        return np.sort(stratified_order(labels, seed=_FEWER_SEED)[:_FEWER])
    held, rest = _cut(labels, _VALIDATION)
    return held if split == "validation" else rest


def within_whole(labels: np.ndarray, split: str) -> np.ndarray:
    """Positions of a split in a set that has no official ones, int64 [N], ascending.

    A fifth of the images is for the test, stratified, keyed by seed 42; for the rest see
    `within_official`.

    Args:
        labels: Classes of the whole set, [M].
        split: One of `SPLITS`.
    """
    test, trainval = _cut(labels, _TEST)
    part = test if official(split) == "test" else trainval
    return part[within_official(labels[part], split)]


def check_count(what: str, expected: int, found: int) -> None:
    """Refuse a set of another size than its publisher's: an archive unpacked in part.

    Raises:
        BadValueError: The counts differ.
    """
    if found != expected:
        raise BadValueError(
            f"expected {expected:,} images in {what}, found {found:,}; delete it and try again"
        )


def _cut(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    order = stratified_order(labels, seed=_SEED)
    cut = round(share * len(labels))
    return np.sort(order[:cut]), np.sort(order[cut:])
