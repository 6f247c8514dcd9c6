"""Several objectives at once, and constraints."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl

from holdfast.metrics.intervals import FloatArray
from holdfast.metrics.pareto import pareto_front
from holdfast.report import numbers
from holdfast.report.blocks import (
    Cell,
    Column,
    Content,
    Figure,
    Figures,
    Option,
    Table,
    label,
    number_cell,
)
from holdfast.report.figures import Axis
from holdfast.report.search.plots import Cloud, scatter
from holdfast.report.search.runs import Findings
from holdfast.report.search.shell import Unit

_HEIGHT = 520  # pixels
_FAR = 0.05  # share of the points that would push all others into a corner
_MOST = 1500  # dominated points of a searcher that are drawn


def build(findings: Findings) -> Content | None:
    """Scatter of each two objectives, with what nothing dominates."""
    objectives = findings.search.objectives
    if len(objectives) < 2:
        return None
    names = [f"value_{place}" for place in range(len(objectives))]
    able = findings.trials.filter("feasible").unique(["searcher", "arch"], maintain_order=True)
    values = able.select(names).to_numpy()
    whole = np.isfinite(values).all(axis=1)
    able, values = able.filter(pl.Series(whole)), values[whole]
    if able.is_empty():
        return None
    front = pareto_front(values)
    members = len(np.unique(values[front], axis=0))
    near = front | (values >= np.quantile(values, _FAR, axis=0)).all(axis=1)
    able, values, front = able.filter(pl.Series(near)), values[near], front[near]
    shown = values * [one.sign for one in objectives]
    options = [
        Option(
            f"{objectives[x].text} and {objectives[y].text}",
            [_figure(findings, able, shown, front, (x, y))],
        )
        for x, y in itertools.combinations(range(len(objectives)), 2)
    ]
    block = Figures(
        "front-figure",
        "Architectures that were asked, in two objectives at a time; the front is joined.",
        options,
        height=_HEIGHT,
    )
    which = numbers.counted(members, "trade-off")
    lead = f"Of all that were asked, {which} can be bettered in no objective without a loss."
    note = (
        f"The front is that of all searchers together, over {_counted(len(objectives))}. The "
        f"{numbers.percent(_FAR, 0)} that are worst in an objective are not drawn."
    )
    return Content(lead, [block, *_listed(findings)], note)


def _listed(findings: Findings) -> list[Table]:
    """The front as a table: each architecture with its values."""
    found, objectives = findings.search.front, findings.search.objectives
    if not found:
        return []
    names = list(found[0].values)[: len(objectives)]
    units = [Unit.of(one.metric) for one in objectives]
    columns = [
        Column("arch", "Architecture"),
        *[Column(f"front-{place}", name, numeric=True) for place, name in enumerate(names)],
    ]
    rows = [
        [
            Cell(one.arch, order=one.arch),
            *[
                number_cell(one.values[name], unit.write(one.values[name]))
                for name, unit in zip(names, units, strict=True)
                if name in one.values
            ],
        ]
        for one in found
    ]
    return [Table("front-table", "Architectures of the front", columns, rows)]


def _counted(objectives: int) -> str:
    return numbers.counted(objectives, "objective")


def _figure(
    findings: Findings,
    able: pl.DataFrame,
    shown: FloatArray,
    front: np.ndarray,
    pair: tuple[int, int],
) -> Figure:
    objectives = findings.search.objectives
    units = [Unit.of(objectives[place].metric) for place in pair]
    texts = [
        f"{label(arch)}<br>{units[0].write(row[pair[0]])}, {units[1].write(row[pair[1]])}"
        for arch, row in zip(able["arch"].to_list(), shown, strict=True)
    ]
    owners = able["searcher"].to_numpy()
    clouds = []
    for run in findings.runs:
        rows = np.flatnonzero((owners == run.spec) & ~front)[:_MOST]
        clouds.append(_cloud(run.spec, run.place, shown[:, pair], texts, rows))
    on = np.flatnonzero(front)
    on = on[np.argsort(shown[on, pair[0]], kind="stable")]
    best = _cloud("Pareto front", 0, shown[:, pair], texts, on)
    axes = [
        Axis(objectives[place].text, percent=unit.percent)
        for place, unit in zip(pair, units, strict=True)
    ]
    return scatter(clouds, best, *axes)


def _cloud(name: str, place: int, points: FloatArray, texts: list[str], rows: np.ndarray) -> Cloud:
    return Cloud(
        name, place, points[rows, 0].tolist(), points[rows, 1].tolist(), [texts[r] for r in rows]
    )


def constraints(findings: Findings) -> Content | None:
    """How many architectures keep each constraint, and how many queries went to those that do."""
    found = findings.search.constraints
    if not found:
        return None
    able = float(findings.trials["feasible"].to_numpy().mean())
    columns = [
        Column("constraint", "Constraint"),
        Column("kept", "Architectures that keep it", numeric=True),
        Column("of", "Of the table", numeric=True),
        Column("share", "Share", numeric=True),
    ]
    rows = [
        [
            Cell(one.text, one.column if one.column != one.text else "", order=one.text),
            number_cell(one.satisfied, numbers.count(one.satisfied)),
            number_cell(one.of, numbers.count(one.of)),
            number_cell(share := one.satisfied / max(1, one.of), numbers.percent(share, 1)),
        ]
        for one in found
    ]
    kept = findings.trials.group_by("searcher").agg(pl.col("feasible").mean())
    shares = dict(kept.iter_rows())
    each = numbers.listing(
        [f"{run.spec} {numbers.percent(shares[run.spec], 0)}" for run in findings.runs]
    )
    lead = f"{numbers.percent(able, 0)} of all queries went to architectures that keep every bound."
    table = Table("constraint-table", "Constraints", columns, rows, sortable=False)
    return Content(lead, [table], f"Feasible queries by searcher: {each}.")
