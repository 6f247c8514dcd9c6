"""Fetching published tables: a transfer that was cut off goes on where it stopped."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
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
        checked: Whether that agrees with the publisher's, or with that of an earlier fetch.
        note: What a person should know; empty where there is nothing.
    """

    path: Path
    converted: Path
    sha256: str
    checked: bool
    note: str = ""


def fetch(name: str, *, root: Path | None = None) -> Fetched:
    """Fetch a table's file, test its checksum and convert it.

    A file that is there already is not fetched again. Where no publisher gives a checksum, that
    of the first fetch is written beside the file, and the file is held against it from then on.
    Who deletes the file and fetches again gets what is published now, and a note if it differs.

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
    converted = folder / f"{name}.parquet"
    transferred = not path.is_file()
    if transferred:
        _receive(reader.card.address, path)
        converted.unlink(missing_ok=True)  # of the file that was here before
    digest, earlier = _check(reader, path, transferred=transferred)
    if not converted.is_file():
        write_parquet(noted(reader, reader.read(path)), converted)
    note = "" if earlier in ("", digest) else _another(path, digest, earlier)
    return Fetched(path, converted, digest, earlier == digest, note)


def _receive(address: str, path: Path) -> None:
    """Transfer to a part beside `path`, and give it its name when it is whole and no page."""
    part = _Part(path.with_name(f"{path.name}.part"))
    _transfer(address, part, path)
    if is_page(head(part.path)):
        part.remove()
        raise BadValueError(page_message(address))
    part.path.replace(path)
    part.remove()


def _check(reader: Reader, path: Path, *, transferred: bool) -> tuple[str, str]:
    """Checksum of a file and the one known before; where it was just transferred, it counts."""
    beside = _checksum_file(path)
    digest = _sha256(path)
    words = beside.read_text().split() if beside.is_file() else []
    known = reader.sha256 or (words[0] if words else "")
    if known and known != digest and (reader.sha256 or not transferred):
        again = "" if reader.sha256 else f" (that is in {beside.name}, and is then written anew)"
        raise BadValueError(
            f"{path} has the sha256 {digest}, expected {known}; it is damaged or another version: "
            f"delete it and fetch again{again}"
        )
    if not reader.sha256 and known != digest:
        beside.write_text(f"{digest}  {path.name}\n")
    return digest, known


def _checksum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _another(path: Path, digest: str, earlier: str) -> str:
    return (
        f"{path.name} is another version than the one fetched before: its sha256 is {digest}, "
        f"and was {earlier}; {_checksum_file(path).name} has the new one"
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_BLOCK):
            digest.update(data)
    return digest.hexdigest()


@dataclass(frozen=True)
class _Part:
    """What came of a file, and beside it which version of the file that is.

    Attributes:
        path: Of the part.
    """

    path: Path

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def version(self) -> str:
        """ETag or date that the server gave it; empty where it gave none."""
        return self._beside.read_text(encoding="utf-8") if self._beside.is_file() else ""

    def begin(self, version: str) -> None:
        """Start anew, with a file of this version."""
        self.path.write_bytes(b"")
        self._beside.write_text(version, encoding="utf-8")

    def remove(self) -> None:
        """Leave nothing."""
        self.path.unlink(missing_ok=True)
        self._beside.unlink(missing_ok=True)

    @property
    def _beside(self) -> Path:
        return self.path.with_name(f"{self.path.name}.version")


def _transfer(address: str, part: _Part, path: Path) -> None:
    """Append what is missing to `part`, in several tries."""
    reason = ""
    for _ in range(_TRIES):
        try:
            part.path.parent.mkdir(parents=True, exist_ok=True)
            reason = _append(address, part)
            if not reason:
                return
        except urllib.error.HTTPError as error:
            error.close()
            reason = str(error)
            if error.code != _TOO_FAR:
                break
            part.remove()  # longer than the file: of another version
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)
    raise MissingError(
        f"{path} is not there and could not be fetched ({reason}); try again, or get {address} "
        "elsewhere and put it there"
    )


def _append(address: str, part: _Part) -> str:
    """Ask for the rest of a file and append it; give back why not all of it is there, if so.

    The rest is asked for on the condition that the file is still the same (RFC 9110, 13.1.5);
    otherwise the server sends the whole of the new one.
    """
    there, version = part.size, part.version
    request = urllib.request.Request(address)  # noqa: S310 - addresses are the cards', all https
    if there:
        request.add_header("Range", f"bytes={there}-")
        if version:
            request.add_header("If-Range", version)
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
        sent, resumed = _version(answer.headers), answer.status == _PARTIAL
        if resumed and version and sent and sent != version:
            part.remove()  # a server that knows no condition
            return "another version was published meanwhile"
        if not resumed:
            part.begin(sent)
        length = answer.headers.get("Content-Length")
        start = part.size
        with part.path.open("ab") as file:
            while data := answer.read(_BLOCK):
                file.write(data)
    whole = length is None or part.size == start + int(length)
    return "" if whole else "the connection ended early"


def _version(headers: Message) -> str:
    """What tells one version of a file from the next; a weak ETag does not tell bytes apart."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
