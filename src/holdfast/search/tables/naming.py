"""How a person names the columns of a table, and how they are ordered."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

from holdfast.core.errors import BadValueError
from holdfast.core.specs import Spec, parse_spec

CORRUPTIONS = (
    "brightness", "contrast", "defocus_blur", "elastic_transform", "fog", "frost",
    "gaussian_noise", "glass_blur", "impulse_noise", "jpeg_compression", "motion_blur",
    "pixelate", "shot_noise", "snow", "zoom_blur",
)  # fmt: skip
ATTACKS = ("fgsm", "pgd", "cw_pgd", "apgd_ce", "apgd_dlr", "square", "fab", "autoattack")
# Corruptions that are not among the fifteen whose mean is published.
_OTHER_CORRUPTIONS = ("speckle_noise", "gaussian_blur", "spatter", "saturate", "mean_corruption")
GROUPS = {"attacks": ATTACKS, "corruptions": CORRUPTIONS}


def matches(wanted: str, condition: str) -> bool:
    """Whether `condition` is one that `wanted` names.

    Raises:
        BadValueError: `wanted` is no spec.
    """
    asked, there = _spec(wanted), _spec(condition)
    if asked.name in GROUPS and not asked.arguments:
        return there.name in GROUPS[asked.name] and _is_standard(there)
    if asked.name != there.name:
        return False
    has = dict(there.arguments)
    return all(key in has and _equal(value, has[key]) for key, value in asked.arguments)


def family(condition: str) -> str:
    """`clean`, `attack`, `corruption` or `cost`."""
    name = _spec(condition).name
    if name in ATTACKS:
        return "attack"
    if name in (*CORRUPTIONS, *_OTHER_CORRUPTIONS):
        return "corruption"
    return "clean" if name == "clean" else "cost"


def strength(condition: str) -> float:
    """Radius of an attack, severity of a corruption, sigma of noise; 0 where there is none."""
    arguments = dict(_spec(condition).arguments)
    value = arguments.get("eps", arguments.get("severity", arguments.get("sigma", 0)))
    return float(value) if isinstance(value, int | float | Fraction) else 0.0


@cache
def _spec(text: str) -> Spec:
    return parse_spec(text)


def _is_standard(spec: Spec) -> bool:
    """Noise of a chosen sigma is no corruption of the benchmark, which has severities."""
    return spec.name in ATTACKS or "severity" in dict(spec.arguments)


def _equal(asked: object, there: object) -> bool:
    if isinstance(asked, bool) or isinstance(there, bool):
        return asked is there
    if isinstance(asked, int | float | Fraction) and isinstance(there, int | float | Fraction):
        return abs(float(asked) - float(there)) < _SAME
    return asked == there


_SAME = 1e-9  # 8/255 may be written as a decimal


def split_qualifiers(text: str) -> tuple[str, dict[str, object]]:
    """`clean[split=test, epochs=200]` as the condition and what stands in brackets.

    Raises:
        BadValueError: A bracket that is not closed, or a key that no column has.
    """
    condition, bracket, rest = text.strip().partition("[")
    # A list inside the parentheses of a spec opens with a bracket, too.
    while condition.count("(") > condition.count(")"):
        more, again, tail = rest.partition("]")
        extra, bracket, rest = tail.partition("[")
        condition = f"{condition}[{more}{again}{extra}"
        if not again:
            raise BadValueError(f"a bracket is not closed in {text!r}")
    if not bracket:
        return condition.strip(), {}
    inner, closed, after = rest.rpartition("]")
    if not closed or after.strip():
        raise BadValueError(
            f"cannot read {text!r}: expected CONDITION[key=value, ...], as in clean[split=test]"
        )
    pairs = [_qualifier(part, text) for part in inner.split(",") if part.strip()]
    given = dict(pairs)
    if len(given) < len(pairs):
        raise BadValueError(f"{text!r} says something twice between its brackets")
    return condition.strip(), given


_QUALIFIERS = ("dataset", "split", "training", "epochs", "metric")


def _qualifier(part: str, text: str) -> tuple[str, object]:
    key, mark, value = (piece.strip() for piece in part.partition("="))
    if not mark or key not in _QUALIFIERS:
        raise BadValueError(
            f"{key!r} in {text!r} is not one of {', '.join(_QUALIFIERS)}, each with =value"
        )
    if key != "epochs":
        return key, value
    if not (value.isascii() and value.isdigit()):
        raise BadValueError(f"epochs must be a whole number, got {value!r}")
    return key, int(value)
