"""Sections of the page: what theory says of a model, and where it amplifies noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.records.explanations import Layer, Theory
from holdfast.records.explanations.theory import TangentBound
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
from holdfast.report.explain import _theory_tables as tables
from holdfast.report.explain._kernel_pictures import gallery, passed_low
from holdfast.report.figures import Axis, style

Section = tuple[str, str, Content]
_HEIGHT = 420
_NAMED = 5  # layers that are marked as the most amplifying
_DEAD = 1e-9  # of the largest gain
_FRESH = 0.25  # share of white noise's energy below a quarter cycle a pixel, both directions
_ERRORS = ("all", "robust_all")  # kernels of the clean and of the robust error
_NOTE = (
    "Noise is Gaussian, independent between pixels and colors, and not clipped to [0, 1]. At each "
    "layer noise is the root mean square of f(x + n) - f(x), and signal the standard deviation of "
    "f(x) over positions and images, within a channel; intervals are over the images, 95 %. The "
    "gain compares with the layer that ran before, which in a branch is not always the one that "
    "feeds it. A normalization changes the ratio where it weighs channels anew. Exact noise is by "
    "the sum of squared weights, where all before is linear, for windows within the picture: "
    "padding has no noise."
)
_STEM_NOTE = (
    "Weights are in pixel units: the division by the normalization's std is folded in, and the "
    "picture is the sum over colors. Orange is positive, blue negative. Frequencies run from -1/2 "
    "to 1/2 cycles a pixel, zero in the middle, bright is passed. The noise gain is the sum of "
    "squared weights over all colors: variance out over variance in, in the interior."
)
_TABLES_NOTE = (
    "Kernels have weights that sum to one. Resampling weights are read by resizing unit impulses: "
    "torch's anti-aliased triangle (bilinear) and bicubic, Pillow's box and Lanczos; the gain is "
    "that of a pixel away from the borders. Pooling is of a constant with independent unit normal "
    "noise, by quadrature. Laws and comparisons: Kim et al. 2025."
)


def sections(found: Theory) -> Sequence[Section]:
    """Noise on its way, the stem's filters, general tables, and bounds where they were asked."""
    made = [("theory", "Where noise is amplified", _way(found)), _stem(found), _general(found)]
    if found.ntk is not None:
        made.append(_bounds(found.ntk))
    return made


def _grown(found: Theory) -> list[Layer]:
    # Normalization scales signal and noise of a channel alike, and only weighs channels anew.
    grown = [layer for layer in found.layers if layer.gain > 1 and "Norm" not in layer.kind]
    return sorted(grown, key=lambda layer: -layer.gain)


def _way(found: Theory) -> Content:
    shown = [layer for layer in found.layers if math.isfinite(layer.ratio.value)]
    if not shown:
        return Content(f"No layer of {found.model} was seen.", (), "", measured=False)
    grown = _grown(found)
    noise = f"Noise of sigma {numbers.sigma(found.sigma)}"
    if grown:
        first = grown[0]
        lead = (
            f"{noise} is amplified most at {first.name} ({first.kind}), where it grows "
            f"{first.gain:.2f} times relative to the signal, to {_ratio(first)}; at the last "
            f"layer it is {_ratio(shown[-1])} of the signal."
        )
    else:
        lead = f"{noise} grows at no layer; at the last it is {_ratio(shown[-1])} of the signal."
    blocks: list[Block] = [_chart(found, shown, grown[:_NAMED])]
    blocks += [Heading("All layers"), _layers(found.layers)]
    setting = f"{found.model} on {numbers.counted(found.images, 'image')}. "
    return Content(lead, blocks, setting + _NOTE)


def _ratio(layer: Layer) -> str:
    found = layer.ratio
    return f"{numbers.decimal(found.value)} {numbers.interval(found.low, found.high)}".strip()


