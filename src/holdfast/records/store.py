"""A folder of finished runs.

A run is a folder `STORE/RUN` with `measurements.parquet`, `samples.parquet` and, where images
could not be read, `broken.parquet`; `pictures.parquet` has a few images that a page shows.
It is built as `STORE/RUN.partial`, into which finished parts are flushed, and renamed when whole; a
killed run goes on at its first missing part, and so does one that failed, whose row is stored
beside what it had finished. Two processes on one store share the work: a lock that the operating
system drops when its holder dies says who builds a run.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import polars as pl
from pydantic import BaseModel

from holdfast.core.errors import MissingError, StoreError
from holdfast.core.identity import digest_json
from holdfast.records.schema import (
    BROKEN_COLUMNS,
    FORMAT,
    MEASUREMENT_COLUMNS,
    PICTURE_COLUMNS,
    SAMPLE_COLUMNS,
    Measurement,
    measurement_frame,
)

_MARK = "holdfast-store.json"
_ID_LENGTH = 20  # hex digits of the digest: 80 bits
_PLACE = "part.json"
_LAYOUT = 2  # of parts and pieces; those of another are measured again


def run_id(spec: BaseModel) -> str:
    """Digest of a run's spec; changing what an old spec digests to is a breaking change."""
    return digest_json(spec.model_dump(mode="json", exclude_none=True))[:_ID_LENGTH]


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn the system's refusals into messages that say what to do."""
    try:
        yield
    except StoreError:
        raise
    except filelock.Timeout:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"the disk that holds {path} is full; finished runs are safe. Free some space "
                "and repeat the command: it goes on where it stopped"
            ) from error
        raise StoreError(
            f"cannot use the store {path}: {error.strerror or error}; choose another folder "
            "with --store, or mend this one and repeat the command"
        ) from error


