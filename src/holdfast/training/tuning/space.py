"""Where to look: fields of a recipe, each with a range or a list of values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from holdfast.core.errors import BadValueError, MissingError, unknown_name
from holdfast.training.reading import read_body, recipe_of
from holdfast.training.recipe import Recipe
from holdfast.training.tuning.presets import SPACES

Kind = Literal["log", "uniform", "int", "choice"]
_KINDS: tuple[Kind, ...] = ("log", "uniform", "int", "choice")
_SUFFIXES = (".yaml", ".yml")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# What trials are scored on: a trial that changed it could not be compared with the others.
_YARDSTICK = tuple(
    f"data.{name}"
    for name in (
        "name",
        "split",
        "validation",
        "validation_name",
        "labels",
        "n",  # of which a share is held out
        "size",
        "resize",
    )
)
_MOST = 2**53  # beyond, not every whole number is a float
_HOW = "write {log: [1e-6, 1e-1]}, {uniform: [1, 6]}, {int: [32, 256]} or {choice: [a, b]}"


@dataclass(frozen=True)
class Dimension:
    """One field and its values.

    Attributes:
        field: Dotted, such as optimizer.lr.
        kind: log and uniform: numbers whose logarithm, or which themselves, are spread evenly;
            int: whole numbers; choice: one of a list.
        low: Smallest number.
        high: Largest number, included.
        log: Of int: spread evenly in the logarithm.
        choices: JSON of each value, in order.
    """

    field: str
    kind: Kind
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    choices: tuple[str, ...] = ()

    def value(self, drawn: Any) -> Any:
        """What the recipe gets where the sampler drew this."""
        return json.loads(drawn) if self.kind == "choice" else drawn

    @property
    def ends(self) -> list[Any]:
        """All values of a list, both ends of a range."""
        if self.kind == "choice":
            return [json.loads(text) for text in self.choices]
        return [self.low, self.high]

    def body(self) -> dict[str, Any]:
        """As it stands in a file."""
        if self.kind == "int" and self.log:
            return {"int": self.ends, "log": True}
        return {self.kind: self.ends}


@dataclass(frozen=True)
class Space:
    """Dimensions in the order of the file."""

    dimensions: tuple[Dimension, ...]

    def body(self) -> dict[str, Any]:
        """Plain types, by field; `space_of` reads them back."""
        return {one.field: one.body() for one in self.dimensions}

    def recipe(self, base: Recipe, values: Mapping[str, Any]) -> Recipe:
        """The recipe with these values of its fields.

        Raises:
            HoldfastError: A field that is none, or a value that it refuses.
        """
        body = base.body()
        for field, value in values.items():
            section, _, name = field.rpartition(".")
            if section and not isinstance(body.get(section, {}), dict):
                raise BadValueError(f"{section} has no fields, so there is no {field}")
            (body.setdefault(section, {}) if section else body)[name] = value
        return recipe_of(body)

    def check(self, base: Recipe) -> None:
        """Try every dimension's values on the recipe, one dimension at a time.

        Raises:
            HoldfastError: A field that is none, a value that it refuses, or a field that decides
                what trials are scored on.
        """
        for one in self.dimensions:
            if one.field in _YARDSTICK or one.field.partition(".")[0] == "validate":
                raise BadValueError(
                    f"a space cannot hold {one.field}: trials that are scored on different images "
                    "or by different measurements cannot be compared; set it in the recipe"
                )
            for value in one.ends:
                try:
                    changed = self.recipe(base, {one.field: value})
                except BadValueError as error:
                    raise BadValueError(f"space: {one.field} of {value!r}: {error}") from error
                if changed.robust_attack != base.robust_attack:
                    raise BadValueError(
                        f"{one.field} of {value!r} changes the attack of the validation score, so "
                        "that trials cannot be compared; name one in the recipe, as in "
                        "validate.attack='pgd(norm=linf, eps=4/255, steps=10)'"
                    )


def load_space(source: str | Path) -> Space:
    """Space of a preset or a YAML file.

    Args:
        source: Name of a preset, or a path that ends in .yaml or .yml.

    Raises:
        MissingError: No such file.
        UnknownNameError: No such preset, or a kind of range that is none.
        BadValueError: A range that is none.
    """
    text = str(source)
    if not text.lower().endswith(_SUFFIXES):
        if text not in SPACES:
            raise unknown_name("space (presets; a file ends in .yaml)", text, SPACES)
        return space_of(SPACES[text])
    path = Path(text).expanduser()
    if not path.is_file():
        raise MissingError(f"no space {path}; write one, or take one of {', '.join(SPACES)}")
    try:
        body = read_body(path.read_text(encoding="utf-8"), str(path))
    except (BadValueError, UnicodeDecodeError) as error:
        raise BadValueError(f"{path} is no space: {error}; one line a field, {_HOW}") from error
    return space_of(body)


def space_of(body: Mapping[str, Any]) -> Space:
    """Check a space's lines; whether the fields exist is checked with the recipe.

    Raises:
        UnknownNameError: A kind of range that is none.
        BadValueError: A range that is none.
    """
    if not body:
        raise BadValueError(f"a space needs a field to look at; {_HOW}")
    return Space(tuple(_dimension(str(field), line) for field, line in body.items()))


def _dimension(field: str, line: Any) -> Dimension:
    if not isinstance(line, dict) or not line:
        raise BadValueError(f"space: {field} needs a range, got {line!r}; {_HOW}")
    log = line.get("log") if isinstance(line.get("log"), bool) else None
    rest = {key: value for key, value in line.items() if key != "log" or log is None}
    if len(rest) != 1:
        raise BadValueError(f"space: {field} needs one range, got {line!r}; {_HOW}")
    (kind, values), *_ = rest.items()
    if kind not in _KINDS:
        raise unknown_name(f"range (of {field})", str(kind), _KINDS)
    if log is not None and kind != "int":
        raise BadValueError(f"space: {field}: `log: true` belongs to int; or {{log: [low, high]}}")
    if not isinstance(values, list):
        raise BadValueError(f"space: {field}: {kind} takes a list, got {values!r}; {_HOW}")
    if kind == "choice":
        return Dimension(field, kind, choices=_choices(field, values))
    return _range(field, kind, values, log=bool(log))


def _range(field: str, kind: Kind, values: list[Any], *, log: bool) -> Dimension:
    ends = [_number(value) for value in values]
    if len(ends) != 2 or not all(type(end) in (int, float) for end in ends):
        raise BadValueError(f"space: {field}: {kind} takes [lowest, highest], got {values!r}")
    low, high = ends
    if kind == "int" and not all(type(end) is int for end in ends):
        raise BadValueError(f"space: {field}: int takes whole numbers, got {values!r}")
    if not low < high:
        raise BadValueError(
            f"space: {field}: the range {values!r} is empty; the lowest comes first, and a "
            "single value belongs into the recipe"
        )
    if (kind == "log" or log) and low <= 0:
        raise BadValueError(
            f"space: {field}: a logarithm needs numbers above 0, got {values!r}; "
            "write a smallest one, or take uniform"
        )
    if kind == "int" and max(abs(low), abs(high)) > _MOST:
        raise BadValueError(
            f"space: {field}: int takes whole numbers up to {_MOST}, got {values!r}; take log or "
            "uniform"
        )
    if kind == "int":
        return Dimension(field, kind, low, high, log=log)
    return Dimension(field, kind, float(low), float(high))


def _choices(field: str, values: list[Any]) -> tuple[str, ...]:
    try:
        texts = tuple(json.dumps(_number(value), allow_nan=False) for value in values)
    except (TypeError, ValueError) as error:
        raise BadValueError(f"space: {field}: cannot choose from {values!r}: {error}") from error
    twice = [text for text in texts if texts.count(text) > 1]
    if twice:
        raise BadValueError(f"space: {field}: {twice[0]} is listed twice")
    if len(texts) < 2:
        raise BadValueError(f"space: {field}: a choice needs two values or more, got {values!r}")
    return texts


def _number(value: Any) -> Any:
    """Numbers as they were meant: YAML reads 1e-6, without a point, as a word."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise BadValueError(f"a space needs finite numbers, got {value}")
    return value
