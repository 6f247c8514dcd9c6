"""Accuracy under every condition of the store, before and after the training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.metrics.intervals import Estimate
from holdfast.records import FLAGS
from holdfast.records.trainings import AFTER, BEFORE
from holdfast.report import numbers
from holdfast.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Definitions,
    Heading,
    Table,
    percent_cell,
)
from holdfast.report.conditions import Condition
from holdfast.report.subjects import Subject
from holdfast.report.training.outcome import Images, Outcome
from holdfast.report.training.pairing import paired_samples

ACCURACY = "accuracy"
CALIBRATION = "rms_calibration_error"
_NOTE = (
    "Brackets are 95 % intervals. The difference is taken image by image, over the images that "
    "both networks saw (Newcombe 1998, method 10), so it can be clear where the two intervals "
    "overlap. Each interval stands for itself: of twenty without any difference, one is expected "
    "to lie beside zero."
)
_CALIBRATION_NOTE = (
    " A root mean square calibration error is the typical distance of confidence from accuracy; "
    "lower is better."
)


@dataclass(frozen=True)
class Compared:
    """One condition: what both held, and the difference; None or NaN where not measured."""

    condition: Condition
    before: Estimate | None
    after: Estimate | None
    difference: Estimate

    @property
    def images(self) -> int:
        """Images that both saw, or the only one that was measured."""
        if self.difference.count:
            return self.difference.count
        return max((one.count for one in (self.before, self.after) if one is not None), default=0)

    @property
    def verdict(self) -> int:
        """1 where accuracy rose beyond the interval, -1 where it fell, else 0."""
        return int(self.difference.low > 0) - int(self.difference.high < 0)


def build(outcome: Outcome) -> Content | None:
    """Tables, one a set of images; None where the folder has no measurements."""
    if outcome.evidence is None:
        return None
    old, new = outcome.subjects(BEFORE), outcome.subjects(AFTER)
    places = list(dict.fromkeys([*new, *old]))
    if not places:
        return None
    compared = {place: _compare(outcome, old.get(place), new.get(place)) for place in places}
    blocks: list[Block] = []
    for number, (place, rows) in enumerate(compared.items()):
        if len(places) > 1:
            blocks.append(Heading(images_title(place)))
        blocks.append(_table(number, rows))
    errors = [
        table
        for number, place in enumerate(places)
        if (table := _calibration(number, [old.get(place), new.get(place)])) is not None
    ]
    if errors:
        blocks += [Heading("Root mean square calibration error"), *errors]
    doubts = _doubts([*old.values(), *new.values()])
    if doubts:
        blocks += [Heading("What casts doubt on these numbers"), Definitions(doubts)]
    lead = _lead([row for rows in compared.values() for row in rows], places)
    return Content(lead, blocks, _NOTE + (_CALIBRATION_NOTE if errors else ""))


def difference_of(
    old: tuple[Outcome, Subject | None], new: tuple[Outcome, Subject | None], condition: str
) -> Estimate:
    """Paired difference of two networks under a condition; NaN where samples lack."""
    found = []
    for outcome, subject in (old, new):
        if outcome.evidence is None or subject is None:
            return Estimate.point(math.nan, 0)
        if subject.estimate(condition, ACCURACY) is None:
            return Estimate.point(math.nan, 0)
        found.append(outcome.evidence.samples(subject, condition))
    before, after = found
    if before is None or after is None:
        return Estimate.point(math.nan, 0)
    return paired_samples(before, after)


def conditions_of(subjects: Sequence[Subject | None], metric: str) -> list[Condition]:
    """Conditions under which any of them has the metric, in the order of pages."""
    found = {
        spec: one.conditions[spec]
        for one in subjects
        if one is not None
        for spec in one.conditions
        if one.estimate(spec, metric) is not None
    }
    return sorted(found.values(), key=lambda condition: condition.order)


def images_title(place: Images) -> str:
    """Name the images that were measured."""
    data, split, view, _, seed = place
    return f"{data}, {split} split, view {view}{f', seed {seed}' if seed else ''}"


def share_cell(found: Estimate | None) -> Cell:
    """An accuracy or error with its interval."""
    if found is None:
        return Cell(numbers.NOT_MEASURED)
    return percent_cell(found.value, found.low, found.high)


def points_text(found: Estimate) -> str:
    """A difference in percentage points with its interval."""
    bounds = numbers.interval(found.low, found.high, scale=100, digits=1)
    return f"{numbers.points(found.value)} {bounds}".strip()


def condition_cell(condition: Condition) -> Cell:
    """Name of a condition; its text is shown where it is pointed at."""
    return Cell(condition.title, about=condition.spec)


def _compare(outcome: Outcome, old: Subject | None, new: Subject | None) -> list[Compared]:
    return [
        Compared(
            condition,
            None if old is None else old.estimate(condition.spec, ACCURACY),
            None if new is None else new.estimate(condition.spec, ACCURACY),
            difference_of((outcome, old), (outcome, new), condition.spec),
        )
        for condition in conditions_of([old, new], ACCURACY)
    ]


def _doubts(subjects: Sequence[Subject]) -> list[tuple[str, str]]:
    """Flags that were raised and runs that failed."""
    found = [
        (f"{one.model}: {numbers.listing(conditions)}", FLAGS.get(flag, flag))
        for one in subjects
        for flag, conditions in one.flags.items()
    ]
    failed = [
        (one.model, f"{numbers.sentence(numbers.counted(one.failed, 'run'))} failed.")
        for one in subjects
        if one.failed
    ]
    return found + failed


def _lead(rows: Sequence[Compared], places: Sequence[Images]) -> str:
    paired = [row for row in rows if not math.isnan(row.difference.value)]
    where = f" on {images_title(places[0])}" if len(places) == 1 else ""
    if not paired:
        return f"Measured{where}; no condition was measured both before and after the training."
    rose = sum(row.verdict > 0 for row in paired)
    fell = sum(row.verdict < 0 for row in paired)
    left = len(paired) - rose - fell
    return (
        f"Of {numbers.counted(len(paired), 'condition')} measured{where}, accuracy rose under "
        f"{_many(rose)} and fell under {_many(fell)}; for {_many(left)} the interval of the "
        "difference holds zero."
    )


def _many(count: int) -> str:
    return numbers.counted(count, "", " ").strip() if count else "none"


def _table(number: int, rows: Sequence[Compared]) -> Table:
    columns = [
        Column("condition", "Condition"),
        Column("before", "Before", "Accuracy before the training", numeric=True),
        Column("after", "After", "Accuracy of the network that was kept", numeric=True),
        Column("difference", "Difference", "After minus before, on the same images", numeric=True),
        Column("images", "Images", "Images behind the numbers", numeric=True),
    ]
    body = [
        [
            condition_cell(row.condition),
            share_cell(row.before),
            share_cell(row.after),
            _difference_cell(row.difference),
            Cell(numbers.count(row.images), order=row.images),
        ]
        for row in rows
    ]
    if all(row.before is None for row in rows):
        kept = [
            place for place, one in enumerate(columns) if one.key not in ("before", "difference")
        ]
        columns = [columns[place] for place in kept]
        body = [[row[place] for place in kept] for row in body]
    return Table(f"measured-table-{number}", "Accuracy before and after", columns, body)


def _difference_cell(found: Estimate) -> Cell:
    if math.isnan(found.value):
        return Cell(numbers.NOT_MEASURED)
    bounds = numbers.interval(found.low, found.high, scale=100, digits=1)
    return Cell(numbers.points(found.value), bounds, found.value)


def _calibration(number: int, pair: Sequence[Subject | None]) -> Table | None:
    conditions = conditions_of(pair, CALIBRATION)
    if not conditions:
        return None
    columns = [
        Column("condition", "Condition"),
        Column("before", "Before", numeric=True),
        Column("after", "After", numeric=True),
    ]
    rows = [
        [
            condition_cell(condition),
            *[
                share_cell(None if one is None else one.estimate(condition.spec, CALIBRATION))
                for one in pair
            ],
        ]
        for condition in conditions
    ]
    return Table(f"calibration-table-{number}", "Calibration error", columns, rows)
