"""The table of models: what a reader wants first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holdfast.report import numbers
from holdfast.report.attacks import headline
from holdfast.report.blocks import Cell, Column, Content, Table, number_cell, percent_cell
from holdfast.report.conditions import STANDARD_COUNT, Condition
from holdfast.report.evidence import Evidence, Setting, ranked
from holdfast.report.sections._base import (
    AVERAGED,
    KEEPS,
    WILSON,
    Claim,
    among,
    best_sentence,
    section,
)
from holdfast.report.subjects import Subject, average
from holdfast.report.tables import summary_row

_PLACE = (
    Column("model", "Model"),
    Column("data", "Images", "data set, split, and the size at which it was perturbed"),
)
_ACCURACIES = (
    Column("clean", "Clean accuracy", "on undisturbed images", numeric=True),
    Column("corruption", "Mean corruption accuracy", "over the standard corruptions", numeric=True),
)
_OTHERS = (
    Column("slope", "Noise slope, per 0.1 sigma", "points of accuracy", numeric=True),
    Column("area", "Noise curve area", "mean accuracy from sigma 0 to the largest", numeric=True),
    Column("ece", "ECE, clean", "expected calibration error; lower is better", numeric=True),
    Column("rms", "RMS calibration error, clean", "lower is better", numeric=True),
)
_MCE = Column("mce", "mCE", "error under corruption over that of the baseline", numeric=True)
_ACCURATE = Claim("is most accurate", "has an accuracy of")
_FAILED = Column("failed", "Failed runs", "runs that gave no number", numeric=True)


@section("summary", title="Summary", order=10)
def build(evidence: Evidence) -> Content:
    """One row a model; sorts by any column."""
    known = _rows(evidence)
    # Columns that would say the same of every model are left out.
    robust = _robust(evidence)
    extra = [(_MCE, _mce)] if evidence.baseline else []
    extra += [(_FAILED, _failed)] if any(row["failed_runs"] for _, row in known) else []
    rows = [
        [
            *_place(label, row),
            *_accuracies(row),
            *cells,
            *_others(row),
            *(cell(row) for _, cell in extra),
        ]
        for (label, row), cells in zip(known, robust, strict=True)
    ]
    shown = [*_ACCURACIES, *([_robust_column(evidence)] if any(robust) else []), *_OTHERS]
    table = Table(
        name="summary-table",
        about="Models with accuracy, robustness and calibration",
        columns=(*_PLACE, *shown, *(column for column, _ in extra)),
        rows=rows,
    )
    if any(robust):
        table = _without_gaps(table)
    return Content(lead=_lead(evidence), blocks=(table,), note=_note(evidence))


def _without_gaps(table: Table) -> Table:
    """Leave out columns of numbers that no model has: a page of attacks has several."""
    kept = [
        place
        for place, column in enumerate(table.columns)
        if not column.numeric or any(row[place].order is not None for row in table.rows)
    ]
    rows = [[row[place] for place in kept] for row in table.rows]
    return replace(table, columns=[table.columns[place] for place in kept], rows=rows)


def _rows(evidence: Evidence) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (member.label, summary_row(member.subject, evidence.subjects, evidence.baseline))
        for member in evidence.members
    ]


def _place(label: str, row: Mapping[str, Any]) -> list[Cell]:
    where = f"{row['split']}, view {row['view']}"
    return [
        Cell(label, f"seed {row['seed']}", label),
        Cell(numbers.shortened(row["data"]), where, f"{row['data']} {where}"),
    ]


def _accuracies(row: Mapping[str, Any]) -> list[Cell]:
    return [_with_interval(row, "clean_accuracy", images=row["clean_count"]), _corruption(row)]


def _others(row: Mapping[str, Any]) -> list[Cell]:
    return [
        _slope(row),
        _area(row),
        _with_interval(row, "ece"),
        _with_interval(row, "rms_calibration_error"),
    ]


def _with_interval(row: Mapping[str, Any], name: str, images: int | None = None) -> Cell:
    cell = percent_cell(row[name], row[f"{name}_low"], row[f"{name}_high"])
    if not images:
        return cell
    counted = f"{numbers.count(images)} images"
    return Cell(cell.text, f"{cell.detail}\n{counted}".strip(), cell.order)


def _corruption(row: Mapping[str, Any]) -> Cell:
    cell = _with_interval(row, "mean_corruption_accuracy")
    measured = row["corruption_conditions"]
    if not measured:
        return cell
    detail = f"{cell.detail}\n{measured} of {STANDARD_COUNT}"
    return Cell(cell.text, detail, cell.order)


def _slope(row: Mapping[str, Any]) -> Cell:
    value = row["noise_slope"]
    if value is None:
        return number_cell(None, numbers.NOT_MEASURED)
    fit = numbers.decimal(row["noise_r_squared"], 2)
    return number_cell(value, f"{numbers.points(value / 10)}", f"R\N{SUPERSCRIPT TWO} {fit}")


def _area(row: Mapping[str, Any]) -> Cell:
    value = row["noise_curve_area"]
    detail = (
        "" if value is None else f"to sigma{numbers.NO_BREAK}{numbers.sigma(row['largest_sigma'])}"
    )
    return number_cell(value, numbers.percent(value), detail)


def _robust_column(evidence: Evidence) -> Column:
    """Column of robust accuracy; its head names the attack where it is the same for all."""
    titles = {first.title for s in evidence.settings if (first := headline(s)) is not None}
    if len(titles) == 1:
        (title,) = titles
        return Column(
            "robust", f"Robust accuracy, {title}", "share right and standing", numeric=True
        )
    return Column("robust", "Robust accuracy", "under the attack named below it", numeric=True)


def _robust(evidence: Evidence) -> list[list[Cell]]:
    """A cell a model, of the attack that its setting asks for first; none without attacks."""
    asked = [(headline(setting), setting.members) for setting in evidence.settings]
    first = {id(m.subject): condition for condition, members in asked for m in members}
    several = len({condition.title for condition in first.values() if condition}) > 1
    if not any(first.values()):
        return [[] for _ in evidence.members]
    return [
        [_stood(member.subject, first.get(id(member.subject)), named=several)]
        for member in evidence.members
    ]


def _stood(subject: Subject, condition: Condition | None, *, named: bool) -> Cell:
    found = None if condition is None else subject.estimate(condition.spec, "accuracy")
    if condition is None or found is None:
        return percent_cell(None, None, None)
    cell = percent_cell(found.value, found.low, found.high)
    below = f"\n{condition.title}" if named else ""
    return Cell(cell.text, f"{cell.detail}{below}".strip(), cell.order)


def _mce(row: Mapping[str, Any]) -> Cell:
    detail = "needs the full grid" if row["mce"] is None else f"against {row['baseline']}"
    return number_cell(row["mce"], numbers.percent(row["mce"]), detail)


def _failed(row: Mapping[str, Any]) -> Cell:
    failed = row["failed_runs"]
    return number_cell(float(failed), numbers.count(failed) if failed else "none")


def _lead(evidence: Evidence) -> str:
    if not evidence.settings:
        return "No run of this store succeeded; the failures are listed below."
    setting = evidence.settings[0]
    return _corruption_lead(setting, evidence) or _clean_lead(setting, evidence)


def _clean_lead(setting: Setting, evidence: Evidence) -> str:
    ranking = ranked(setting.members, lambda s: s.estimate("clean", "accuracy"))
    where = f"on clean images{among(setting, evidence)}"
    if not ranking:
        return f"{numbers.sentence(numbers.counted(len(setting.members), 'model'))} measured."
    return best_sentence(ranking, _ACCURATE, where, of=len(setting.members))


def _corruption_lead(setting: Setting, evidence: Evidence) -> str:
    full = setting.measured(lambda s: len(s.standard()) == STANDARD_COUNT)
    ranking = ranked(full, lambda s: average(s.standard().values()))
    if not ranking:
        return ""
    where = f"over 15 corruptions at five severities{among(setting, evidence)}"
    return best_sentence(ranking, KEEPS, where, of=len(setting.members))


def _note(evidence: Evidence) -> str:
    if not any(s.standard() or s.noise() for s in evidence.subjects):
        return WILSON
    note = (
        f"{WILSON} Mean corruption accuracy averages what was measured of 15 corruptions at five "
        f"severities ({STANDARD_COUNT} in all). {AVERAGED} The noise slope is a least-squares line "
        "through accuracy against the standard deviation of Gaussian noise, clean being sigma 0, "
        "given for each 0.1 of sigma; the area is the mean height of that curve."
    )
    if evidence.baseline:
        note += f" mCE divides each corruption's error by that of {evidence.baseline}."
    return note
