"""Recipes as people write them: YAML, presets by name, and `key.path=value` on a command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from holdfast.core.errors import BadValueError, HoldfastError, MissingError, UnknownNameError
from holdfast.core.specs import parse_spec
from holdfast.training.objectives import OBJECTIVES
from holdfast.training.presets import PRESETS, preset
from holdfast.training.recipe import Recipe, TrainSection

_SUFFIXES = (".yaml", ".yml")
_RAW = ("augment",)  # fields whose lists YAML would cut at commas inside parentheses
_NONE = ("", "null", "~")
_EXPECTED = {  # by pydantic's name of what is wrong
    "missing": "a value, as there is no default",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_too_short": "some text",
    "too_long": "as many numbers as the default has",
    "tuple_type": "a list, as in [0.9, 0.95]",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
}


class _Loader(yaml.SafeLoader):
    """YAML whose 1e-3 is a number, and in which nothing is said twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - yaml's
        """Refuse a key that is there already."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is written twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


_ATTACK = 'an attack is written whole: train.attack="pgd(eps=2/255, steps=10, step_size=1/255)"'


def load_recipe(source: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Recipe of a preset or a YAML file, with fields replaced.

    Args:
        source: Name of a preset, or a path that ends in .yaml or .yml.
        overrides: Each `key.path=value`, such as `train.epochs=5`; null is none.

    Raises:
        MissingError: No such file.
        UnknownNameError: No such preset, field, or part.
        BadValueError: A value that its field refuses, or a file that is no recipe.
    """
    texts, body = list(overrides), body_of(source)
    named = any(text.partition("=")[0].strip() == "model.name" for text in texts)
    if named and not str(source).lower().endswith(_SUFFIXES):
        # A preset's statistics are those of its own network and data.
        body["model"] = {**body["model"], "mean": None, "std": None}
    return recipe_of(override(body, texts))


