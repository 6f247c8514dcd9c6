"""Cells of CSV files whose layout varies: separators, decimal commas, words for nothing."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from holdfast.core.errors import BadValueError
from holdfast.core.wording import shortlist
from holdfast.records._csv import text_of

NOTHING = {"", "nan", "na", "n/a", "none", "null", "-", "--", "?", "inf", "-inf", "#n/a"}
_SHOWN = 4
_WIDTH = 40  # characters of a cell in a message


def read_cells(path: str | Path, kind: str) -> tuple[list[str], list[list[str]], list[str]]:
    """Header, rows of as many cells, and flags; separated by commas, semicolons or tabs.

    Control characters become spaces, and cells are stripped.

    Raises:
        MissingError: No such file.
        BadValueError: No table, or none with a row.
        StoreError: The file cannot be read.
    """
    text = text_of(path, kind)
    first = text.lstrip("\n").partition("\n")[0]
    mark = max(",;\t", key=first.count)
    try:
        read = list(csv.reader(io.StringIO(text), delimiter=mark))
    except csv.Error as error:
        raise BadValueError(f"{path} is no CSV file that we can read: {error}") from error
    lines = [line for line in ([_plain(cell) for cell in line] for line in read) if any(line)]
    if len(lines) < 2:
        raise BadValueError(
            f"{path} has {'no rows' if lines else 'nothing in it'}; expected a header and one row "
            "a model"
        )
    header = lines[0]
    kept = [line for line in lines[1:] if len(line) == len(header)]
    if not kept:
        raise BadValueError(
            f"{path} has no row of {len(header)} cells, which is what its header has"
        )
    flags = []
    ragged = [line for line in lines[1:] if len(line) != len(header)]
    if ragged:
        shown = shortlist([_short(line[0]) for line in ragged], _SHOWN)
        flags.append(
            f"{len(ragged)} rows have another number of cells than the header has and are left "
            f"out: {shown}"
        )
    return header, kept, flags


def _plain(cell: str) -> str:
    """Without what would break a line, or colour a terminal, where a name is told."""
    if cell.isprintable():
        return cell.strip()
    return "".join(one if one.isprintable() else " " for one in cell).strip()


def _short(cell: str) -> str:
    return cell if len(cell) <= _WIDTH else f"{cell[:_WIDTH]}..."


def number(text: str) -> float:
    """The number in a cell; NaN where there is none."""
    bare = text.strip().removesuffix("%").strip()
    if bare.lower() in NOTHING:
        return math.nan
    if bare.count(",") == 1 and "." not in bare:
        bare = bare.replace(",", ".")  # how half of Europe writes 76,1
    try:
        return float(bare)
    except ValueError:
        return math.nan


def is_text(cell: str) -> bool:
    """Whether a cell says something that is no number."""
    return cell.removesuffix("%").strip().lower() not in NOTHING and math.isnan(number(cell))


def numbers(cells: Sequence[str], *, texts: float = 0.0) -> list[float] | None:
    """Cells as numbers; None where more than this share of those with something are texts."""
    odd = sum(map(is_text, cells))
    filled = odd + sum(not math.isnan(number(cell)) for cell in cells)
    return None if odd > texts * filled else [number(cell) for cell in cells]
