"""Figures as plain data for plotly.js: lines with interval bands, heat maps, steps, waterfalls.

Text and grid colors are left to the page, which knows whether it is light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.metrics.intervals import Estimate
from holdfast.report import numbers
from holdfast.report.blocks import Figure, JsonDict, label

# Okabe and Ito 2008, "Color universal design", without black and yellow, which vanish on a dark
# and on a light page; gray takes black's place.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "star")
MOST_LINES = len(PALETTE)  # more models than colors are shown as a heat map
BAND_OPACITY = 0.16
ROW_HEIGHT = 22  # pixels of a heat map's row
_TAKEN = "#8A8A8A"
_ROOM = 1.4  # of the whole, so that there is room for the text of a bar that reaches it
_HALVES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Style:
    """Color and marker of a model, the same in every figure."""

    color: str
    marker: str

    @property
    def band(self) -> str:
        """Color of the interval's band."""
        red, green, blue = (int(self.color[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{BAND_OPACITY})"


def style(place: int) -> Style:
    """Style of the model at `place` in the page's order of models."""
    hue, turn = place % len(PALETTE), place // len(PALETTE)
    return Style(PALETTE[hue], MARKERS[(hue + turn) % len(MARKERS)])


def _general(place: float) -> str:
    return f"{place:g}"


@dataclass(frozen=True)
class Axis:
    """Title and ticks of an axis; `low` and `high` bound what is shown, `write` names a place."""

    title: str
    low: float | None = None
    high: float | None = None
    percent: bool = False
    ticks: Sequence[float] | None = None
    tick_texts: Sequence[str] | None = None
    log: bool = False
    write: Callable[[float], str] = _general

    def layout(self) -> JsonDict:
        """Settings of the axis in plotly's words."""
        settings: JsonDict = {
            "title": {"text": self.title, "standoff": 12},
            "automargin": True,
            "zeroline": False,
        }
        if self.low is not None and self.high is not None:
            ends = [self.low, self.high]
            settings["range"] = [math.log10(end) for end in ends] if self.log else ends
        if self.log:
            settings["type"] = "log"
        if self.percent:
            settings["tickformat"] = numbers.PERCENT_TICKS
        if self.ticks is not None:
            settings["tickvals"] = list(self.ticks)
            settings["ticktext"] = list(self.tick_texts or map(self.write, self.ticks))
        return settings


@dataclass(frozen=True)
class Line:
    """A named curve: estimates by place on the horizontal axis."""

    name: str
    style: Style
    points: Mapping[float, Estimate]


def lines(curves: Sequence[Line], across: Axis, up: Axis) -> Figure:
    """Curves with the band of their intervals; the legend stands above."""
    traces: list[JsonDict] = []
    for curve in curves:
        places = list(curve.points)
        found = list(curve.points.values())
        bounded = [(x, e) for x, e in curve.points.items() if math.isfinite(e.low + e.high)]
        if len(bounded) > 1:
            traces.append(_band(curve, bounded))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label(numbers.shortened(curve.name)),
                "legendgroup": label(curve.name),
                "x": places,
                "y": [e.value for e in found],
                "text": [_hover(curve.name, across, x, e, up) for x, e in curve.points.items()],
                "hovertemplate": "%{text}<extra></extra>",
                "line": {"color": curve.style.color, "width": 2},
                "marker": {"symbol": curve.style.marker, "size": 7},
            }
        )
    return Figure(traces, {"xaxis": across.layout(), "yaxis": up.layout(), **_legend(curves)})


def _band(curve: Line, bounded: Sequence[tuple[float, Estimate]]) -> JsonDict:
    forth = [x for x, _ in bounded]
    highs = [e.high for _, e in bounded]
    lows = [e.low for _, e in bounded]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": forth + forth[::-1],
        "y": highs + lows[::-1],
        "fill": "toself",
        "fillcolor": curve.style.band,
        "line": {"width": 0, "color": curve.style.color},
        "legendgroup": label(curve.name),
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _hover(name: str, across: Axis, place: float, found: Estimate, up: Axis) -> str:
    if up.percent:
        written = numbers.percent_interval(found.value, found.low, found.high)
    else:
        written = f"{numbers.decimal(found.value)} {numbers.interval(found.low, found.high)}"
    images = numbers.count(found.count)
    where = f"{across.title}: {across.write(place)}"
    return f"{label(name)}<br>{where}<br>{up.title}: {written}<br>{images} images"


def _legend(curves: Sequence[Line] | Sequence[Steps]) -> JsonDict:
    return {
        "showlegend": len(curves) > 1,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        "hovermode": "closest",
    }


@dataclass(frozen=True)
class Grid:
    """A matrix of fractions with its row and column names; None is an empty cell."""

    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    hover: Sequence[Sequence[str]]  # escaped already
    partial: frozenset[tuple[int, int]] = frozenset()  # cells that get an asterisk


