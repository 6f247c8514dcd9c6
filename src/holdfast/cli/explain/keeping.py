"""What every command of `holdfast explain` shares: its folder, and how notes are told."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from holdfast.cli.console import err, out
from holdfast.core.version import VERSION

if TYPE_CHECKING:
    import polars as pl

    from holdfast.records.explanations import Explanation

    E = TypeVar("E", bound=Explanation)

OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Folder for the numbers and one page of all explanations in it."
    ),
]


def command_line() -> str:
    """What was typed."""
    return shlex.join(["holdfast", *sys.argv[1:]])


def signed(found: E) -> E:
    """The same, with the command that made it and the version."""
    return found.model_copy(update={"command": command_line(), "version": VERSION})


def keep(folder: Path | None, found: Explanation | pl.DataFrame) -> None:
    """Write an explanation, or anatomies, where a folder is given, and the page anew."""
    if folder is None:
        return
    from holdfast.records.explanations import Explanation, write_anatomy, write_explanation
    from holdfast.report.explain import write_explanation_page

    if isinstance(found, Explanation):
        write_explanation(folder, found)
    else:
        write_anatomy(folder, _with_earlier(folder, found))
    out.print(f"page: {write_explanation_page(folder)}", markup=False)


def _with_earlier(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, and those of other models that the folder has already."""
    import polars as pl

    from holdfast.core.errors import MissingError
    from holdfast.records.explanations import read_anatomy

    try:
        earlier = read_anatomy(folder)
    except MissingError:
        return rows
    return pl.concat([earlier.join(rows, on="model", how="anti"), rows])


def note(flags: Sequence[str]) -> None:
    """Tell on standard error what casts doubt on a result."""
    for flag in flags:
        err.print("note:", style="bold yellow", end=" ")
        err.print(flag, markup=False)


def columns(*names: str) -> Table:
    """A table for the terminal; fill it with `escape`d text."""
    return Table(*map(escape, names), box=None, pad_edge=False, header_style="bold")
