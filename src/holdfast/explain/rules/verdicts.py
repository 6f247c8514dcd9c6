"""What the data say of the four published rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.explain.rules.outcomes import BETTER_HIGH
from holdfast.records.explanations import Effect, Verdict
from holdfast.records.explanations.rules import OUTCOME_UNITS, Judgement, Outcome

ALPHA = 0.05
_JUDGED: tuple[Outcome, ...] = ("slope", "rank_diff", "drop", "ece_slope", "ece")


@dataclass(frozen=True)
class Rule:
    """A published rule: what it says, of which attribute, and whether more of it should help."""

    text: str
    attribute: str
    more_is_better: bool
    beside: str = ""  # an attribute that is told with it, and does not judge it


# Kim et al. 2025, "Unlocking Noise-Resistant Vision", arXiv:2509.20939, abstract.
RULES: tuple[Rule, ...] = (
    Rule(
        "larger stem kernels are more robust",
        "stem_kernel",
        more_is_better=True,
        beside="stem_effective_kernel",
    ),
    Rule("smaller input resolutions are more robust", "input_size", more_is_better=False),
    Rule("average pooling is more robust", "average_pooling", more_is_better=True),
    Rule("supervised attention networks are more robust than CLIP's", "clip", more_is_better=False),
)


def verdicts_on(effects: Sequence[Effect], outcomes: Sequence[Outcome]) -> list[Verdict]:
    """Judge each rule by each outcome that was measured.

    A rule holds where an effect of its attribute, by matched pairs or by regression, goes its way
    with a corrected p below 0.05, and none goes the other way so; it is contradicted the other
    way round; else it is undecided, and without an effect there is no data.
    """
    return [
        _verdict(rule, outcome, effects)
        for rule in RULES
        for outcome in _JUDGED
        if outcome in outcomes
    ]


def helps(rule: Rule, one: Effect) -> bool:
    """Whether an effect goes the way of the rule."""
    good = one.effect.value > 0 if BETTER_HIGH[one.outcome] else one.effect.value < 0
    return good == rule.more_is_better


def _verdict(rule: Rule, outcome: Outcome, effects: Sequence[Effect]) -> Verdict:
    known = tuple(
        one
        for one in effects
        if one.attribute == rule.attribute
        and one.outcome == outcome
        and math.isfinite(one.effect.value)
    )
    sure = [one for one in known if one.p_holm < ALPHA and one.effect.value != 0]
    ways = {helps(rule, one) for one in sure}
    judgement: Judgement = "undecided"
    if not known:
        judgement = "no data"
    elif ways == {True}:
        judgement = "holds"
    elif ways == {False}:
        judgement = "contradicted"
    return Verdict(
        rule=rule.text,
        outcome=outcome,
        judgement=judgement,
        evidence=f"{_evidence(rule, known, ways)}{_beside(rule, outcome, effects)}",
        effects=known,
    )


def _evidence(rule: Rule, known: Sequence[Effect], ways: set[bool]) -> str:
    if not known:
        return (
            "No model with attributes, or no two that differ in "
            f"{rule.attribute.replace('_', ' ')} in a way that could be told from others."
        )
    told = "; ".join(_told(one) for one in known)
    clash = " Pairs and regression disagree." if len(ways) == 2 else ""
    return f"{told[0].upper()}{told[1:]}.{clash}"


def _beside(rule: Rule, outcome: Outcome, effects: Sequence[Effect]) -> str:
    """What is known of a kindred attribute: the stem's kernel is not all that a stem sees."""
    known = [
        one
        for one in effects
        if one.attribute == rule.beside
        and one.outcome == outcome
        and math.isfinite(one.effect.value)
    ]
    if not known:
        return ""
    name = rule.beside.replace("_", " ").capitalize()
    return f" {name} (all that the stem sees): {'; '.join(_told(one) for one in known)}."


def _told(one: Effect) -> str:
    scale, unit = OUTCOME_UNITS[one.outcome]
    digits = 0 if unit == "places" else 2
    found = one.effect
    bounds = ""
    if math.isfinite(found.low + found.high):
        bounds = f" [{scale * found.low:+.{digits}f}, {scale * found.high:+.{digits}f}]"
    what = "matched sets" if one.method == "pairs" else "models"
    p = f", p {one.p_value:.2g} (Holm {one.p_holm:.2g})" if math.isfinite(one.p_value) else ""
    how = "by pairs" if one.method == "pairs" else "by regression"
    return (
        f"{how} {scale * found.value:+.{digits}f}{bounds} {unit} {one.contrast} "
        f"({found.count} {what}{p})"
    )