def _chart(found: Theory, shown: Sequence[Layer], grown: Sequence[Layer]) -> Figures:
    look, marked = style(0), style(1)
    traces: list[JsonDict] = []
    banded = [layer for layer in shown if math.isfinite(layer.ratio.low + layer.ratio.high)]
    if len(banded) > 1:
        places = [layer.place for layer in banded]
        highs, lows = ([getattr(one.ratio, end) for one in banded] for end in ("high", "low"))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": places + places[::-1],
                "y": highs + lows[::-1],
                "fill": "toself",
                "fillcolor": look.band,
                "line": {"width": 0, "color": look.color},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    traces.append(
        {
            **_dots("noise / signal", shown, look.color),
            "mode": "lines+markers",
            "line": {"color": look.color, "width": 1.5},
            "marker": {"color": look.color, "size": 5},
        }
    )
    if grown:
        traces.append(
            {
                **_dots("grows most", grown, marked.color),
                "marker": {"color": marked.color, "symbol": marked.marker, "size": 9},
            }
        )
    layout: JsonDict = {
        "xaxis": Axis("Layer, in order of running").layout(),
        "yaxis": Axis("Noise / signal", log=True).layout(),
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hovermode": "closest",
    }
    about = (
        f"Noise over signal at {numbers.counted(len(shown), 'layer')} of {found.model}, in order "
        "of running"
    )
    caption = "Point at a dot for its layer. The band is the 95 % interval over the images."
    options = [Option("all", [Figure(traces, layout)])]
    return Figures("theory-way", about, options, _HEIGHT, caption=caption)


def _dots(name: str, layers: Sequence[Layer], color: str) -> JsonDict:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [layer.place for layer in layers],
        "y": [layer.ratio.value for layer in layers],
        "text": [_hover(layer) for layer in layers],
        "hovertemplate": "%{text}<extra></extra>",
        "hoverlabel": {"bordercolor": color},
    }


def _hover(layer: Layer) -> str:
    shape = " x ".join(map(str, layer.shape))
    lines = [
        label(layer.name),
        f"{label(layer.kind)}, {shape}",
        f"noise / signal {_ratio(layer)}",
        f"noise {tables.written(layer.noise)}, signal {tables.written(layer.signal)}",
    ]
    if math.isfinite(layer.gain):
        lines.insert(3, f"{layer.gain:.2f} times the layer before")
    if math.isfinite(layer.analytic):
        lines.append(f"exact noise {tables.written(layer.analytic)}")
    lines.append(f"{numbers.count(layer.ratio.count)} images")
    return "<br>".join(lines)


def _layers(layers: Sequence[Layer]) -> Table:
    columns = [
        Column("place", "Place", "Order of running.", numeric=True),
        Column("name", "Layer", "#2 is the second time that it runs."),
        Column("kind", "Kind", "Class; `in X`: what X computes without a module of its own."),
        Column("shape", "Output", "Of one image."),
        Column("ratio", "Noise / signal", "With its 95 % interval.", numeric=True),
        Column("gain", "Gain", "Against the layer that ran before.", numeric=True),
        Column("noise", "Noise", numeric=True),
        Column("exact", "Exact noise", "Where all before is linear.", numeric=True),
        Column("signal", "Signal", numeric=True),
    ]
    rows = [
        [
            number_cell(layer.place, str(layer.place)),
            Cell(layer.name, order=layer.name),
            Cell(layer.kind, order=layer.kind),
            Cell(" x ".join(map(str, layer.shape)), order=float(math.prod(layer.shape))),
            number_cell(
                layer.ratio.value,
                numbers.decimal(layer.ratio.value),
                numbers.interval(layer.ratio.low, layer.ratio.high),
            ),
            _or_empty(layer.gain, numbers.decimal(layer.gain, 2)),
            *(
                _or_empty(value, tables.written(value))
                for value in (layer.noise, layer.analytic, layer.signal)
            ),
        ]
        for layer in layers
    ]
    return Table("theory-layers", "Noise and signal at each layer", columns, rows)


def _or_empty(value: float, text: str) -> Cell:
    """Nothing where nothing is claimed, such as an exact value behind a non-linear layer."""
    return number_cell(value, "" if math.isnan(value) else text)


def _stem(found: Theory) -> Section:
    title = "Stem kernels and what they pass"
    own = [one for one in found.responses if one.name.startswith("filter ")]
    blocks = [gallery(found.responses)] if found.responses else []
    if not own:
        lead = f"{found.model} has no linear stem whose filters could be shown: ideal kernels only."
        return "theory-stem", title, Content(lead, blocks, _STEM_NOTE)
    measured = found.stem_measured
    off = measured.value / found.stem_exact - 1 if found.stem_exact else math.nan
    lead = (
        f"The stem is {found.stem}. Noise comes out of it with {tables.written(found.stem_exact)} "
        "times the variance it had in the pixels, on average over the filters; measured "
        f"{tables.written(measured.value)} {tables.bounds(measured)} on "
        f"{numbers.counted(measured.count, 'image')}"
        f"{'' if math.isnan(off) else f', {100 * off:+.2f} %'}. {_seen(found)}"
    )
    return "theory-stem", title, Content(lead, blocks, _STEM_NOTE)


