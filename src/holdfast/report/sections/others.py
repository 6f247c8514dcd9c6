"""Conditions beyond noise, the standard grid and attacks: shifted sets, variants."""

from __future__ import annotations

from holdfast.report import numbers
from holdfast.report.blocks import Cell, Column, Content, Table, percent_cell
from holdfast.report.conditions import Condition
from holdfast.report.evidence import Evidence, Member
from holdfast.report.sections._base import WILSON, section

MOST_ROWS = 500
_COLUMNS = (
    Column("other-model", "Model"),
    Column("other-data", "Images"),
    Column("condition", "Condition"),
    Column("family", "Kind"),
    Column("accuracy", "Accuracy", numeric=True),
    Column("images", "Count", "images that the number rests on", numeric=True),
)


@section("others", title="Other conditions", order=49)
def build(evidence: Evidence) -> Content | None:
    """A row a model and condition; absent where there are none."""
    found = [
        (member, setting.title, condition)
        for setting in evidence.settings
        for condition in setting.conditions()
        if condition.is_other
        for member in setting.members
        if (condition.spec, "accuracy") in member.subject.estimates
    ]
    if not found:
        return None
    names = sorted({condition.spec for _, _, condition in found})
    listed = numbers.listing(names[:3] + ([f"{len(names) - 3} more"] if len(names) > 3 else []))
    lead = (
        f"{numbers.sentence(numbers.counted(len(names), 'further condition'))} measured: {listed}."
    )
    rows = [_row(member, title, condition) for member, title, condition in found[:MOST_ROWS]]
    table = Table("others-table", "Accuracy under other conditions", _COLUMNS, rows)
    left = len(found) - len(rows)
    more = f" {numbers.count(left)} more rows are in measurements.csv." if left else ""
    return Content(lead, (table,), f"{WILSON}{more}")


def _row(member: Member, title: str, condition: Condition) -> list[Cell]:
    found = member.subject.estimates[condition.spec, "accuracy"]
    return [
        Cell(member.label, "", member.label),
        Cell(title, "", title),
        Cell(condition.spec, "", condition.spec),
        Cell(condition.family, "", condition.family),
        percent_cell(found.value, found.low, found.high),
        Cell(numbers.count(found.count), "", found.count),
    ]
