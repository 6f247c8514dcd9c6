"""How sure the models are of wrong answers under attack, and of the right ones that stand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from holdfast.metrics.intervals import Estimate, mean_estimate
from holdfast.report import numbers
from holdfast.report.attacks import Family, families
from holdfast.report.blocks import Block, Content, Figure, Figures, Option
from holdfast.report.conditions import CLEAN
from holdfast.report.evidence import Evidence, Member, Setting
from holdfast.report.figures import MOST_LINES, Axis
from holdfast.report.sections._attack import attacked, eps_axis
from holdfast.report.sections._base import (
    Curves,
    among,
    per_setting,
    section,
    settings_note,
)

MOST_FAMILIES = 6  # attacks in the menu; each reads every sample at every eps
_PANELS = ("Wrong answers", "Right answers")
_NOTE = (
    "Left: mean probability of the class given, over images that are wrong at that eps, on the "
    "adversarial image where the attack broke them. Right: over images that stand, on their clean "
    "image. An image leaves the attack as soon as it falls, so the confidence is that of the "
    "first wrong answer found; attacks that run on reach higher ones. Bands are 95 % normal "
    "intervals over images."
)

Points = Mapping[float, Estimate]


@dataclass(frozen=True)
class _Sure:
    """Mean confidence of one model by eps."""

    wrong: Points
    right: Points


@section("attack-confidence", title="Confidence under attack", order=45)
def build(evidence: Evidence) -> Content | None:
    """Two panels, wrong and right answers; absent without samples under attack."""
    drawn = attacked(evidence)
    blocks = per_setting(evidence, lambda setting: _blocks(setting, evidence))
    if not drawn or not blocks:
        return None
    return Content(_lead(drawn, evidence), blocks, f"{_NOTE} {settings_note(evidence)}".strip())


def _bounded(setting: Setting) -> list[Family]:
    return [f for f in families(setting) if f.minimum is None][:MOST_FAMILIES]


def _members(setting: Setting) -> Sequence[Member]:
    return setting.members[:MOST_LINES]


def _blocks(setting: Setting, evidence: Evidence) -> Sequence[Block]:
    members = _members(setting)
    options = []
    for family in _bounded(setting):
        sure = {m.label: _sure(m, family, evidence) for m in members}
        known = {name: found for name, found in sure.items() if found is not None}
        if known:
            panels = [
                {n: s.wrong for n, s in known.items()},
                {n: s.right for n, s in known.items()},
            ]
            drawn = [_panel(family, members, *pair) for pair in zip(_PANELS, panels, strict=True)]
            options.append(Option(family.title, drawn))
    if not options:
        return ()
    left = len(setting.members) - len(members)
    return (
        Figures(
            name=f"attack-confidence-{setting.number}",
            about="Mean confidence of wrong and of right answers against the radius of the attack",
            options=options,
            height=380,
            caption=f"The first {MOST_LINES} models by name; {left} more are not drawn."
            if left > 0
            else "",
        ),
    )


def _panel(
    family: Family, members: Sequence[Member], title: str, points: Mapping[str, Points]
) -> Figure:
    places = [place for curve in points.values() for place in curve]
    up = Axis(f"{title}: mean confidence", 0.0, 1.02, percent=True)
    return Curves(eps_axis(family.norm, places), up).figure(members, points)


def _sure(member: Member, family: Family, evidence: Evidence) -> _Sure | None:
    wrong: dict[float, Estimate] = {}
    right: dict[float, Estimate] = {}
    specs = [(0.0, CLEAN), *((c.eps or 0.0, c.spec) for c in family.conditions)]
    for eps, spec in specs:
        samples = evidence.samples(member.subject, spec)
        if samples is None:
            continue
        for points, part in ((wrong, ~pl.col("correct")), (right, pl.col("correct"))):
            found = mean_estimate(samples.filter(part)["confidence"].to_numpy(), bounds=(0, 1))
            if found.count and (eps not in points or found.count > points[eps].count):
                points[eps] = found
    attacked_at = [eps for eps in (*wrong, *right) if eps > 0]
    return _Sure(wrong, right) if attacked_at else None


def _lead(drawn: Sequence[Setting], evidence: Evidence) -> str:
    for setting in drawn:
        for family in _bounded(setting):
            sure = {m.label: _sure(m, family, evidence) for m in _members(setting)}
            text = _comparison(sure, family)
            if text:
                return f"{text}{among(setting, evidence)}."
    return "No image was wrong under an attack with a radius."


def _comparison(sure: Mapping[str, _Sure | None], family: Family) -> str:
    """Say who is surest of wrong answers at the largest eps that all models share."""
    known = {name: found for name, found in sure.items() if found is not None}
    shared = set.intersection(*(set(s.wrong) for s in known.values())) if known else set()
    top = max(shared, default=0.0)
    if not top:
        return ""
    name = max(known, key=lambda n: (_height(known[n].wrong[top]), n))
    found, clean = known[name].wrong[top], known[name].right.get(0.0)
    reads = numbers.percent_interval(found.value, found.low, found.high)
    who = "" if len(known) == 1 else f"Of {numbers.counted(len(known), 'model')}, "
    verb = "gives" if len(known) == 1 else "is surest of its wrong answers: it gives"
    beside = "" if clean is None else f", and {numbers.percent(clean.value)} to right clean ones"
    return (
        f"{who}{name} {verb} wrong answers a mean confidence of {reads} under {family.title} "
        f"at eps {numbers.radius(top, family.norm)}{beside}"
    )


def _height(found: Estimate) -> float:
    return -math.inf if math.isnan(found.value) else found.value
