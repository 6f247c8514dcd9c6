"""What all explanations share: a number with its interval, and where they came from."""

from __future__ import annotations

import math

from holdfast.records._parts import Number, Part


class Value(Part):
    """A number with its 95 % interval and how many observations it rests on.

    NaN is no data, as a value and as an end of an interval that there is not.
    """

    value: Number = math.nan
    low: Number = math.nan
    high: Number = math.nan
    count: int = 0


class Explanation(Part):
    """Where an explanation came from, and what casts doubt on it.

    Attributes:
        source: What was read: a store, a file, a model and images, in words.
        flags: One sentence each.
        command: What to type to get this again.
        version: Of holdfast.
    """

    source: str = ""
    flags: tuple[str, ...] = ()
    command: str = ""
    version: str = ""
