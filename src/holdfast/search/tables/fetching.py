"""Fetching published tables: a transfer that was cut off goes on where it stopped."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import BadValueError, MissingError
from holdfast.search.tables.loading import (
    EMBEDDED,
    how_to_get,
    noted,
    tables_root,
    write_parquet,
)
from holdfast.search.tables.readers import READERS, Reader
from holdfast.search.tables.sources import head, is_page, page_message

_BLOCK = 1 << 20
_TIMEOUT = 60  # seconds without a byte
_TRIES = 4
_PARTIAL, _TOO_FAR = 206, 416  # answers to a request for a range


@dataclass(frozen=True)
class Fetched:
    """What a fetch left behind.

    Attributes:
        path: The published file.
        converted: The same as one Parquet file, which `open_table` opens by the table's name.
        sha256: Of the published file, in hex.
        checked: Whether that was compared: with the publisher's, or with that of an earlier fetch.
    """

    path: Path
    converted: Path
    sha256: str
    checked: bool


def fetch(name: str, *, root: Path | None = None) -> Fetched:
    """Fetch a table's file, test its checksum and convert it.

    A file that is there already is not fetched again. Where no publisher gives a checksum, that
    of the first fetch is written beside the file, and later ones are held against it.

    Args:
        name: One of `known_tables`.
        root: Folder of fetched tables; see `tables_root` for the default.

    Raises:
        UnknownNameError: No such table.
        MissingError: It has no public address (the message has the manual step), or the transfer
            failed; the part that came stays, and the next call goes on from there.
        BadValueError: A web page came instead of the file, or another checksum, or content that
            the reader refuses.
    """
    if name == EMBEDDED.name:
        raise BadValueError(f"{name} ships with the package; there is nothing to fetch")
    reader = READERS[name]
    folder = (root or tables_root()) / name
    if not reader.card.address:
        raise MissingError(
            f"{name} has no public address that a program may use: "
            f"{how_to_get(reader.card, str(folder))}"
        )
    path = folder / reader.file
    if not path.is_file():
        part = folder / f"{reader.file}.part"
        _transfer(reader.card.address, part, path)
        if is_page(head(part)):
            part.unlink()
            raise BadValueError(page_message(reader.card.address))
        part.replace(path)
    digest, checked = _check(reader, path)
    converted = folder / f"{name}.parquet"
    if not converted.is_file():
        write_parquet(noted(reader, reader.read(path)), converted)
    return Fetched(path, converted, digest, checked)


def _check(reader: Reader, path: Path) -> tuple[str, bool]:
    beside = path.with_name(f"{path.name}.sha256")
    digest = _sha256(path)
    known = reader.sha256 or (beside.read_text().split()[0] if beside.is_file() else "")
    if known and known != digest:
        raise BadValueError(
            f"{path} has the sha256 {digest}, expected {known}; it is damaged or another version: "
            "delete it and fetch again"
        )
    if not known:
        beside.write_text(f"{digest}  {path.name}\n")
    return digest, bool(known)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_BLOCK):
            digest.update(data)
    return digest.hexdigest()


def _transfer(address: str, part: Path, path: Path) -> None:
    """Append what is missing to `part`, in several tries."""
    reason = ""
    for _ in range(_TRIES):
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            if _append(address, part):
                return
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            error.close()
            reason = str(error)
            if error.code != _TOO_FAR:
                break
            part.unlink(missing_ok=True)  # longer than the file: of another version
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)
    raise MissingError(
        f"{path} is not there and could not be fetched ({reason}); try again, or get {address} "
        "elsewhere and put it there"
    )


def _append(address: str, part: Path) -> bool:
    """Ask for the rest of a file and append it; give back whether all of it came."""
    there = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(address)  # noqa: S310 - addresses are the cards', all https
    if there:
        request.add_header("Range", f"bytes={there}-")
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
        resumed = answer.status == _PARTIAL
        length = answer.headers.get("Content-Length")
        start = there if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            while data := answer.read(_BLOCK):
                file.write(data)
    return length is None or part.stat().st_size == start + int(length)
