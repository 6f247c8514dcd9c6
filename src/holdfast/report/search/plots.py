"""Figures of searches as plain data for plotly.js; see `holdfast.report.figures`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.metrics.intervals import Estimate
from holdfast.records.searches import Correlations
from holdfast.report import numbers
from holdfast.report.blocks import Figure, JsonDict, label
from holdfast.report.figures import Axis, Style, style
from holdfast.report.search.shell import Unit

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_PERCENT_TICKS = ".2~%"  # without trailing zeros
TEXT_CELLS = 26  # columns of a heat map up to which each cell says its number
_LEGEND: JsonDict = {
    "orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"
}  # fmt: skip
# Blue for minus one, red for one, and the page's ground for none: ColorBrewer's RdBu.
_DIVERGING = [
    [0.0, "#2166AC"], [0.25, "#92C5DE"], [0.5, "#F7F7F7"], [0.75, "#F4A582"], [1.0, "#B2182B"]
]  # fmt: skip


def axis_layout(axis: Axis) -> JsonDict:
    """Settings of an axis; searches end close together, so percents may need decimals."""
    return axis.layout() | ({"tickformat": _PERCENT_TICKS} if axis.percent else {})


@dataclass(frozen=True)
class Curve:
    """A named line: an estimate after each query, the first after one query."""

    name: str
    place: int  # among the searchers, which decides color and dash
    points: Sequence[Estimate]


def curves(shown: Sequence[Curve], up: Axis, unit: Unit, *, line: float | None = None) -> Figure:
    """Lines with bands over the number of queries; `line` is drawn across, such as the best."""
    floor = up.low if up.log else None
    traces = [trace for curve in shown for trace in _curve(curve, unit, floor)]
    layout: JsonDict = {
        "xaxis": Axis("Queries").layout() | {"rangemode": "tozero"},
        "yaxis": axis_layout(up),
        "showlegend": len(shown) > 1,
        "legend": _LEGEND,
        "hovermode": "closest",
    }
    if line is not None:
        layout["shapes"] = [
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": line, "y1": line}
            | {"line": {"color": "#8A8A8A", "width": 1, "dash": "dot"}}
        ]
    return Figure(traces, layout)


def _curve(curve: Curve, unit: Unit, floor: float | None) -> list[JsonDict]:
    drawn = style(curve.place)
    found = [(place + 1, one) for place, one in enumerate(curve.points)]
    known = [(x, one) for x, one in found if math.isfinite(one.value)]
    bounded = [(x, one) for x, one in known if math.isfinite(one.low + one.high)]
    trace: JsonDict = {
        "type": "scatter",
        "mode": "lines" if len(known) > 1 else "markers",
        "name": label(numbers.shortened(curve.name, 44)),
        "legendgroup": label(curve.name),
        "x": [x for x, _ in known],
        "y": [_cut(one.value, floor) for _, one in known],
        "text": [_told(curve.name, x, one, unit) for x, one in known],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": drawn.color, "width": 2, "dash": DASHES[curve.place % len(DASHES)]},
    }
    return [*_band(curve, drawn, bounded, floor), trace]


def _band(
    curve: Curve, drawn: Style, bounded: Sequence[tuple[int, Estimate]], floor: float | None
) -> list[JsonDict]:
    if len(bounded) < 2:
        return []
    across = [x for x, _ in bounded]
    highs = [_cut(one.high, floor) for _, one in bounded]
    lows = [_cut(one.low, floor) for _, one in bounded]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": across + across[::-1],
            "y": highs + lows[::-1],
            "fill": "toself",
            "fillcolor": drawn.band,
            "line": {"width": 0, "color": drawn.color},
            "legendgroup": label(curve.name),
            "showlegend": False,
            "hoverinfo": "skip",
        }
    ]


def _cut(value: float, floor: float | None) -> float:
    return value if floor is None else max(value, floor)


def _told(name: str, queries: int, one: Estimate, unit: Unit) -> str:
    reads = f"{unit.write(one.value)} {unit.bounds(one.low, one.high)}"
    over = numbers.counted(one.count, "repetition")
    return f"{label(name)}<br>{numbers.count(queries)} queries: {reads}<br>{over}"


def correlation_map(found: Correlations, values: Sequence[Sequence[float]], name: str) -> Figure:
    """Square of coefficients from -1 to 1; each cell says its number where there is room."""
    size = len(found.columns)
    texts = [[numbers.decimal(value, 2) for value in row] for row in values]
    trace: JsonDict = {
        "type": "heatmap",
        "x": list(range(size)),
        "y": list(range(size)),
        "z": [list(row) for row in values],
        "customdata": [
            [_pair(found, name, row, column, texts[row][column]) for column in range(size)]
            for row in range(size)
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "colorscale": _DIVERGING,
        "zmin": -1,
        "zmax": 1,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"thickness": 10, "len": 0.9, "tickvals": [-1, -0.5, 0, 0.5, 1]},
    }
    if size <= TEXT_CELLS:
        # On light cells dark text, on dark ones light text: plotly sees to it.
        trace |= {"text": texts, "texttemplate": "%{text}", "textfont": {"size": 10}}
    names = {
        "tickvals": list(range(size)),
        "ticktext": [label(numbers.shortened(column, 34)) for column in found.columns],
        "automargin": True,
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
    }
    layout = {
        "xaxis": {**names, "tickangle": -50},
        "yaxis": {**names, "autorange": "reversed"},
    }
    return Figure([trace], layout)


def _pair(found: Correlations, name: str, row: int, column: int, text: str) -> str:
    told = f"{label(found.columns[row])}<br>{label(found.columns[column])}<br>{name} {text}"
    if name == "tau" and found.low:
        told += f" {numbers.interval(found.low[row][column], found.high[row][column])}"
    if found.counts:
        told += f"<br>{numbers.counted(found.counts[row][column], 'architecture')}"
    return told


@dataclass(frozen=True)
class Cloud:
    """Points of one searcher in two objectives, with what a pointer shows."""

    name: str
    place: int
    x: Sequence[float]
    y: Sequence[float]
    texts: Sequence[str]


def scatter(clouds: Sequence[Cloud], front: Cloud | None, across: Axis, up: Axis) -> Figure:
    """Points of searchers, small, and those that nothing dominates, large and joined."""
    traces: list[JsonDict] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": label(numbers.shortened(cloud.name, 44)),
            "x": list(cloud.x),
            "y": list(cloud.y),
            "text": list(cloud.texts),
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {
                "color": style(cloud.place).color,
                "symbol": style(cloud.place).marker,
                "size": 5,
                "opacity": 0.45,
            },
        }
        for cloud in clouds
    ]
    if front is not None:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label(front.name),
                "x": list(front.x),
                "y": list(front.y),
                "text": list(front.texts),
                "hovertemplate": "%{text}<extra></extra>",
                "line": {"color": "#8A8A8A", "width": 1.5, "dash": "dot"},
                "marker": {"color": "#8A8A8A", "symbol": "circle-open", "size": 10}
                | {"line": {"width": 2}},
            }
        )
    layout = {
        "xaxis": axis_layout(across),
        "yaxis": axis_layout(up),
        "showlegend": True,
        "legend": _LEGEND,
        "hovermode": "closest",
    }
    return Figure(traces, layout)


@dataclass(frozen=True)
class Dot:
    """A named value with its color and what a pointer shows."""

    name: str
    value: float
    color: str
    text: str


def dots(shown: Sequence[Dot], up: Axis) -> Figure:
    """A dot a name; unlike bars, dots need no axis from zero."""
    places = list(range(len(shown)))
    trace: JsonDict = {
        "type": "scatter",
        "mode": "markers",
        "x": places,
        "y": [dot.value for dot in shown],
        "text": [dot.text for dot in shown],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": [dot.color for dot in shown], "size": 10},
    }
    across = {
        "tickvals": places,
        "ticktext": [label(dot.name) for dot in shown],
        "automargin": True,
        "tickangle": -55,
        "zeroline": False,
    }
    return Figure([trace], {"xaxis": across, "yaxis": axis_layout(up)})