class Store:
    """A folder of runs, opened for reading and writing.

    Raises:
        StoreError: The folder holds something else, or a store of another format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()  # a model's own code may change the folder
        with _told(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._check()

    @classmethod
    def check_place(cls, path: str | Path) -> None:
        """Refuse a place where no store can be, without making one.

        Raises:
            StoreError: There is something else.
        """
        with _told(Path(path)):
            if Path(path).exists() and any(Path(path).iterdir()):
                cls(path)

    @classmethod
    def existing(cls, path: str | Path) -> Store:
        """Open a store that must be there already.

        Raises:
            MissingError: There is no such store.
        """
        if not (Path(path) / _MARK).is_file():
            raise MissingError(
                f"no store at {path}: expected a folder that `holdfast measure --store` wrote"
            )
        return cls(path)

    def _check(self) -> None:
        mark = self.path / _MARK
        if not mark.exists():
            if any(entry.suffix != ".tmp" for entry in self.path.iterdir()):
                # Another process may have marked a fresh store a moment ago.
                if mark.exists():
                    return self._check()
                raise StoreError(
                    f"{self.path} is not a holdfast store and not empty; "
                    "name an empty or a new folder"
                )
            _write_json(mark, {"format": FORMAT})
        try:
            found = json.loads(mark.read_text())["format"]
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{mark} is damaged: expected {{'format': {FORMAT}}}") from None
        if type(found) is not int or found != FORMAT:
            raise StoreError(
                f"the store {self.path} has format {found!r}, this holdfast reads format {FORMAT}; "
                "use the holdfast that wrote it, or another folder"
            )
        return None

    def finished(self, run: str) -> bool:
        """Whether `run` is stored and succeeded."""
        folder = self.path / run
        try:
            rows = _read(folder / "measurements.parquet", MEASUREMENT_COLUMNS)
            pl.read_parquet_schema(folder / "samples.parquet")
        except (OSError, pl.exceptions.PolarsError):
            return False  # absent or damaged: it is measured again, and replaced
        return (rows["status"] == "ok").all()

    def measurements(self, runs: list[str] | None = None) -> pl.DataFrame:
        """All rows, or those of some runs, ordered by run id."""
        names = self.runs() if runs is None else runs
        frames = [self._measurements(name) for name in names]
        return pl.concat(frames) if frames else pl.DataFrame(schema=MEASUREMENT_COLUMNS)

    def _measurements(self, run: str) -> pl.DataFrame:
        return _read(self.path / run / "measurements.parquet", MEASUREMENT_COLUMNS)

    def samples(self, run: str) -> pl.DataFrame:
        """Per-sample rows of a run, ascending ids; what a perturbation added comes last."""
        return _read(self.path / run / "samples.parquet", SAMPLE_COLUMNS, more=True)

    def broken(self, run: str) -> pl.DataFrame:
        """Images of a run that could not be read."""
        path = self.path / run / "broken.parquet"
        if not path.is_file():
            return pl.DataFrame(schema=BROKEN_COLUMNS)
        return _read(path, BROKEN_COLUMNS)

    def pictures(self, run: str) -> pl.DataFrame:
        """Pictures of a few samples of a run; empty where it has none."""
        path = self.path / run / "pictures.parquet"
        if not path.is_file():
            return pl.DataFrame(schema=PICTURE_COLUMNS)
        return _read(path, PICTURE_COLUMNS)

    def runs(self) -> list[str]:
        """Ids of the stored runs, sorted."""
        marks = self.path.glob("*/measurements.parquet")
        return sorted(m.parent.name for m in marks if "." not in m.parent.name)

    @contextmanager
    def building(self, run: str, *, wait: bool = False) -> Iterator[RunBuilder | None]:
        """Hold `run` for building; None when another live process holds it.

        Args:
            run: The run's id.
            wait: Wait for the other process instead.
        """
        lock = filelock.FileLock(self.path / ".locks" / run)
        try:
            with _told(self.path):
                (self.path / ".locks").mkdir(exist_ok=True)
                lock.acquire(timeout=-1 if wait else 0)
        except filelock.Timeout:
            yield None
            return
        try:
            yield RunBuilder(self.path, run)
        finally:
            lock.release()


class RunBuilder:
    """Writes one run: parts as they finish, then the whole."""

    def __init__(self, store: Path, run: str) -> None:
        self._whole = store / run
        self._partial = store / f"{run}.partial"
        # What is there, listed once: nobody else writes while the run is held.
        self._cut: str | None = None
        self._parts: set[int] = set()
        self._pieces: dict[int, set[int]] | None = None  # numbers of each part's

    def parts(self, cut: str) -> set[int]:
        """Which parts an earlier, interrupted process finished.

        Parts cut in another way do not fit and are dropped.
        """
        if cut != self._cut:
            with _told(self._partial):
                self._check(cut)
                self._parts = {part for (part,) in self._undamaged("part")}
            self._cut = cut
        return set(self._parts)

    def _check(self, cut: str) -> None:
        place, told = self._partial / _PLACE, {"cut": cut, "layout": _LAYOUT}
        if _read_json(place) != told:
            self.drop()
            self._partial.mkdir()
            _write_json(place, told)

    def _undamaged(self, kind: str) -> Iterator[list[int]]:
        """Numbers in the names of the parts or pieces that can be read."""
        for path in sorted(self._partial.glob(f"{kind}-*.npz")):
            if zipfile.is_zipfile(path):
                yield [int(number) for number in path.stem.split("-")[1:]]
            else:
                path.unlink()  # damaged after it was written: measured again

    def drop(self) -> None:
        """Forget all that was kept and flushed."""
        shutil.rmtree(self._partial, ignore_errors=True)
        self._cut, self._parts, self._pieces = None, set(), None

    def flush(self, part: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep a finished part: named arrays, whole or not at all."""
        with _told(self._partial):
            _write(self._partial / f"part-{part:06d}.npz", lambda path: _save_npz(path, arrays))
        self._parts.add(part)

    def load(self, part: int) -> dict[str, np.ndarray]:
        """A part as it was flushed."""
        return _load_npz(self._partial / f"part-{part:06d}.npz")

    def keep(self, part: int, piece: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep some finished samples of a part that is not whole; the part then has the rest."""
        path = self._partial / f"piece-{part:06d}-{piece:06d}.npz"
        known = self._listed()
        with _told(self._partial):
            _write(path, lambda place: _save_npz(place, arrays))
        known.setdefault(part, set()).add(piece)

    def pieces(self) -> set[tuple[int, int]]:
        """Which pieces were kept: part and number of each."""
        return {(part, piece) for part, found in self._listed().items() for piece in found}

    def _listed(self) -> dict[int, set[int]]:
        if self._pieces is None:
            self._pieces = {}
            with _told(self._partial):
                for part, piece in self._undamaged("piece"):
                    self._pieces.setdefault(part, set()).add(piece)
        return self._pieces

    def load_piece(self, part: int, piece: int) -> dict[str, np.ndarray]:
        """A piece as it was kept."""
        return _load_npz(self._partial / f"piece-{part:06d}-{piece:06d}.npz")

    def retain(self, parts: Collection[int], pieces: Collection[tuple[int, int]]) -> None:
        """Drop other parts and other pieces, so that they are measured again."""
        with _told(self._partial):
            for path in self._partial.glob("part-*.npz"):
                # First the parts: without its pieces a part would pass for whole.
                if int(path.stem.split("-")[1]) not in parts:
                    path.unlink()
            for part, piece in self.pieces() - set(pieces):
                (self._partial / f"piece-{part:06d}-{piece:06d}.npz").unlink()
                self._listed()[part].discard(piece)
        self._parts &= set(parts)

    def all_arrays(
        self, cut: str, first: int | None = None, *, only: int | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """All that was kept and flushed of whole parts, ascending.

        Args:
            cut: How parts are cut.
            first: Of this many parts; None: of all.
            only: Of this part alone.
        """
        parts = sorted(self.parts(cut)) if only is None else [only]
        for part in parts if first is None else [part for part in parts if part < first]:
            for piece in sorted(self._listed().get(part, ())):
                yield self.load_piece(part, piece)
            yield self.load(part)

    def finish(
        self,
        rows: list[Measurement],
        samples: pl.DataFrame | None = None,
        broken: pl.DataFrame | None = None,
        pictures: pl.DataFrame | None = None,
    ) -> None:
        """Write the run and give it its name; a failed run of that name is replaced.

        Without samples the run has failed: what was finished of it stays for the next try.
        """
        if samples is None:
            self._fail(rows)
            return
        with _told(self._whole):
            self._partial.mkdir(exist_ok=True)
            _write_table(self._partial / "samples.parquet", samples.sort("id"))
            if broken is not None and len(broken):
                _write_table(self._partial / "broken.parquet", broken.sort("id"))
            if pictures is not None and len(pictures):
                _write_table(self._partial / "pictures.parquet", pictures.sort("id"))
            _write_table(self._partial / "measurements.parquet", measurement_frame(rows))
            pieces = [*self._partial.glob("part-*"), *self._partial.glob("piece-*")]
            for path in [*pieces, self._partial / _PLACE]:
                path.unlink(missing_ok=True)
            self._swap(self._partial)

    def _fail(self, rows: list[Measurement]) -> None:
        fresh = self._whole.with_name(f"{self._whole.name}.{uuid.uuid4().hex}.new")
        with _told(self._whole):
            fresh.mkdir()
            _write_table(fresh / "measurements.parquet", measurement_frame(rows))
            self._swap(fresh)
            if not any(self._partial.glob("p*-*.npz")):
                self.drop()

    def _swap(self, fresh: Path) -> None:
        if self._whole.exists():
            old = self._whole.with_name(f"{self._whole.name}.{uuid.uuid4().hex}.old")
            self._whole.rename(old)
            fresh.rename(self._whole)
            shutil.rmtree(old)
        else:
            fresh.rename(self._whole)


def _read(path: Path, columns: dict[str, Any], *, more: bool = False) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(
            f"cannot read {path}: {error}; delete the folder {path.parent} and measure again"
        ) from error
    absent = columns.keys() - set(frame.columns)
    if absent:
        raise StoreError(f"{path} lacks the columns {sorted(absent)}; another holdfast wrote it")
    return frame.select(*columns, *([pl.exclude(columns)] if more else []))


def _write_table(path: Path, frame: pl.DataFrame) -> None:
    # Through memory: polars reports a full disk as an error of its own.
    body = io.BytesIO()
    frame.write_parquet(body)
    _write(path, lambda part: part.write_bytes(body.getvalue()))


def _save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_json(path: Path) -> Any:
    """What the file holds; None where it is absent or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _write_json(path: Path, body: dict[str, Any]) -> None:
    _write(path, lambda part: part.write_text(json.dumps(body)))


def _write(path: Path, write: Any) -> None:
    """Write beside `path`, sync, rename: a reader sees the whole file or none."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
