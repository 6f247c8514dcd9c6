"""Specs people type: `NAME` or `NAME(key=value, ...)`, parsed without evaluating anything.

A spec has one canonical text: declared order, one space after a comma, fractions as p/q, and
no mention of a parameter that is None. Run ids are digests of that text.
"""

from __future__ import annotations

import ast
import dataclasses
import types
import typing
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.core.registry import Registry

_LONGEST = 500  # characters of a spec that a person means
SMALLEST_PART = 15  # 1/17 is written 15/255, and 1/5 as it is
_LARGEST = 2**63 - 1  # whole number that a table can hold
Scalar = bool | int | float | Fraction | str
Value = Scalar | tuple[Scalar, ...]
P = TypeVar("P")


@dataclass(frozen=True)
class Spec:
    """A parsed spec: the name and what was written between the parentheses."""

    name: str
    arguments: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        return format_spec(self.name, dict(self.arguments))


def parse_spec(text: str) -> Spec:
    """Parse one spec.

    Raises:
        BadValueError: The text is not `NAME` or `NAME(key=value, ...)`.
    """
    tree = _parsed(text)
    if isinstance(tree, ast.Name):
        return Spec(tree.id)
    if not (isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name)):
        # Names of sets carry hyphens, which Python reads as subtraction.
        if all(part.isidentifier() for part in text.strip().split("-")):
            return Spec(text.strip())
        raise _wrong(text)
    if tree.args:
        raise _wrong(text, f"; write what each value is, as in {tree.func.id}(severity=3)")
    arguments: dict[str, Value] = {}
    for keyword in tree.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise _wrong(text)
        arguments[keyword.arg] = _value(keyword.value, text)
    return Spec(tree.func.id, tuple(arguments.items()))


def _parsed(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise BadValueError(
            f"a spec of {len(text):,} characters; expected NAME or NAME(key=value, ...)"
        )
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _wrong(text) from None


def split_specs(text: str) -> list[str]:
    """Split at the commas that stand outside parentheses."""
    return [part for part in _cut(text, ",") if part]


def split_sum(text: str) -> list[str]:
    """Split at the plus signs that stand outside parentheses: several attacks as one.

    Raises:
        BadValueError: Nothing before or after a plus sign.
    """
    parts = _cut(text, "+")
    if len(parts) > 1 and not all(parts):
        raise BadValueError(
            f"a plus sign joins two attacks, as in fgsm + pgd, and one is missing in {text!r}: "
            "write it, or leave the plus sign out"
        )
    return [part for part in parts if part]


def _cut(text: str, mark: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1, "[": 1, "]": -1}.get(character, 0)
        if character == mark and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part.strip() for part in [*parts, text[start:]]]


def format_spec(name: str, arguments: dict[str, Any]) -> str:
    """Write the canonical text; parameters that are None are left out."""
    written = [f"{key}={_text(value)}" for key, value in arguments.items() if value is not None]
    return f"{name}({', '.join(written)})" if written else name


def canonical(name: str, part: Any) -> str:
    """Canonical text of a frozen dataclass registered as `name`."""
    fields = {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.init}
    return format_spec(name, fields)


def build(kind: str, name: str, part: type[P], arguments: dict[str, Value]) -> P:
    """Build the dataclass `part` from what a person wrote.

    Raises:
        UnknownNameError: A parameter that `part` does not have.
        BadValueError: A parameter of the wrong type, or one that `part` refuses.
    """
    fields = {f.name: f for f in dataclasses.fields(part) if f.init}  # type: ignore[arg-type]
    hints = typing.get_type_hints(part)
    values = {}
    for key, value in arguments.items():
        if not fields:
            raise BadValueError(f"{name} takes no parameters, got {key}={_text(value)}")
        if key not in fields:
            raise unknown_name(f"parameter of {kind} {name}", key, fields)
        values[key] = _coerce(f"{name} {key}", value, hints[key])
    return part(**values)


