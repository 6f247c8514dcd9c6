"""Calibration under shift: does the model know that it sees worse?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.metrics.intervals import Estimate
from holdfast.report import numbers
from holdfast.report.blocks import Block, Content, Figures, Option
from holdfast.report.conditions import SEVERITIES
from holdfast.report.evidence import Evidence, Member, Setting, ranked
from holdfast.report.figures import Axis
from holdfast.report.sections._base import (
    AVERAGED,
    Curves,
    among,
    per_setting,
    section,
    settings_note,
)
from holdfast.report.sections.severity import mean_by_severity
from holdfast.report.subjects import Subject

_NAMES = {
    "ece": "Expected calibration error",
    "rms_calibration_error": "RMS calibration error",
}


@dataclass(frozen=True)
class _Shift:
    """A kind of shift: how strong it gets, and a metric's curve along it."""

    title: str
    across: Axis
    curve: Callable[[Subject, str], Mapping[float, Estimate]]


_SHIFTS = (
    _Shift(
        "noise",
        Axis("Noise sigma (pixel range 0 to 1)"),
        lambda subject, metric: subject.noise_curve(metric) if subject.noise(metric) else {},
    ),
    _Shift(
        "corruptions",
        Axis("Severity (0: clean)", ticks=(0, *SEVERITIES)),
        lambda subject, metric: _beyond_clean(mean_by_severity(subject, metric)),
    ),
)


@section("calibration-shift", title="Calibration under shift", order=60)
def build(evidence: Evidence) -> Content:
    """Calibration error along noise and severity."""
    blocks = per_setting(evidence, _blocks)
    if not blocks:
        return Content(
            "Not measured: calibration under noise or corruption needs their runs.", measured=False
        )
    note = (
        "Calibration error of each condition by itself; corruptions are averaged at each severity. "
        f"Bands are 95 % bootstrap intervals over images. {AVERAGED} {settings_note(evidence)}"
    )
    return Content(_lead(evidence), blocks, note.strip())


def _blocks(setting: Setting) -> Sequence[Block]:
    options, heights = [], [0]
    for metric, name in _NAMES.items():
        for shift in _SHIFTS:
            points = {m.label: shift.curve(m.subject, metric) for m in setting.members}
            members = [m for m in setting.members if points[m.label]]
            if not members:
                continue
            curves = Curves(shift.across, _up(name, points), high_is_good=False)
            drawn = {member.label: points[member.label] for member in members}
            options.append(Option(f"{name}, {shift.title}", [curves.figure(members, drawn)]))
            heights.append(curves.height(members))
    if not options:
        return ()
    about = "Calibration error against the strength of noise and corruptions"
    return (Figures(f"shift-{setting.number}", about, options, height=max(heights)),)


def _up(name: str, points: Mapping[str, Mapping[float, Estimate]]) -> Axis:
    found = [e for curve in points.values() for e in curve.values()]
    tops = [end for e in found for end in (e.value, e.high) if math.isfinite(end)]
    return Axis(name, 0.0, 1.05 * max([0.05, *tops]), percent=True)


def _beyond_clean(points: Mapping[float, Estimate]) -> Mapping[float, Estimate]:
    return points if any(place > 0 for place in points) else {}


def _lead(evidence: Evidence) -> str:
    for setting in evidence.shown:
        for shift in _SHIFTS:
            curves = {m.label: shift.curve(m.subject, "ece") for m in setting.members}
            text = _growth(setting.members, curves, shift)
            if text:
                return f"{text}{among(setting, evidence)}."
    return "Calibration was measured under shift but not on clean images."


def _growth(
    members: Sequence[Member], curves: Mapping[str, Mapping[float, Estimate]], shift: _Shift
) -> str:
    """Say whose error is largest at the strongest level that all were measured at."""
    known = [member for member in members if curves[member.label]]
    shared = set.intersection(*(set(curves[m.label]) for m in known)) if known else set()
    if len(shared) < 2 or 0.0 not in shared:
        return ""
    strongest = max(shared)
    by_subject = {id(m.subject): curves[m.label] for m in known}
    ranking = ranked(known, lambda s: by_subject[id(s)][strongest])
    if not ranking:
        return ""
    level = (
        f"sigma {numbers.sigma(strongest)}" if shift.title == "noise" else f"severity {strongest:g}"
    )
    worst, high = ranking[0]
    before = curves[worst.label][0.0]
    reads = numbers.percent_interval(high.value, high.low, high.high)
    start = numbers.percent(before.value)
    if len(ranking) == 1:
        return f"At {level} the calibration error of {worst.label} is {reads}, from {start} clean"
    best, low = ranking[-1]
    least = numbers.percent_interval(low.value, low.low, low.high)
    return (
        f"At {level} calibration errors reach {reads} ({worst.label}, from {start} on clean "
        f"images); the smallest of {numbers.counted(len(ranking), 'model')} is {least} "
        f"({best.label})"
    )
