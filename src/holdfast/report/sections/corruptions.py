"""Heat maps: which corruption hurts which model, and each model's own grid."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.metrics.intervals import Estimate
from holdfast.report import numbers
from holdfast.report.blocks import Block, Content, Figure, Figures, JsonDict, Option, label
from holdfast.report.conditions import EXTRA, GROUPS, SEVERITIES, STANDARD, STANDARD_COUNT, words
from holdfast.report.evidence import Evidence, Member, Setting, clean_accuracy, ranked
from holdfast.report.figures import Grid, grid_height, heat_map
from holdfast.report.sections._base import (
    AVERAGED,
    among,
    counts_note,
    hover_estimate,
    per_setting,
    section,
    settings_note,
)
from holdfast.report.subjects import Subject, average

MOST_GRIDS = 12  # models with a map of their own
_MAP_WIDTH = 800  # pixels that 17 columns need to stay legible


@section("corruptions", title="Accuracy by corruption", order=30)
def build(evidence: Evidence) -> Content:
    """One map over models, and one over severities for each of a few models."""
    drawn = [s for s in evidence.settings if s.measured(_corruptions)]
    if not drawn:
        return Content(
            "Not measured. The condition set corruptions fills this section.", measured=False
        )
    found = [
        e
        for s in drawn
        for m in s.members
        for name in _corruptions(m.subject)
        for e in m.subject.corruption(name).values()
    ]
    note = (
        "A cell is accuracy in percent, averaged over the severities that were measured (point at "
        "it for each of them; an asterisk marks fewer than five severities, or a mean of fewer "
        f"than {STANDARD_COUNT} conditions). {AVERAGED} {counts_note(found)} "
        f"{settings_note(evidence)}"
    )
    return Content(_lead(drawn[0], evidence), per_setting(evidence, _blocks), note.strip())


def _corruptions(subject: Subject) -> list[str]:
    """Names measured, the standard ones first."""
    found = {c.name for c in subject.conditions.values() if c.severity is not None}
    known = [name for name in (*STANDARD, *EXTRA) if name in found]
    return known + sorted(found - set(known))


def _blocks(setting: Setting) -> Sequence[Block]:
    members = setting.measured(_corruptions)
    if not members:
        return ()
    everything = Figures(
        name=f"corruptions-{setting.number}",
        about="Mean accuracy of each model under each corruption",
        options=[Option("", [_across_models(members)])],
        height=grid_height(len(members)),
        min_width=_MAP_WIDTH,
    )
    own = members[:MOST_GRIDS]
    left = len(members) - len(own)
    single = Figures(
        name=f"severities-{setting.number}",
        about="Accuracy of one model under each corruption at each severity",
        options=[Option(member.label, [_one_model(member)]) for member in own],
        height=grid_height(len(SEVERITIES)),
        min_width=_MAP_WIDTH,
        caption=f"{left} more models are in measurements.csv." if left else "",
    )
    return everything, single


def _across_models(members: Sequence[Member]) -> Figure:
    names = _all_names(members)
    order = [m for m, _ in ranked(members, _standard_mean)]
    order += [m for m in members if m not in order]
    rows = [_row(member, names) for member in order]
    grid = Grid(
        rows=[member.label for member in order],
        columns=["clean", "mean", *(words(name) for name in names)],
        values=[[e.value if e else None for e in row] for row in rows],
        hover=[_hover_row(member, row, names) for member, row in zip(order, rows, strict=True)],
        partial=_partial([member.subject for member in order], names),
    )
    return _grouped(heat_map(grid), names)


def _row(member: Member, names: Sequence[str]) -> list[Estimate | None]:
    subject = member.subject
    parts = [average(subject.corruption(name).values()) for name in names]
    return [clean_accuracy(subject), _standard_mean(subject), *parts]


def _partial(subjects: Sequence[Subject], names: Sequence[str]) -> frozenset[tuple[int, int]]:
    """Cells whose mean is over part of what a whole one has."""
    cells = {
        (row, column)
        for row, subject in enumerate(subjects)
        for column, name in enumerate(names, 2)
        if 0 < len(subject.corruption(name)) < len(SEVERITIES)
    }
    means = {(row, 1) for row, s in enumerate(subjects) if 0 < len(s.standard()) < STANDARD_COUNT}
    return frozenset(cells | means)


def _hover_row(member: Member, row: Sequence[Estimate | None], names: Sequence[str]) -> list[str]:
    head = f"<b>{label(member.label)}</b><br>"
    texts = [
        f"{head}clean: {hover_estimate(row[0])}",
        f"{head}mean of the standard corruptions: {hover_estimate(row[1])}",
    ]
    for name, mean in zip(names, row[2:], strict=True):
        levels = member.subject.corruption(name)
        listed = [f"severity {s}: {hover_estimate(levels.get(s))}" for s in SEVERITIES]
        texts.append("<br>".join([f"{head}{label(words(name))}: {hover_estimate(mean)}", *listed]))
    return texts


def _one_model(member: Member) -> Figure:
    names = _corruptions(member.subject)
    cells = {name: member.subject.corruption(name) for name in names}
    values = [[_value(cells[name].get(s)) for name in names] for s in SEVERITIES]
    hover = [
        [
            f"{label(words(name))}, severity {s}<br>{hover_estimate(cells[name].get(s))}"
            for name in names
        ]
        for s in SEVERITIES
    ]
    columns = [words(name) for name in names]
    grid = Grid([f"severity {s}" for s in SEVERITIES], columns, values, hover)
    return _grouped(heat_map(grid), names, first=0)


def _grouped(figure: Figure, names: Sequence[str], first: int = 2) -> Figure:
    """Write the group of corruptions above the columns, the first of which is at `first`."""
    notes: list[JsonDict] = []
    for group, members in (*GROUPS.items(), ("extra", tuple(set(names) - set(STANDARD)))):
        places = [place for place, name in enumerate(names, first) if name in members]
        if places:
            notes.append(
                {
                    "text": group,
                    "x": (places[0] + places[-1]) / 2,
                    "y": 1,
                    "yref": "paper",
                    "yanchor": "bottom",
                    "showarrow": False,
                }
            )
    margin = {"l": 10, "r": 10, "t": 30, "b": 10}
    return Figure(
        figure.data,
        {**figure.layout, "annotations": notes, "shapes": _edges(names, first), "margin": margin},
    )


def _edges(names: Sequence[str], first: int) -> list[JsonDict]:
    """Gaps between the groups, drawn in the page's color."""
    groups = [_group(name) for name in names]
    places = [first + i for i in range(1, len(names)) if groups[i] != groups[i - 1]]
    if first:
        places.insert(0, first)
    return [
        {
            "type": "line",
            "x0": place - 0.5,
            "x1": place - 0.5,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"width": 5, "color": "page"},
        }
        for place in places
    ]


