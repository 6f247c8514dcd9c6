"""Section of the page: the causal check of stems and poolings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.metrics.intervals import Estimate
from holdfast.records.explanations import Causal, Contrast, Value, Variant
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
    percent_cell,
)
from holdfast.report.figures import PALETTE, Axis, Line, Style

_HEIGHT = 380  # pixels, of the curves
_ROW, _FRAME = 34, 120  # pixels of the forest: a contrast, and what is around them
_ROOM = 0.08  # of the range, above and below
_GRAY = "#8A8A8A"
_NOTE = (
    "Networks differ in the kernel of the stem and its pooling alone: the body starts from the "
    "same weights, and images come in the same order. Intervals are Student's t over the seeds, "
    "95 %, and hold for these test images. A contrast is one difference a seed, averaged over what "
    "else was varied; p is of the paired t-test, and Holm's correction is over the contrasts of an "
    "outcome. The slope is a line through accuracy against sigma, clean being sigma 0. Noise gain "
    "is the exact variance of noise after the stem's convolution over that of the pixels; noise / "
    "signal divides it by the variance of the signal there, which the normalization that follows "
    "makes the fair comparison."
)
Section = tuple[str, str, Content]


def sections(found: Causal) -> Sequence[Section]:
    """One section: the verdict, curves by pooling, contrasts as a forest, and both tables."""
    blocks: list[Block] = []
    shown = [one for one in found.variants if one.seeds]
    if shown:
        blocks += [_curves(shown)]
    for block in (_forest(found.contrasts),):
        if block is not None:
            blocks.append(block)
    if found.contrasts:
        blocks += [Heading("Contrasts"), _contrast_table(found.contrasts)]
    if found.variants:
        blocks += [Heading("Variants"), _variant_table(found.variants)]
    lead = found.verdict or "Nothing was trained."
    setting = (
        f"{found.model}, {found.data}: {numbers.count(found.train_images)} training images, "
        f"{numbers.counted(found.epochs, 'epoch')}, {numbers.count(found.images)} test images. "
    )
    title = "A causal check: stems and poolings"
    return [("causal", title, Content(lead, blocks, setting + _NOTE))]


def _curves(shown: Sequence[Variant]) -> Figures:
    stems = sorted({one.stem for one in shown})
    pools = list(dict.fromkeys(one.pool for one in shown))
    low, high = _range(shown)
    panels = []
    for pool in pools:
        curves = [
            Line(f"stem {one.stem}", _style(stems, one.stem), _points(one))
            for one in shown
            if one.pool == pool
        ]
        up = Axis("Accuracy", low, high, percent=True)
        figure = figures.lines(curves, Axis("Sigma of the noise"), up)
        _tell(figure, [one for one in shown if one.pool == pool])
        title = {"text": label(f"{numbers.sentence(pool)} pooling"), "font": {"size": 14}}
        layout = {**figure.layout, "title": {**title, "x": 0.02, "y": 0.98}, "showlegend": True}
        panels.append(Figure(figure.data, {**layout, "margin": {"t": 72}}))
    about = (
        f"Accuracy against the sigma of Gaussian noise of {numbers.counted(len(shown), 'variant')} "
        f"of one network, by pooling: {numbers.listing(pools)}"
    )
    caption = "Means over seeds; bands are 95 % intervals over the seeds."
    return Figures("causal-curves", about, [Option("curves", panels)], _HEIGHT, caption=caption)


def _points(one: Variant) -> dict[float, Estimate]:
    """Means by sigma; no share lies outside [0, 1], which Student's t does not know."""
    return {
        level: Estimate(found.value, _cut(found.low), _cut(found.high), found.count)
        for level, found in one.accuracies
        if math.isfinite(found.value)
    }


def _cut(value: float) -> float:
    return value if math.isnan(value) else min(max(value, 0.0), 1.0)


def _range(shown: Sequence[Variant]) -> tuple[float, float]:
    """What both panels show: all means, and no band that few seeds have made huge."""
    values = [found.value for one in shown for _, found in one.accuracies]
    values = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    room = _ROOM * max(max(values) - min(values), 0.05)
    return max(0.0, min(values) - room), min(1.0, max(values) + room)


def _style(stems: Sequence[int], stem: int) -> Style:
    return figures.style(stems.index(stem))


def _tell(figure: Figure, shown: Sequence[Variant]) -> None:
    """Let pointers say seeds, where lines of single models say images."""
    named = [trace for trace in figure.data if "hovertemplate" in trace]
    for trace, one in zip(named, shown, strict=True):
        trace["text"] = [
            f"{label(f'stem {one.stem}, {one.pool} pooling')}<br>sigma {level:g}: "
            f"{numbers.percent_interval(found.value, found.low, found.high)}<br>"
            f"{numbers.counted(found.count, 'seed')}"
            for level, found in _points(one).items()
        ]


def _forest(contrasts: Sequence[Contrast]) -> Figures | None:
    outcomes = list(dict.fromkeys(one.outcome for one in contrasts))
    panels = []
    for outcome in outcomes:
        rows = [one for one in contrasts if one.outcome == outcome]
        rows = [one for one in rows if math.isfinite(one.difference.value)]
        if rows:
            panels.append(_panel(outcome, rows))
    if not panels:
        return None
    height = _FRAME + _ROW * max(len(panel.data[0]["y"]) for panel in panels)
    about = f"Differences of {numbers.listing(outcomes)} between choices of the stem"
    caption = "Right of zero the first choice is better. Bars are 95 % intervals over the seeds."
    return Figures("causal-contrasts", about, [Option("all", panels)], height, caption=caption)


