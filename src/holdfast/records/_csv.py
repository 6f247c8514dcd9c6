"""CSV files that others wrote, read as text first, so that errors can name the row."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from holdfast.core.errors import BadValueError, MissingError, StoreError

_SHOWN = 8  # names in a message
_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROL = r"\p{Cc}+"  # would break lines, or colour a terminal, where a name is told


def text_of(path: str | Path, kind: str) -> str:
    """Text of a CSV file, with line feeds at the ends of lines; gzip is unpacked.

    What is not UTF-8 is read as Windows' code page 1252, so that two names stay two.

    Args:
        path: The file.
        kind: What it should be, for messages: `a table of timm's results`.

    Raises:
        MissingError: No such file.
        BadValueError: A folder, or no text.
        StoreError: The file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise MissingError(f"no file {path}; expected {kind} as CSV")
    if path.is_dir():
        raise BadValueError(f"{path} is a folder; expected {kind} as a CSV file")
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw.startswith(_GZIP) else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadValueError(f"{path} is damaged: {error}; expected {kind} as CSV") from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    if raw.startswith(_UTF16):
        text = raw.decode("utf-16", errors="replace")
    elif b"\0" in raw:
        raise BadValueError(f"{path} is no text; expected {kind} as CSV")
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_texts(path: str | Path, kind: str, needed: Sequence[str]) -> pl.DataFrame:
    """Read a CSV file whose cells are all texts, stripped; empty ones are null.

    Args:
        path: The file, with a header.
        kind: What it should be, for messages: `a table of timm's results`.
        needed: Columns that it must have.

    Raises:
        MissingError: No such file.
        BadValueError: No CSV, without rows, or without a needed column.
        StoreError: The file cannot be read.
    """
    text = text_of(path, kind)
    try:
        frame = pl.read_csv(text.encode(), infer_schema_length=0)
    except pl.exceptions.NoDataError as error:
        raise BadValueError(f"{path} is empty; expected {kind}") from error
    except pl.exceptions.PolarsError as error:
        # What follows the first line tells how polars would be called otherwise.
        first = str(error).strip().partition("\n")[0]
        raise BadValueError(
            f"{path} is no CSV file that we can read ({first}); expected {kind}"
        ) from error
    frame = frame.rename({name: name.strip() for name in frame.columns})
    absent = [name for name in needed if name not in frame.columns]
    if absent:
        there = ", ".join(frame.columns[:_SHOWN]) + (", ..." if frame.width > _SHOWN else "")
        raise BadValueError(
            f"{path} is not {kind}: it lacks the columns {', '.join(absent)}; it has {there}"
        )
    if frame.height == 0:
        raise BadValueError(f"{path} has a header and no rows; expected {kind}")
    return frame.with_columns(
        pl.all().str.replace_all(_CONTROL, " ").str.strip_chars().replace("", None)
    )


def numbers_of(frame: pl.DataFrame, column: str, path: str | Path) -> pl.Series:
    """A column of texts as numbers; commas between thousands are dropped, empty is null.

    Raises:
        BadValueError: A text that is no finite number; the message names its row.
    """
    texts = frame[column]
    values = texts.str.replace_all(",", "", literal=True).cast(pl.Float64, strict=False)
    odd = (texts.is_not_null() & ~values.is_finite().fill_null(value=False)).arg_true()
    if len(odd):
        row = int(odd[0])
        raise BadValueError(f"{path}, row {row + 2}: {column} must be a number, got {texts[row]!r}")
    return values
