"""Validation accuracy before the training, at its best epoch and last."""

from __future__ import annotations

import math

from holdfast.metrics.intervals import Estimate
from holdfast.records.trainings import Moment
from holdfast.report import numbers
from holdfast.report.blocks import Cell, Column, Content, Table, number_cell, percent_cell
from holdfast.report.training.outcome import Outcome, share_of

TITLES = {"before": "Before the training", "best": "Best epoch", "last": "Last epoch"}
_NOTE = (
    "Brackets are 95 % Wilson intervals: they tell what the choice of images leaves open, not "
    "what another seed would do."
)


def build(outcome: Outcome) -> Content:
    """The answer, and a row a moment."""
    found = outcome.moments
    if not found:
        return Content("Nothing was measured on validation images.", measured=False)
    return Content(_lead(outcome), [_table(outcome)], _note(outcome))


def clean_of(moment: Moment) -> Estimate:
    """Accuracy on clean validation images; NaN where it was not measured."""
    return share_of(moment.accuracy, moment.images)


def robust_of(moment: Moment) -> Estimate:
    """Likewise under the attack of the validation."""
    return share_of(moment.robust, moment.images)


def written(found: Estimate) -> str:
    """A share with its interval."""
    if math.isnan(found.value):
        return numbers.NOT_MEASURED
    return numbers.percent_interval(found.value, found.low, found.high)


def epoch_text(epoch: float) -> str:
    """Write an epoch, which may be a part of one, such as `7` or `2.5`."""
    return f"{epoch:.4g}"


def has_robust(outcome: Outcome) -> bool:
    """Whether robust accuracy was measured on validation images at any moment."""
    return any(one.robust is not None for one in outcome.moments.values())


def _lead(outcome: Outcome) -> str:
    found = outcome.moments
    end = found.get("best") or found.get("last")
    if end is None:
        return f"Before the training: {_told(found['before'])}; nothing was measured since."
    when = "At its best epoch" if end.name == "best" else "In the end"
    text = f"{when} ({epoch_text(end.epoch)}) the network reaches {_told(end)}"
    return (
        f"{text}; before the training, {_told(found['before'])}."
        if "before" in found
        else f"{text}."
    )


def _told(moment: Moment) -> str:
    parts = [f"{written(clean_of(moment))} on clean validation images"]
    if moment.robust is not None:
        parts.append(f"{written(robust_of(moment))} under attack")
    return numbers.listing(parts)


def _table(outcome: Outcome) -> Table:
    robust = has_robust(outcome)
    score = outcome.training.score if "under" in outcome.training.score else ""
    columns = [
        Column("moment", "Moment"),
        Column("epoch", "Epoch", numeric=True),
        Column("clean", "Clean accuracy", "On validation images", numeric=True),
        *([Column("robust", "Robust accuracy", score, numeric=True)] if robust else []),
        Column("images", "Images", "Validation images behind the row", numeric=True),
    ]
    rows = [
        [
            Cell(TITLES[one.name], order=one.epoch),
            number_cell(one.epoch, epoch_text(one.epoch)),
            _cell(clean_of(one)),
            *([_cell(robust_of(one))] if robust else []),
            number_cell(one.images, numbers.count(one.images)),
        ]
        for one in outcome.moments.values()
    ]
    return Table("result-table", "Validation accuracy by moment", columns, rows)


def _cell(found: Estimate) -> Cell:
    if math.isnan(found.value):
        return Cell(numbers.NOT_MEASURED)
    return percent_cell(found.value, found.low, found.high)


def _note(outcome: Outcome) -> str:
    training = outcome.training
    told = [_NOTE]
    if "best" in outcome.moments:
        told.append(
            f"The best epoch is the one with the highest {training.score} on these very images, "
            "so its row flatters; measure on a split that nothing was chosen by."
        )
    if outcome.field("train", "ema") is not None:
        told.append("What is measured are the averaged weights.")
    return " ".join(told)
