"""What attacks cost: evaluations of each image, in all, and beside a full budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from holdfast.report import numbers
from holdfast.report.attacks import attacks, chain, evaluations, full_budget, is_attacked
from holdfast.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Figures,
    Option,
    Table,
    number_cell,
)
from holdfast.report.conditions import Condition
from holdfast.report.evidence import Evidence, Member, Setting
from holdfast.report.figures import MOST_LINES, Axis, Steps, histograms
from holdfast.report.sections._attack import attacked, listed_attacks
from holdfast.report.sections._base import (
    LINE_HEIGHT,
    among,
    per_setting,
    section,
    settings_note,
)

MOST_ROWS = 200
_BINS_A_DECADE = 6
_NOTE = (
    "An evaluation is one image through the model once; with its gradient it counts once too. "
    "Passes include the clean one and confirmations, and those at smaller radii where these were "
    "tried first. The full budget is what an image that stands received: an attack that does not "
    "let fallen images go spends it on each; of the others it is unknown where none stood."
)
_COLUMNS = (
    Column("cost-model", "Model"),
    Column("cost-attack", "Attack"),
    Column("cost-images", "Images", numeric=True),
    Column("cost-mean", "Evaluations an image", "mean, and below it the median", numeric=True),
    Column("cost-total", "Evaluations", "in all, and below with gradients", numeric=True),
    Column("cost-share", "Of the full budget", "of all images", numeric=True),
    Column("cost-seconds", "Time", "of the run, all its images", numeric=True),
)


@section("cost", title="Cost of the attacks", order=47)
def build(evidence: Evidence) -> Content | None:
    """A histogram a model and a table; absent without attacks."""
    drawn = attacked(evidence)
    blocks = per_setting(evidence, lambda setting: _blocks(setting, evidence))
    if not drawn or not blocks:
        return None
    return Content(_lead(drawn, evidence), blocks, f"{_NOTE} {settings_note(evidence)}".strip())


def _blocks(setting: Setting, evidence: Evidence) -> Sequence[Block]:
    rows = [row for condition in attacks(setting) for row in _rows(setting, condition, evidence)][
        :MOST_ROWS
    ]
    if not rows:
        return ()
    table = Table(f"cost-table-{setting.number}", "Cost of each attack", _COLUMNS, rows)
    return (*_histograms(setting, evidence), table)


def _histograms(setting: Setting, evidence: Evidence) -> Sequence[Block]:
    members = setting.members[:MOST_LINES]
    options = []
    for condition in listed_attacks(setting):
        found = [(m, evaluations(evidence, m.subject, condition)) for m in members]
        known = [(m, f["forward_evals"]) for m, f in found if f is not None and len(f)]
        if known:
            top = max(int(column.max()) for _, column in known)  # type: ignore[arg-type]
            edges = _edges(top)
            shown = [_steps(member, column, edges) for member, column in known]
            across = _log_axis("Evaluations of an image", edges)
            up = Axis("Share of images", percent=True)
            options.append(Option(condition.title, [histograms(shown, across, up)]))
    if not options:
        return ()
    left = len(setting.members) - len(members)
    return (
        Figures(
            name=f"cost-{setting.number}",
            about="Share of images by how many evaluations the attack spent on them",
            options=options,
            height=LINE_HEIGHT,
            caption=f"The first {MOST_LINES} models by name; {left} more are not drawn."
            if left > 0
            else "",
        ),
    )


def _edges(top: int) -> list[float]:
    """Edges half way between whole numbers, evenly spread on a log scale from 1 to `top`."""
    count = math.ceil(_BINS_A_DECADE * math.log10(max(top, 2))) + 1
    ends = np.unique(np.floor(10 ** (np.arange(1, count + 1) / _BINS_A_DECADE)))
    return [0.5, 1.5, *(float(end) + 0.5 for end in ends if end > 1)]


def _log_axis(title: str, edges: Sequence[float]) -> Axis:
    tens = [10.0**n for n in range(math.ceil(math.log10(edges[-1])))]
    texts = [numbers.count(round(ten)) for ten in tens]
    return Axis(title, edges[0], edges[-1], ticks=tens, tick_texts=texts, log=True)


def _steps(member: Member, column: pl.Series, edges: Sequence[float]) -> Steps:
    counts = np.histogram(column.to_numpy(), bins=np.array(edges))[0].tolist()
    shares = [count / max(1, len(column)) for count in counts]
    texts = []
    for low, high, share, count in zip(edges[:-1], edges[1:], shares, counts, strict=True):
        first, last = math.ceil(low), math.floor(high)
        span = numbers.count(first) if first == last else f"{first:,} to {last:,}"
        spent = f"{span} evaluation{'' if last == 1 else 's'}"
        texts.append(f"{spent}: {numbers.percent(share)}, {numbers.counted(count, 'image')}")
    return Steps(member.label, member.style, edges, shares, texts)


def _rows(setting: Setting, condition: Condition, evidence: Evidence) -> list[list[Cell]]:
    frames = {m.label: evidence.samples(m.subject, condition.spec) for m in setting.members}
    known = {name: f for name, f in frames.items() if f is not None and is_attacked(f)}
    budget = full_budget(known.values(), runs_on=condition.eps is None)
    levels = 1 + (len(condition.attack.after) if condition.attack else 0)
    whole = None if budget is None else levels * budget
    return [
        _row(member, condition, evidence, whole)
        for member in setting.members
        if member.label in known and len(known[member.label])
    ]


def _row(
    member: Member, condition: Condition, evidence: Evidence, budget: int | None
) -> list[Cell]:
    found = evaluations(evidence, member.subject, condition)
    head = [Cell(member.label, "", member.label), Cell(condition.title, "", condition.title)]
    if found is None:
        gap = number_cell(None, numbers.NOT_MEASURED, "a smaller eps is not in this store")
        return [*head, gap, *[number_cell(None, numbers.NOT_MEASURED)] * 4]
    forward, gradient = found["forward_evals"], found["gradient_evals"]
    total, images = int(forward.sum()), len(found)
    median = float(np.median(forward.to_numpy()))
    seconds = _seconds(member, condition, evidence)
    share = None if budget is None else total / (budget * images)
    return [
        *head,
        number_cell(images, numbers.count(images)),
        number_cell(total / images, _count(total / images), f"median {_count(median)}"),
        number_cell(total, numbers.count(total), f"{numbers.count(int(gradient.sum()))} grad."),
        number_cell(share, "unknown" if share is None else numbers.percent(share)),
        number_cell(seconds, numbers.seconds(seconds)),
    ]


def _count(value: float) -> str:
    whole = value >= 100 or value == round(value)
    return numbers.count(round(value)) if whole else numbers.decimal(value, 1)


def _seconds(member: Member, condition: Condition, evidence: Evidence) -> float:
    runs = [member.subject.runs[part.spec] for part in chain(member.subject, condition)]
    rows = evidence.measurements.filter(pl.col("run_id").is_in(runs)).unique("run_id")
    return float(rows["seconds"].sum())


def _lead(drawn: Sequence[Setting], evidence: Evidence) -> str:
    for setting in drawn:
        for condition in listed_attacks(setting):
            means = [
                (float(found["forward_evals"].mean()), member.label)  # type: ignore[arg-type]
                for member in setting.members
                if (found := evaluations(evidence, member.subject, condition)) is not None
                and len(found)
            ]
            if means:
                least, most = min(means), max(means)
                where = f"{condition.title}{among(setting, evidence)}"
                if len(means) == 1:
                    return f"{where} took {_count(least[0])} evaluations an image on average."
                return (
                    f"{where} took {_count(least[0])} evaluations an image on average for "
                    f"{least[1]}, and {_count(most[0])} for {most[1]}."
                )
    return "Attacks without a radius ran on to the end of their budget."
