"""What a training says while it runs, and what about it does not decide the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.records.trainings import Training
from holdfast.training.stepping import Stepped


@dataclass(frozen=True)
class Options:
    """What does not decide the weights.

    Attributes:
        device: auto, cpu, cuda, cuda:1 or mps.
        workers: Processes that read and augment images.
        save_every: Seconds between two checkpoints.
        command: What was typed, for the record.
        stopping: Asked after every step; a reason ends the run there, to be resumed.
    """

    device: str = "auto"
    workers: int = 0
    save_every: float = 60.0
    command: str = ""
    stopping: Callable[[], str] = field(default=lambda: "")


@dataclass(frozen=True)
class Started:
    """The run is prepared, or taken up again at a step."""

    training: Training
    step: int
    steps: int


@dataclass(frozen=True)
class Validated:
    """A row of the curves; see `holdfast.records.trainings`."""

    row: dict[str, Any]
    best: bool


@dataclass(frozen=True)
class Noted:
    """Something a person should know."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The run has ended, as planned or not; see `status` and `reason`."""

    training: Training


Event = Started | Stepped | Validated | Noted | Finished
