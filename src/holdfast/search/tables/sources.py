"""Reading files that others wrote: what is cut off, or is a web page, is refused by name."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from holdfast.core.errors import BadValueError, MissingError

_HEAD = 4096  # bytes by which a format is recognised
_GZIP = b"\x1f\x8b"
_NEAR_END = 64  # characters from the end at which an error means that the rest is missing


def head(path: Path) -> str:
    """The first kilobytes of a file as text, unpacked; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            return file.read(_HEAD).decode("utf-8", errors="ignore")
    except (OSError, EOFError, zlib.error):
        return ""


def is_page(text: str) -> bool:
    """Whether text is a web page."""
    start = text.lstrip("\ufeff \t\r\n")[:200].lower()
    return start.startswith(("<!doctype", "<html", "<head", "<?xml"))


def read_text(path: Path) -> str:
    """The whole file as text; gzip is unpacked.

    Raises:
        MissingError: No such file.
        BadValueError: It is a folder, empty, cut off, not text, or a web page.
    """
    if path.is_dir():
        raise BadValueError(f"{path} is a folder; expected a file")
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data.startswith(_GZIP) else data).decode("utf-8-sig")
    except FileNotFoundError:
        raise MissingError(f"{path} does not exist") from None
    except UnicodeDecodeError:
        raise BadValueError(f"{path} is no text; expected UTF-8") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadValueError(f"{path} is damaged or cut off ({error}); fetch it again") from error
    except OSError as error:
        raise MissingError(f"{path} cannot be read: {error}") from error
    if is_page(text):
        raise BadValueError(page_message(path))
    if not text.strip():
        raise BadValueError(f"{path} is empty")
    return text


def page_message(path: Path | str) -> str:
    """What to say of a web page that was saved as data."""
    return (
        f"{path} is a web page, not data: a file service has shown its page of confirmation "
        "instead of the file; open the address in a browser, let it download, and give that file"
    )


def read_json(path: Path) -> Any:
    """A JSON file; numbers may be NaN.

    Raises:
        MissingError: No such file.
        BadValueError: It is no JSON; where it ends too early, the message says so.
    """
    return parse_json(read_text(path), path)


def parse_json(text: str, path: Path) -> Any:
    """Text of `path` as JSON; see `read_json`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        # A string that is not closed is reported where it begins, so look behind it, too.
        open_string = error.msg.startswith("Unterminated string")
        if open_string or error.pos >= len(text.rstrip()) - _NEAR_END:
            raise BadValueError(
                f"{path} ends in the middle of its JSON ({where}), so it was fetched or copied "
                "only in part; fetch it again"
            ) from None
        raise BadValueError(f"{path} is no JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise BadValueError(f"{path} is no JSON of scores: it is nested too deeply") from None


def as_dict(value: Any, what: str) -> dict[str, Any]:
    """`value`, which must be a JSON object.

    Raises:
        BadValueError: It is something else, or empty.
    """
    if not isinstance(value, dict) or not value:
        kind = "an empty object" if value == {} else type(value).__name__
        raise BadValueError(f"{what} must be a JSON object with entries, got {kind}")
    return value


def some(names: list[str]) -> str:
    """The first few of many names."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3:,} more"
