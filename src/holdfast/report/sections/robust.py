"""Accuracy under attack: a row an attack and a column a model, or turned for many models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from holdfast.metrics.intervals import Estimate
from holdfast.metrics.smallest_norm import median_norm
from holdfast.records.flags import TOO_HIGH
from holdfast.report import numbers
from holdfast.report.attacks import attacks, headline, is_attacked, norms
from holdfast.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Table,
    number_cell,
    percent_cell,
)
from holdfast.report.conditions import CLEAN, Condition
from holdfast.report.evidence import Evidence, Member, Setting, clean_accuracy, ranked
from holdfast.report.sections._attack import attacked
from holdfast.report.sections._base import (
    KEEPS,
    WILSON,
    among,
    best_sentence,
    counts_note,
    per_setting,
    section,
    settings_note,
)

MOST_COLUMNS = 24  # attacks
MOST_BESIDE = 6  # models that fit beside each other in a window of usual width
_ABOUT = (
    "Robust accuracy is the share of all images that are right and stand: the attack found no "
    "image within the radius that is given another class. It is an upper bound; "
    "a stronger attack may break more. An attack's name shows the whole condition when it is "
    "pointed at."
)
_SMALLEST = (
    "Of the smallest perturbation that an attack without a radius found: the median over images "
    "that are right when clean, those that stand counting as largest, with a 95 % interval from "
    "order statistics."
)
_STOPPED = (
    " Where images were drawn until the interval was narrow (flag optional_stopping), it is a "
    "confidence sequence in place of Wilson's."
)
_MARKED = (
    " Flags below a number are signs that it is too high; they are explained under Failures, "
    "broken images and flags."
)


@section("robust", title="Robust accuracy", order=41)
def build(evidence: Evidence) -> Content | None:
    """Tables of accuracies and of smallest perturbations; absent without attacks."""
    drawn = attacked(evidence)
    if not drawn:
        return None
    found = [
        e
        for setting in drawn
        for member in setting.members
        for condition in attacks(setting)
        if (e := member.subject.estimate(condition.spec, "accuracy")) is not None
    ]
    blocks = per_setting(evidence, lambda setting: _blocks(setting, evidence))
    smallest = any(c.eps is None for setting in drawn for c in attacks(setting))
    marked = any(TOO_HIGH & set(m.subject.flags) for setting in drawn for m in setting.members)
    stopped = any("optional_stopping" in m.subject.flags for s in drawn for m in s.members)
    left = max(len(_bounded(setting)) for setting in drawn) - MOST_COLUMNS
    note = (
        f"{_ABOUT} {WILSON}{_STOPPED if stopped else ''} {counts_note(found)} "
        f"{_SMALLEST if smallest else ''}"
        f"{_MARKED if marked else ''} {settings_note(evidence)}"
        f"{f' {left} more attacks are in measurements.csv.' if left > 0 else ''}"
    )
    return Content(_lead(drawn[0], evidence), blocks, " ".join(note.split(" ")).strip())


def _bounded(setting: Setting) -> list[Condition]:
    return [condition for condition in attacks(setting) if condition.eps is not None]


def _blocks(setting: Setting, evidence: Evidence) -> Sequence[Block]:
    bounded = _bounded(setting)[:MOST_COLUMNS]
    free = [condition for condition in attacks(setting) if condition.eps is None]
    tables = [_accuracies(setting, bounded)] * bool(bounded)
    tables += [_smallest(setting, free[:MOST_COLUMNS], evidence)] * bool(free)
    return tables


def _accuracies(setting: Setting, conditions: Sequence[Condition]) -> Table:
    first = headline(setting)
    spec = "" if first is None else first.spec
    order = [m for m, _ in ranked(setting.members, lambda s: s.estimate(spec, "accuracy"))]
    order += [member for member in setting.members if member not in order]
    shown = [m for m in order if any(c.spec in m.subject.conditions for c in conditions)]
    columns = [
        Column("robust-model", "Model"),
        Column("robust-clean", "Clean", "accuracy on undisturbed images", numeric=True),
        *(
            Column(f"robust-{place}", title, condition.spec, numeric=True)
            for place, (condition, title) in enumerate(_titled(conditions))
        ),
    ]
    rows = [
        [
            Cell(member.label, "", member.label),
            _estimate_cell(clean_accuracy(member.subject)),
            *(_cell(member, condition) for condition in conditions),
        ]
        for member in shown
    ]
    about = "Accuracy of each model under each attack"
    return _turned(Table(f"robust-table-{setting.number}", about, columns, rows))


def _turned(table: Table) -> Table:
    """A row a column and a column a model, where there are few models: names of attacks are long.

    The attacks sort in the order of the columns.
    """
    if len(table.rows) > MOST_BESIDE:
        return table
    first, *others = table.columns
    stem = first.key.removesuffix("-model")
    columns = [
        Column(f"{stem}-attack", "Attack"),
        *(
            Column(f"{stem}-model-{place}", row[0].text, numeric=True)
            for place, row in enumerate(table.rows)
        ),
    ]
    rows = [
        [
            Cell(column.title, "", float(place), column.about),
            *(row[place + 1] for row in table.rows),
        ]
        for place, column in enumerate(others)
    ]
    return replace(table, columns=columns, rows=rows)


def _titled(conditions: Sequence[Condition]) -> list[tuple[Condition, str]]:
    """Conditions with their titles; two of one title differ in the radii tried before."""
    titles = [condition.title for condition in conditions]
    return [
        (c, f"{title}, smaller first" if _is_chained(c) and titles.count(title) > 1 else title)
        for c, title in zip(conditions, titles, strict=True)
    ]


def _is_chained(condition: Condition) -> bool:
    return condition.attack is not None and bool(condition.attack.after)


def _cell(member: Member, condition: Condition) -> Cell:
    cell = _estimate_cell(member.subject.estimate(condition.spec, "accuracy"))
    raised = [
        flag
        for flag, conditions in member.subject.flags.items()
        if flag in TOO_HIGH and condition.spec in conditions
    ]
    return Cell(cell.text, "\n".join([cell.detail, *raised]).strip(), cell.order)


def _estimate_cell(found: Estimate | None) -> Cell:
    if found is None:
        return percent_cell(None, None, None)
    return percent_cell(found.value, found.low, found.high)


def _smallest(setting: Setting, conditions: Sequence[Condition], evidence: Evidence) -> Table:
    columns = [
        Column("smallest-model", "Model"),
        *(
            Column(f"smallest-{place}", condition.title, condition.spec, numeric=True)
            for place, condition in enumerate(conditions)
        ),
    ]
    rows = [
        [
            Cell(member.label, "", member.label),
            *(_norm_cell(member, condition, evidence) for condition in conditions),
        ]
        for member in setting.members
        if any(condition.spec in member.subject.conditions for condition in conditions)
    ]
    about = "Median size of the smallest perturbation that an attack found"
    return _turned(Table(f"smallest-table-{setting.number}", about, columns, rows))


def _norm_cell(member: Member, condition: Condition, evidence: Evidence) -> Cell:
    samples = evidence.samples(member.subject, condition.spec)
    if samples is None or not is_attacked(samples):
        return number_cell(None, numbers.NOT_MEASURED)
    sizes = norms(samples)
    found, norm = median_norm(sizes), condition.norm or ""
    if not found.count:
        return number_cell(math.nan, numbers.NO_DATA, "no image is right when clean")
    ends = " to ".join(_size(end, norm) for end in (found.low, found.high))
    stand = int(np.isinf(sizes).sum())
    detail = f"{ends}\n{numbers.count(found.count)} images, {numbers.count(stand)} stand"
    return number_cell(found.value, _size(found.value, norm), detail)


def _size(value: float, norm: str) -> str:
    return "none found" if math.isinf(value) else numbers.size(value, norm)


def _lead(setting: Setting, evidence: Evidence) -> str:
    first = headline(setting)
    if first is None:
        count = numbers.counted(len(attacks(setting)), "attack")
        return f"{numbers.sentence(count)} sought the smallest perturbation, without a radius."
    ranking = ranked(setting.members, lambda s: s.estimate(first.spec, "accuracy"))
    where = f"under {first.title}{among(setting, evidence)}"
    if not ranking:
        return f"No image was left to measure {where}."
    if len(ranking) == 1:
        clean = ranking[0][0].subject.estimate(CLEAN, "accuracy")
        where += f", from {numbers.percent(clean.value)} on clean images" if clean else ""
    return best_sentence(ranking, KEEPS, where, of=len(setting.members))
