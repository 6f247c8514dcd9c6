"""Checks that several objectives and steps make of what a person wrote."""

from __future__ import annotations

import math
from typing import Any

from holdfast.core.errors import BadTypeError, BadValueError


def check_weight(name: str, value: Any, most: float = math.inf, hint: str = "") -> None:
    """Refuse a number below 0, above `most`, or not finite.

    Raises:
        BadTypeError: No number.
        BadValueError: Out of range; `hint` is added to the message.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadTypeError(f"{name} must be a number, got {value!r}")
    if not (0 <= value <= most and math.isfinite(value)):
        allowed = "0 or more, and finite" if math.isinf(most) else f"from 0 to {most:g}"
        raise BadValueError(f"{name} must be {allowed}, got {value}{hint}")


def check_count(name: str, value: Any, most: float = math.inf) -> None:
    """Refuse what is no whole number from 1 to `most`.

    Raises:
        BadTypeError: No whole number.
        BadValueError: Out of range.
    """
    if type(value) is not int:
        raise BadTypeError(f"{name} must be a whole number, got {value!r}")
    if not 1 <= value <= most:
        allowed = "1 or more" if math.isinf(most) else f"from 1 to {most:g}"
        raise BadValueError(f"{name} must be {allowed}, got {value}")
