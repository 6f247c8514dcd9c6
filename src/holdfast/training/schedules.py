"""How learning rate, momentum and radius move: pure functions of where a run stands."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

from holdfast.training.recipe import ScheduleSection, TrainSection

# Of the one-cycle policy, as torch.optim.lr_scheduler.OneCycleLR has them.
_START, _END = 25.0, 1e4  # peak over first rate, first over last
_LOW, _HIGH = 0.85, 0.95  # momentum, or the first beta, at the peak and at both ends


@dataclass(frozen=True)
class Standing:
    """Where a phase of a run stands, before a step.

    Attributes:
        step: Steps taken in this phase.
        steps: Steps of the phase.
        steps_an_epoch: Of them in an epoch.
    """

    step: int
    steps: int
    steps_an_epoch: int

    def by_epoch(self) -> Standing:
        """The same at the start of its epoch, counted in epochs."""
        whole = max(1, math.ceil(self.steps / self.steps_an_epoch))
        return Standing(self.step // self.steps_an_epoch, whole, 1)


def rate_factor(schedule: ScheduleSection, moment: Standing) -> float:
    """What the learning rates are multiplied by."""
    warmup = schedule.warmup * moment.steps_an_epoch
    if moment.step < warmup:
        return (moment.step + 1) / (warmup + 1)
    if schedule.every == "epoch":
        moment = moment.by_epoch()
        warmup = schedule.warmup
    done, total = max(0.0, moment.step - warmup), max(1.0, moment.steps - warmup)
    if schedule.kind == "cosine":
        return schedule.end + (1 - schedule.end) * _cosine(min(1.0, done / total))
    if schedule.kind == "step":
        return schedule.gamma ** bisect.bisect(schedule.milestones, _epochs(moment))
    if schedule.kind == "onecycle":
        return _one_cycle(schedule.peak, done, total, (1 / _START, 1.0, 1 / _START / _END))
    return 1.0


def momentum(schedule: ScheduleSection, moment: Standing) -> float | None:
    """Momentum, or the first beta, of the one-cycle policy; None: the optimizer's own."""
    if schedule.kind != "onecycle":
        return None
    warmup = schedule.warmup * moment.steps_an_epoch
    if schedule.every == "epoch":
        moment, warmup = moment.by_epoch(), schedule.warmup
    done, total = max(0.0, moment.step - warmup), max(1.0, moment.steps - warmup)
    return _one_cycle(schedule.peak, done, total, (_HIGH, _LOW, _HIGH))


def radius_factor(train: TrainSection, epoch: int) -> float:
    """Part of the radius in an epoch, counted from 1."""
    if train.eps_schedule == "constant":
        return 1.0
    part = min(1.0, epoch / (train.epochs * train.eps_share))
    return part if train.eps_schedule == "linear" else 1 - _cosine(part)


def _cosine(part: float) -> float:
    """1 at the start, 0 at the end."""
    return (1 + math.cos(math.pi * part)) / 2


def _one_cycle(peak: float, done: float, total: float, values: tuple[float, float, float]) -> float:
    first, top, last = values
    turn = peak * total - 1
    if 0 < turn >= done:
        return top + (first - top) * _cosine(done / turn)
    return last + (top - last) * _cosine(min(1.0, (done - turn) / (total - 1 - turn)))


def _epochs(moment: Standing) -> float:
    return moment.step / moment.steps_an_epoch