def parse_part(
    registry: Registry[type[P]], text: str, parameters: dict[str, Value] | None = None
) -> P:
    """Build the registered part that a person means.

    Args:
        registry: Of parts that are frozen dataclasses.
        text: `NAME` or `NAME(key=value, ...)`.
        parameters: Further ones, which win over those in the text.

    Raises:
        UnknownNameError: No such part or parameter.
        BadValueError: A value of the wrong type, or one that the part refuses.
    """
    spec = parse_spec(text)
    arguments = {**dict(spec.arguments), **(parameters or {})}
    return build(registry.kind, spec.name, registry[spec.name], arguments)


def _coerce(what: str, value: Value, wanted: Any) -> Value:
    options = typing.get_args(wanted) if _is_union(wanted) else (wanted,)
    for option in options:
        if (
            option is float
            and isinstance(value, int | float | Fraction)
            and type(value) is not bool
        ):
            return float(value)  # `_value` keeps it small enough
        if typing.get_origin(option) is typing.Literal:
            if (type(value), value) in [(type(one), one) for one in typing.get_args(option)]:
                return value
        elif (option in (int, str, bool, Fraction) and type(value) is option) or (
            option == tuple[str, ...] and _are_words(value)
        ):
            return value
    names = " or ".join(_type_name(o) for o in options if o is not type(None))
    shown = repr(value) if isinstance(value, str) else _text(value)
    raise BadValueError(f"{what} must be {names}, got {shown}{_unquoted(value)}")


def _are_words(value: Value) -> bool:
    return isinstance(value, tuple) and all(type(word) is str for word in value)


def _unquoted(value: Value) -> str:
    """Hint for a number in quotes, which is no number."""
    if not isinstance(value, str) or not value.strip()[:1].isdigit():
        return ""
    return f"; write it without quotes: {value.strip()}"


def _is_union(wanted: Any) -> bool:
    return typing.get_origin(wanted) in (typing.Union, types.UnionType)


def _type_name(option: Any) -> str:
    if typing.get_origin(option) is typing.Literal:
        return " or ".join(_text(value) for value in typing.get_args(option))
    names = {int: "a whole number", float: "a number", str: "a word", bool: "True or False"}
    names |= {tuple[str, ...]: "a list of words"}
    return names.get(option, "a fraction")


def _value(node: ast.expr, text: str) -> Value:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        if isinstance(node.value, int) and node.value > _LARGEST:
            raise _wrong(text, "; a number in it is too large")
        return node.value
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call):
        return str(parse_spec(ast.unparse(node)))  # a part inside a part; whoever takes it reads it
    if isinstance(node, ast.List | ast.Tuple):
        items = [_value(item, text) for item in node.elts]
        if not items:
            raise _wrong(text, "; a list in it is empty, write at least one value")
        if not any(isinstance(item, tuple) for item in items):
            return tuple(items)  # type: ignore[arg-type]  # scalars, as just checked
    return _number(node, text)


def _number(node: ast.expr, text: str) -> Scalar:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _value(node.operand, text)
        if isinstance(inner, int | float | Fraction):
            return -inner
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        over, under = _value(node.left, text), _value(node.right, text)
        if isinstance(over, int) and isinstance(under, int) and under != 0:
            return Fraction(over, under)
    raise _wrong(text)


def _text(value: Any) -> str:
    if isinstance(value, Fraction):
        return _fraction(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value) if isinstance(value, float) else str(value)


def _fraction(value: Fraction) -> str:
    """As p/q; in 255ths, the unit of pixels, where it is a small number of them."""
    over, under = value.numerator, value.denominator
    if 255 % under == 0 and under >= SMALLEST_PART:
        over, under = over * (255 // under), 255
    return f"{over}/{under}"


def _wrong(text: str, hint: str = "") -> BadValueError:
    return BadValueError(
        f"cannot read the spec {text!r}: expected NAME or NAME(key=value, ...)"
        + (hint or ", as in fog(severity=3) or gaussian_noise(sigma=0.1)")
    )
