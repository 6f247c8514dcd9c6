"""The page of a look at a table: its columns, how they agree, the best and what is near them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.records.searches import (
    Best,
    ColumnSummary,
    Neighbourhood,
    OperatorCounts,
    Spread,
    TableStudy,
    read_table_study,
)
from holdfast.report import numbers
from holdfast.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Definitions,
    Drawings,
    DrawnCard,
    Figure,
    Figures,
    Heading,
    Option,
    Table,
    label,
    number_cell,
)
from holdfast.report.figures import PALETTE, Axis, style
from holdfast.report.search.correlation_section import correlation_content
from holdfast.report.search.drawing import draw, in_words, swatches
from holdfast.report.search.plots import Dot, axis_layout, dots
from holdfast.report.search.shell import Head, Unit, where_from, write_page
from holdfast.report.search.winners import value_entries

_HEIGHT = 380  # pixels
_OWN = PALETTE[1]  # the architecture itself among its neighbours
Build = Callable[[TableStudy], Content | None]


def write_table_page(folder: str | Path) -> Path:
    """Write `folder/page.html` from what `write_table_study` left in the folder.

    The page needs no network. It is replaced whole.

    Returns:
        Its path.

    Raises:
        MissingError: No look at a table in the folder.
        BadValueError: A file that says something else, or nothing at all.
        StoreError: The folder cannot be written.
    """
    folder = Path(folder)
    study = read_table_study(folder)
    built = [(name, title, build(study)) for name, title, build in _SECTIONS]
    sections = [(name, title, content) for name, title, content in built if content is not None]
    if not sections:
        raise BadValueError(
            f"{folder} has nothing to show; look with --describe, --correlate or --best first"
        )
    counted = numbers.counted(study.architectures, "architecture")
    head = Head(
        title=f"What does {study.table.name} say?",
        subtitle=f"{counted if study.architectures else 'A table'} of {study.table.space}.",
        flags=study.flags,
        beside="All numbers: table.json, beside this page.",
        version=study.version,
    )
    return write_page(folder, head, [*sections, ("setup", "Setup", _setup(study))])


def _setup(study: TableStudy) -> Content:
    entries = where_from(study.table)
    if study.command:
        entries.append(("Command", study.command))
    return Content("Where the numbers come from.", [Definitions(entries)])


def _correlations(study: TableStudy) -> Content | None:
    found = study.correlations
    return correlation_content(found, "correlation") if found else None


def _best(study: TableStudy) -> Content | None:
    if not study.best:
        return None
    drawn = [cell for one in study.best for ranked in one.ranked for cell in ranked.cells]
    legend = swatches(drawn)
    colors = {one.name: one.color for one in legend}
    blocks: list[Block] = []
    for place, one in enumerate(study.best):
        if len(study.best) > 1:
            blocks.append(Heading(f"By {one.column}"))
        blocks.append(
            Drawings(
                f"best-{place}", f"The best by {one.column}", _cards(one, colors), legend=legend
            )
        )
    first = study.best[0]
    value = first.ranked[0].values.get(first.column, math.nan)
    lead = f"The best by {first.column} has {Unit.of(first.metric).write(value)}."
    return Content(lead, blocks, "Boxes are operations; a dashed box passes nothing on.")


def _cards(best: Best, colors: dict[str, str]) -> list[DrawnCard]:
    return [
        DrawnCard(
            title=f"Rank {place}",
            drawings=[draw(cell, colors) for cell in ranked.cells],
            entries=value_entries(ranked.values, best.metrics),
            text=ranked.arch,
        )
        for place, ranked in enumerate(best.ranked, 1)
    ]


def _neighbours(study: TableStudy) -> Content | None:
    found = study.neighbourhoods
    if not found:
        return None
    options = [
        Option(f"{one.column}, around {one.arch}", [_neighbour_figure(one)]) for one in found
    ]
    block = Figures(
        "neighbour-figure",
        "Value of an architecture and of each that is one change away, highest first.",
        options,
        height=_HEIGHT + 60,
        min_width=640,
    )
    first = found[0]
    known = [one.value for one in first.near if not math.isnan(one.value)]
    better = sum(_beats(value, first) for value in known)
    lead = (
        f"{numbers.count(better)} of {numbers.count(len(known))} neighbours "
        f"{'has' if better == 1 else 'have'} a higher value in {first.column} than the "
        "architecture itself, the orange dot."
    )
    return Content(lead, [block], f"Around {first.arch}; a neighbour is one change away.")


def _beats(value: float, near: Neighbourhood) -> bool:
    return value > near.value


def _neighbour_figure(found: Neighbourhood) -> Figure:
    rows = [(found.value, "itself", found.arch), *((n.value, n.change, n.arch) for n in found.near)]
    rows = sorted((row for row in rows if not math.isnan(row[0])), key=lambda row: -row[0])
    unit = Unit.of(found.metric)
    shown = [
        Dot(
            name=in_words(change),
            value=value,
            color=_OWN if arch == found.arch else PALETTE[0],
            text=f"{label(change)}<br>{label(arch)}<br>{unit.write(value)}",
        )
        for value, change, arch in rows
    ]
    low, high = (edge([row[0] for row in rows], default=0.0) for edge in (min, max))
    room = 0.08 * (high - low) or 0.01
    up = Axis(numbers.shortened(found.column, 46), low - room, high + room, percent=unit.percent)
    return dots(shown, up)


def _operators(study: TableStudy) -> Content | None:
    found = study.operators
    if not found:
        return None
    names = list(dict.fromkeys(name for one in found for name in one.operators))
    traces = [_operator_trace(one, place, names) for place, one in enumerate(found)]
    layout = {
        "barmode": "group",
        "xaxis": {
            "tickvals": list(range(len(names))),
            "ticktext": [label(in_words(name)) for name in names],
            "automargin": True,
        },
        "yaxis": axis_layout(Axis("Share of all operations", percent=True)),
        "showlegend": len(found) > 1,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }
    block = Figures(
        "operator-figure",
        "How often each operation occurs in the best architectures.",
        [Option("", [Figure(traces, layout)])],
        height=_HEIGHT,
    )
    first = found[0]
    most = max(zip(first.counts, first.operators, strict=True))
    share = numbers.percent(most[0] / max(1, sum(first.counts)), 0)
    lead = (
        f"In the {first.top} best by {first.column}, {in_words(most[1])} is {share} of all "
        "operations."
    )
    return Content(lead, [block])


def _operator_trace(one: OperatorCounts, place: int, names: Sequence[str]) -> dict[str, object]:
    counts = dict(zip(one.operators, one.counts, strict=True))
    whole = max(1, sum(one.counts))
    return {
        "type": "bar",
        "name": label(numbers.shortened(f"{one.top} best by {one.column}", 60)),
        "x": list(range(len(names))),
        "y": [counts.get(name, 0) / whole for name in names],
        "text": [
            f"{label(name)}: {numbers.count(counts.get(name, 0))} of {numbers.count(whole)}"
            for name in names
        ],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": style(place).color},
    }


def _spreads(study: TableStudy) -> Content | None:
    found = study.spreads
    if not found:
        return None
    options = [Option(one.column, [_spread_figure(one)]) for one in found]
    block = Figures(
        "spread-figure",
        "Values of architectures that are alike, a column of dots and a box a group.",
        options,
        height=_HEIGHT + 80,
        min_width=640,
    )
    first = found[0]
    values, group = max(
        zip(first.values, first.groups, strict=True), key=lambda pair: float(np.ptp(_most(pair[0])))
    )
    unit = Unit.of(first.metric)
    low, high = _most(values)
    lead = (
        f"Of {numbers.count(len(values))} architectures with {in_words(group)}, nine in ten lie "
        f"between {unit.write(low)} and {unit.write(high)} in {first.column}."
    )
    return Content(
        lead,
        [block],
        "Boxes go from quartile to quartile, whiskers to the ends. Of more than 40 groups the "
        "largest are shown.",
    )


def _most(values: Sequence[float]) -> tuple[float, float]:
    """Ends of the middle nine tenths."""
    low, high = np.quantile(values, [0.05, 0.95])
    return float(low), float(high)


def _spread_figure(found: Spread) -> Figure:
    unit = Unit.of(found.metric)
    traces = [
        {
            "type": "box",
            "name": label(f"{in_words(group)} ({len(values)})"),
            "y": list(values),
            "boxpoints": False,
            "whiskerwidth": 0.5,
            "line": {"color": PALETTE[0], "width": 1.5},
            "fillcolor": "rgba(0,114,178,0.2)",
            "hoverinfo": "y+name",
        }
        for group, values in zip(found.groups, found.values, strict=True)
    ]
    up = Axis(numbers.shortened(found.column, 60), percent=unit.percent)
    return Figure(
        traces,
        {
            "showlegend": False,
            "xaxis": {"automargin": True, "tickangle": -40},
            "yaxis": axis_layout(up),
        },
    )


def _described(study: TableStudy) -> Content | None:
    if not study.described:
        return None
    columns = [
        Column("column", "Column"),
        Column("count", "Architectures", numeric=True),
        *[
            Column(name, name.capitalize(), numeric=True)
            for name in ("lowest", "median", "mean", "highest")
        ],
    ]
    rows = [_summary_row(one) for one in study.described]
    lead = f"{numbers.sentence(numbers.counted(len(rows), 'column'))} of recorded scores."
    return Content(lead, [Table("column-table", "Columns of the table", columns, rows)])


def _summary_row(one: ColumnSummary) -> list[Cell]:
    values = (one.lowest, one.median, one.mean, one.highest)
    unit = Unit.of(one.metric)
    told = "" if one.metric == "accuracy" else one.metric
    return [
        Cell(one.column, told, order=one.column),
        number_cell(one.count, numbers.count(one.count)),
        *[number_cell(value, unit.write(value)) for value in values],
    ]


_SECTIONS: tuple[tuple[str, str, Build], ...] = (
    ("correlation", "Agreement of columns", _correlations),
    ("best", "Best architectures", _best),
    ("neighbours", "Neighbours", _neighbours),
    ("operators", "Operations of the best", _operators),
    ("spread", "Alike in size, not in score", _spreads),
    ("columns", "Columns", _described),
)
