"""Files that are written whole or not at all, and read with errors that say what to do."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from holdfast.core.errors import BadValueError, MissingError, StoreError

M = TypeVar("M", bound=BaseModel)


def write_json(path: Path, body: BaseModel) -> None:
    text = body.model_dump_json(indent=1) + "\n"
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_json(path: Path, kind: type[M], command: str) -> M:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError(f"no {path.name} in {path.parent}: `{command}` writes it") from error
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValidationError, ValueError) as error:
        raise BadValueError(
            f"{path} is not what this version's `{command}` writes: {_first(error)}; move it away, "
            "or bring back what was written"
        ) from error


def _first(error: ValueError) -> str:
    """The first thing that is wrong, without pydantic's addresses."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {found['msg']}" if where else found["msg"]


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path` and rename: a reader sees the whole file or none."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        part.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; choose another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
