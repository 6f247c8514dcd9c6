"""Figures of design rules: effects with their intervals, and the models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from holdfast.records.explanations import Effect, ModelSlope, Rules
from holdfast.records.explanations.rules import OUTCOME_UNITS, Outcome
from holdfast.report import numbers
from holdfast.report.blocks import Figure, Figures, JsonDict, Option, label
from holdfast.report.figures import PALETTE, Axis

_SURE = 0.05  # corrected p below which an effect is drawn filled
_GRAY = "#8A8A8A"
_SHOWN = 24  # effects of a forest plot, the surest first
_KINDS = ("convolutional", "attention", "hybrid", "mlp", "")
_HIGH: Mapping[Outcome, bool] = {
    "slope": True, "rank_diff": True, "drop": False, "accuracy": True,
    "ece_slope": False, "ece": False,
}  # fmt: skip
OUTCOME_WORDS: Mapping[Outcome, str] = {
    "slope": "slope", "rank_diff": "rank difference", "drop": "drop",
    "accuracy": "accuracy under perturbation", "ece_slope": "slope of calibration error",
    "ece": "calibration error",
}  # fmt: skip
METHOD_WORDS = {"pairs": "matched pairs", "regression": "regression"}


def forest(found: Rules) -> Figures | None:
    """The surest effects of each outcome by each method; None without any."""
    options = []
    most = 0
    for method, title in reversed(METHOD_WORDS.items()):
        for outcome in OUTCOME_WORDS:
            some = [
                one
                for one in found.effects
                if one.method == method and one.outcome == outcome and math.isfinite(one.effect.low)
            ]
            some.sort(key=lambda one: (one.p_value, one.attribute))
            if some:
                shown = some[:_SHOWN][::-1]
                most = max(most, len(shown))
                name = f"{numbers.sentence(OUTCOME_WORDS[outcome])}, {title}"
                options.append(Option(name, [_forest_figure(shown, outcome)]))
    if not options:
        return None
    return Figures(
        "rules-forest",
        f"What each attribute changes under {found.perturbation}, with 95 % intervals",
        options,
        140 + 24 * most,
        min_width=640,
        caption="Blue helps, orange harms; filled where the corrected p is below 0.05. The surest "
        "effects stand on top. Point at a dot for its numbers.",
    )


def _forest_figure(shown: Sequence[Effect], outcome: Outcome) -> Figure:
    scale, unit = OUTCOME_UNITS[outcome]
    places = list(range(len(shown)))
    values = [scale * one.effect.value for one in shown]
    colors = [
        PALETTE[0] if (one.effect.value > 0) == _HIGH[outcome] else PALETTE[1] for one in shown
    ]
    symbols = ["circle" if one.p_holm < _SURE else "circle-open" for one in shown]
    trace: JsonDict = {
        "type": "scatter",
        "mode": "markers",
        "x": values,
        "y": places,
        "text": [_effect_hover(one) for one in shown],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": colors, "symbol": symbols, "size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [scale * (one.effect.high - one.effect.value) for one in shown],
            "arrayminus": [scale * (one.effect.value - one.effect.low) for one in shown],
            "width": 0,
            "thickness": 1.2,
            "color": _GRAY,
        },
    }
    layout: JsonDict = {
        "xaxis": Axis(f"Effect on {OUTCOME_WORDS[outcome]}, {unit}").layout(),
        "yaxis": {
            "tickvals": places,
            "ticktext": [
                label(f"{attribute_words(one.attribute)}, {one.contrast}") for one in shown
            ],
            "automargin": True,
            "zeroline": False,
        },
        "shapes": [
            {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": 0, "x1": 0}
            | {"line": {"color": _GRAY, "width": 1, "dash": "dot"}}
        ],
        "showlegend": False,
        "hovermode": "closest",
    }
    return Figure([trace], layout)


def _effect_hover(one: Effect) -> str:
    what = "matched sets" if one.method == "pairs" else "models"
    return "<br>".join(
        [
            label(f"{attribute_words(one.attribute)}, {one.contrast}"),
            f"{effect_text(one)} {effect_bounds(one)}",
            f"p {one.p_value:.2g}, corrected {one.p_holm:.2g}",
            f"{numbers.count(one.effect.count)} {what} of {one.families} families",
        ]
    )


def attribute_words(attribute: str) -> str:
    """Name of an attribute for people."""
    return attribute.replace("_", " ")


def effect_text(one: Effect) -> str:
    """An effect with its sign and unit."""
    scale, unit = OUTCOME_UNITS[one.outcome]
    text = numbers.decimal(scale * one.effect.value, 2 if scale > 1 else 1)
    return f"{'+' if one.effect.value > 0 else ''}{text} {unit}"


def effect_bounds(one: Effect) -> str:
    """Its interval, empty where there is none."""
    scale, _ = OUTCOME_UNITS[one.outcome]
    digits = 2 if scale > 1 else 1
    return numbers.interval(one.effect.low, one.effect.high, scale=scale, digits=digits)


def scatter(found: Rules) -> Figures | None:
    """Slope, rank difference and drop of each model over its clean accuracy."""
    options = []
    shown_outcomes: tuple[Outcome, ...] = ("slope", "rank_diff", "drop")
    for outcome in shown_outcomes:
        shown = [one for one in found.points if math.isfinite(one.clean + getattr(one, outcome))]
        if shown:
            options.append(
                Option(numbers.sentence(OUTCOME_WORDS[outcome]), [_cloud(shown, outcome)])
            )
    if not options:
        return None
    return Figures(
        "rules-models",
        "Slope, rank difference and drop of each model over its clean accuracy",
        options,
        460,
        caption="Point at a dot for its model, family and attributes.",
    )


def _cloud(shown: Sequence[ModelSlope], outcome: Outcome) -> Figure:
    scale, unit = OUTCOME_UNITS[outcome]
    size = 8 if len(shown) <= 60 else 5
    traces: list[JsonDict] = []
    for place, kind in enumerate(_KINDS):
        some = [one for one in shown if (one.kind if one.kind in _KINDS else "") == kind]
        if some:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": kind or "not known",
                    "x": [one.clean for one in some],
                    "y": [scale * getattr(one, outcome) for one in some],
                    "text": [_point_hover(one) for one in some],
                    "hovertemplate": "%{text}<extra></extra>",
                    "marker": {
                        "color": PALETTE[place] if kind else _GRAY,
                        "size": size,
                        "opacity": 0.7,
                    },
                }
            )
    layout: JsonDict = {
        "xaxis": Axis("Clean accuracy", percent=True).layout(),
        "yaxis": Axis(f"{numbers.sentence(OUTCOME_WORDS[outcome])}, {unit}").layout(),
        "showlegend": len(traces) > 1,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        "hovermode": "closest",
    }
    return Figure(traces, layout)


def _point_hover(one: ModelSlope) -> str:
    told = [f"<b>{label(one.model)}</b>"]
    if one.family:
        told.append(label(f"{one.family}, {one.kind}"))
    told.append(f"clean {numbers.percent(one.clean)}")
    if math.isfinite(one.slope):
        told.append(
            f"slope {numbers.decimal(100 * one.slope, 2)} points a level, "
            f"R\u00b2 {numbers.decimal(one.r_squared, 2)}"
        )
    if math.isfinite(one.rank_diff):
        told.append(f"rank difference {numbers.decimal(one.rank_diff, 0)}")
    if math.isfinite(one.drop):
        told.append(f"drop {numbers.decimal(100 * one.drop, 1)} points")
    told += [label(f"{attribute_words(name)}: {value}") for name, value in one.attributes.items()]
    return "<br>".join(told)
