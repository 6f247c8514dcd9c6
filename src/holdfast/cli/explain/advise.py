"""`holdfast explain advise`: what would help this model?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from holdfast.cli.console import err, guarded, out, say
from holdfast.cli.explain.keeping import OutFolder, columns, keep, note, signed
from holdfast.core.errors import BadValueError

if TYPE_CHECKING:
    from holdfast.explain.advice import Step
    from holdfast.records.explanations import Advice, Advised, Consequence, Value


@guarded
def advise(
    model: Annotated[str, typer.Argument(help="A model as `holdfast measure` names it.")],
    data: Annotated[
        str, typer.Option("--data", "-d", help="Images, as `holdfast measure` names them.")
    ],
    weights: Annotated[Path | None, typer.Option(help="File of the model's weights.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Maps class names onto the model's outputs, or 'imagenet'.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to measure on.")] = "test",
    n: Annotated[int | None, typer.Option("--n", min=1, help="Measure N images.")] = None,
    sigma: Annotated[
        float, typer.Option(help="Deviation of the Gaussian noise, pixels of [0, 1].")
    ] = 0.12,
    perturb: Annotated[
        list[str] | None, typer.Option(help="Further conditions to measure, repeatable.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--change",
            help="A change to try, repeatable, such as 'low_pass(std=0.5)'; the usual ones if "
            "none is named. `holdfast list changes` shows all.",
        ),
    ] = None,
    view: Annotated[
        str,
        typer.Option(help="Where noise acts, as --view of measure; a lower resolution: native."),
    ] = "model",
    fine_tune: Annotated[
        int,
        typer.Option(min=0, help="Epochs of fine-tuning of original and changed models first."),
    ] = 0,
    train_split: Annotated[str, typer.Option(help="Split to fine-tune on.")] = "train",
    seed: Annotated[int, typer.Option(help="Keys all noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    folder: OutFolder = None,
) -> None:
    """Predict what changes of a model would do, make them, and measure them beside it.

    Nothing is advised that was not measured on these images. The same command goes on where it
    was stopped if --out names a folder.

    Example: holdfast explain advise timm:tf_efficientnet_lite0 --data folder:photos
    --labels imagenet --n 500 --out advice
    """
    from holdfast.data import open_dataset
    from holdfast.explain.advice import Question
    from holdfast.explain.advice.tuned import FineTuning

    tuning = None
    if fine_tune:
        if train_split == split:
            raise BadValueError(
                f"--fine-tune trains on {train_split} and measures on {split}: name another "
                "--train-split, or the figures are those of images seen"
            )
        tuning = FineTuning(
            epochs=fine_tune,
            data=data,
            split=train_split,
            labels=labels,
            weights=weights,
            seed=seed,
        )
    question = Question(
        model=model,
        dataset=open_dataset(data, split=split, labels=labels),
        weights=weights,
        n=n,
        sigma=sigma,
        perturb=tuple(perturb or ()),
        changes=tuple(changes or ()),
        view=view,
        seed=seed,
        device=device,
        fine_tuning=tuning,
        folder=folder,
    )
    found = signed(_run(question))
    note(found.flags)
    _tell(found)
    keep(folder, found)


def _run(question: Any) -> Advice:
    from holdfast.explain.advice import Step, advise
    from holdfast.measuring import Progress

    told = ""
    with err.status("") as status:

        def step(one: Progress) -> None:
            status.update(escape(f"{told}: {one.condition}, {one.done} of {one.total} images"))

        for event in advise(question, progress=step):
            if not isinstance(event, Step):
                return event
            told = _words(event)
            status.update(escape(told))
            if not err.is_terminal:
                say(told)
    raise BadValueError("the advice ended without a result")


def _words(step: Step) -> str:
    return f"{step.what} ({step.done} of {step.total})" if step.total else step.what


def _tell(found: Advice) -> None:
    out.print(
        f"{found.model} on {found.images:,} images of {found.data}; differences are points of "
        "accuracy, paired, with 95 % intervals",
        markup=False,
    )
    measured = [one for one in found.advised if one.status == "measured"]
    if measured:
        first = measured[0].consequences
        before = ", ".join(f"{c.condition} {100 * c.before.value:.1f} %" for c in first)
        out.print(f"the original: {before}", markup=False)
        headings = [h for c in found.conditions for h in _headings(c, measured)]
        table = columns("change", *headings)
        for one in measured:
            cells = [cell for c in one.consequences for cell in _cells(c, measured)]
            native = f" [{one.view} size]" if one.view != "model" else ""
            table.add_row(escape(f"{one.change}{native}"), *map(escape, cells))
        out.print(table)
    for one in found.advised:
        if one.status != "measured":
            out.print(f"{one.change} {_status(one)}: {one.why}", markup=False)
    out.print(found.verdict, markup=False, style="bold")


def _status(one: Advised) -> str:
    return "failed" if one.status == "failed" else "does not apply"


def _headings(condition: str, measured: Sequence[Advised]) -> list[str]:
    if _has_prediction(condition, measured):
        return [f"{condition} predicted", "measured"]
    return [f"{condition} measured"]


def _cells(part: Consequence, measured: Sequence[Advised]) -> list[str]:
    cells = [_points(part.measured)]
    if _has_prediction(part.condition, measured):
        cells.insert(0, _points(part.predicted))
    return cells


def _has_prediction(condition: str, measured: Sequence[Advised]) -> bool:
    parts = [c for one in measured for c in one.consequences if c.condition == condition]
    return any(part.predicted.low < part.predicted.high for part in parts)


def _points(value: Value) -> str:
    if math.isnan(value.value):
        return "no prediction"
    if value.low == value.high == value.value:
        return f"{100 * value.value:+.1f}"
    return f"{100 * value.value:+.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"