def _panel(outcome: str, rows: Sequence[Contrast]) -> Figure:
    places = list(range(len(rows)))
    trace: JsonDict = {
        "type": "scatter",
        "mode": "markers",
        "x": [one.difference.value for one in rows],
        "y": places,
        "text": [
            f"{label(one.what)}<br>{_difference(one)} {_bounds(one)}<br>p {_p(one.p_value)}, "
            f"{_p(one.p_holm)} after Holm<br>{numbers.counted(one.difference.count, 'seed')}"
            for one in rows
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": PALETTE[0], "size": 9},
    }
    if all(math.isfinite(one.difference.low) for one in rows):
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [one.difference.high - one.difference.value for one in rows],
            "arrayminus": [one.difference.value - one.difference.low for one in rows],
            "color": PALETTE[0],
            "thickness": 1.5,
            "width": 4,
        }
    across = Axis("Change, accuracy a unit of sigma" if _is_slope(outcome) else "Change, points")
    layout: JsonDict = {
        "title": {"text": label(numbers.sentence(outcome)), "font": {"size": 14}, "x": 0.02},
        "margin": {"t": 40},
        "showlegend": False,
        "xaxis": across.layout(),
        "yaxis": {
            "tickvals": places,
            "ticktext": [label(one.what) for one in rows],
            "range": [len(rows) - 0.5, -0.5],
            "automargin": True,
            "zeroline": False,
            "showgrid": False,
        },
        "shapes": [
            {"type": "line", "xref": "x", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1}
            | {"line": {"color": _GRAY, "width": 1, "dash": "dot"}}
        ],
    }
    if not _is_slope(outcome):
        _in_points(trace)
    return Figure([trace], layout)


def _in_points(trace: JsonDict) -> None:
    trace["x"] = [100 * value for value in trace["x"]]
    for bar in ("array", "arrayminus"):
        if "error_x" in trace:
            trace["error_x"][bar] = [100 * value for value in trace["error_x"][bar]]


def _is_slope(outcome: str) -> bool:
    return outcome == "slope"


def _difference(one: Contrast) -> str:
    value = one.difference.value
    if math.isnan(value):
        return numbers.NO_DATA
    if not _is_slope(one.outcome):
        return numbers.points(value)
    return ("+" if value > 0 else "") + numbers.decimal(value)


def _bounds(one: Contrast) -> str:
    scale, digits = (1.0, 3) if _is_slope(one.outcome) else (100.0, 1)
    return numbers.interval(one.difference.low, one.difference.high, scale=scale, digits=digits)


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else numbers.decimal(value)


def _contrast_table(contrasts: Sequence[Contrast]) -> Table:
    columns = [
        Column("what", "Contrast"),
        Column("outcome", "Outcome"),
        Column("difference", "Difference", "with its 95 % interval; + is better", numeric=True),
        Column("p", "p", "paired t-test", numeric=True),
        Column("holm", "p, Holm", "over the contrasts of the outcome", numeric=True),
        Column("seeds", "Seeds", numeric=True),
    ]
    rows = [
        [
            Cell(numbers.sentence(one.what), "", one.what),
            Cell(numbers.sentence(one.outcome), "", one.outcome),
            number_cell(one.difference.value, _difference(one), _bounds(one)),
            number_cell(one.p_value, _p(one.p_value)),
            number_cell(one.p_holm, _p(one.p_holm)),
            number_cell(one.difference.count, numbers.count(one.difference.count)),
        ]
        for one in contrasts
    ]
    return Table("causal-contrast-table", "Contrasts, paired by seed", columns, rows)


def _variant_table(variants: Sequence[Variant]) -> Table:
    levels = sorted({level for one in variants for level, _ in one.accuracies})
    columns = [
        Column("stem", "Stem", "kernel in pixels", numeric=True),
        Column("pool", "Pooling"),
        Column("seeds", "Seeds", numeric=True),
        Column("slope", "Slope", "accuracy a unit of sigma", numeric=True),
        Column("gain", "Noise gain", "of the trained stem", numeric=True),
        Column("ratio", "Noise / signal", "variances after the stem, sigma 1", numeric=True),
        *(
            Column(f"a{level:g}", f"\u03c3 {level:g}" if level else "Clean", numeric=True)
            for level in levels
        ),
    ]
    rows = []
    for one in variants:
        curve = dict(one.accuracies)
        cells = [
            number_cell(one.stem, f"{one.stem} x {one.stem}"),
            Cell(one.pool, "", one.pool),
            number_cell(one.seeds, numbers.count(one.seeds)),
            _plain(one.slope, 3),
            _plain(one.stem_gain, 2),
            _plain(one.stem_ratio, 2),
        ]
        values = [curve.get(level, Value()) for level in levels]
        rows.append([*cells, *(_share(value) for value in values)])
    return Table("causal-variants", "Variants, means over seeds", columns, rows)


def _plain(found: Value, digits: int) -> Cell:
    bounds = numbers.interval(found.low, found.high, digits=digits)
    return number_cell(found.value, numbers.decimal(found.value, digits), bounds)


def _share(found: Value) -> Cell:
    return percent_cell(found.value, _cut(found.low), _cut(found.high))
