"""`holdfast demo`: a whole small study, from training to the page, in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.console import guarded, out, say

if TYPE_CHECKING:
    from holdfast.study.demo import Trainee


@guarded
def demo(
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for weights, store and page.")
    ] = Path("holdfast-demo"),
) -> None:
    """Train four small networks on digits, measure how they hold, and write a page.

    Takes a few minutes on two cores. Repeating it does only what is missing.
    """
    from holdfast.cli.measure import run_all
    from holdfast.cli.show import print_summary
    from holdfast.measuring import Options
    from holdfast.records import Store
    from holdfast.report import build_page
    from holdfast.study.demo import ENTRIES, THOROUGH_IMAGES, Trainee, conditions, thorough

    store = Store(folder / "store")
    trainees = [Trainee(entry, folder / "weights") for entry in ENTRIES]
    _train([trainee for trainee in trainees if not trainee.trained])
    options = Options(study="demo")
    subjects = [trainee.subject(options) for trainee in trainees]
    frame = run_all(subjects, conditions(), store, options)
    few = [trainee.subject(options, THOROUGH_IMAGES) for trainee in trainees]
    say(f"AutoAttack on {THOROUGH_IMAGES} images")
    attacked = run_all(few, thorough(), store, options)
    page = build_page(store, folder / "report", title="How four small networks hold")
    print_summary(frame)
    out.print(f"page: {page}", markup=False)
    if "failed" in frame["status"] or "failed" in attacked["status"]:
        raise typer.Exit(1)


def _train(trainees: list[Trainee]) -> None:
    from holdfast.training import Stepped

    for trainee in trainees:
        epochs, losses = trainee.entry.recipe.train.epochs, [0.0]
        for event in trainee.train():
            if not isinstance(event, Stepped):
                continue
            losses.append(event.loss)
            if event.ends_epoch and (event.epoch in (1, epochs) or event.epoch % 4 == 0):
                loss = sum(losses[-event.batches :]) / event.batches
                name = trainee.entry.name
                say(f"training {name}: epoch {event.epoch}/{epochs}, loss {loss:.3f}")
