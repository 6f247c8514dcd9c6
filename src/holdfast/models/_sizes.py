"""Sizes that every network of a search space is built with."""

from __future__ import annotations

from holdfast.core.errors import BadValueError


def check_sizes(*, channels: int, cells: int, classes: int, in_channels: int = 3) -> None:
    """Refuse sizes that no network has.

    Raises:
        BadValueError: Fewer than one channel or cell, or fewer than two classes.
    """
    for name, value, least in (
        ("channels", channels, 1),
        ("cells", cells, 1),
        ("classes", classes, 2),
        ("in_channels", in_channels, 1),
    ):
        if value < least:
            raise BadValueError(f"a network needs {name} >= {least}, got {value}")