def _seen(found: Theory) -> str:
    """What the filters pass, in words."""
    shares = [passed_low(one) for one in found.responses if one.name.startswith("filter ")]
    shares = [share for share in shares if math.isfinite(share)]
    low = sum(share > 2 * _FRESH for share in shares)
    high = sum(share < _FRESH for share in shares)
    gains = sorted(found.stem_gains)
    live = [gain for gain in gains if gain > _DEAD * gains[-1]]
    dead = len(gains) - len(live)
    gone = "gives" if dead == 1 else "give"
    told = f"{numbers.sentence(numbers.counted(dead, 'filter'))} {gone} nothing. " if dead else ""
    if not live:
        return told.strip()
    return (
        f"{told}The gains of {'the others' if dead else 'single filters'} run from "
        f"{tables.written(live[0])} to {tables.written(live[-1])}. Of the "
        f"{numbers.counted(len(shares), 'filter')} shown, {low} pass mostly low frequencies, in "
        f"the sum over colors, and {high} mostly high ones."
    )


def _general(found: Theory) -> Section:
    own = found.preprocessing[:1]
    lead = _general_lead(found)
    blocks: list[Block] = []
    if found.kernels:
        blocks += [Heading("Noise gain of ideal kernels"), tables.kernel_chart(found.kernels)]
    if found.resampling:
        blocks += [Heading("Making pictures smaller"), tables.resampling_table(found.resampling)]
    if found.pooling:
        blocks += [Heading("Average and max pooling"), tables.pooling_table(found.pooling)]
    if found.preprocessing:
        blocks += [Heading("Normalization"), tables.preprocessing_table(found.preprocessing)]
    note = _TABLES_NOTE
    if own:
        note += (
            f" The normalization of {found.model} stretches pixels up to "
            f"{numbers.decimal(own[0].factor, 2)} times. f(x) = g((x - mean) / std) has at most "
            "the Lipschitz constant of g over min std, so that CLIP's std is up to 1.91 times "
            "worse than Inception's; but ImageNet's is worse than CLIP's by the same bound (2.23), "
            "so that the factor alone does not explain CLIP against supervised. It compares models "
            "that share g only. And a smaller input helps against noise only where the noise is "
            "there before an anti-aliased resize."
        )
    return "theory-tables", "Kernels, resizing, pooling, normalization", Content(lead, blocks, note)


def _general_lead(found: Theory) -> str:
    gains = {one.name: one.exact for one in (*found.kernels, *found.resampling)}
    windows = {one.size: one for one in found.pooling}
    told = ["A wider kernel lets less noise through if its shape grows with it"]
    if {"box 3x3", "box 7x7"} <= set(gains):
        told[0] += f": {gains['box 3x3']:.3f} of the variance for a 3x3 box, "
        told[0] += f"{gains['box 7x7']:.3f} for 7x7"
    if {"nearest, factor 2", "triangle, factor 2"} <= set(gains):
        told.append(
            f"Halving a picture leaves {gains['triangle, factor 2']:.3f} of it if it averages "
            f"(triangle), and {gains['nearest, factor 2']:g} if it picks every second pixel"
        )
    if 3 in windows:
        times = windows[3].max_error / windows[3].mean_error
        told.append(
            f"On a constant, 3x3 max pooling has {times:.0f} times the squared error of average "
            "pooling, most of it bias"
        )
    return f"{'. '.join(told)}."


def _bounds(bounds: TangentBound) -> Section:
    known = {one.name: one for one in bounds.kernels}
    clean, robust = (known[name].bound if name in known else math.nan for name in _ERRORS)
    lead = (
        f"For training on {numbers.counted(bounds.images, 'image')}, attacked ones weighing "
        f"{bounds.beta:g}, the leading term of the bound is {tables.written(clean)} for the clean "
        f"error and {tables.written(robust)} for the robust one."
    )
    note = (
        f"Kernels of the network with the weights it has, {numbers.eps(bounds.eps)} Linf, "
        f"{bounds.steps} steps; normalization goes by the statistics of the images. Wu et al. "
        "2024, theorem 1: for wide networks at initialization, with constants that depend on "
        "depth and are left out, so that numbers compare networks and predict no error."
    )
    title = "Bounds by tangent kernels"
    return "theory-bounds", title, Content(lead, [tables.bound_table(bounds)], note)
