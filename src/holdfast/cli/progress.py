"""Progress with rate and time left: a bar on a terminal, a line a run elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import polars as pl
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.text import Text

from holdfast.cli.console import err, say
from holdfast.measuring import Progress as Step
from holdfast.report import numbers
from holdfast.report.attack_text import read_attack
from holdfast.report.conditions import condition_title, read_condition

_IMAGES = ""  # the kind of every condition that is no attack


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} images/s", style="dim")


class _Left(ProgressColumn):
    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        return Text("" if left is None else f"about {numbers.seconds(left)} left", style="dim")


class Kind(NamedTuple):
    """What tells how long a run takes.

    Attributes:
        name: Runs of one name take about as long as each other.
        follows: It is found on the way of one at a smaller radius, and takes no time beside it.
    """

    name: str
    follows: bool = False


class Estimate:
    """Time that runs to come will take, by what runs of their kind took.

    An attack may take a thousand times as long as a corruption, and one attack as long as a
    thousand of another: only runs of one attack tell of each other.

    Args:
        kinds: Kind of each run to come, as `kind_of` gives them.
    """

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._to_come = Counter(kinds)
        self._taken: dict[str, list[float]] = {}

    def finished(self, kind: Kind, seconds: float | None) -> None:
        """A run is done; None where it was stored already and tells nothing."""
        self._to_come[kind] = max(0, self._to_come[kind] - 1)
        if seconds is not None and not (kind.follows and kind.name in self._taken):
            self._taken.setdefault(kind.name, []).append(seconds)

    def left(self, running: Kind | None = None, rest: float = 0.0, whole: float = 0.0) -> float:
        """Seconds left, infinite while a kind of run to come has not been timed.

        Args:
            running: Kind of the run that is at work, if one is.
            rest: Seconds that it still needs.
            whole: Seconds that it needs in all, which tells of others of its kind.
        """
        left = rest
        for kind, count in self._to_come.items():
            now = running is not None and kind.name == running.name
            taken = [*self._taken.get(kind.name, ()), *([whole] if now else [])]
            others = count - (kind == running)
            if others > 0 and not (kind.follows and taken):
                left += others * sum(taken) / len(taken) if taken else float("inf")
        return left


def kind_of(condition: str, family: str) -> Kind:
    """Kind of a run by its condition's text and family."""
    if family != "attack":
        return Kind(_IMAGES)
    text = read_attack(condition)
    return Kind(text.curve.partition(" from ")[0], bool(text.after))


class Watcher:
    """Told of each batch and each finished run.

    Args:
        kinds: Kind of each run, as `kind_of` gives them.
        bar: Where a terminal shows it; None: a line a run.
        clock: Seconds from any start.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        bar: Progress | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs = len(kinds)
        self._estimate = Estimate(kinds)
        self._bar = bar
        self._task = None if bar is None else bar.add_task("", total=None)
        self._images = 0
        self._finished = 0
        self._stored = 0
        self._clock = clock
        self._began = self._last = clock()

    def step(self, step: Step) -> None:
        """A batch is done."""
        if self._bar is None or self._task is None:
            return
        done = self._images + step.done
        # Runs not begun yet are taken to be as long as this one.
        total = self._images + step.total * (self._runs - self._finished)
        text = f"[{self._finished + 1}/{self._runs}] {condition_title(step.condition)}"
        left = self._left(step)
        self._bar.update(self._task, description=text, completed=done, total=total, left=left)

    def _left(self, step: Step) -> float | None:
        """Seconds left while a run is at work; None where nobody can know."""
        if not step.done:
            return None
        # Attacks alone have a norm.
        kind = kind_of(step.condition, "attack" if "norm=" in step.condition else "")
        passed = self._clock() - self._last
        whole = passed * step.total / step.done
        return _finite(self._estimate.left(kind, max(0.0, whole - passed), whole))

    def finished(self, rows: pl.DataFrame, images: int, *, stored: bool) -> None:
        """A run is done, or was stored already."""
        self._finished += 1
        first, now = rows.row(0, named=True), self._clock()
        kind = kind_of(first["condition"], first["family"])
        self._estimate.finished(kind, None if stored else now - self._last)
        self._last = now
        if self._bar is not None:
            self._images += 0 if stored else images
            return
        if stored:
            self._stored += 1
            return
        self.tell_stored()
        left = _finite(self._estimate.left())
        about = "" if left is None else f", about {left:.0f} s left"
        note = f"{now - self._began:.0f} s passed{about}"
        say(f"[{self._finished}/{self._runs}] {_told(rows)} ({note})")

    def tell_stored(self) -> None:
        """Say how many runs were stored already, in one line."""
        if self._stored:
            say(f"{self._stored} of {self._runs} runs were stored already")
        self._stored = 0


def _finite(seconds: float) -> float | None:
    return None if seconds == float("inf") else seconds


def _told(rows: pl.DataFrame) -> str:
    first = rows.row(0, named=True)
    what = f"{first['model']} {read_condition(first).title}"
    if first["status"] != "ok":
        return f"{what} FAILED: {first['error']}"
    accuracy = rows.filter(metric="accuracy")
    if not len(accuracy) or not accuracy["count"][0]:
        return f"{what} no image could be read"
    value, low, high = accuracy.select("value", "low", "high").row(0)
    flags = "".join(f", {flag}" for flag in first["flags"])
    smallest = rows.filter(metric="median_norm")
    if len(smallest):
        size, least, most = smallest.select("value", "low", "high").row(0)
        found = numbers.size_interval(size, least, most, first["norm"])
        return f"{what} median {found}{flags}"
    return f"{what} accuracy {numbers.percent_interval(value, low, high)}{flags}"


@contextmanager
def watching(kinds: Sequence[Kind]) -> Iterator[Watcher]:
    """Show progress of runs of these kinds while the block runs."""
    if not err.is_terminal:
        watcher = Watcher(kinds, None)
        yield watcher
        watcher.tell_stored()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        _Rate(),
        _Left(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        yield Watcher(kinds, bar)
