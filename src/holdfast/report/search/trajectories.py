"""Curves of incumbents and the table of what was found in the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from holdfast.metrics.accuracy import proportion
from holdfast.metrics.intervals import Estimate
from holdfast.metrics.trajectories import regrets
from holdfast.records.searches import Scored
from holdfast.report import numbers
from holdfast.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Figure,
    Figures,
    Heading,
    Option,
    Table,
    number_cell,
)
from holdfast.report.figures import Axis
from holdfast.report.search.plots import Curve, curves
from holdfast.report.search.runs import Findings, SearcherRuns
from holdfast.report.search.shell import Unit

_HEIGHT = 460  # pixels
_EARLY = 20  # part of the budget that sets the lower end of the axis
_STUDENT = "Bands and brackets are 95 % Student t intervals of the mean over repetitions."
_MEANS = "Means over repetitions, with their intervals."
_PARTS = (4, 2, 1)  # a quarter, half and all of the budget
_RESULTS = (
    "Brackets are 95 % intervals over repetitions: Student's t for means, Wilson's for shares. "
    "They tell how a searcher's luck varies, not how well the table measures an architecture."
)


def build(findings: Findings) -> Content:
    """Curves: incumbent and regret of one objective, or the volume that several dominate."""
    if len(findings.search.objectives) > 1:
        return _volumes(findings)
    unit = findings.unit
    drawn = [Curve(run.spec, run.place, run.curve()) for run in findings.runs]
    name = findings.search.objectives[0].text
    best = findings.optimum
    up = Axis(name, *_range(drawn, best), percent=unit.percent)
    options = [
        Option("Incumbent", [curves(drawn, up, unit, line=None if math.isnan(best) else best)])
    ]
    regret = _regret(findings, drawn)
    if regret is not None:
        options.append(Option("Regret: distance to the best there is (logarithmic)", [regret]))
    block = Figures(
        "trajectory-figure",
        f"Mean value of the best architecture so far in {name}, by the number of queries, "
        "a line a searcher.",
        options,
        height=_HEIGHT,
    )
    told = "The dotted line is the best of the whole table. " if not math.isnan(best) else ""
    note = f"{told}A repetition that ended early keeps what it had. {_STUDENT}"
    return Content(_lead(findings), [block], note)


def _lead(findings: Findings) -> str:
    unit, sign = findings.unit, findings.search.objectives[0].sign
    ends = [(run, run.after(run.queries)) for run in findings.runs]
    known = [(run, end) for run, end in ends if not math.isnan(end.value)]
    if not known:
        return "No searcher found an architecture that has a value and keeps the constraints."
    known.sort(key=lambda pair: -sign * pair[1].value)
    run, end = known[0]
    reads = f"{unit.write(end.value)} {unit.bounds(end.low, end.high)}".strip()
    text = f"After {_queries(run.queries)}, {run.spec} holds {reads}"
    if not math.isnan(findings.optimum):
        text += f", where the best of the table is {unit.write(findings.optimum)}"
    near = [other.spec for other, score in known[1:] if _overlap(end, score)]
    if near:
        text += f"; the interval of {numbers.listing(near[:4])} overlaps"
    return f"{text}."


def _overlap(one: Estimate, other: Estimate) -> bool:
    return one.low <= other.high and other.low <= one.high


def _queries(count: int) -> str:
    return numbers.counted(count, "query", "queries")


def _range(drawn: Sequence[Curve], best: float) -> tuple[float | None, float | None]:
    """Ends of the axis that leave the first random queries aside, which would flatten the rest."""
    found: list[float] = [] if math.isnan(best) else [best]
    for curve in drawn:
        late = curve.points[len(curve.points) // _EARLY :]
        ends = [(one.value, one.low, one.high) for one in late]
        found += [value for three in ends for value in three if math.isfinite(value)]
    if not found or min(found) == max(found):
        return None, None
    room = 0.06 * (max(found) - min(found))
    return min(found) - room, max(found) + room


def _regret(findings: Findings, drawn: Sequence[Curve]) -> Figure | None:
    """Regret against the best of the table; zero is drawn at the lower edge."""
    best, unit = findings.optimum, findings.unit
    scale = findings.search.objectives[0].sign * (100 if unit.percent else 1)
    below = [
        Curve(curve.name, curve.place, regrets(curve.points, best, scale=scale)) for curve in drawn
    ]
    means = [one.value for curve in below for one in curve.points if one.value > 0]
    if not means:
        return None
    what = " (percentage points)" if unit.percent else ""
    up = Axis(f"Regret{what}", min(means) / 2, max(means) * 1.3, log=True)
    return curves(below, up, Unit(percent=False))


def _volumes(findings: Findings) -> Content:
    unit = Unit(percent=True)
    found = findings.volumes()
    if not found:
        return Content("No searcher found an architecture that keeps the constraints.")
    drawn = [Curve(run.spec, run.place, points) for run, points in found]
    up = Axis("Dominated share of the box", *_range(drawn, math.nan), percent=True)
    block = Figures(
        "trajectory-figure",
        "Mean share of the box of objectives that the architectures so far dominate, by the "
        "number of queries, a line a searcher.",
        [Option("Hypervolume", [curves(drawn, up, unit)])],
        height=_HEIGHT,
    )
    ends = [(curve.name, curve.points[-1]) for curve in drawn]
    name, end = max(ends, key=lambda pair: pair[1].value)
    reads = f"{unit.write(end.value)} {unit.bounds(end.low, end.high)}".strip()
    note = (
        "The box spans, in each objective, the worst to the best value that any searcher saw, so "
        f"shares compare searchers of this page only. {_STUDENT}"
    )
    return Content(f"In the end {name} dominates the most: {reads} of the box.", [block], note)


def results(findings: Findings) -> Content | None:
    """Tables: values after parts of the budget, and what the incumbents score elsewhere."""
    single = len(findings.search.objectives) == 1
    blocks: list[Block] = [_budgets(findings)] if single else []
    if findings.search.scored:
        alike = findings.search.scored_on
        where = f" ({alike})" if alike else ""
        blocks += [Heading(f"What the final architectures score{where}"), _scored(findings)]
    if not blocks:
        return None
    lead = _MEANS
    if single and not math.isnan(findings.optimum):
        lead = _hits_sentence(findings)
    return Content(lead, blocks, _RESULTS)


def _hits_sentence(findings: Findings) -> str:
    shares = {spec: share for spec, share in findings.found.items() if not math.isnan(share)}
    if not shares:
        return _MEANS
    spec, share = max(shares.items(), key=lambda pair: pair[1])
    if share == 0:
        return "No repetition of any searcher found the best of the table."
    return f"{spec} finds the best of the table in {numbers.percent(share, 0)} of its repetitions."


def _budgets(findings: Findings) -> Table:
    budget = findings.search.budget
    marks = sorted({max(1, budget // part) for part in _PARTS})
    seconds = {one.spec: one.seconds for one in findings.search.searchers}
    known = not math.isnan(findings.optimum)
    columns = [
        Column("searcher", "Searcher"),
        *[Column(f"after-{k}", f"After {_queries(k)}", numeric=True) for k in marks],
        *([Column("found", "Best found", "Share of repetitions", numeric=True)] if known else []),
        Column("seconds", "Time", "Of all repetitions", numeric=True),
    ]
    rows = [
        [
            Cell(run.spec, order=run.spec),
            *[_estimate(run.after(mark), findings.unit) for mark in marks],
            *([_found(findings, run)] if known else []),
            _time(seconds.get(run.spec, math.nan)),
        ]
        for run in findings.runs
    ]
    return Table("budget-table", "Values after parts of the budget, by searcher", columns, rows)


def _estimate(one: Estimate, unit: Unit) -> Cell:
    return number_cell(one.value, unit.write(one.value), unit.bounds(one.low, one.high))


def _found(findings: Findings, run: SearcherRuns) -> Cell:
    found, best = findings.found.get(run.spec, math.nan), findings.search.optimum
    if math.isnan(found) or best is None:
        return Cell(numbers.NOT_MEASURED)
    share = proportion(round(found * run.repetitions), run.repetitions)
    bounds = numbers.interval(share.low, share.high, scale=100, digits=0)
    hits = run.first_at(best.merit)
    when = f"after {np.median(hits[hits > 0]):.0f} (median)" if (hits > 0).any() else ""
    detail = "\n".join(part for part in (bounds, when) if part)
    return number_cell(share.value, numbers.percent(share.value, 0), detail)


def _time(seconds: float) -> Cell:
    known = not math.isnan(seconds)
    return number_cell(seconds, numbers.seconds(seconds) if known else numbers.NOT_MEASURED)


def _scored(findings: Findings) -> Table:
    scored = findings.search.scored
    names = list(dict.fromkeys(one.column for one in scored))
    by_key = {(one.searcher, one.column): one for one in scored}
    units = {name: Unit.of(metric) for name, metric in findings.metrics.items()}
    columns = [
        Column("searcher", "Searcher"),
        *[Column(f"scored-{place}", name, numeric=True) for place, name in enumerate(names)],
    ]
    specs = list(dict.fromkeys(one.searcher for one in scored))
    rows = [
        [
            Cell(spec, order=spec),
            *[_judged(by_key.get((spec, name)), units[name]) for name in names],
        ]
        for spec in specs
    ]
    return Table("scored-table", "Scores of the final architectures", columns, rows)


def _judged(one: Scored | None, unit: Unit) -> Cell:
    if one is None:
        return Cell(numbers.NOT_MEASURED)
    return number_cell(one.mean, unit.write(one.mean), unit.bounds(one.low, one.high))
