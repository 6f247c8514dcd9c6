"""Tables in the layout of imagenet-testbed's `robustness_top1s.csv`.

One row a model, one column a test set, top-1 accuracy in percent, empty cells where nothing was
measured. Columns such as `imagenet-c.gaussian_noise.3_on-disk` are a corruption at a severity;
`on-disk` reads ImageNet-C's JPEG files and `in-memory` corrupts on the fly: two measurements that
differ by points, never averaged here. `val` is clean. Source: Taori et al. 2020,
modestyachts/imagenet-testbed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.core.wording import shortlist
from holdfast.records._cells import NOTHING, number, numbers, read_cells
from holdfast.records._testbed_doubts import check_scale, flag_texts, flag_unread
from holdfast.records.explanations.anatomy import ANATOMY_COLUMNS

Recording = Literal["on-disk", "in-memory"]
RECORDINGS: tuple[str, ...] = get_args(Recording)
TESTBED_COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "test_set": pl.String,  # gaussian_noise, imagenet-r, ...; `clean` for `val`
    "level": pl.Float64,  # severity or eps as the table writes it; null where there is none
    "recording": pl.String,  # on-disk | in-memory; null where the column does not say
    "value": pl.Float64,  # fraction
}
CLEAN = "clean"
_MODEL = ("model", "models", "model_name", "name", "network", "architecture", "arch")
_CLEAN = ("val", "clean", "imagenet", "imagenet-val", "imagenet_val", "imagenet1k", "top1")
_NAMES = {  # of attributes, as others write them
    "params": "parameters", "param_count": "parameters", "parameter_count": "parameters",
    "img_size": "input_size", "image_size": "input_size", "resolution": "input_size",
    "crop_pct": "crop_fraction", "macs": "multiply_adds", "gmacs": "multiply_adds",
}  # fmt: skip
_IN_MILLIONS = 1e5  # no network has fewer parameters, and none has more millions of them
_NO_TEXT = NOTHING - {"none", "-", "?"}  # a network may have no pool, and `none` says so
_INDEX = re.compile(r"^(unnamed: ?\d+|index|)$", re.IGNORECASE)
_CORRUPTION = re.compile(
    r"^(?P<set>imagenet[-_ ]?c[._/ -])?(?P<name>[a-z][a-z0-9_ -]*?)(?P<mark>[._/ -])"
    r"(?:severity[_-]?|sev[_-]?|s)?(?P<level>\d+(?:\.\d+)?)"
    r"(?:[._ -](?P<recording>in[-_]?memory|on[-_]?disk))?$",
    re.IGNORECASE,
)
_ATTACK = re.compile(r"^(?P<name>.+)[._-]eps_?(?P<level>\d+(?:\.\d+)?)$", re.IGNORECASE)
# Clean images of some classes alone: neither shifted nor comparable with `val`.
_PART = re.compile(r"^val[-_](on|sub)", re.IGNORECASE)
_SHOWN = 4
_PERCENT = 100.0
_KIND = "a table in the layout of imagenet-testbed"
# Shares of the cells with something in them that may be texts: of a heading that says for sure
# that its column is of a test set, and of others.
_SURE_TEXTS = 0.5
_TEXTS = 0.1


@dataclass(frozen=True)
class Testbed:
    """What a table holds.

    Attributes:
        rows: Columns `TESTBED_COLUMNS`; cells without a value have no row.
        attributes: `model`, and the columns that are no accuracies: texts, and numbers that are
            named like a column of the anatomy or do not fit in 0..100.
        flags: What was odd, one sentence each.
    """

    __test__ = False  # for pytest, which takes names that begin so for tests

    rows: pl.DataFrame
    attributes: pl.DataFrame
    flags: tuple[str, ...]


@dataclass(frozen=True)
class _Column:
    test_set: str
    level: float | None = None
    recording: str | None = None


def read_testbed(path: str | Path) -> Testbed:
    """Read a table in the layout of imagenet-testbed.

    Columns may come in any order, separated by commas, semicolons or tabs; an index column without
    a name is passed over. Fractions are told from percent by their size, and flagged. Of rows with
    one name the first counts. `val-on-...-classes` and `val_subsampled...`, clean images of some
    classes, are left out.

    Raises:
        MissingError: No such file.
        BadValueError: No table, no column of models, or no accuracy in it.
        StoreError: The file cannot be read.
    """
    header, lines, flags = read_cells(path, _KIND)
    place = _model_column(header, lines, path)
    header, lines = _without_duplicates(header, lines, place, flags)
    place = header.index(_MODEL[0])
    models = [line[place] for line in lines]
    texts = {
        name: [line[at] for line in lines]
        for at, name in enumerate(header)
        if at == place or not _INDEX.match(name)
    }
    values = {
        name: _measured(name, cells) for name, cells in texts.items() if name != header[place]
    }
    columns = _accuracies(values)
    flag_texts({name: texts[name] for name in columns}, flags)
    unread = [name for name in values if name not in columns and _of_test_set(name)]
    flag_unread(unread, flags)
    values = {name: column for name, column in values.items() if name not in unread}
    if not columns:
        raise BadValueError(
            f"{path} has no column of accuracies; expected columns such as val, imagenet-r or "
            f"imagenet-c.gaussian_noise.3_on-disk, got {', '.join(header[:_SHOWN])}, ..."
        )
    rows = _long(path, models, {name: _known(values[name]) for name in columns}, columns, flags)
    if rows.height == 0:
        raise BadValueError(f"{path} has {len(models)} models and no accuracy of any")
    attributes = _attributes(models, texts, values, columns)
    return Testbed(rows, attributes, tuple(flags))


def _model_column(header: list[str], lines: Sequence[list[str]], path: str | Path) -> int:
    lowered = [name.lower() for name in header]
    found = next((lowered.index(name) for name in _MODEL if name in lowered), None)
    if found is None:
        # A data frame's index of names, written without a heading.
        found = next(
            (
                at
                for at, name in enumerate(header)
                if _INDEX.match(name) and all(math.isnan(number(line[at])) for line in lines)
            ),
            None,
        )
    if found is None:
        raise BadValueError(
            f"{path} has no column `model`; it has {', '.join(header[:_SHOWN])}, ...: name the "
            "column that holds the models' names so"
        )
    header[found] = _MODEL[0]
    return found


def _without_duplicates(
    header: list[str], lines: list[list[str]], place: int, flags: list[str]
) -> tuple[list[str], list[list[str]]]:
    counts = Counter(name for name in header if not _INDEX.match(name))
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        flags.append(f"columns that stand twice, of which the first counts: {shortlist(twice)}")
    kept = [at for at, name in enumerate(header) if at == place or header.index(name) == at]
    kept = [at for at in kept if at == place or header[at] != _MODEL[0]]
    lines = [[line[at] for at in kept] for line in lines]
    header = [header[at] for at in kept]
    place = header.index(_MODEL[0])
    nameless = sum(line[place].lower() in NOTHING for line in lines)
    if nameless:
        flags.append(f"{nameless} rows without a model's name are left out")
    seen: dict[str, list[str]] = {}
    repeated = []
    for line in lines:
        if line[place].lower() in NOTHING:
            continue
        if line[place] in seen:
            repeated.append(line[place])
        seen.setdefault(line[place], line)
    if repeated:
        named = shortlist(list(dict.fromkeys(repeated)))
        flags.append(f"models that stand twice, of which the first row counts: {named}")
    return header, list(seen.values())


def _measured(name: str, cells: Sequence[str]) -> list[float] | None:
    """A column as numbers; None where it is one of texts."""
    if _attribute(name):
        return numbers(cells)
    return numbers(cells, texts=_SURE_TEXTS if _of_test_set(name) else _TEXTS)


def _of_test_set(name: str) -> bool:
    """Whether a heading says for sure that its column is of a test set."""
    lowered = name.lower()
    if _PART.match(name) or _attribute(name):
        return False
    found = _CORRUPTION.match(name)
    return lowered in _CLEAN or lowered.startswith("imagenet") or bool(found and found["set"])


def _known(values: list[float] | None) -> list[float]:
    return [] if values is None else values


def _accuracies(values: dict[str, list[float] | None]) -> dict[str, _Column]:
    """Columns that are accuracies, and of what."""
    numeric = {name: column for name, column in values.items() if column is not None}
    clean = next((got for name in _CLEAN for got in numeric if got.lower() == name), None)
    found: dict[str, _Column] = {}
    loose: dict[str, list[tuple[str, _Column]]] = {}
    for name, column in numeric.items():
        if name == clean:
            found[name] = _Column(CLEAN, 0.0)
        elif not (_PART.match(name) or _attribute(name)) and _may_be_accuracies(column):
            one, sure = _test_set(name)
            found[name] = one
            if not sure:
                loose.setdefault(one.test_set, []).append((name, one))
    for group in loose.values():
        # `fog_1` and `fog_2` are levels; a lone `imagenet-21` is a name.
        if len({each.level for _, each in group}) == 1:
            found |= {name: _Column(name) for name, _ in group}
    return found


def _test_set(name: str) -> tuple[_Column, bool]:
    """What a heading says, and whether it is sure that its number is a level."""
    attack = _ATTACK.match(name)
    if attack:
        return _Column(attack["name"], float(attack["level"])), True
    found = _CORRUPTION.match(name)
    if not found:
        return _Column(name), True
    one = _Column(
        found["name"].replace(" ", "_"), float(found["level"]), _recording(found["recording"])
    )
    return one, bool(found["set"]) or found["mark"] == "."


def _recording(text: str | None) -> str | None:
    if text is None:
        return None
    return "in-memory" if text.lower().startswith("in") else "on-disk"


def _attribute(name: str) -> bool:
    lowered = name.lower()
    return lowered in ANATOMY_COLUMNS or lowered in _NAMES


def _may_be_accuracies(column: Sequence[float]) -> bool:
    known = [value for value in column if math.isfinite(value)]
    outside = sum(not 0 <= value <= _PERCENT for value in known)
    # A few wild cells are errors; a column of them is something else.
    return bool(known) and outside <= len(known) / 10


def _long(
    path: str | Path,
    models: Sequence[str],
    values: dict[str, list[float]],
    columns: dict[str, _Column],
    flags: list[str],
) -> pl.DataFrame:
    cells = [
        (model, one.test_set, one.level, one.recording, value, name)
        for name, one in columns.items()
        for model, value in zip(models, values[name], strict=True)
        if math.isfinite(value)
    ]
    wild = sorted({cell[5] for cell in cells if not 0 <= cell[4] <= _PERCENT})
    if wild:
        flags.append(f"values outside 0..100 are taken for missing: {shortlist(wild)}")
    kept = [cell[:5] for cell in cells if 0 <= cell[4] <= _PERCENT]
    frame = pl.DataFrame(kept, schema=TESTBED_COLUMNS, orient="row")
    if frame.height and frame["value"].max() <= 1:  # type: ignore[operator]
        flags.append("no value is above 1, so all are read as fractions and not as percent")
        return frame
    frame = frame.with_columns(pl.col("value") / _PERCENT)
    check_scale(path, frame, flags)
    return frame


def _attributes(
    models: Sequence[str],
    texts: dict[str, list[str]],
    values: dict[str, list[float] | None],
    columns: dict[str, _Column],
) -> pl.DataFrame:
    found: dict[str, Any] = {"model": list(models)}
    for name, column in values.items():
        if name in columns or _PART.match(name):
            continue
        lowered = name.lower()
        known = _NAMES.get(lowered, lowered if lowered in ANATOMY_COLUMNS else name)
        if known in found:
            continue
        if column is None:
            found[known] = [None if cell.lower() in _NO_TEXT else cell for cell in texts[name]]
        elif any(map(math.isfinite, column)):
            found[known] = [value if math.isfinite(value) else None for value in column]
            if known == "parameters" and max(filter(math.isfinite, column)) < _IN_MILLIONS:
                found[known] = [None if one is None else one * 1e6 for one in found[known]]
    return pl.DataFrame(found)


def read_attributes(path: str | Path) -> pl.DataFrame:
    """Read a CSV file of attributes: `model`, and columns of numbers or texts.

    Names of columns that mean one of the anatomy's, such as `params`, get that name; columns in
    which every cell is a number become numbers.

    Raises:
        MissingError: No such file.
        BadValueError: No table, no column of models, or no attribute in it.
        StoreError: The file cannot be read.
    """
    header, lines, flags = read_cells(path, _KIND)
    place = _model_column(header, lines, path)
    header, lines = _without_duplicates(header, lines, place, flags)
    if flags:
        raise BadValueError(f"{path}: {flags[0]}; mend the file")
    place = header.index(_MODEL[0])
    names = [name for at, name in enumerate(header) if at != place and not _INDEX.match(name)]
    texts = {name: [line[header.index(name)] for line in lines] for name in names}
    values = {name: numbers(cells) for name, cells in texts.items()}
    found = _attributes([line[place] for line in lines], texts, values, {})
    if found.width < 2:
        raise BadValueError(f"{path} has models and no attribute of them")
    return found
