"""Which images are set apart for validation."""

from __future__ import annotations

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import checked_seed
from holdfast.data import stratified_order


def holdout(labels: np.ndarray, fraction: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Set some images apart for validation, of each class its share.

    Args:
        labels: Class of each image, [N].
        fraction: Share for validation, between 0 and 1.
        seed: Another seed chooses others.

    Returns:
        Positions for training and for validation, ascending. Every class keeps an image for
        training.

    Raises:
        BadValueError: The fraction is out of range, or one of the parts would be empty.
    """
    if not 0 < fraction < 1:
        raise BadValueError(f"fraction must be between 0 and 1, got {fraction}")
    truth = np.asarray(labels)
    order = stratified_order(truth, seed=checked_seed(seed))
    apart = np.zeros(len(truth), dtype=bool)
    apart[order[: round(fraction * len(truth))]] = True
    for label in np.unique(truth):
        members = order[truth[order] == label]
        if apart[members].all():
            apart[members[-1]] = False
    training, validation = np.flatnonzero(~apart), np.flatnonzero(apart)
    if not len(validation):
        raise BadValueError(
            f"a fraction of {fraction} of {len(truth)} images leaves none for validation once "
            "every class has one for training; take more"
        )
    return training, validation
