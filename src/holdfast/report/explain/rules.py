"""Sections of the page: which design choices go with robustness."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from holdfast.records.explanations import (
    Effect,
    GroupTest,
    HeldOut,
    Linearity,
    ModelSlope,
    Rules,
    Verdict,
)
from holdfast.records.explanations.rules import OUTCOME_UNITS, Outcome
from holdfast.report import numbers
from holdfast.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Definitions,
    Heading,
    Table,
    number_cell,
)
from holdfast.report.explain._rules_figures import (
    METHOD_WORDS,
    OUTCOME_WORDS,
    attribute_words,
    effect_bounds,
    effect_text,
    forest,
    scatter,
)
from holdfast.report.explain.ranks import correlation_cell

_LISTED = 12  # members of a list of models
_NOTE = (
    "Matched pairs are networks that agree in all attributes but one and in what goes along with "
    "it; each set counts once, and its interval is a t-interval over the sets. The regression "
    "holds all attributes and clean accuracy at once (not for accuracy under perturbation), with "
    "family as a random effect; its flags say where ordinary least squares took its place. "
    "P-values are corrected by Holm over all effects of a method and outcome. A published rule "
    "(Kim et al. 2025) holds where an effect goes its way with a corrected p below 0.05 and none "
    "goes the other way so. Pairs do not hold clean accuracy: what raises it has places to lose, "
    "so a rank difference may fall for that alone. What models have in common may be more than "
    "these attributes: effects are associations. Held out: rules fitted on a random half of the "
    "families, without clean accuracy, rank the models of the other half; the interval is the "
    "middle 95 % of the halves."
)


def sections(found: Rules) -> Sequence[tuple[str, str, Content]]:
    """One section: verdicts, effects, models, held-out check, linearity, groups."""
    blocks: list[Block] = [Heading("Four published rules"), _verdicts(found.verdicts)]
    blocks += [block for block in (forest(found), scatter(found)) if block is not None]
    for heading, parts, build in (
        ("All effects", found.effects, _effects),
        ("Matched sets", _sets(found), Definitions),
        ("Do the rules hold for other families?", found.held_out, _held_out),
        ("How straight the curves are", found.linearity, _linearity),
        ("Groups", found.groups, _groups),
        ("Models without attributes", _lost(found.points), Definitions),
    ):
        if parts:
            make: Callable[[Any], Block] = build
            blocks += [Heading(heading), make(parts)]
    title = f"Design rules under {found.perturbation}"
    return [("rules", title, Content(_lead(found), blocks, _NOTE))]


def _lead(found: Rules) -> str:
    told = f"{numbers.sentence(numbers.counted(found.models, 'model'))}, of which "
    told += f"{numbers.count(found.described)} have attributes"
    main = _main(found)
    judged = [one for one in found.verdicts if one.outcome == main]
    said = []
    for one, several, judgement in (
        ("holds", "hold", "holds"),
        ("is contradicted", "are contradicted", "contradicted"),
        ("is undecided", "are undecided", "undecided"),
        ("has no data", "have no data", "no data"),
    ):
        count = sum(verdict.judgement == judgement for verdict in judged)
        if count:
            said.append(numbers.counted(count, one, several))
    if said:
        told += f"; of the four published rules, judged by {OUTCOME_WORDS[main]}, "
        told += numbers.listing(said)
    return f"{told}."


def _main(found: Rules) -> Outcome:
    known = {one.outcome for one in found.verdicts}
    return "slope" if "slope" in known or not known else "drop"


def _sets(found: Rules) -> list[tuple[str, str]]:
    """Which networks were compared by pairs, of the main outcome."""
    main = _main(found)
    return [
        (
            f"{attribute_words(one.attribute)}, {one.contrast}",
            one.note.partition(". Sets: ")[2].replace(" | ", " against "),
        )
        for one in found.effects
        if one.method == "pairs" and one.outcome == main
    ]


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    columns = [
        Column("rule", "Rule"),
        Column("outcome", "Judged by"),
        Column("verdict", "Verdict"),
        Column("evidence", "Evidence"),
    ]
    rows = [
        [
            Cell(numbers.sentence(one.rule), "", one.rule),
            Cell(OUTCOME_WORDS[one.outcome], "", one.outcome),
            Cell(one.judgement, "", one.judgement),
            Cell(one.evidence, "", one.evidence),
        ]
        for one in verdicts
    ]
    return Table("rules-verdicts", "Verdicts on four published rules", columns, rows)


def _effects(effects: Sequence[Effect]) -> Table:
    columns = [
        Column("attribute", "Attribute"),
        Column("contrast", "Contrast"),
        Column("outcome", "Outcome"),
        Column("method", "Method"),
        Column("effect", "Effect", "with its 95 % interval", numeric=True),
        Column("p", "p", numeric=True),
        Column("holm", "p, corrected", "Holm over the effects of a method", numeric=True),
        Column("count", "n", "matched sets or models", numeric=True),
        Column("note", "Note", "the sets, or what the fit was"),
    ]
    rows = [
        [
            Cell(attribute_words(one.attribute), "", one.attribute),
            Cell(one.contrast, "", one.contrast),
            Cell(OUTCOME_WORDS[one.outcome], "", one.outcome),
            Cell(METHOD_WORDS[one.method], "", one.method),
            number_cell(one.effect.value, effect_text(one), effect_bounds(one)),
            _p_cell(one.p_value),
            _p_cell(one.p_holm),
            number_cell(one.effect.count, numbers.count(one.effect.count)),
            Cell(one.note.partition(". Sets: ")[0], "", None, one.note),
        ]
        for one in effects
    ]
    return Table("rules-effects", f"{len(rows)} effects of attributes", columns, rows)


def _p_cell(value: float) -> Cell:
    return number_cell(value, numbers.NO_DATA if math.isnan(value) else f"{value:.2g}")


def _held_out(halves: Sequence[HeldOut]) -> Table:
    columns = [
        Column("outcome", "Predicted"),
        Column("other", "Spearman, other families", numeric=True),
        Column("within", "Spearman, families fitted", numeric=True),
        Column("splits", "Halves", numeric=True),
        Column("families", "Families", numeric=True),
    ]
    rows = [
        [
            Cell(numbers.sentence(OUTCOME_WORDS[one.outcome]), "", one.outcome),
            correlation_cell(one.spearman),
            correlation_cell(one.within),
            number_cell(one.splits, str(one.splits)),
            number_cell(one.families, str(one.families)),
        ]
        for one in halves
    ]
    return Table("rules-held-out", "Rules on families that did not make them", columns, rows)


def _linearity(lines: Sequence[Linearity]) -> Table:
    columns = [
        Column("metric", "Metric"),
        Column("median", "R\u00b2, median", "and from the 5 % to the 95 % quantile", numeric=True),
        Column("straight", "Above 0.9", "share of the models", numeric=True),
        Column("count", "Models", numeric=True),
    ]
    rows = [
        [
            Cell(numbers.sentence(one.metric), "", one.metric),
            number_cell(
                one.median,
                numbers.decimal(one.median, 3),
                numbers.interval(one.low, one.high),
            ),
            number_cell(one.straight, numbers.percent(one.straight, 0)),
            number_cell(one.count, numbers.count(one.count)),
        ]
        for one in lines
    ]
    return Table("rules-linearity", "R\u00b2 of each model's line over the levels", columns, rows)


def _groups(groups: Sequence[GroupTest]) -> Table:
    columns = [
        Column("attribute", "Attribute"),
        Column("outcome", "Outcome"),
        Column("groups", "Groups", "mean, models, letters; groups that share one do not differ"),
        Column("f", "F", numeric=True),
        Column("p", "p", numeric=True),
    ]
    rows = [
        [
            Cell(attribute_words(one.attribute), "", one.attribute),
            Cell(_words(one.outcome), "", one.outcome),
            Cell(_group_text(one), "", None),
            number_cell(one.f_value, numbers.decimal(one.f_value, 2)),
            _p_cell(one.p_value),
        ]
        for one in groups
    ]
    return Table("rules-groups", "One-way analyses of variance", columns, rows)


def _words(outcome: str) -> str:
    return next((word for name, word in OUTCOME_WORDS.items() if name == outcome), outcome)


def _group_text(one: GroupTest) -> str:
    scale, unit = next(
        (found for name, found in OUTCOME_UNITS.items() if name == one.outcome), (1.0, "")
    )
    letters = one.letters or ("",) * len(one.groups)
    parts = [
        f"{name} {numbers.decimal(scale * mean, 2 if scale > 1 else 0)} ({count}) {mark}".strip()
        for name, mean, count, mark in zip(one.groups, one.means, one.counts, letters, strict=True)
    ]
    return f"{'; '.join(parts)} [{unit}]"


def _lost(points: Sequence[ModelSlope]) -> list[tuple[str, str]]:
    reasons: dict[str, list[str]] = {}
    for one in points:
        why = one.attributes.get("unresolved") or one.attributes.get("failed")
        if why:
            reasons.setdefault(why, []).append(one.model)
    found = []
    for why, names in reasons.items():
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        found.append((numbers.sentence(why), f"{', '.join(names[:_LISTED])}{more}"))
    return found
