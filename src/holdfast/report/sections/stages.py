"""Which of an ensemble's attacks broke how many images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.metrics.accuracy import proportion
from holdfast.report import numbers
from holdfast.report.attacks import STANDS, WRONG, is_attacked, members, stages
from holdfast.report.blocks import Block, Content, Figure, Figures, Option, label
from holdfast.report.conditions import Condition
from holdfast.report.evidence import MOST_PANELS, Evidence, Member, Setting
from holdfast.report.figures import Grid, Stage, grid_height, heat_map, waterfall
from holdfast.report.sections._attack import attacked, listed_attacks
from holdfast.report.sections._base import (
    among,
    hover_estimate,
    per_setting,
    section,
    settings_note,
)

_BAR = 38  # pixels of a stage
_NOTE = (
    "An image walks through the attacks in their order until it falls, so a later attack sees "
    "only what the earlier ones left, and a small share says nothing of how strong it is alone. "
    "An attack whose share is large after strong ones is worth a look at the flags."
)
_AFTER = (
    " Where smaller radii were tried before ({}), an image that was found there counts for the "
    "attack that found it, be it at the smaller radius or, by an attack that seeks the smallest "
    "perturbation, beyond it. So these shares are not those of a run at the one radius, and a "
    "large share of FAB is no sign of masked gradients."
)


@section("stages", title="What broke the images", order=43)
def build(evidence: Evidence) -> Content | None:
    """A waterfall a model, or a map for many; absent without an ensemble."""
    drawn = attacked(evidence)
    blocks = per_setting(evidence, lambda setting: _blocks(setting, evidence))
    if not drawn or not blocks:
        return None
    chained = [
        condition.title
        for setting in drawn
        for condition, _ in _ensembles(setting, evidence)
        if condition.attack is not None and condition.attack.after
    ]
    after = _AFTER.format(numbers.listing(list(dict.fromkeys(chained)))) if chained else ""
    note = f"{_NOTE}{after} {settings_note(evidence)}".strip()
    return Content(_lead(drawn, evidence), blocks, note)


def _ensembles(
    setting: Setting, evidence: Evidence
) -> list[tuple[Condition, dict[str, dict[str, int]]]]:
    """Attacks of several members, each with the stages of the models by label."""
    found = []
    for condition in listed_attacks(setting):
        counts = {}
        for member in setting.members:
            samples = evidence.samples(member.subject, condition.spec)
            if samples is not None and is_attacked(samples) and len(members(samples)) > 1:
                counts[member.label] = stages(samples)
        if counts:
            found.append((condition, counts))
    return found


def _blocks(setting: Setting, evidence: Evidence) -> Sequence[Block]:
    ensembles = _ensembles(setting, evidence)
    if not ensembles:
        return ()
    everyone = {name for _, counts in ensembles for name in counts}
    shown = [member for member in setting.members if member.label in everyone]
    longest = max(len(stages) for _, counts in ensembles for stages in counts.values())
    many = len(shown) > MOST_PANELS
    options = [
        Option(
            condition.title,
            [_map(counts)] if many else [_panel(member, counts) for member in shown],
        )
        for condition, counts in ensembles
    ]
    height = grid_height(len(shown)) if many else 90 + _BAR * longest
    about = "Share of images wrong from the start, broken by each attack, and standing"
    return (Figures(f"stages-{setting.number}", about, options, height=height),)


def _panel(member: Member, counts: Mapping[str, Mapping[str, int]]) -> Figure:
    title = numbers.shortened(member.label)
    found = counts.get(member.label)
    if found is None or not sum(found.values()):
        text = numbers.NOT_MEASURED if found is None else numbers.NO_DATA
        note = {"text": text, "showarrow": False, "xref": "paper", "yref": "paper"}
        hidden = {"visible": False}
        layout = {"title": {"text": label(title), "font": {"size": 14}, "x": 0.02}}
        return Figure([], {**layout, "xaxis": hidden, "yaxis": hidden, "annotations": [note]})
    total, left, shown = sum(found.values()), sum(found.values()), []
    for name, images in found.items():
        left -= images
        shown.append(Stage(name, proportion(images, total), left / total, last=name == STANDS))
    return waterfall(title, shown, member.style.color)


def _map(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    columns = list(next(iter(counts.values())))
    totals = {name: sum(found.values()) for name, found in counts.items()}
    order = sorted(counts, key=lambda name: (-counts[name][STANDS] / max(1, totals[name]), name))
    cells = [[proportion(counts[name].get(c, 0), totals[name]) for c in columns] for name in order]
    return heat_map(
        Grid(
            rows=order,
            columns=columns,
            values=[[found.value for found in row] for row in cells],
            hover=[
                [
                    f"{label(name)}<br>{column}: {hover_estimate(found)}"
                    for column, found in zip(columns, row, strict=True)
                ]
                for name, row in zip(order, cells, strict=True)
            ],
        )
    )


def _lead(drawn: Sequence[Setting], evidence: Evidence) -> str:
    for setting in drawn:
        for condition, counts in _ensembles(setting, evidence):
            broken: dict[str, int] = {}
            for name, images in ((n, i) for found in counts.values() for n, i in found.items()):
                if name not in (WRONG, STANDS):
                    broken[name] = broken.get(name, 0) + images
            total = sum(broken.values())
            if total:
                parts = [f"{who} broke {numbers.count(n)}" for who, n in broken.items()]
                models = "" if len(counts) == 1 else f" of {numbers.counted(len(counts), 'model')}"
                return (
                    f"Of the {numbers.counted(total, 'image')}{models} that "
                    f"{'falls' if total == 1 else 'fall'} under {condition.title}"
                    f"{among(setting, evidence)}, {numbers.listing(parts)}."
                )
    return "No image fell under an ensemble of attacks that was not wrong before."
