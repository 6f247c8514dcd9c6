"""How messages tell of many names."""

from __future__ import annotations

from collections.abc import Sequence


def shortlist(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are: `a, b and 3 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
