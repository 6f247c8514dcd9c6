"""Which networks the table holds: one of each class of equal cells."""

from __future__ import annotations

import itertools
from functools import cache

from holdfast.models.nb201 import EDGES
from holdfast.search.making.stack import OPERATIONS, Cell
from holdfast.search.spaces.nb201 import NB201

SPACE = NB201(operations=OPERATIONS)


@cache
def representatives() -> dict[str, Cell]:
    """The plainest cell of each of the 127 classes, by its text.

    The first in lexicographic order, where `none` comes before `skip_connect` and that before
    `nor_conv_3x3`: an edge that leads nowhere carries nothing.
    """
    first: dict[str, Cell] = {}
    for cell in itertools.product(OPERATIONS, repeat=len(EDGES)):
        first.setdefault(SPACE.canonical(SPACE.text(cell)), cell)
    return {SPACE.text(cell): cell for cell in first.values()}


def representative(arch: str) -> str:
    """The cell in the table that stands for `arch`.

    Raises:
        BadValueError: No architecture of the space.
    """
    wanted = SPACE.canonical(arch)
    return next(text for text in representatives() if SPACE.canonical(text) == wanted)