def heat_map(grid: Grid, *, across: str = "", high_is_good: bool = True) -> Figure:
    """Matrix of whole percents, the first row on top; bright is good.

    Colors run along Viridis, whose lightness orders it for every kind of color vision. There is
    no color bar: each cell says its number.
    """
    trace = {
        "type": "heatmap",
        "x": list(range(len(grid.columns))),
        "y": list(range(len(grid.rows))),
        "z": [list(row) for row in grid.values],
        "text": _cell_texts(grid),
        "texttemplate": "%{text}",
        "textfont": {"size": 11},
        "customdata": [list(row) for row in grid.hover],
        "hovertemplate": "%{customdata}<extra></extra>",
        "colorscale": "Viridis",
        "reversescale": not high_is_good,
        "zmin": 0,
        "zmax": 1 if high_is_good else _ceiling(grid.values),
        "xgap": 1,
        "ygap": 1,
        "showscale": False,
    }
    layout = {
        "xaxis": {**_names(grid.columns), "tickangle": 0 if across else -40, **_title(across)},
        "yaxis": {**_names([numbers.shortened(row) for row in grid.rows]), "autorange": "reversed"},
    }
    return Figure([trace], layout)


def _names(names: Sequence[str]) -> JsonDict:
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [label(name) for name in names],
        "automargin": True,
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
    }


def _cell_texts(grid: Grid) -> list[list[str]]:
    return [
        [
            numbers.bare_percent(value) + "*" * ((place, column) in grid.partial)
            for column, value in enumerate(row)
        ]
        for place, row in enumerate(grid.values)
    ]


def _title(text: str) -> JsonDict:
    return {"title": {"text": text, "standoff": 12}} if text else {}


def _ceiling(values: Sequence[Sequence[float | None]]) -> float:
    known = [value for row in values for value in row if value is not None and math.isfinite(value)]
    return max(known, default=1.0) or 1.0


def grid_height(rows: int) -> int:
    """Height of a heat map of so many rows, in pixels."""
    return 150 + ROW_HEIGHT * max(rows, 3)


@dataclass(frozen=True)
class Steps:
    """A named histogram: the share between each two of the edges, and a text for each."""

    name: str
    style: Style
    edges: Sequence[float]
    shares: Sequence[float]
    texts: Sequence[str]


def histograms(shown: Sequence[Steps], across: Axis, up: Axis) -> Figure:
    """Outlines of histograms over each other; the legend stands above."""
    traces: list[JsonDict] = []
    for steps in shown:
        texts = [f"{label(steps.name)}<br>{text}" for text in steps.texts]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": label(numbers.shortened(steps.name)),
                "x": [steps.edges[0], *steps.edges],
                "y": [0, *steps.shares, 0],
                "text": [texts[0], *texts, ""],
                "hovertemplate": "%{text}<extra></extra>",
                "line": {"color": steps.style.color, "width": 2, "shape": "hv"},
                "fill": "tozeroy",
                "fillcolor": steps.style.band,
            }
        )
    layout = {"xaxis": across.layout(), "yaxis": up.layout(), **_legend(shown)}
    return Figure(traces, layout)


@dataclass(frozen=True)
class Stage:
    """A step of a waterfall: what it takes from the whole, or, at the end, what is left."""

    name: str
    taken: Estimate
    left: float  # share that remains after it
    last: bool = False


def waterfall(title: str, shown: Sequence[Stage], color: str) -> Figure:
    """Bars from the whole down to what is left, the first stage on top; texts say each share."""
    trace: JsonDict = {
        "type": "bar",
        "orientation": "h",
        "y": list(range(len(shown))),
        "x": [stage.taken.value for stage in shown],
        "base": [stage.left for stage in shown],
        "marker": {"color": [color if stage.last else _TAKEN for stage in shown]},
        "text": [numbers.percent(stage.taken.value) for stage in shown],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [_stage_hover(stage) for stage in shown],
        "hovertemplate": "%{customdata}<extra></extra>",
    }
    layout = {
        "title": {"text": label(title), "font": {"size": 14}, "x": 0.02},
        "margin": {"l": 10, "r": 10, "t": 36, "b": 10},
        "showlegend": False,
        "bargap": 0.25,
        "xaxis": Axis("Share of images", 0.0, _ROOM, percent=True, ticks=_HALVES).layout()
        | {"ticktext": [numbers.percent(tick, 0) for tick in _HALVES]},
        "yaxis": {**_names([stage.name for stage in shown]), "autorange": "reversed"},
    }
    return Figure([trace], layout)


def _stage_hover(stage: Stage) -> str:
    found = stage.taken
    reads = numbers.percent_interval(found.value, found.low, found.high)
    left = "" if stage.last else f"<br>{numbers.percent(stage.left)} left"
    return f"{label(stage.name)}: {reads} of {numbers.count(found.count)} images{left}"
