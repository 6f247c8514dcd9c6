"""How numbers are written for people: the only place that knows percent and 8/255.

Everything else keeps fractions, pixel units of [0, 1] and seconds. A value that was not measured
is None and a value without data is NaN; both are written in words, never as zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from holdfast.core.specs import SMALLEST_PART

NOT_MEASURED = "not measured"
NO_DATA = "no data"
PERCENT_TICKS = ".0%"  # how plotly is told to write an axis of fractions
NO_BREAK = "\N{NO-BREAK SPACE}"
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_TINY = 1e-9  # how far eps * 255 may lie from a whole number that was meant


def decimal(value: float | None, digits: int = 3) -> str:
    """Write a plain number with a typographic minus, such as `0.034`."""
    if value is None:
        return NOT_MEASURED
    if math.isnan(value):
        return NO_DATA
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "\N{MINUS SIGN}")


def percent(value: float | None, digits: int = 1) -> str:
    """Write a fraction as percent, such as `71.3 %`."""
    if value is None or math.isnan(value):
        return decimal(value)
    return f"{decimal(100 * value, digits)}{NO_BREAK}%"


def bare_percent(value: float | None) -> str:
    """Write a fraction as whole percent without its sign, for a cell whose scale says percent."""
    return "" if value is None or math.isnan(value) else decimal(100 * value, 0)


def percent_interval(
    value: float | None, low: float | None, high: float | None, digits: int = 1
) -> str:
    """Write a fraction with its interval, such as `71.3 % [68.1, 74.4]`.

    The brackets are left out where there is no interval.
    """
    bounds = interval(low, high, scale=100, digits=digits)
    joined = value is not None and not math.isnan(value) and bounds
    return f"{percent(value, digits)}{NO_BREAK}{bounds}" if joined else percent(value, digits)


def interval(low: float | None, high: float | None, *, scale: float = 1.0, digits: int = 3) -> str:
    """Write `[low, high]`, or nothing where a bound is missing."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{decimal(scale * low, digits)},{NO_BREAK}{decimal(scale * high, digits)}]"


def points(difference: float, digits: int = 1) -> str:
    """Write the difference of two fractions in percentage points, with its sign."""
    text = decimal(100 * difference, digits)
    signed = text if difference <= 0 else f"+{text}"
    return f"{signed} points"


def count(value: int) -> str:
    """Write a whole number with commas, such as `10,000`."""
    return f"{value:,}"


def counted(value: int, noun: str, plural: str = "") -> str:
    """Write a count with its noun, in words up to ten: `three models`, `one image`."""
    word = _WORDS[value] if value < len(_WORDS) else count(value)
    return f"{word} {noun if value == 1 else plural or noun + 's'}"


def eps(value: float | None) -> str:
    """Write a radius in [0, 1] pixel units as k/255 where it is one, else as a decimal.

    As conditions are written: 0.2 is 0.2, although it is 51/255 too.
    """
    if value is None:
        return NOT_MEASURED
    levels = value * 255
    part = Fraction(round(levels), 255)
    if part.denominator >= SMALLEST_PART and abs(levels - round(levels)) < _TINY * 255:
        return f"{round(levels)}/255"
    return f"{value:g}"


def radius(value: float, norm: str) -> str:
    """Write a radius in a norm: in 255ths for Linf, else as a decimal where that is short."""
    short = f"{value:.3g}"
    if norm != "linf" and math.isclose(float(short), value):
        return short
    return eps(value)


def size(value: float, norm: str) -> str:
    """Write the measured size of a perturbation in a norm, such as `7.8/255` or `0.42`."""
    if math.isnan(value):
        return NO_DATA
    if norm != "linf":
        return f"{value:.3g}"
    levels = 255 * value
    return f"{levels:.2f}/255" if levels < 1 else f"{levels:.1f}/255"


def size_interval(value: float, low: float, high: float, norm: str) -> str:
    """Write a measured size with its interval, such as `0.42 [0.38, 0.5]`; no end: none found."""
    if math.isnan(value):
        return NO_DATA
    found, *ends = ("none found" if math.isinf(v) else size(v, norm) for v in (value, low, high))
    return f"{found} [{', '.join(ends)}]"


def sigma(value: float) -> str:
    """Write a noise level in [0, 1] pixel units, such as `0.1`."""
    return f"{value:g}"


def seconds(value: float) -> str:
    """Write a duration in the unit that reads best."""
    if value < 90:
        return f"{value:.1f} s"
    if value < 90 * 60:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h"


def listing(names: Sequence[str]) -> str:
    """Join names as a sentence does: `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def sentence(text: str) -> str:
    """`text` with a capital first letter; names such as `timm:x` further on stay as they are."""
    return text[:1].upper() + text[1:]


def shortened(name: str, width: int = 30) -> str:
    """`name` with its middle left out where it is longer than `width` characters."""
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}\N{HORIZONTAL ELLIPSIS}{name[-(width - 1 - head) :]}"
