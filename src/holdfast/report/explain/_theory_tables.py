"""The general tables of theory: ideal kernels, resampling, pooling, normalization, bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.records.explanations import Gain, Pooling, Preprocess, Value
from holdfast.records.explanations.theory import TangentBound
from holdfast.report import numbers
from holdfast.report.blocks import (
    Cell,
    Column,
    Figure,
    Figures,
    JsonDict,
    Option,
    Table,
    label,
    number_cell,
)
from holdfast.report.figures import Axis, style

_GRAY = "#8A8A8A"
_HEIGHT = 400


def written(value: float) -> str:
    """A gain to four digits."""
    return numbers.NO_DATA if math.isnan(value) else f"{value:.4g}"


def _cell(value: float, detail: str = "") -> Cell:
    return number_cell(value, written(value), detail)


def bounds(found: Value) -> str:
    """An interval to four digits; nothing where there is none."""
    if math.isnan(found.low) or math.isnan(found.high):
        return ""
    return f"[{written(found.low)}, {written(found.high)}]"


def kernel_chart(kernels: Sequence[Gain]) -> Figures:
    """Gain of ideal kernels against their width, both on a log scale, and the line k^-2."""
    kinds = list(dict.fromkeys(one.name.split()[0] for one in kernels))
    widths = sorted({one.size for one in kernels})
    traces: list[JsonDict] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "1 / k^2",
            "x": widths,
            "y": [width**-2 for width in widths],
            "line": {"color": _GRAY, "dash": "dot", "width": 1.5},
            "hoverinfo": "skip",
        }
    ]
    for place, kind in enumerate(kinds):
        rows = [one for one in kernels if one.name.split()[0] == kind]
        traces.append(_kernel_line(kind, rows, place))
    across = Axis("Width k, pixels", log=True, ticks=widths)
    layout: JsonDict = {
        "xaxis": across.layout(),
        "yaxis": {**Axis("Noise gain", log=True).layout(), "dtick": 1},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
    }
    about = f"Noise gain of {numbers.listing(kinds)} kernels against their width, and 1 / k^2"
    caption = (
        "The box is on the line and a Gaussian of std k / 6 falls with it; binomial taps, whose "
        "std grows with the root of k, fall like 1 / k. Bars: 95 % of the simulation."
    )
    panels = [Option("all", [Figure(traces, layout)])]
    return Figures("theory-gains", about, panels, _HEIGHT, caption=caption)


def _kernel_line(kind: str, rows: Sequence[Gain], place: int) -> JsonDict:
    look = style(place)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label(kind),
        "x": [one.size for one in rows],
        "y": [one.exact for one in rows],
        "text": [_told(one) for one in rows],
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": look.color, "width": 2},
        "marker": {"symbol": look.marker, "size": 7},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [_span(one.simulated.high, one.exact) for one in rows],
            "arrayminus": [_span(one.exact, one.simulated.low) for one in rows],
            "color": look.color,
            "thickness": 1,
            "width": 3,
        },
    }


def _span(high: float, low: float) -> float:
    return max(0.0, high - low) if math.isfinite(high - low) else 0.0


def _told(one: Gain) -> str:
    found = one.simulated
    return (
        f"{label(one.name)}<br>exact {written(one.exact)}, law {written(one.law)}<br>simulated "
        f"{written(found.value)} {bounds(found)}<br>{numbers.count(found.count)} windows of noise"
    )


def resampling_table(rows: Sequence[Gain]) -> Table:
    """Gain of making pictures smaller, and c of c / s^2."""
    columns = [
        Column("filter", "Filter"),
        Column("factor", "Factor s", numeric=True),
        Column("exact", "Noise gain", "Variance out over variance in, exact.", numeric=True),
        Column("c", "Gain x s^2", "c of the law c / s^2.", numeric=True),
        Column("law", "Law", "c / s^2 for large s; 1 for nearest.", numeric=True),
        Column("simulated", "Simulated", "With its 95 % interval.", numeric=True),
        Column("sigma", "Sigma left", "Root of the gain.", numeric=True),
    ]
    cells = [
        [
            Cell(one.name.split(",")[0], order=one.name),
            _cell(one.size),
            _cell(one.exact),
            _cell(one.exact * one.size**2),
            _cell(one.law),
            _cell(one.simulated.value, bounds(one.simulated)),
            number_cell(math.sqrt(one.exact), numbers.decimal(math.sqrt(one.exact))),
        ]
        for one in rows
    ]
    return Table("theory-resampling", "Noise gain of downsampling", columns, cells)


def pooling_table(rows: Sequence[Pooling]) -> Table:
    """Average and max pooling of a constant under unit noise."""
    columns = [
        Column("window", "Window"),
        Column("n", "Values n", numeric=True),
        Column("bias", "Bias of max", "E[max] of n standard normals, exact.", numeric=True),
        Column("variance", "Variance of max", numeric=True),
        Column("max", "Error of max", "Mean square: bias squared and variance.", numeric=True),
        Column("bound", "sqrt(2 ln n)", "Above the bias.", numeric=True),
        Column("mean", "Error of average", "1 / n; the average has no bias.", numeric=True),
        Column("times", "Max over average", "Of the errors.", numeric=True),
        Column("worst", "Worst case", "L2 factor of average; that of max is 1.", numeric=True),
    ]
    cells = [
        [
            Cell(f"{one.size}x{one.size}", order=one.size),
            _cell(one.size**2),
            *(
                number_cell(value, numbers.decimal(value, 4))
                for value in (
                    one.max_bias,
                    one.max_variance,
                    one.max_error,
                    one.max_bound,
                    one.mean_error,
                )
            ),
            number_cell(one.max_error / one.mean_error, f"{one.max_error / one.mean_error:,.0f}"),
            number_cell(one.mean_worst, numbers.decimal(one.mean_worst), "max 1"),
        ]
        for one in rows
    ]
    return Table("theory-pooling", "Average against max pooling of a constant", columns, cells)


def preprocessing_table(rows: Sequence[Preprocess]) -> Table:
    """By how much normalizations stretch pixels; the first row is the model's own."""
    columns = [
        Column("name", "Normalization"),
        Column("std", "Std", "Of red, green and blue, [0, 1] units."),
        Column("factor", "1 / min std", "The most by which pixels are stretched.", numeric=True),
        Column("against", "Against std 0.5", "0.5 / min std.", numeric=True),
    ]
    cells = [
        [
            Cell(one.name, "this model" if place == 0 else "", order=one.name),
            Cell(", ".join(f"{value:.4g}" for value in one.std) or "none"),
            number_cell(one.factor, numbers.decimal(one.factor, 2)),
            number_cell(one.against_inception, numbers.decimal(one.against_inception, 2)),
        ]
        for place, one in enumerate(rows)
    ]
    return Table("theory-normalization", "Factor of the normalization", columns, cells)


_KERNELS = {
    "clean": "clean images",
    "robust": "attacked images",
    "twice": "images attacked twice",
    "all": "clean and attacked, mixed: the clean error",
    "robust_all": "attacked and attacked twice, mixed: the robust error",
}


def bound_table(found: TangentBound) -> Table:
    """Spectrum and bounds of the tangent kernels."""
    columns = [
        Column("kernel", "Kernel"),
        Column("smallest", "Smallest eigenvalue", numeric=True),
        Column("condition", "Condition number", "Largest over smallest.", numeric=True),
        Column("bound", "Bound", "Root of y' K^-1 y / N.", numeric=True),
        Column("looser", "Looser bound", "Root of |y|^2 / (N smallest).", numeric=True),
    ]
    cells = [
        [
            Cell(one.name, _KERNELS.get(one.name, ""), order=one.name),
            *(_cell(value) for value in (one.smallest, one.condition, one.bound, one.looser)),
        ]
        for one in found.kernels
    ]
    return Table("theory-bounds", "Bounds by tangent kernels", columns, cells)
