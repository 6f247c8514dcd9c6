"""From the text that a person types to a table, and from a table to one file of columns."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError, MissingError, StoreError, unknown_name
from holdfast.data import at_home, data_root
from holdfast.search.tables.formats import READERS, Reader
from holdfast.search.tables.schema import SCHEMA, frame_of
from holdfast.search.tables.sources import head, is_page, page_message, read_json
from holdfast.search.tables.table import KEYS, BenchmarkTable, Card

EMBEDDED = Card(
    name="digits",
    title="NAS-Bench-201 cells on 8 x 8 digits, plain and adversarially trained",
    source="holdfast's own; search/making has the program that made it",
    verified="made by this library",
)
_EMBEDDED_FILE = "digits_nb201.parquet"
_CARD = "holdfast_table"  # key of the card in a Parquet file
_LEVEL = 9  # of zstd; higher ones gain a few per cent


def tables_root() -> Path:
    """Folder of fetched tables: `tables` among the named data sets."""
    return data_root() / "tables"


def open_table(text: str, *, root: Path | None = None) -> BenchmarkTable:
    """Open a table.

    Args:
        text: `digits` (ships with the package), a name of `known_tables` that was fetched or put
            into its folder, the path of a file or folder, or `FORMAT:PATH`.
        root: Folder of fetched tables; see `tables_root` for the default.

    Raises:
        UnknownNameError: Neither a known table nor a path.
        MissingError: A path that does not exist, or a known table that is not there yet; the
            message says how to get it.
        BadValueError: Content that no reader knows, or that is damaged.
    """
    typed = text.strip()
    name, colon, rest = typed.partition(":")
    if colon and name in READERS:
        return _read(READERS[name], at_home(rest.strip()))
    if typed == EMBEDDED.name:
        with resources.as_file(resources.files(__package__) / _EMBEDDED_FILE) as path:
            return read_parquet(path, card=EMBEDDED)
    if typed in READERS:
        return _cached(READERS[typed], (root or tables_root()) / typed)
    path = at_home(typed)
    if path.exists():
        return _open_path(path)
    if len(path.parts) > 1 or path.suffix:
        raise MissingError(
            f"{path} does not exist; expected a file or folder of scores, or one of "
            f"{', '.join(_names())}"
        )
    raise unknown_name("table", typed, _names())


def _names() -> list[str]:
    return [EMBEDDED.name, *READERS]


def _read(reader: Reader, path: Path) -> BenchmarkTable:
    if not path.exists():
        raise MissingError(f"{path} does not exist; expected: {reader.layout}")
    return noted(reader, reader.read(path))


def noted(reader: Reader, frame: pl.DataFrame) -> BenchmarkTable:
    """Table of a reader's rows; a reader that met no real file before says that it has now."""
    card, count = reader.card, frame["arch"].n_unique()
    if not card.verified and count == reader.whole:
        card = replace(card, verified=f"a file with all {count:,} architectures")
    return BenchmarkTable(card, frame)


def _open_path(path: Path) -> BenchmarkTable:
    if path.is_file() and path.suffix == ".parquet" and not _is_foreign(path):
        return read_parquet(path)
    known = [READERS[name] for name in READERS if READERS[name].knows(path)]
    if len(known) == 1:
        return _read(known[0], path)
    if known:
        said = " or ".join(f"{reader.card.name}:{path}" for reader in known)
        raise BadValueError(f"{path} looks like more than one format; say which: {said}")
    raise BadValueError(_unknown_content(path))


def _is_foreign(path: Path) -> bool:
    """Whether a Parquet file has none of our columns, and is a reader's to know."""
    try:
        return not set(SCHEMA) & set(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError):
        return False


def _unknown_content(path: Path) -> str:
    if path.is_dir() and not any(path.iterdir()):
        return f"{path} is an empty folder; expected files with scores"
    if path.is_file() and is_page(head(path)):
        return page_message(path)
    if path.is_file() and head(path).lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        read_json(path)  # says where a damaged file is damaged
    layouts = "; ".join(f"{name}: {READERS[name].layout}" for name in READERS)
    return (
        f"{path} is of no format that is known; say which with FORMAT:{path} to hear what is "
        f"wrong with it ({layouts})"
    )


