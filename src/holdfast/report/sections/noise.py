"""Accuracy against the standard deviation of Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.report import numbers
from holdfast.report.blocks import Block, Content, Figures, Option
from holdfast.report.evidence import Evidence, Setting, ranked
from holdfast.report.figures import Axis
from holdfast.report.sections._base import (
    KEEPS,
    WILSON,
    Curves,
    among,
    best_sentence,
    counts_note,
    per_setting,
    section,
    settings_note,
)
from holdfast.report.tables import noise_area

_ABOUT = (
    "Sigma is the standard deviation of Gaussian noise added to every channel, clipped to the "
    "pixel range; sigma 0 is the clean image."
)
_CURVES = Curves(
    across=Axis("Noise sigma (pixel range 0 to 1)"),
    up=Axis("Accuracy", 0.0, 1.02, percent=True),
)


@section("noise", title="Accuracy under noise", order=20)
def build(evidence: Evidence) -> Content:
    """A curve a model."""
    drawn = [setting for setting in evidence.settings if setting.measured(lambda s: s.noise())]
    if not drawn:
        return Content(
            "Not measured. The condition set noise-sweep fills this section.", measured=False
        )
    estimates = [e for s in drawn for m in s.members for e in m.subject.noise().values()]
    note = " ".join(
        part
        for part in (
            _ABOUT,
            counts_note(estimates),
            f"Bands: {WILSON[0].lower()}{WILSON[1:]}",
            settings_note(evidence),
        )
        if part
    )
    return Content(_lead(drawn[0], evidence), per_setting(evidence, _blocks), note)


def _blocks(setting: Setting) -> Sequence[Block]:
    members = setting.measured(lambda s: s.noise())
    if not members:
        return ()
    points = {member.label: member.subject.noise_curve() for member in members}
    figure = _CURVES.figure(members, points)
    name = f"noise-{setting.number}"
    about = f"Accuracy of {numbers.counted(len(members), 'model')} against noise level"
    return (Figures(name, about, [Option("", [figure])], height=_CURVES.height(members)),)


def _lead(setting: Setting, evidence: Evidence) -> str:
    members = setting.measured(lambda s: s.noise())
    curves = {tuple(member.subject.noise_curve()) for member in members}
    if len(curves) > 1:
        return "Models were measured at different noise levels; the curves show each."
    levels = max(curves)
    where = f"on average from sigma 0 to {numbers.sigma(levels[-1])}{among(setting, evidence)}"
    ranking = ranked(members, noise_area)
    if not ranking:
        return "Without the clean images no curve is whole; the points show what was measured."
    return best_sentence(ranking, KEEPS, where, of=len(setting.members))
