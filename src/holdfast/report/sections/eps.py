"""Accuracy against the radius of an attack."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from holdfast.metrics.intervals import Estimate
from holdfast.report import numbers
from holdfast.report.attacks import (
    Family,
    accuracy_by_eps,
    accuracy_from_norms,
    families,
    is_attacked,
    norms,
)
from holdfast.report.blocks import Block, Content, Figure, Figures, Option
from holdfast.report.evidence import Evidence, Setting
from holdfast.report.figures import MOST_LINES, Axis
from holdfast.report.sections._attack import attacked, eps_axis
from holdfast.report.sections._base import (
    WILSON,
    Curves,
    among,
    per_setting,
    section,
    settings_note,
)

Points = Mapping[str, Mapping[float, Estimate]]
Ends = tuple[float, float]
_PLACES, _FEW_PLACES = 64, 10  # at which a curve is read off norms: drawn as a line, in a map
_NAMED = 3  # models that the first sentence names
_SHOWN = 0.95  # share of the finite norms that the axis covers
_UP = Axis("Accuracy", 0.0, 1.02, percent=True)
_ABOUT = (
    "Points are measured; eps 0 is the clean accuracy, and lines between points are for the eye. "
    "An image that fell at a smaller eps has fallen at every larger one."
)
_READ_OFF = (
    "Curves of attacks that seek the smallest perturbation are the share of images whose "
    "perturbation is larger than eps."
)


@section("eps", title="Accuracy by radius of the attack", order=42)
def build(evidence: Evidence) -> Content | None:
    """A curve a model, with a menu of attacks; absent without attacks."""
    drawn = attacked(evidence)
    if not drawn:
        return None
    blocks = per_setting(evidence, lambda setting: _blocks(setting, evidence))
    if not blocks:
        return None
    free = any(family.minimum for setting in drawn for family in families(setting))
    bands = f"Bands: {WILSON[0].lower()}{WILSON[1:]}"
    note = f"{_ABOUT} {_READ_OFF + ' ' if free else ''}{bands} {settings_note(evidence)}"
    return Content(_lead(drawn[0], evidence), blocks, note.strip())


def _blocks(setting: Setting, evidence: Evidence) -> Sequence[Block]:
    options, heights = [], [0]
    for family in families(setting):
        points = curves(setting, family, evidence)
        members = [member for member in setting.members if points.get(member.label)]
        if not members:
            continue
        places = [place for curve in points.values() for place in curve]
        shown = Curves(eps_axis(family.norm, places), _UP)
        figure = shown.figure(members, points)
        options.append(
            Option(_title(family), [figure if family.minimum is None else _bare(figure)])
        )
        heights.append(shown.height(members))
    if not options:
        return ()
    about = "Accuracy of each model against the radius of the attack"
    return (Figures(f"eps-{setting.number}", about, options, height=max(heights)),)


def _title(family: Family) -> str:
    return family.title if family.minimum is None else f"{family.title}, read off the norms"


def _bare(figure: Figure) -> Figure:
    """Curves without markers: their places are not measurements of their own."""
    for trace in figure.data:
        if trace.get("mode") == "lines+markers":
            trace["mode"] = "lines"
    return figure


def curves(setting: Setting, family: Family, evidence: Evidence) -> Points:
    """Accuracy by eps of each member, by label; members that have none are left out."""
    if family.minimum is None:
        found = {m.label: accuracy_by_eps(m.subject, family) for m in setting.members}
        return {name: points for name, points in found.items() if points}
    sizes = {}
    for member in setting.members:
        samples = evidence.samples(member.subject, family.minimum.spec)
        if samples is not None and is_attacked(samples) and len(samples):
            sizes[member.label] = norms(samples)
    tops = [np.quantile(s[np.isfinite(s)], _SHOWN) for s in sizes.values() if np.isfinite(s).any()]
    count = _PLACES if len(sizes) <= MOST_LINES else _FEW_PLACES
    places = np.linspace(0, max(tops, default=0) or 1.0, count + 1).tolist()
    return {name: accuracy_from_norms(values, places) for name, values in sizes.items()}


def _lead(setting: Setting, evidence: Evidence) -> str:
    for family in families(setting):
        points = curves(setting, family, evidence)
        halves = {name: half_lost(curve) for name, curve in points.items() if len(curve) > 1}
        if halves:
            where = f"Under {family.title}{among(setting, evidence)}"
            text = _each(halves, family) if len(halves) <= _NAMED else _counted(halves)
            return f"{where}, {text}."
    return "Each model was measured at one radius only, and without its clean images."


def _each(halves: Mapping[str, Ends | None], family: Family) -> str:
    def words(ends: Ends | None) -> str:
        if ends is None:
            return "at no eps that was measured"
        low, high = (numbers.radius(end, family.norm) if end else "0" for end in ends)
        return f"between eps {low} and {high}"

    (first, ends), *others = halves.items()
    told = [f"{first} loses half of its clean accuracy {words(ends)}"]
    return numbers.listing([*told, *(f"{name} {words(ends)}" for name, ends in others)])


def _counted(halves: Mapping[str, Ends | None]) -> str:
    lost = sum(ends is not None for ends in halves.values())
    models = f"{numbers.count(len(halves))} models"  # digits, as those that lost are
    verb = "loses half of its" if lost == 1 else "lose half of their"
    return f"{numbers.count(lost) if lost else 'none'} of {models} {verb} clean accuracy or more"


def half_lost(points: Mapping[float, Estimate]) -> Ends | None:
    """Neighboring places between which accuracy falls to half of that at 0; None if nowhere."""
    known = [(eps, e.value) for eps, e in sorted(points.items()) if not math.isnan(e.value)]
    if not known or known[0][0] != 0 or known[0][1] == 0:
        return None
    for (low, _), (high, value) in itertools.pairwise(known):
        if value <= known[0][1] / 2:
            return low, high
    return None
