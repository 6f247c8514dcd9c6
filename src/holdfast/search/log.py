"""Finished rounds of one repetition on disk, so that a search that was stopped goes on."""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.errors import StoreError
from holdfast.search.loop import Round
from holdfast.search.trials import Score, Trial

_FLUSH = 1.0  # seconds after which finished rounds go to the disk


class RoundLog:
    """A file with a line a round, beside it what the searcher kept after the last one.

    Attributes:
        path: Of the file, without suffix; None where nothing is written.
    """

    def __init__(self, path: Path | None, *, remembers: bool, budget: int) -> None:
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

    def read(self) -> list[Round]:
        """Rounds from which a search can go on; what follows a torn line is done again."""
        if self.path is None or not self._lines(self.path).exists():
            return []
        found: list[Round] = []
        text = self._lines(self.path).read_text(encoding="utf-8")
        for line in text.splitlines():
            try:
                found.append(Round(tuple(_trial(row) for row in json.loads(line))))
            except (ValueError, TypeError, IndexError):
                break
        if self._remembers and _count(found) < self._budget:
            found = self._with_state(self.path, found)
        whole = "".join(map(_line, found))
        if whole != text:
            self._lines(self.path).write_text(whole, encoding="utf-8")
        return found

    def _with_state(self, path: Path, found: list[Round]) -> list[Round]:
        """The longest beginning after which it is known what the searcher kept."""
        while found:
            state = self._state(path, _count(found))
            with contextlib.suppress(OSError, ValueError), np.load(state) as kept:
                found[-1] = Round(found[-1].trials, {name: kept[name] for name in kept.files})
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
        if self.path is not None and self._remembers:
            _remove(self.path.parent.glob(f"{self.path.name}-*.npz"))

    def _flush(self) -> None:
        """Append what waits: the new state first and the old one away last, against a kill."""
        if self.path is None or not self._waiting:
            self._waiting = []
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            old = list(self.path.parent.glob(f"{self.path.name}-*.npz"))
            last = self._waiting[-1]
            if last.kept:
                body = io.BytesIO()
                np.savez(body, **last.kept)  # type: ignore[arg-type]  # names are the searcher's
                state = self._state(self.path, last.trials[-1].step + 1)
                state.write_bytes(body.getvalue())
                old = [path for path in old if path != state]
            with self._lines(self.path).open("a", encoding="utf-8") as file:
                file.write("".join(map(_line, self._waiting)))
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}: {error.strerror or error}; choose another --out"
            ) from error
        _remove(old)
        self._waiting = []
        self._flushed = time.perf_counter()

    @staticmethod
    def _lines(path: Path) -> Path:
        return path.with_name(f"{path.name}.jsonl")

    @staticmethod
    def _state(path: Path, queries: int) -> Path:
        return path.with_name(f"{path.name}-{queries:06d}.npz")


def _remove(paths: Any) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def _count(found: list[Round]) -> int:
    return sum(len(one.trials) for one in found)


def _line(one: Round) -> str:
    rows = [
        [
            trial.step,
            trial.round,
            trial.arch,
            _plain(trial.score.merit),
            list(trial.score.values),
            list(trial.score.limits),
            trial.score.feasible,
        ]
        for trial in one.trials
    ]
    return json.dumps(rows, separators=(",", ":")) + "\n"


def _plain(value: float) -> float | None:
    """JSON has no infinity; a failed query has no number."""
    return value if math.isfinite(value) else None


def _trial(row: list[Any]) -> Trial:
    step, begun, arch, merit, values, limits, feasible = row
    merit = -math.inf if merit is None else merit
    return Trial(step, begun, arch, Score(merit, tuple(values), tuple(limits), feasible=feasible))
