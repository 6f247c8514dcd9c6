"""Accuracy, loss, gradients and learning rate over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.metrics.intervals import Estimate
from holdfast.report.blocks import Block, Content, Figure, Figures, Heading, JsonDict, Option
from holdfast.report.figures import PALETTE, Axis, Line, Style, lines, style
from holdfast.report.training.outcome import Outcome
from holdfast.report.training.results import epoch_text

HEIGHT = 420  # pixels
SMALL_HEIGHT = 280  # pixels, of a figure that stands beside others
EPOCHS = Axis("Epoch", write=epoch_text)
_LINE_COLOR = "#8A8A8A"
_PLAIN_TICKS = ".3~g"  # 0.0001, where plotly would write 100 with a Greek prefix

# Column, name, color and marker: a color a kind of image, dots for the training images.
_ACCURACIES = (
    ("validation_accuracy", "clean, validation", Style(PALETTE[0], "circle")),
    ("train_accuracy", "clean, training", Style(PALETTE[0], "circle-open")),
    ("validation_robust", "robust, validation", Style(PALETTE[1], "square")),
    ("train_robust", "robust, training", Style(PALETTE[1], "square-open")),
)
_NUMBERS = (
    ("loss", "Training loss"),
    ("gradient_norm", "Gradient norm"),
    ("learning_rate", "Learning rate"),
    ("radius_factor", "Part of the radius"),
)


@dataclass(frozen=True)
class Mark:
    """A line across a figure at an epoch."""

    epoch: float
    dash: str


def build(outcome: Outcome) -> Content | None:
    """Figures of what was measured; None where nothing was."""
    blocks: list[Block] = []
    marks, told = _marks(outcome)
    accuracies = [
        Line(name, drawn, points)
        for column, name, drawn in _ACCURACIES
        if (points := outcome.shares(column))
    ]
    if accuracies:
        blocks.append(_accuracy_block(accuracies, marks, told))
    small = [
        plain_figure(title, {"": values}, marks)
        for column, title in _NUMBERS
        if (values := outcome.values(column))
    ]
    if small:
        blocks += [Heading("How the training went"), _small_block(small)]
    if not blocks:
        return None
    return Content(_lead(outcome), blocks, _note(outcome))


def accuracy_figure(shown: Sequence[Line], title: str, marks: Sequence[Mark] = ()) -> Figure:
    """Shares over the epochs with the bands of their intervals, from zero on."""
    ends = [end for line in shown for one in line.points.values() for end in (one.value, one.high)]
    top = max(end for end in ends if math.isfinite(end))
    figure = lines(shown, EPOCHS, Axis(title, 0.0, min(1.0, 1.05 * top), percent=True))
    for trace in figure.data:
        if str(trace.get("marker", {}).get("symbol", "")).endswith("-open"):
            trace["line"]["dash"] = "dot"
    return _with_marks(figure, marks)


def plain_figure(
    title: str, curves: Mapping[str, Mapping[float, float]], marks: Sequence[Mark] = ()
) -> Figure:
    """Numbers over the epochs, a line a name, without intervals; what is empty is left out.

    The place of a name decides its color.
    """
    shown = [
        Line(
            name or title,
            style(place),
            {epoch: Estimate.point(value, 0) for epoch, value in points.items()},
        )
        for place, (name, points) in enumerate(curves.items())
        if points
    ]
    figure = lines(shown, EPOCHS, Axis(title))
    named = [trace for trace in figure.data if "text" in trace]
    for line, trace in zip(shown, named, strict=True):
        trace["hovertemplate"] = "Epoch %{x:.4~g}: %{y:.4~g}" + f"<extra>{trace['name']}</extra>"
        trace["marker"]["size"] = 5
        del trace["text"]
        if len(line.points) == 1:
            trace["mode"] = "markers"
    figure.layout["yaxis"] |= {"rangemode": "tozero", "tickformat": _PLAIN_TICKS}
    return _with_marks(figure, marks)


def _with_marks(figure: Figure, marks: Sequence[Mark]) -> Figure:
    shapes: list[JsonDict] = [
        {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": mark.epoch, "x1": mark.epoch}
        | {"line": {"color": _LINE_COLOR, "width": 1, "dash": mark.dash}}
        for mark in marks
    ]
    return Figure(figure.data, {**figure.layout, "shapes": shapes}) if shapes else figure


def _accuracy_block(shown: Sequence[Line], marks: Sequence[Mark], told: str) -> Figures:
    return Figures(
        "accuracy-figure",
        "Clean and robust accuracy on training and validation images over the epochs.",
        [Option("Accuracy", [accuracy_figure(shown, "Accuracy", marks)])],
        height=HEIGHT,
        caption=told,
    )


def _small_block(figures: Sequence[Figure]) -> Figures:
    return Figures(
        "training-figure",
        "Training loss, gradient norm and learning rate over the epochs.",
        [Option("All", figures)],
        height=SMALL_HEIGHT,
    )


def _marks(outcome: Outcome) -> tuple[list[Mark], str]:
    marks, told = [], []
    best = outcome.training.best_epoch
    if best is not None:
        marks.append(Mark(best, "dot"))
        told.append(f"the dotted line is the best epoch ({epoch_text(best)})")
    probe = outcome.field("protocol", "probe_epochs")
    if isinstance(probe, int) and probe <= outcome.training.epochs:
        marks.append(Mark(float(probe), "dash"))
        told.append(f"at the dashed line ({probe}) the rest of the network began to learn")
    text = "; ".join(told)
    return marks, f"{text[:1].upper()}{text[1:]}." if text else ""


def _lead(outcome: Outcome) -> str:
    losses = list(outcome.values("loss").values())
    if len(losses) < 2:
        return "Accuracy over the epochs."
    verb = "fell" if losses[-1] < losses[0] else "rose"
    return f"The training loss {verb} from {losses[0]:.3g} to {losses[-1]:.3g}."


def _note(outcome: Outcome) -> str:
    note = (
        "Bands are 95 % Wilson intervals. Training images are measured without augmentation, the "
        "same few each time. Loss and gradient norm are means over an epoch."
    )
    if outcome.values("radius_factor"):
        note += " The radius is that of the objective's attack, as a part of the recipe's."
    return note
