"""Sets that torchvision fetches: its downloader is used, the files are read here."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.errors import MissingError
from holdfast.data._base import few


def fetch(home: Path, advice: str, download: Callable[[], Any]) -> None:
    """Run a downloader of torchvision.

    Args:
        home: Folder that it fills.
        advice: What to fetch by hand, and where to put it.
        download: Makes torchvision's own data set with `download=True`; imports it too.

    Raises:
        MissingError: The set cannot be fetched.
    """
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        # Its progress bar goes to standard error, and this library is silent.
        with contextlib.redirect_stderr(io.StringIO()):
            download()
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise MissingError(
            f"{home} is not there and could not be downloaded ({error}); {advice}"
        ) from error


def check_present(folder: Path, files: Sequence[str], home: Path) -> None:
    """Refuse a folder of images that lacks some of those that the annotations name.

    Raises:
        MissingError: It lacks some; the message names them.
    """
    there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    lacking = sorted(set(files) - there)
    if lacking:
        raise MissingError(f"{folder} lacks {few(lacking)}; delete {home} and try again")
