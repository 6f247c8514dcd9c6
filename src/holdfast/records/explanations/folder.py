"""A folder of explanations: one file a kind, written whole; a page is made of what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import polars as pl

from holdfast.core.errors import BadValueError, MissingError
from holdfast.records._files import read_json, write_json, write_whole
from holdfast.records.explanations._base import Explanation
from holdfast.records.explanations.advice import Advice
from holdfast.records.explanations.anatomy import ANATOMY_COLUMNS
from holdfast.records.explanations.causal import Causal
from holdfast.records.explanations.fine_tuning import FineTuning
from holdfast.records.explanations.ranks import Ranks
from holdfast.records.explanations.rules import Rules
from holdfast.records.explanations.theory import Theory

E = TypeVar("E", bound=Explanation)
ANATOMY_FILE = "anatomy.parquet"
FILES: Mapping[type[Explanation], str] = MappingProxyType(
    {
        Ranks: "ranks.json",
        Rules: "rules.json",
        Theory: "theory.json",
        Advice: "advice.json",
        Causal: "causal.json",
        FineTuning: "fine_tuning.json",
    }
)
_COMMANDS = {FineTuning: "fine-tuning", Advice: "advise"}


def write_explanation(folder: str | Path, found: Explanation) -> Path:
    """Write one explanation into a folder, beside others; give back its file.

    Raises:
        StoreError: The folder cannot be written.
    """
    path = Path(folder) / FILES[type(found)]
    write_json(path, found)
    return path


def read_explanation(folder: str | Path, kind: type[E]) -> E:
    """Read what `write_explanation` wrote.

    Raises:
        MissingError: There is no such file.
        BadValueError: A file that says something else.
    """
    name = _COMMANDS.get(kind, kind.__name__.lower())
    return read_json(Path(folder) / FILES[kind], kind, f"holdfast explain {name} --out")


def write_anatomy(folder: str | Path, rows: pl.DataFrame) -> Path:
    """Write anatomies, and the same as CSV beside; give back the Parquet file.

    Raises:
        BadValueError: Other columns than `ANATOMY_COLUMNS`.
        StoreError: The folder cannot be written.
    """
    if set(rows.columns) != set(ANATOMY_COLUMNS):
        odd = sorted(set(rows.columns) ^ set(ANATOMY_COLUMNS))
        raise BadValueError(f"anatomies have other columns than expected: {', '.join(odd)}")
    frame = rows.select(pl.col(name).cast(kind) for name, kind in ANATOMY_COLUMNS.items())
    path = Path(folder) / ANATOMY_FILE
    write_whole(path, frame.write_parquet)
    write_whole(path.with_suffix(".csv"), frame.write_csv)
    return path


def read_anatomy(folder: str | Path) -> pl.DataFrame:
    """Read what `write_anatomy` wrote.

    Raises:
        MissingError: There is no such file.
        BadValueError: A file that says something else.
    """
    path = Path(folder) / ANATOMY_FILE
    if not path.is_file():
        raise MissingError(f"no {ANATOMY_FILE} in {folder}: `holdfast explain anatomy` writes it")
    try:
        frame = pl.read_parquet(path, glob=False)
        return frame.select(pl.col(name).cast(kind) for name, kind in ANATOMY_COLUMNS.items())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadValueError(f"{path} is no table of anatomies: {error}; make it again") from error