def _cached(reader: Reader, folder: Path) -> BenchmarkTable:
    """The table of a name from its folder: the converted file, or else what was put there."""
    name = reader.card.name
    converted = folder / f"{name}.parquet"
    if converted.is_file():
        return read_parquet(converted)
    entries = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
    for path in entries:
        if reader.knows(path):
            return _read(reader, path)
    raise MissingError(
        f"the table {name} is not in {folder}; {how_to_get(reader.card, str(folder))} "
        f"(expected there: {reader.layout})"
    )


def how_to_get(card: Card, folder: str = "") -> str:
    """What a person does to have a table."""
    if card.name == EMBEDDED.name:
        return "ships with the package"
    if card.address:
        return f"holdfast data fetch {card.name}"
    return f"{card.manual}, and put it into {folder}" if folder else card.manual


def known_tables(*, root: Path | None = None) -> list[tuple[str, str, str, str, str]]:
    """Rows (name, title, source, verified or unverified, how to get it); `digits` first.

    Args:
        root: Folder of fetched tables; what was converted there may be verified by now.
    """
    folder = root or tables_root()
    cards = [EMBEDDED, *(_latest(READERS[name].card, folder) for name in READERS)]
    return [(card.name, card.title, card.source, _state(card), how_to_get(card)) for card in cards]


def _latest(card: Card, root: Path) -> Card:
    """The card of the converted file, where there is one that can be read."""
    path = root / card.name / f"{card.name}.parquet"
    try:
        text = pl.read_parquet_metadata(path).get(_CARD) if path.is_file() else None
        return _card(text, path, card)
    except (pl.exceptions.PolarsError, OSError, BadValueError):
        return card


def _state(card: Card) -> str:
    return f"verified: {card.verified}" if card.verified else "unverified"


def write_parquet(table: BenchmarkTable, out: Path) -> None:
    """Write a table: zstd, columns one after another, the card as metadata.

    Raises:
        StoreError: The file cannot be written.
    """
    places = table.frame.select(KEYS).unique(maintain_order=True).with_row_index("place")
    frame = (
        table.frame.join(places, on=KEYS, nulls_equal=True, maintain_order="left")
        .sort("place", maintain_order=True)
        .select([*SCHEMA])
    )
    part = out.with_name(f"{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(
            part,
            compression="zstd",
            compression_level=_LEVEL,
            metadata={_CARD: json.dumps(asdict(table.card))},
        )
        part.replace(out)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{out} cannot be written: {error}") from error


def read_parquet(path: Path, *, card: Card | None = None) -> BenchmarkTable:
    """Open a file of `write_parquet`, or any Parquet file with the columns of the schema.

    Args:
        path: The file.
        card: Of a file that has none.

    Raises:
        MissingError: No such file.
        BadValueError: It is no Parquet, cut off, or has other columns.
    """
    if not path.is_file():
        raise MissingError(f"{path} does not exist")
    try:
        text = pl.read_parquet_metadata(path).get(_CARD)
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        line = str(error).split("\n", 1)[0]
        raise BadValueError(
            f"{path} cannot be read as Parquet, so it is damaged or cut off: {line}"
        ) from error
    try:
        checked = frame_of(frame)
    except pl.exceptions.PolarsError as error:
        line = str(error).split("\n", 1)[0]
        raise BadValueError(f"{path} has a column of the wrong type: {line}") from error
    plain = Card(
        name=path.stem,
        title=f"scores of {path.name}",
        source="a file of one's own",
        verified="the columns of a benchmark table",
    )
    return BenchmarkTable(_card(text, path, card or plain), checked)


def _card(text: str | None, path: Path, otherwise: Card) -> Card:
    """Card of a file's metadata."""
    if text is None:
        return otherwise
    try:
        found: Any = json.loads(text)
        return replace(otherwise, **{key: str(value) for key, value in found.items()})
    except (ValueError, TypeError, AttributeError):
        raise BadValueError(f"the card in {path} cannot be read; convert the table again") from None