def body_of(source: str | Path) -> dict[str, Any]:
    """What a preset or file says, unchecked."""
    text = str(source)
    if not text.lower().endswith(_SUFFIXES):
        if Path(text).is_file():
            raise BadValueError(f"{text}: a recipe's file ends in .yaml or .yml")
        return preset(text).body
    path = Path(text).expanduser()
    if not path.is_file():
        raise MissingError(
            f"no recipe {path}; write one, or start from a preset: {', '.join(PRESETS)}"
        )
    try:
        return read_body(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise BadValueError(f"{path} is no text in UTF-8 ({error}); write it as such") from error


def read_body(text: str, where: str) -> dict[str, Any]:
    """Parse YAML, which is to be sections by name.

    Raises:
        BadValueError: It is not.
    """
    try:
        body = _yaml(text)
    except yaml.YAMLError as error:
        raise BadValueError(f"{where} is not YAML: {error}") from error
    if not isinstance(body, dict):
        got = "nothing" if body is None else type(body).__name__
        raise BadValueError(
            f"{where} must hold sections such as data, model and train, got {got}; "
            "`holdfast train presets` shows whole recipes"
        )
    return body


def recipe_of(body: Mapping[str, Any]) -> Recipe:
    """Check a recipe's sections.

    Raises:
        UnknownNameError: A field or part that nobody knows, with the nearest.
        BadValueError: A value that its field refuses.
    """
    _check_fields(body)
    try:
        return Recipe.model_validate(dict(body))
    except ValidationError as error:
        raise _readable(error) from error


def write_recipe(recipe: Recipe) -> str:
    """YAML with every default written out; reading it gives the same recipe."""
    return yaml.safe_dump(recipe.body(), sort_keys=False, allow_unicode=True, width=100)


def override(body: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Replace fields; `key.path=value` in the order given.

    Raises:
        BadValueError: No `=`, or a path through something that has no fields.
    """
    result = {k: dict(v) if isinstance(v, dict) else v for k, v in body.items() if v is not None}
    for text in overrides:
        path, separator, value = text.partition("=")
        keys = path.strip().split(".")
        if not separator or not all(keys):
            raise BadValueError(
                f"cannot read the override {text!r}; write section.field=value, as in "
                "train.epochs=5"
            )
        if len(keys) > 2:
            if path.startswith("train.attack."):
                raise BadValueError(f"{path}: {_ATTACK}")
            raise BadValueError(
                f"{path} goes deeper than a recipe: write section.field=value, as in train.epochs=5"
            )
        if len(keys) == 1:
            result[keys[0]] = _value(keys[0], value)
            continue
        section = result.setdefault(keys[0], {})
        if not isinstance(section, dict):
            raise BadValueError(f"{keys[0]} has no fields; write {keys[0]}=value")
        section[keys[1]] = _value(path, value)
        if path == "train.objective":
            _drop_parameters(section)
    return result


def _drop_parameters(train: dict[str, Any]) -> None:
    """Leave out parameters of the objective before, which the new one does not have."""
    text = train["objective"]
    name = parse_spec(text).name if isinstance(text, str) else ""
    if name not in OBJECTIVES:
        return
    known = {*TrainSection.model_fields, *(one.name for one in fields_of(OBJECTIVES[name]))}  # type: ignore[arg-type]
    for key in [key for key in train if key not in known]:
        del train[key]


def _value(path: str, text: str) -> Any:
    if path in _RAW:
        return None if text.strip() in _NONE else text
    try:
        return _yaml(text)
    except yaml.YAMLError as error:
        raise BadValueError(
            f"cannot read the value of {path}, got {text!r}; write it as in YAML, a text with "
            "special characters in quotes"
        ) from error


def _yaml(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def known_fields(objective: str = "") -> dict[str, str]:
    """Dotted names of all fields, each with its section; with an objective, its parameters too."""
    known: dict[str, str] = {}
    for name, field in Recipe.model_fields.items():
        kind, shown = field.annotation, field.alias or name
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            known |= {f"{shown}.{inner}": shown for inner in kind.model_fields}
        else:
            known[shown] = ""
    if objective:
        parameters = fields_of(OBJECTIVES[objective])  # type: ignore[arg-type]
        known |= {f"train.{one.name}": "train" for one in parameters}
    return known


def _check_fields(body: Mapping[str, Any]) -> None:
    """Refuse a field that no section has, and name the nearest."""
    known = known_fields(_objective_name(body))
    sections = {section for section in known.values() if section}
    for name, value in body.items():
        if name in sections:
            if not isinstance(value, dict):
                raise BadValueError(
                    f"{name} is a section with fields, got {value!r}; write them below it"
                )
            typed = [f"{name}.{key}" for key in value]
        else:
            typed = [str(name)]
        for path in typed:
            if path not in known:
                raise _unknown(path, known)


def _objective_name(body: Mapping[str, Any]) -> str:
    train = body.get("train")
    default = str(TrainSection.model_fields["objective"].default)
    text = train.get("objective", default) if isinstance(train, dict) else default
    if not isinstance(text, str):
        raise BadValueError(f"train.objective: expected text such as trades(beta=6), got {text!r}")
    return parse_spec(text).name


def _unknown(path: str, known: Mapping[str, str]) -> UnknownNameError:
    last = path.rpartition(".")[2]
    owners = [name for name in OBJECTIVES if f"train.{last}" in known_fields(name)]
    if path == f"train.{last}" and owners:
        return UnknownNameError(
            f"{path} is a parameter of the objectives {', '.join(owners)}, not of this recipe's; "
            "set train.objective too"
        )
    if last in ("eps", "epsilon", "radius", "steps"):
        return UnknownNameError(f"a recipe has no field {path!r}; {_ATTACK}")
    near = [name for name in known if name.rpartition(".")[2] == last]
    choices = [*known, *dict.fromkeys(section for section in known.values() if section)]
    near += difflib.get_close_matches(path, choices, n=3, cutoff=0.6)
    near = list(dict.fromkeys(near))[:3]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return UnknownNameError(f"a recipe has no field {path!r}; {hint}")


def _readable(error: ValidationError) -> HoldfastError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, HoldfastError):
        return cause
    if cause is not None:
        return BadValueError(f"{where or 'recipe'}: {cause}")
    expected = _EXPECTED.get(first["type"], first["msg"]).format(**first.get("ctx", {}))
    got = repr(first["input"])
    if first["type"] == "missing":
        # A place of a list, or a field.
        short = isinstance(first["loc"][-1], int)
        expected, got = (_EXPECTED["too_long"], got) if short else (expected, "none")
    return BadValueError(f"{where or 'recipe'}: expected {expected}, got {got}")
