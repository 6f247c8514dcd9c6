"""One run, one process: two that write in one folder would spoil each other's files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from holdfast.core.errors import BadValueError, StoreError

LOCK_FILE = ".lock"


def leads() -> bool:
    """Whether this is the first of several processes of one run, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the folder of a run, which is made if need be; the system lets go if we are killed.

    Of several processes of one run the first holds it for all.

    Raises:
        BadValueError: Another process trains in it.
        StoreError: The folder cannot be written.
    """
    if not leads():
        yield
        return
    lock, made = filelock.FileLock(folder / LOCK_FILE), not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise BadValueError(
            f"another process trains in {folder}; wait until it has ended, or choose another folder"
        ) from error
    except OSError as error:
        raise StoreError(
            f"cannot write in {folder}: {error.strerror or error}; choose another folder"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK_FILE).unlink()  # while it is ours
        lock.release()
        if made:
            with suppress(OSError):
                folder.rmdir()  # of a run that was refused nothing is left
