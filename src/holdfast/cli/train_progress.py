"""What a training shows while it runs, and how it is asked to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from holdfast.cli.console import err, say
from holdfast.report.numbers import percent

if TYPE_CHECKING:
    from holdfast.records.trainings import Training
    from holdfast.training.events import Event
    from holdfast.training.sinks import Sink

_SIGNALS = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}


def speaks() -> bool:
    """Whether this is the one process of several that does."""
    return int(os.environ.get("RANK", "0")) == 0


class Stopping:
    """Whether a signal has asked for the end."""

    def __init__(self) -> None:
        self._signal = ""

    def take(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second Ctrl-C ends at once."""
        if self._signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = _SIGNALS[signal.Signals(number)]
        if speaks():
            # A signal may come while a line is written, which cannot be interrupted by another.
            with suppress(RuntimeError, OSError):
                say(f"{self._signal}: finishing this step, then saving")

    def reason(self) -> str:
        """Why to stop, or nothing."""
        return f"interrupted by {self._signal}" if self._signal else ""


@contextmanager
def stopped_by_signal() -> Iterator[Stopping]:
    """Turn SIGTERM and Ctrl-C into a stop after the step that runs."""
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping  # signals reach the main thread alone
        return
    before = {number: signal.signal(number, stopping.take) for number in _SIGNALS}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class TrainingProgress:
    """A bar on a terminal, a line a measurement everywhere; hands the rows to sinks."""

    training: Training

    def __init__(self, sinks: list[Sink]) -> None:
        self._sinks = sinks
        self._quiet = not speaks()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps{task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=err, transient=True)
        self._task: Any = None

    def __enter__(self) -> Self:
        if err.is_terminal and not self._quiet:
            self._bar.start()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._bar.live.is_started:  # else it would print an empty line
            self._bar.stop()

    def take(self, event: Event) -> None:
        """Show one event."""
        from holdfast.training.events import Finished, Noted, Started, Validated
        from holdfast.training.stepping import Stepped

        if isinstance(event, Stepped):
            text = f"epoch {event.epoch}"
            self._bar.update(
                self._task, completed=event.step, description=text, loss=f", loss {event.loss:.3f}"
            )
        elif isinstance(event, Started):
            self._start(event)
        elif isinstance(event, Validated):
            self._say(_row_text(event.row, best=event.best))
            for sink in self._sinks:
                sink.add(event.row)
        elif isinstance(event, Noted):
            self._say(event.text)
        elif isinstance(event, Finished):
            self.training = event.training

    def _start(self, event: Any) -> None:
        training = event.training
        text = f"{training.model} on {training.data}: {training.images:,} images, "
        text += f"{event.steps:,} steps"
        if event.step:
            text += f"; going on after step {event.step:,}"
        self._say(text)
        self._task = self._bar.add_task(
            escape(training.model), total=event.steps, completed=event.step, loss=""
        )

    def _say(self, text: str) -> None:
        if not self._quiet:
            say(text)


def _row_text(row: dict[str, Any], *, best: bool) -> str:
    parts = [f"epoch {round(row['epoch'], 2):g}"]
    if row["loss"] is not None:
        parts.append(f"loss {row['loss']:.3f}")
    for name in ("train", "validation"):
        clean, robust = row[f"{name}_accuracy"], row[f"{name}_robust"]
        if clean is not None:
            text = f"{name} {percent(clean)}"
            parts.append(text if robust is None else f"{text}, robust {percent(robust)}")
    return "; ".join(parts) + (" (best so far)" if best else "")
