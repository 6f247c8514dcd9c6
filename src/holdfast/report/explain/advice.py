"""Sections of the page: what would help one model, predicted and measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.records.explanations import Advice, Advised, Consequence, Value
from holdfast.report import numbers
from holdfast.report.blocks import (
    Block,
    Cell,
    Column,
    Content,
    Figure,
    Figures,
    Heading,
    JsonDict,
    Option,
    Table,
    label,
    number_cell,
)
from holdfast.report.figures import PALETTE, Axis

_MEASURED, _PREDICTED = PALETTE[0], PALETTE[1]
_ROW = 30  # pixels a change
_LEAST = 220


def sections(found: Advice) -> Sequence[tuple[str, str, Content]]:
    """The verdict, the table of changes, and where predictions came from."""
    measured = [one for one in found.advised if one.status == "measured"]
    others = [one for one in found.advised if one.status != "measured"]
    blocks: list[Block] = []
    if measured:
        blocks += [_figure(found, measured), _table(found, measured)]
    if others:
        blocks += [Heading("Changes that were not measured"), _others(others)]
    note = (
        f"{found.model}, {numbers.count(found.images)} images of {found.data}. Differences are "
        "paired on the same images with the same noise; intervals are of 95 %. Predictions come "
        "from 32 pictures without labels: at its last layer a changed model is as far from the "
        "original on clean pictures as the original is under noise of some sigma, and the "
        "original's accuracy at that sigma is the prediction. Its interval is that of this "
        "accuracy alone; how far the method itself may be off is not in it."
    )
    advice = ("advice", "Advice", Content(found.verdict, blocks, note))
    return [advice, ("advice-curve", "Noise curve", _curve(found))] if _known(found) else [advice]


def _figure(found: Advice, measured: Sequence[Advised]) -> Block:
    names = [name for name in found.conditions if any(_parts(measured, name))]
    options = [Option(name, [_dots(measured, name)]) for name in reversed(names)]
    options.sort(key=lambda option: option.label == "clean")
    return Figures(
        "advice-figure",
        "Change of accuracy by each change of the model, predicted and measured.",
        options,
        height=max(_LEAST, 110 + _ROW * len(measured)),
        min_width=560,
        caption="Points of accuracy; bars are 95 % intervals.",
    )


def _parts(measured: Sequence[Advised], condition: str) -> list[tuple[Advised, Consequence]]:
    return [
        (one, part) for one in measured for part in one.consequences if part.condition == condition
    ]


def _dots(measured: Sequence[Advised], condition: str) -> Figure:
    parts = _parts(measured, condition)
    rows = {one.change: place for place, one in enumerate(measured)}
    traces = []
    for name, color, shift in (("predicted", _PREDICTED, -0.14), ("measured", _MEASURED, 0.14)):
        shown = [
            (rows[one.change] + shift, one.change, value)
            for one, part in parts
            for value in [part.predicted if name == "predicted" else part.measured]
            if not math.isnan(value.value)
        ]
        if shown:
            traces.append(_trace(name, color, shown))
    up = {
        "tickvals": list(rows.values()),
        "ticktext": [label(numbers.shortened(name, 40)) for name in rows],
        "range": [len(rows) - 0.5, -0.5],
        "automargin": True,
        "zeroline": False,
    }
    across = Axis("Change of accuracy, points").layout()
    across |= {"zeroline": True, "zerolinewidth": 1.5}
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    return Figure(traces, {"xaxis": across, "yaxis": up, "showlegend": True, "legend": legend})


def _trace(name: str, color: str, shown: Sequence[tuple[float, str, Value]]) -> JsonDict:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [100 * value.value for _, _, value in shown],
        "y": [place for place, _, _ in shown],
        "text": [f"{label(change)}<br>{name} {_points(value)}" for _, change, value in shown],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": color, "size": 9, "symbol": "diamond" if name[0] == "p" else "circle"},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [100 * _end(value.high - value.value) for _, _, value in shown],
            "arrayminus": [100 * _end(value.value - value.low) for _, _, value in shown],
            "thickness": 1.5,
            "width": 3,
        },
    }


def _end(length: float) -> float:
    return 0.0 if math.isnan(length) else max(0.0, length)


def _table(found: Advice, measured: Sequence[Advised]) -> Block:
    columns = [Column("change", "Change", "Type it behind the model, after a plus.")]
    shown: list[tuple[str, bool]] = []
    for condition in found.conditions:
        parts = [part for _, part in _parts(measured, condition)]
        predicted = any(part.predicted.low < part.predicted.high for part in parts)
        if predicted:
            columns.append(Column(f"p-{condition}", f"{condition}: predicted", numeric=True))
        columns.append(Column(f"m-{condition}", f"{condition}: measured", numeric=True))
        shown.append((condition, predicted))
    rows = [_row(one, shown) for one in measured]
    about = "Each change with its predicted and measured differences, the best first."
    return Table("advice-table", about, columns, rows)


def _row(one: Advised, shown: Sequence[tuple[str, bool]]) -> list[Cell]:
    native = f" Noise at {one.view} size." if one.view != "model" else ""
    tuned = f" Fine-tuned: {one.fine_tuned} epochs." if one.fine_tuned else ""
    cells = [Cell(one.change, f"{one.why}{native}{tuned}", one.change, about=one.about)]
    parts = {part.condition: part for part in one.consequences}
    for condition, predicted in shown:
        part = parts.get(condition)
        if part is None:
            cells += [number_cell(None, numbers.NOT_MEASURED)] * (1 + predicted)
            continue
        if predicted:
            cells.append(_cell(part.predicted, "no prediction"))
        before, after = numbers.percent(part.before.value), numbers.percent(part.after.value)
        told = _cell(part.measured, numbers.NO_DATA)
        moved = f"{told.detail}; {before} \N{RIGHTWARDS ARROW} {after}"
        cells.append(Cell(told.text, moved, told.order))
    return cells


def _cell(value: Value, missing: str) -> Cell:
    if math.isnan(value.value):
        return number_cell(None, missing)
    detail = numbers.interval(value.low, value.high, scale=100, digits=1)
    return number_cell(value.value, numbers.points(value.value), detail)


def _points(value: Value) -> str:
    detail = numbers.interval(value.low, value.high, scale=100, digits=1)
    return f"{numbers.points(value.value)} {detail}".strip()


def _others(others: Sequence[Advised]) -> Block:
    columns = (Column("change", "Change"), Column("status", "Status"), Column("why", "Why"))
    rows = [
        [Cell(one.change, one.about, one.change), Cell(one.status, order=one.status), Cell(one.why)]
        for one in others
    ]
    about = "Changes that do not apply to this model, or failed."
    return Table("advice-others", about, columns, rows, sortable=False)


def _known(found: Advice) -> list[tuple[float, float]]:
    return [(x, y) for x, y in found.curve if not math.isnan(y)]


def _curve(found: Advice) -> Content:
    known = _known(found)
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [x for x, _ in known],
        "y": [y for _, y in known],
        "text": [f"sigma {x:g}: {numbers.percent(y)}" for x, y in known],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": _MEASURED, "width": 2},
        "marker": {"size": 7},
    }
    layout = {
        "xaxis": Axis("Standard deviation of the noise, pixels of [0, 1]").layout(),
        "yaxis": Axis("Accuracy", percent=True).layout() | {"rangemode": "tozero"},
        "showlegend": False,
    }
    figure = Figures(
        "advice-curve-figure",
        "Accuracy of the original model against the deviation of Gaussian noise.",
        [Option("", [Figure([trace], layout)])],
        height=320,
    )
    first, last = known[0], known[-1]
    lead = (
        f"The original falls from {numbers.percent(first[1])} without noise to "
        f"{numbers.percent(last[1])} at sigma {last[0]:g}; predictions are read off this curve."
    )
    return Content(lead, [figure])
