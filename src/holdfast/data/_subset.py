"""Which images a smaller measurement takes, and in which order a set is divided."""

from __future__ import annotations

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.core.mixing import first_words, name_word

_SEED = name_word("holdfast subset")


def choose(count_total: int, n: int) -> list[int]:
    """Choose the positions that `--n N` measures, ascending.

    They are those with the N smallest hashes, so the choice for 100 lies within that for 1,000,
    every model and every seed sees the same images, and a set sorted by class is sampled evenly.
    The hash runs over positions alone. With n above the total all are chosen: n is "at most".

    Raises:
        BadValueError: n is below 1.
    """
    if n < 1:
        raise BadValueError(f"n must be at least 1, got {n}; leave it out to measure every image")
    if n >= count_total:
        return list(range(count_total))
    words = first_words(count_total, seed=_SEED)
    return [int(place) for place in np.sort(np.argpartition(words, n - 1)[:n])]


def shuffled(count_total: int, n: int | None = None) -> list[int]:
    """Positions in the fixed random order in which an anytime measurement draws them.

    The first N are those that `choose` gives for N.
    """
    order = np.argsort(first_words(count_total, seed=_SEED), kind="stable")
    return [int(place) for place in order[:n]]


def stratified_order(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """Shuffle positions so that every prefix holds each class in its share, int64 [N].

    Within a class the order is by hash; a class of c images has its r-th one at (r + 1/2) / c of
    the way. A prefix of n images holds n * c / N of that class, less or more than one at most
    for sets with up to a few dozen classes.

    Args:
        labels: Class indices, [N].
        seed: Another seed is another order.
    """
    words = first_words(len(labels), seed=seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranked = members[np.argsort(words[members])]
        place[ranked] = (np.arange(len(ranked)) + 0.5) / len(ranked)
    return np.lexsort((labels, place))