def _group(name: str) -> str:
    return next((group for group, members in GROUPS.items() if name in members), "extra")


def _all_names(members: Sequence[Member]) -> list[str]:
    found = {name for member in members for name in _corruptions(member.subject)}
    known = [name for name in (*STANDARD, *EXTRA) if name in found]
    return known + sorted(found - set(known))


def _standard_mean(subject: Subject) -> Estimate | None:
    return average(subject.standard().values())


def _value(found: Estimate | None) -> float | None:
    return None if found is None else found.value


def _lead(setting: Setting, evidence: Evidence) -> str:
    members = setting.measured(_corruptions)
    found = [
        (name, [len(member.subject.corruption(name)) for member in members])
        for name in _all_names(members)
    ]
    whole = [name for name, sizes in found if min(sizes) >= len(SEVERITIES)]
    names = whole or [name for name, sizes in found if min(sizes) > 0]
    if not names:
        return "Models were measured under different corruptions; the map shows each."
    means = {name: _mean_over(members, name) for name in names}
    worst = min(names, key=lambda name: means[name])
    mildest = max(names, key=lambda name: means[name])
    who = "the model" if len(members) == 1 else f"the {numbers.counted(len(members), 'model')}"
    text = (
        f"{numbers.sentence(words(worst))} hurts most: {who} "
        f"{'keeps' if len(members) == 1 else 'keep'} {numbers.percent(means[worst])}"
        f"{'' if len(members) == 1 else ' on average'}{among(setting, evidence)}"
    )
    if worst != mildest:
        text += f"; {words(mildest)} hurts least, at {numbers.percent(means[mildest])}"
    return text + "."


def _mean_over(members: Sequence[Member], name: str) -> float:
    means = [average(member.subject.corruption(name).values()) for member in members]
    known = [mean.value for mean in means if mean is not None]
    return sum(known) / len(known)
