"""Sets that the Hugging Face hub holds as several Parquet files a split."""

from __future__ import annotations

import contextlib
import hashlib
import io
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np

from holdfast.core.errors import BadValueError, MissingError
from holdfast.core.identity import digest_json
from holdfast.data import parquet
from holdfast.data._base import Broken, Request, Sample, checked_ids

_PATIENCE = 5.0  # seconds; huggingface_hub itself retries a dead name server for 23 s a file


@dataclass(frozen=True)
class HubFiles:
    """Parquet files of a data set on the hub.

    Attributes:
        repository: ORG/NAME.
        revision: Commit, so that another day gives the same bytes.
        files: Paths in the repository, by official split, in order.
    """

    repository: str
    revision: str
    files: Mapping[str, tuple[str, ...]]

    def fetch(self, folder: Path, split: str) -> list[Path]:
        """Places of a split's files in a folder, after fetching those that lack.

        A file that lies there under its path in the repository is taken as it is.

        Raises:
            MissingError: They cannot be fetched; the message says what to put where by hand.
        """
        for file in self.files[split]:
            if not (folder / file).is_file():
                self._download(folder, file)
        return [folder / file for file in self.files[split]]

    def _download(self, folder: Path, file: str) -> None:
        from huggingface_hub import constants, hf_hub_download  # noqa: PLC0415 - takes a second

        try:
            _reach(constants.ENDPOINT, offline=bool(constants.HF_HUB_OFFLINE))
            # Its progress bar goes to standard error, and this library is silent.
            with contextlib.redirect_stderr(io.StringIO()):
                hf_hub_download(
                    self.repository,
                    file,
                    repo_type="dataset",
                    revision=self.revision,
                    local_dir=folder,
                )
        # Of its own, RuntimeError or OSError; ValueError for what a hub says no to.
        except (OSError, RuntimeError, ValueError) as error:
            raise MissingError(
                f"{folder / file} is not there and could not be downloaded "
                f"({str(error).partition(chr(10))[0]}); fetch {file} of "
                f"{constants.ENDPOINT}/datasets/{self.repository} elsewhere (revision "
                f"{self.revision}) and put it there"
            ) from error


def _reach(endpoint: str, *, offline: bool) -> None:
    """Notice at once that the hub is out of reach.

    Raises:
        OSError: It is, and no proxy stands between.
    """
    if offline:
        raise OSError("HF_HUB_OFFLINE is set")
    parts = urlsplit(endpoint)
    if getproxies().get(parts.scheme):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with socket.create_connection((parts.hostname, port), timeout=_PATIENCE):
        pass


@dataclass(frozen=True, eq=False)
class JoinedParquet:
    """Chosen rows of several Parquet files, counted through.

    Attributes:
        name: See `Dataset`.
        split: See `Dataset`.
        classes: See `Dataset`.
        parts: The files, in order.
        places: Rows, counted from the first file's first, int64 [N], ascending.
        labels: Class of each chosen row, int64 [N].
    """

    name: str
    split: str
    classes: tuple[str, ...]
    parts: tuple[parquet.ParquetDataset, ...]
    places: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def fingerprint(self) -> str:
        """Digest of the sha256 of each file, and of the rows chosen."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        rows = hashlib.sha256(self.places.astype("<i8").tobytes()).hexdigest()
        return digest_json([*(part.fingerprint() for part in self.parts), rows])

    def read(self, ids: Sequence[int] | None = None) -> Iterator[Sample | Broken]:
        """Stream the images; see `Dataset`.

        Raises:
            BadValueError: The ids do not rise strictly or leave the set, or a file is damaged.
        """
        return self._read(np.asarray(checked_ids(ids, len(self)), dtype=np.int64))

    def _read(self, ids: np.ndarray) -> Iterator[Sample | Broken]:
        rows, start = self.places[ids], 0
        for part in self.parts:
            low, high = np.searchsorted(rows, (start, start + len(part)))
            within = (rows[low:high] - start).tolist()
            for place, sample in zip(ids[low:high].tolist(), part.read(within), strict=True):
                yield replace(sample, id=place, name=f"row {start + sample.id}")
            start += len(part)


def open_parts(paths: Sequence[Path], *, classes: int, rows: int) -> JoinedParquet:
    """Open files as one set of all their rows, without a name or a split yet.

    Args:
        paths: The files, in order.
        classes: How many the schema must name.
        rows: How many there must be in all.

    Raises:
        BadValueError: A file cannot be read, has other classes than the first, or the counts
            differ.
    """
    parts: list[parquet.ParquetDataset] = []
    for path in paths:
        request = Request(f"parquet:{path}", str(path), "all", None, path.parent)
        part = parquet.build(request)
        assert isinstance(part, parquet.ParquetDataset)  # noqa: S101 - for the types
        parts.append(part)
        if len(part.classes) != classes or part.classes != parts[0].classes:
            raise BadValueError(
                f"expected {classes} classes, the same in each file, and found "
                f"{len(part.classes)} in {path}; delete it and try again"
            )
    labels = np.concatenate([part.labels for part in parts])
    if len(labels) != rows:
        raise BadValueError(
            f"expected {rows:,} rows in {', '.join(map(str, paths))}, found {len(labels):,}; "
            "delete them and try again"
        )
    every = np.arange(len(labels))
    return JoinedParquet("", "", parts[0].classes, tuple(parts), every, labels)
