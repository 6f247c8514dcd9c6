"""Finished rounds of one repetition on disk, so that a search that was stopped goes on."""

from __future__ import annotations

import contextlib
import io
import json
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.errors import BadValueError, StoreError
from holdfast.search.loop import Problem, Round
from holdfast.search.trials import Trial

_FLUSH = 1.0  # seconds after which finished rounds go to the disk


class RoundLog:
    """A file with a line a round, beside it what the searcher kept after the last one.

    A line has what was asked. The answers are asked for again when it is read, so that no file
    can say something else than the table.

    Attributes:
        path: Of the file, without suffix.
    """

    def __init__(self, path: Path, *, remembers: bool, budget: int) -> None:
        """Name the place.

        Args:
            path: See `RoundLog`.
            remembers: Whether the searcher keeps more than its history.
            budget: Queries after which nothing is kept any more.
        """
        self.path = path
        self._remembers = remembers
        self._budget = budget
        self._waiting: list[Round] = []
        self._flushed = time.perf_counter()

    def read(self, problem: Problem) -> list[Round]:
        """Rounds from which a search can go on; what follows a wrong or torn line is done again.

        Raises:
            StoreError: The file cannot be read.
        """
        if not self._lines.exists():
            return []
        try:
            text = self._lines.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise StoreError(f"cannot read {self._lines}: {error.strerror or error}") from error
        found: list[Round] = []
        for line in text.splitlines():
            one = self._round(line, _count(found), problem)
            if one is None:
                break
            found.append(one)
        if self._remembers and _count(found) < self._budget:
            found = self._with_state(found)
        whole = "".join(map(_line, found))
        if whole != text:
            self._lines.write_text(whole, encoding="utf-8")
        return found

    def _round(self, line: str, step: int, problem: Problem) -> Round | None:
        """Round of a line; None for one that cannot follow `step` queries."""
        try:
            begun, seconds, archs = json.loads(line)
            if begun != step or not archs or step + len(archs) > self._budget:
                return None
            asked = [problem.space.check(arch) for arch in archs]
            trials = [
                Trial(step + place, step, arch, problem.objective(arch))
                for place, arch in enumerate(asked)
            ]
            return Round(tuple(trials), seconds=float(seconds))
        except (ValueError, TypeError, BadValueError):
            return None

    def _with_state(self, found: list[Round]) -> list[Round]:
        """The longest beginning after which it is known what the searcher kept."""
        broken = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
        while found:
            last = found[-1]
            with contextlib.suppress(*broken):
                arrays = _arrays(self._state(_count(found)))
                found[-1] = Round(last.trials, arrays, last.seconds)
                break
            found.pop()
        return found

    def add(self, one: Round) -> None:
        """Keep a round; it reaches the disk within a second of work, or with what is kept."""
        self._waiting.append(one)
        if one.kept or time.perf_counter() - self._flushed > _FLUSH:
            self._flush()

    def close(self) -> None:
        """Write what waits; a finished repetition needs no state any more."""
        self._flush()
        if self._remembers:
            _remove(self.path.parent.glob(f"{self.path.name}-*.npz"))

    def _flush(self) -> None:
        """Append what waits: the new state first and the old one away last, against a kill."""
        if not self._waiting:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            old = list(self.path.parent.glob(f"{self.path.name}-*.npz"))
            last = self._waiting[-1]
            if last.kept:
                body = io.BytesIO()
                np.savez(body, **last.kept)  # type: ignore[arg-type]  # names are the searcher's
                state = self._state(last.trials[-1].step + 1)
                state.write_bytes(body.getvalue())
                old = [path for path in old if path != state]
            with self._lines.open("a", encoding="utf-8") as file:
                file.write("".join(map(_line, self._waiting)))
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}: {error.strerror or error}; choose another --out"
            ) from error
        _remove(old)
        self._waiting = []
        self._flushed = time.perf_counter()

    @property
    def _lines(self) -> Path:
        return self.path.with_name(f"{self.path.name}.jsonl")

    def _state(self, queries: int) -> Path:
        return self.path.with_name(f"{self.path.name}-{queries:06d}.npz")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def _count(found: list[Round]) -> int:
    return sum(len(one.trials) for one in found)


def _line(one: Round) -> str:
    row: list[Any] = [
        one.trials[0].step,
        round(one.seconds, 6),
        [trial.arch for trial in one.trials],
    ]
    return json.dumps(row, separators=(",", ":")) + "\n"
