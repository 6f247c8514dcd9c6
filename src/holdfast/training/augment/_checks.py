"""Refuse what a person wrote, before any picture is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.core.checks import check_number, check_whole
from holdfast.core.errors import BadValueError

if TYPE_CHECKING:
    from holdfast.training.augment.base import Augmentation


def number(part: Augmentation, field: str, low: float, high: float, about: str) -> float:
    """Make a field a float from `low` to `high`, so that however it was written the text is one.

    Raises:
        BadTypeError: It is not a number.
        BadValueError: It is out of range.
    """
    value = getattr(part, field)
    check_number(f"{part.name} {field}", value, least=low, most=high, about=f"; it is {about}")
    object.__setattr__(part, field, float(value))
    return float(value)


def positive(part: Augmentation, field: str, high: float, about: str) -> float:
    """Like `number` from 0, and zero is refused: it would do nothing.

    Raises:
        BadTypeError: It is not a number.
        BadValueError: It is out of range, or zero.
    """
    value = number(part, field, 0, high, about)
    if value == 0:
        raise BadValueError(
            f"{part.name} {field} must be above 0, got 0; leave {part.name} out to do without it"
        )
    return value


def share(part: Augmentation, field: str = "p") -> float:
    """Make a field a probability.

    Raises:
        BadTypeError: It is not a number.
        BadValueError: It is not from 0 to 1.
    """
    return number(part, field, 0, 1, "the share of the pictures that are changed")


def whole(part: Augmentation, field: str, low: int, high: int, about: str) -> int:
    """Check a field to be a whole number from `low` to `high`.

    Raises:
        BadTypeError: It is not a whole number.
        BadValueError: It is out of range.
    """
    value: int = getattr(part, field)
    check_whole(f"{part.name} {field}", value, least=low, most=high, about=f"; it is {about}")
    return value


def one_of(part: Augmentation, field: str, known: tuple[str, ...]) -> str:
    """Check a field to be one of a few words.

    Raises:
        BadValueError: It is none of them.
    """
    value: str = getattr(part, field)
    if value not in known:
        raise BadValueError(f"{part.name} {field} must be {' or '.join(known)}, got {value!r}")
    return value
