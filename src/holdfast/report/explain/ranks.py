"""Sections of the page: how models rank under a perturbation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from holdfast.metrics.intervals import Estimate
from holdfast.records.explanations import AccuracyLine, RankedModel, Ranks, Value
from holdfast.report import figures, numbers
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

_BARS = 60  # models up to which a slope has its error bar
_STEPS = 120  # points of the accuracy line
_EDGE = 5e-4  # how near to 0 and 1 the logit scale goes
_TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
_GRAY = "#8A8A8A"
_NOTE = (
    "Rank difference is the place on clean images minus the place under the perturbation: positive "
    "moved up. Effective robustness is the accuracy above what the line through all models, fitted "
    "on the logit scale, predicts from the clean accuracy (Taori et al. 2020). The slope is a line "
    "through accuracy against level, clean being level 0; its interval is over the levels. Borda "
    "sums ranks from below over the conditions, ties at their least place; fair Borda takes "
    "mid-ranks and puts a constant answer last."
)


def sections(found: Ranks) -> Sequence[tuple[str, str, Content]]:
    """One section: scatter of clean and perturbed, slopes, curves, the table and agreements."""
    blocks: list[Block] = []
    for build in (_scatter, _slopes, _curves):
        block = build(found)
        if block is not None:
            blocks.append(block)
    blocks += [Heading("All models"), _table(found)]
    if found.agreements:
        blocks += [Heading("Which orders agree"), _agreements(found)]
    title = f"Ranks under {found.perturbation}"
    note = " ".join(one for one in (_NOTE, _published(found)) if one)
    return [("ranks", title, Content(_lead(found), blocks, note))]


def _published(found: Ranks) -> str:
    stated = [one for one in found.models if one.published is not None]
    same = sum(one.published == one.rank_diff for one in stated)
    if not stated:
        return ""
    return (
        f"The table states {len(stated):,} rank differences; {same:,} equal ours. The others "
        "differ by the order of models that tie in top-1 accuracy."
    )


def _lead(found: Ranks) -> str:
    placed = [one for one in found.models if one.perturbed_rank is not None]
    if not placed:
        return f"No model can be ranked under {found.perturbation}."
    best = placed[0]
    told = (
        f"Of {numbers.counted(len(placed), 'model')}, {best.model} holds best under "
        f"{found.perturbation} ({numbers.percent(best.perturbed)})"
    )
    moved = [one for one in placed if one.rank_diff is not None]
    if len(moved) > 1:
        up = max(moved, key=lambda one: one.rank_diff or 0)
        down = min(moved, key=lambda one: one.rank_diff or 0)
        if up.rank_diff and down.rank_diff:
            told += (
                f"; {up.model} moves up most ({_signed(up.rank_diff)} places) and {down.model} "
                f"down most ({_signed(down.rank_diff)})"
            )
    return f"{told}."


def _scatter(found: Ranks) -> Block | None:
    shown = [one for one in found.models if math.isfinite(one.clean + one.perturbed)]
    if not shown:
        return None
    options = [
        Option("Percent", [_cloud(shown, found.line, lambda value: value, None)]),
        Option("Logit scale", [_cloud(shown, found.line, _logit, _TICKS)]),
    ]
    about = f"Accuracy under {found.perturbation} against clean accuracy of {len(shown)} models"
    caption = "Point at a dot for its model. "
    if math.isfinite(found.line.slope):
        line = found.line
        caption += (
            f"The line: logit(perturbed) = {numbers.decimal(line.intercept, 2)} + "
            f"{numbers.decimal(line.slope, 2)} logit(clean), R\u00b2 "
            f"{numbers.decimal(line.r_squared, 2)}, {numbers.counted(line.count, 'model')}."
        )
    return Figures("ranks-scatter", about, options, 460, caption=caption)


def _cloud(
    shown: Sequence[RankedModel],
    line: AccuracyLine,
    scale: Callable[[float], float],
    ticks: Sequence[float] | None,
) -> Figure:
    traces: list[JsonDict] = []
    if math.isfinite(line.slope):
        ends = [one.clean for one in shown]
        traces.append(_line(line, min(ends), max(ends), scale))
    for place, (name, constant) in enumerate((("models", False), ("constant answers", True))):
        some = [one for one in shown if one.constant == constant]
        if some:
            traces.append(
                _dots(some, [scale(one.clean) for one in some], PALETTE[place])
                | {"name": name, "y": [scale(one.perturbed) for one in some]}
            )
    layout: JsonDict = {
        "xaxis": _axis("Clean accuracy", scale, ticks),
        "yaxis": _axis("Accuracy under perturbation", scale, ticks),
        "showlegend": len(traces) > 2,
        "hovermode": "closest",
    }
    return Figure(traces, layout)


def _axis(title: str, scale: Callable[[float], float], ticks: Sequence[float] | None) -> JsonDict:
    if ticks is None:
        return Axis(title, percent=True).layout()
    places = [scale(tick) for tick in ticks]
    texts = [f"{100 * tick:g}{numbers.NO_BREAK}%" for tick in ticks]
    return Axis(title, ticks=places, tick_texts=texts).layout()


def _line(line: AccuracyLine, low: float, high: float, scale: Callable[[float], float]) -> JsonDict:
    across = [low + (high - low) * step / _STEPS for step in range(_STEPS + 1)]
    up = [1 / (1 + math.exp(-(line.intercept + line.slope * _logit(value)))) for value in across]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "accuracy line",
        "x": [scale(value) for value in across],
        "y": [scale(value) for value in up],
        "hoverinfo": "skip",
        "line": {"color": _GRAY, "width": 1.5, "dash": "dot"},
    }


def _logit(value: float) -> float:
    cut = min(max(value, _EDGE), 1 - _EDGE)
    return math.log(cut / (1 - cut))


def _dots(shown: Sequence[RankedModel], across: Sequence[float], color: str) -> JsonDict:
    size = 8 if len(shown) <= _BARS else 5
    return {
        "type": "scatter",
        "mode": "markers",
        "x": list(across),
        "text": [_hover(one) for one in shown],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": color, "size": size, "opacity": 0.65},
    }


def _hover(one: RankedModel) -> str:
    told = [
        label(one.model),
        f"clean {numbers.percent(one.clean)}, perturbed {numbers.percent(one.perturbed)}",
    ]
    if one.rank_diff is not None:
        told.append(f"place {one.clean_rank} to {one.perturbed_rank} ({_signed(one.rank_diff)})")
    if math.isfinite(one.effective):
        told.append(f"effective robustness {numbers.points(one.effective)}")
    if math.isfinite(one.slope.value):
        told.append(f"slope {_slope(one.slope.value)} {_bounds(one.slope)}")
    return "<br>".join(told)


def _slopes(found: Ranks) -> Block | None:
    shown = [
        one for one in found.models if math.isfinite(one.slope.value) and math.isfinite(one.clean)
    ]
    if not shown:
        return None
    trace = _dots(shown, [one.clean for one in shown], PALETTE[0])
    trace["y"] = [one.slope.value for one in shown]
    if len(shown) <= _BARS and all(math.isfinite(one.slope.low) for one in shown):
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [one.slope.high - one.slope.value for one in shown],
            "arrayminus": [one.slope.value - one.slope.low for one in shown],
            "width": 0,
            "thickness": 1,
        }
    layout = {
        "xaxis": Axis("Clean accuracy", percent=True).layout(),
        "yaxis": Axis("Slope, accuracy a level").layout(),
        "showlegend": False,
        "hovermode": "closest",
    }
    about = f"Slope of accuracy against level of {len(shown)} models, over their clean accuracy"
    caption = "Slopes near 0 are robust."
    if "error_y" in trace:
        caption += " Bars are 95 % intervals over the levels."
    options = [Option("slopes", [Figure([trace], layout)])]
    return Figures("ranks-slopes", about, options, 380, caption=caption)


def _curves(found: Ranks) -> Block | None:
    shown = [one for one in found.models if len(one.levels) > 1][: figures.MOST_LINES]
    if not shown:
        return None
    lines = [
        figures.Line(
            one.model,
            figures.style(place),
            {
                float(level): Estimate.point(value, 0)
                for level, value in sorted(one.levels.items(), key=lambda item: float(item[0]))
                if math.isfinite(value)
            },
        )
        for place, one in enumerate(shown)
    ]
    traces = figures.lines(lines, Axis("Level"), Axis("Accuracy", 0, 1, percent=True))
    for trace, one in zip(traces.data, lines, strict=True):
        trace["text"] = [
            f"{label(one.name)}<br>level {level:g}: {numbers.percent(value.value)}"
            for level, value in one.points.items()
        ]
    about = f"Accuracy against level of the first {len(shown)} models"
    return Figures("ranks-curves", about, [Option("curves", [traces])], 380, caption=f"{about}.")


def _place(one: RankedModel) -> Cell:
    if one.perturbed_rank is None:
        return Cell(numbers.NO_DATA)
    before = "" if one.clean_rank is None else f"clean {one.clean_rank:,}"
    return Cell(numbers.count(one.perturbed_rank), before, one.perturbed_rank)


_COLUMNS: tuple[tuple[Column, Callable[[RankedModel], Cell]], ...] = (
    (Column("clean", "Clean", numeric=True), lambda one: _percent(one.clean)),
    (
        Column("perturbed", "Perturbed", "mean over the conditions", numeric=True),
        lambda one: _percent(one.perturbed),
    ),
    (Column("place", "Place", "under perturbation", numeric=True), _place),
    (
        Column("diff", "Rank difference", "clean place - place; + moved up", numeric=True),
        lambda one: _whole(one.rank_diff),
    ),
    (
        Column("published", "Published", "rank difference in the table", numeric=True),
        lambda one: _whole(one.published),
    ),
    (
        Column("effective", "Effective", "points above the accuracy line", numeric=True),
        lambda one: number_cell(
            one.effective,
            numbers.NO_DATA
            if math.isnan(one.effective)
            else numbers.points(one.effective).removesuffix(" points"),
        ),
    ),
    (
        Column("slope", "Slope", "accuracy a level, with its 95 % interval", numeric=True),
        lambda one: number_cell(one.slope.value, _slope(one.slope.value), _bounds(one.slope)),
    ),
    (
        Column("fit", "R\u00b2", "of the slope's line", numeric=True),
        lambda one: number_cell(one.r_squared, numbers.decimal(one.r_squared, 2)),
    ),
    (
        Column("borda", "Borda", numeric=True),
        lambda one: number_cell(one.borda, _count(one.borda)),
    ),
    (
        Column("fair", "Fair Borda", "mid-ranks; constant answers last", numeric=True),
        lambda one: number_cell(one.fair_borda, _count(one.fair_borda)),
    ),
    (
        Column("sum", "Sum", "of the accuracies", numeric=True),
        lambda one: number_cell(one.score_sum, numbers.decimal(one.score_sum, 2)),
    ),
    (
        Column("geometric", "Geometric", "geometric mean of the accuracies", numeric=True),
        lambda one: _percent(one.geometric),
    ),
)


def _table(found: Ranks) -> Table:
    kept = [(column, write) for column, write in _COLUMNS if _has(found, column.key)]
    rows = [
        [
            Cell(one.model, "looks like a constant answer" if one.constant else "", one.model),
            *(write(one) for _, write in kept),
        ]
        for one in found.models
    ]
    columns = [Column("model", "Model"), *(column for column, _ in kept)]
    return Table("ranks-table", f"Ranks of {len(rows)} models", columns, rows)


def _has(found: Ranks, key: str) -> bool:
    """Whether any model has what a column shows; Borda over one condition is its place."""
    if key == "published":
        return any(one.published is not None for one in found.models)
    if key in {"slope", "fit"}:
        return any(math.isfinite(one.slope.value) for one in found.models)
    if key in {"borda", "fair", "sum", "geometric"}:
        return len(found.conditions) > 1
    return True


def _percent(value: float) -> Cell:
    return number_cell(value, numbers.percent(value))


def _whole(value: int | None) -> Cell:
    return Cell(numbers.NO_DATA) if value is None else Cell(_signed(value), "", value)


def _signed(value: int) -> str:
    text = numbers.decimal(value, 0)
    return f"+{text}" if value > 0 else text


def _count(value: float) -> str:
    if math.isnan(value):
        return numbers.NO_DATA
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _slope(value: float) -> str:
    return numbers.decimal(value, 3)


def _bounds(found: Value) -> str:
    return numbers.interval(found.low, found.high, digits=3)


def _agreements(found: Ranks) -> Table:
    columns = [
        Column("first", "Order"),
        Column("second", "and order"),
        Column("spearman", "Spearman's rho", numeric=True),
        Column("kendall", "Kendall's tau", numeric=True),
        Column("count", "Models", numeric=True),
    ]
    rows = [
        [
            Cell(numbers.sentence(one.first), "", one.first),
            Cell(one.second, "", one.second),
            correlation_cell(one.spearman),
            correlation_cell(one.kendall),
            number_cell(one.spearman.count, numbers.count(one.spearman.count)),
        ]
        for one in found.agreements
    ]
    return Table("ranks-agreements", "Agreement of orders", columns, rows, sortable=False)


def correlation_cell(found: Value) -> Cell:
    """Cell of a rank correlation with its interval."""
    bounds = numbers.interval(found.low, found.high, digits=2)
    return number_cell(found.value, numbers.decimal(found.value, 2), bounds)
