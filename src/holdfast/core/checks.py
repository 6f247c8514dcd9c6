"""Numbers that a person wrote, refused before they are used."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from holdfast.core.errors import BadTypeError, BadValueError


def check_number(
    name: str, value: Any, *, least: float = 0.0, most: float = math.inf, about: str = ""
) -> None:
    """Refuse what is no finite number from `least` to `most`.

    Args:
        name: What the message calls it.
        value: What came.
        least: The smallest allowed.
        most: The largest allowed.
        about: Added to the message: what the number is, or what to do.

    Raises:
        BadTypeError: No number.
        BadValueError: Out of range, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise BadTypeError(f"{name} must be a number, got {value!r}")
    if not (least <= float(value) <= most and math.isfinite(value)):
        bounds = f"at least {least:g}, and finite" if math.isinf(most) else _between(least, most)
        raise BadValueError(f"{name} must be {bounds}, got {value}{about}")


def check_whole(
    name: str, value: Any, *, least: int = 1, most: float = math.inf, about: str = ""
) -> None:
    """Refuse what is no whole number from `least` to `most`; see `check_number`.

    Raises:
        BadTypeError: No whole number.
        BadValueError: Out of range.
    """
    if type(value) is not int:
        raise BadTypeError(f"{name} must be a whole number, got {value!r}")
    if not least <= value <= most:
        bounds = f"at least {least}" if math.isinf(most) else _between(least, most)
        raise BadValueError(f"{name} must be {bounds}, got {value}{about}")


def _between(least: float, most: float) -> str:
    return f"from {least:g} to {most:g}"
