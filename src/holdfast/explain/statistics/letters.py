"""Compact letters: groups that share one do not differ."""

from __future__ import annotations

import string

import numpy as np
from numpy.typing import ArrayLike

from holdfast.core.errors import BadValueError

_LETTERS = string.ascii_lowercase + string.ascii_uppercase
_MORE = 0x100  # Latin letters with marks: enough for any table


def compact_letters(differ: ArrayLike) -> tuple[str, ...]:
    """Letters of G groups such that two share a letter if and only if they do not differ.

    Groups that stand first get the first letters, so hand them over by descending mean.

    Args:
        differ: Whether each two groups differ, bool [G, G], symmetric.

    Raises:
        BadValueError: Not square, not symmetric, or a group that differs from itself.

    Source: the insert-and-absorb algorithm of Piepho 2004, "An algorithm for a letter-based
    representation of all-pairwise comparisons", J. Computational and Graphical Statistics 13(2).
    """
    table = np.asarray(differ, dtype=bool)
    square = table.ndim == 2 and table.shape[0] == table.shape[1]
    if not square or (table != table.T).any() or table.diagonal().any():
        raise BadValueError(
            "expected a symmetric table of which groups differ, with False on its diagonal; "
            f"got the shape {table.shape}"
        )
    count = len(table)
    columns = [frozenset(range(count))] if count else []
    for first, second in zip(*np.nonzero(np.triu(table)), strict=True):
        columns = _insert(columns, int(first), int(second))
    columns.sort(key=sorted)
    return tuple(
        "".join(_letter(place) for place, column in enumerate(columns) if group in column)
        for group in range(count)
    )


def _insert(columns: list[frozenset[int]], first: int, second: int) -> list[frozenset[int]]:
    """Split columns that hold both groups, then absorb those that lie within another."""
    split: list[frozenset[int]] = []
    for column in columns:
        if first in column and second in column:
            split += [column - {first}, column - {second}]
        else:
            split.append(column)
    distinct = list(dict.fromkeys(split))
    return [one for one in distinct if not any(one < other for other in distinct)]


def _letter(place: int) -> str:
    return _LETTERS[place] if place < len(_LETTERS) else chr(_MORE + place - len(_LETTERS))
