"""`holdfast explain causal`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from holdfast.cli.console import err, guarded, out, say
from holdfast.cli.explain.keeping import OutFolder, columns, keep, note, signed
from holdfast.core.errors import BadValueError, HoldfastError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.explain.causal import Design, Done
    from holdfast.records.explanations import Causal, Value

_DATA = (
    "Training images: a data set (`holdfast list data`), folder:DIR or npz:FILE. digits ships "
    "with holdfast."
)
_SET = (
    "Replace a field of the recipe, which is the same for all; repeatable: "
    "'augment=flip, crop(padding=4)', optimizer.lr=1e-3, train.batch_size=128."
)


@guarded
def causal(
    data: Annotated[str, typer.Option("--data", "-d", help=_DATA)] = "digits",
    split: Annotated[str, typer.Option(help="Split of --data that is trained on.")] = "train",
    test_data: Annotated[
        str | None, typer.Option(help="Data set that is measured on; --data if left out.")
    ] = None,
    test_split: Annotated[str, typer.Option(help="Split that is measured on.")] = "test",
    labels: Annotated[str | None, typer.Option(help="Names of the classes, as in measure.")] = None,
    kernels: Annotated[
        str, typer.Option(help="Widths of the stem, odd; held against the smallest.")
    ] = "3,5,7",
    pools: Annotated[str, typer.Option(help="Poolings of the stem.")] = "average,max",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each variant.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 16,
    n_train: Annotated[int | None, typer.Option(min=2, help="Train on so many images.")] = None,
    n_test: Annotated[int | None, typer.Option(min=1, help="Measure so many images.")] = None,
    size: Annotated[
        int | None, typer.Option(min=8, help="Bring images to this side, in pixels.")
    ] = None,
    width: Annotated[int, typer.Option(min=1, help="Filters of the stem.")] = 16,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help=_SET, metavar="FIELD=VALUE")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", min=0, help="Processes; 0: one a core, or one on an accelerator."
        ),
    ] = 0,
    out_folder: OutFolder = None,
) -> None:
    """Train one small network with other stems and poolings, and see what noise does to each.

    Everything else is equal: the first weights of the body, the images, their order and the
    recipe. So a difference beyond the scatter of seeds is caused by the stem. Each network is
    measured clean and under Gaussian noise of seven sigmas; contrasts are paired by seed.

    With --out the same command goes on where it stopped. Choose --seeds before you look: more of
    them add to what is there, but adding until p is small proves nothing, and is flagged.

    Example: holdfast explain causal --data cifar10 --n-train 5000 --n-test 1000 --epochs 12
    --set 'augment=flip, crop(padding=4)' --out causal
    """
    from holdfast.explain.causal import Design, conclude

    design = Design(
        data=data,
        split=split,
        test_data=test_data,
        test_split=test_split,
        labels=labels,
        kernels=_numbers(kernels),
        pools=tuple(_parts(pools)),
        seeds=seeds,
        epochs=epochs,
        train_count=n_train,
        test_count=n_test,
        size=size,
        width=width,
        overrides=tuple(overrides or ()),
    )
    found = signed(conclude(design, _run(design, out_folder, device, jobs)))
    found = _with_earlier(found, out_folder)
    _print(found)
    note(found.flags)
    keep(out_folder, found)
    if all(one.status == "failed" for one in found.trained):
        raise typer.Exit(1)


def _with_earlier(found: Causal, folder: Path | None) -> Causal:
    """Flag what was added to an experiment that had been looked at."""
    from holdfast.explain.causal import after_a_look
    from holdfast.records.explanations import Causal, read_explanation

    if folder is None:
        return found
    try:
        return after_a_look(found, read_explanation(folder, Causal))
    except HoldfastError:  # there is none, or none that can be read, and it is written anew
        return found


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in _parts(text))
    except ValueError:
        raise BadValueError(
            f"--kernels takes whole numbers with commas between, such as 3,5,7; got {text!r}"
        ) from None


def _run(design: Design, folder: Path | None, device: str, jobs: int) -> list[Done]:
    """Train and measure, telling of each cell as it is done."""
    from holdfast.explain.causal import experiment
    from holdfast.report import numbers

    total, began = len(design.cells), time.monotonic()
    each = numbers.counted(design.epochs, "epoch")
    say(f"{total} trainings of {each} on {design.data}, each measured under noise")
    found: list[Done] = []
    with err.status("first training") as status:
        told = _teller(status.update)
        for one in experiment(design, folder, device=device, jobs=jobs, told=told):
            found.append(one)
            say(_line(one, found, total, time.monotonic() - began))
            status.update(f"{len(found)} of {total} are done")
    return found


def _teller(update: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: update(escape(text))


def _line(one: Done, found: list[Done], total: int, passed: float) -> str:
    """What is told of a finished cell, with the time left by those that were trained now."""
    from holdfast.report import numbers

    head = f"[{len(found)}/{total}] {one.cell.name}"
    if one.trained.status == "failed":
        return f"{head} FAILED: {one.trained.error}"
    curve = one.trained.accuracies
    (_, clean), (sigma, last) = curve[0], curve[-1]
    told = f"clean {numbers.percent(clean)}, {numbers.percent(last)} at sigma {sigma:g}"
    fresh = sum(not each.known for each in found)
    if one.known:
        return f"{head}: {told} (trained before)"
    left = passed / fresh * (total - len(found))
    return f"{head}: {told} ({passed:.0f} s passed, about {left:.0f} s left)"


def _print(found: Causal) -> None:
    from holdfast.report import numbers

    out.print(
        f"{found.data}: {numbers.count(found.train_images)} training images, "
        f"{numbers.counted(found.epochs, 'epoch')}, {numbers.count(found.images)} test images",
        markup=False,
    )
    levels = [level for level, _ in next((v.accuracies for v in found.variants if v.seeds), ())]
    shown = [level for level in levels if level in {0.0, *levels[len(levels) // 2 :: 2]}]
    table = columns(
        "stem",
        "pool",
        "seeds",
        *("clean" if not level else f"sigma {level:g}" for level in shown),
        "slope",
        "noise gain",
        "noise/signal",
    )
    for one in found.variants:
        curve = dict(one.accuracies)
        cells = [str(one.stem), one.pool, str(one.seeds)]
        cells += [numbers.percent(curve[level].value) if one.seeds else "-" for level in shown]
        cells += [_told(one.slope, 3)]
        cells += [numbers.decimal(value.value, 2) for value in (one.stem_gain, one.stem_ratio)]
        table.add_row(*map(escape, cells))
    out.print(table)
    out.print()
    table = columns("contrast", "outcome", "difference", "p", "p (Holm)", "seeds")
    for pair in found.contrasts:
        p = [numbers.decimal(value, 3) for value in (pair.p_value, pair.p_holm)]
        told = _told(pair.difference, 4)
        table.add_row(*map(escape, (pair.what, pair.outcome, told, *p)), str(pair.difference.count))
    out.print(table)
    out.print()
    out.print(found.verdict, markup=False)


def _told(value: Value, digits: int) -> str:
    from holdfast.report import numbers

    bounds = numbers.interval(value.low, value.high, digits=digits)
    return f"{numbers.decimal(value.value, digits)} {bounds}".strip()
