"""Accuracy against severity, over all corruptions or one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.metrics.intervals import Estimate
from holdfast.report import numbers
from holdfast.report.blocks import Block, Content, Figures, Option
from holdfast.report.conditions import SEVERITIES, STANDARD, words
from holdfast.report.evidence import Evidence, Setting, clean_accuracy, ranked
from holdfast.report.figures import Axis
from holdfast.report.sections._base import (
    AVERAGED,
    KEEPS,
    Curves,
    among,
    best_sentence,
    per_setting,
    section,
    settings_note,
)
from holdfast.report.subjects import Subject, average

_CURVES = Curves(
    across=Axis("Severity (0: clean)", ticks=(0, *SEVERITIES)),
    up=Axis("Accuracy", 0.0, 1.02, percent=True),
)


@section("severity", title="Accuracy by severity", order=40)
def build(evidence: Evidence) -> Content:
    """Curves over severities, with a menu of corruptions."""
    drawn = [s for s in evidence.settings if s.measured(complete)]
    if not drawn:
        return Content(
            "Not measured: no model has a corruption at all five severities.", measured=False
        )
    note = (
        "The mean is over those of the 15 standard corruptions that were measured at all five "
        f"severities. {AVERAGED} {settings_note(evidence)}"
    )
    return Content(_lead(drawn[0], evidence), per_setting(evidence, _blocks), note.strip())


def complete(subject: Subject) -> list[str]:
    """Standard corruptions that the subject has at all five severities."""
    found = subject.standard()
    return [name for name in STANDARD if all((name, s) in found for s in SEVERITIES)]


def mean_by_severity(subject: Subject, metric: str) -> dict[float, Estimate]:
    """Average over complete corruptions at each severity, clean being 0."""
    names = complete(subject)
    clean = subject.estimate("clean", metric)
    points = {} if clean is None else {0.0: clean}
    for severity in SEVERITIES:
        levels = [subject.corruption(name, metric).get(severity) for name in names]
        mean = average(found for found in levels if found is not None)
        if mean is not None:
            points[float(severity)] = mean
    return points


def _blocks(setting: Setting) -> Sequence[Block]:
    members = setting.measured(complete)
    if not members:
        return ()
    names = [name for name in STANDARD if any(name in complete(m.subject) for m in members)]
    curves: list[tuple[str, dict[str, Mapping[float, Estimate]]]] = [
        (
            "mean over corruptions",
            {m.label: mean_by_severity(m.subject, "accuracy") for m in members},
        )
    ]
    curves += [(words(name), {m.label: _one(m.subject, name) for m in members}) for name in names]
    return (
        Figures(
            name=f"severity-{setting.number}",
            about=f"Accuracy of {numbers.counted(len(members), 'model')} against severity",
            options=[Option(title, [_CURVES.figure(members, points)]) for title, points in curves],
            height=_CURVES.height(members),
        ),
    )


def _one(subject: Subject, name: str) -> dict[float, Estimate]:
    clean = clean_accuracy(subject)
    points = {} if clean is None else {0.0: clean}
    return points | {float(s): found for s, found in subject.corruption(name).items()}


def _lead(setting: Setting, evidence: Evidence) -> str:
    members = setting.measured(complete)
    most = max(len(complete(member.subject)) for member in members)
    fair = [member for member in members if len(complete(member.subject)) == most]
    strongest = float(SEVERITIES[-1])
    ranking = ranked(fair, lambda s: mean_by_severity(s, "accuracy").get(strongest))
    if not ranking:
        return "No image was left to measure at the highest severity."
    corruptions = numbers.counted(most, "corruption")
    where = f"at severity {SEVERITIES[-1]}, averaged over {corruptions}{among(setting, evidence)}"
    return best_sentence(ranking, KEEPS, where, of=len(setting.members))
