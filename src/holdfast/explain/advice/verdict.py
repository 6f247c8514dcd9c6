"""Which change helps, if any does."""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.explain.observations import CLEAN
from holdfast.records.explanations import Advised, Consequence

_ROUNDING = 1e-9  # a difference of fractions that is 2 points by count may be less by floats


def ordered(advised: Sequence[Advised], noise: str, clean_loss: float) -> list[Advised]:
    """Best first: acceptable on clean images before others, then by gain under noise.

    What does not apply or failed comes last.
    """

    def key(one: Advised) -> tuple[bool, bool, float]:
        if one.status != "measured":
            return (True, True, 0.0)
        lost = -_measured(one, CLEAN)
        return (False, lost > clean_loss + _ROUNDING, -_measured(one, noise))

    return sorted(advised, key=key)


def verdict(advised: Sequence[Advised], noise: str, gain: float, clean_loss: float) -> str:
    """One sentence: which gains most of those that lose little, or that none gains enough.

    The interval in it is that of one change. The best of several is the best by luck too, on the
    very images that chose it, so the sentence says of how many.
    """
    measured = [one for one in advised if one.status == "measured"]
    if not measured:
        return "No change could be measured, so none is advised."
    good = [
        one
        for one in measured
        if _measured(one, noise) >= gain - _ROUNDING
        and _measured(one, CLEAN) >= -clean_loss - _ROUNDING
    ]
    if not good:
        return (
            f"No change that was tried gains {100 * gain:g} points or more under {noise} at a "
            f"loss of at most {100 * clean_loss:g} on clean images."
        )
    best = max(good, key=lambda one: _measured(one, noise))
    found, clean = consequence(best, noise), consequence(best, CLEAN)
    gains = f"{best.change} gains {_points(found)} under {noise}"
    told = [f"{gains} and changes clean accuracy by {_points(clean)}"]
    if found.measured.low <= 0:
        told.append("that it gains at all is not certain on these images")
    if len(measured) > 1:
        told.append(
            f"it is the best of {len(measured)} changes on the images that chose it, so expect "
            "somewhat less on others"
        )
    return f"{'; '.join(told)}."


def consequence(one: Advised, condition: str) -> Consequence:
    """What a change does under a condition that was measured."""
    return next(part for part in one.consequences if part.condition == condition)


def _measured(one: Advised, condition: str) -> float:
    found = [part for part in one.consequences if part.condition == condition]
    value = found[0].measured.value if found else math.nan
    return -math.inf if math.isnan(value) else value


def _points(part: Consequence) -> str:
    value, low, high = (round(100 * one, 1) + 0.0 for one in _bounds(part))  # no minus zero
    return f"{value:+.1f} points [{low:.1f}, {high:.1f}]"


def _bounds(part: Consequence) -> tuple[float, float, float]:
    return part.measured.value, part.measured.low, part.measured.high
