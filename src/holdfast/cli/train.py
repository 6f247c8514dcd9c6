"""`holdfast train`: how do I get a robust one?"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.console import err, guarded, out, say
from holdfast.cli.train_measure import Measured
from holdfast.cli.train_progress import TrainingProgress, speaks, stopped_by_signal
from holdfast.core.errors import BadValueError

if TYPE_CHECKING:
    from holdfast.records.trainings import Moment, Training
    from holdfast.training.events import Event, Options
    from holdfast.training.recipe import Recipe
    from holdfast.training.sinks import Sink
    from holdfast.training.tuning import Tuning

app = typer.Typer(
    help="How do I get a robust one? Train by a recipe, go on with a run, tune, list presets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeText = Annotated[
    str, typer.Argument(help="A preset (`holdfast train presets`) or FILE.yaml.", metavar="RECIPE")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Fields to replace, such as train.epochs=5 train.objective=trades train.beta=6.",
        metavar="SECTION.FIELD=VALUE",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Workers = Annotated[
    int,
    typer.Option(min=0, help="Processes that read and augment images."),
]
SaveEvery = Annotated[float, typer.Option(min=0, help="Seconds between two checkpoints.")]
Track = Annotated[
    list[str] | None,
    typer.Option(help="Send the curves to tensorboard or trackio too; repeatable."),
]
Perturb = Annotated[
    list[str] | None,
    typer.Option(
        help="Measure the network before and after on the split of --measure-split, clean and "
        "under these conditions (as `holdfast measure --perturb`); repeatable."
    ),
]
MeasureSplit = Annotated[str, typer.Option(help="Split that --perturb measures on.")]
MeasureData = Annotated[
    str | None, typer.Option(help="Data set that --perturb measures on; the recipe's if left out.")
]
MeasureCount = Annotated[
    int | None, typer.Option("--measure-n", min=1, help="Images that --perturb measures.")
]
AfterOnly = Annotated[
    bool, typer.Option("--after-only", help="Let --perturb measure the trained network alone.")
]


@app.command("run")
@guarded
def run(
    recipe: RecipeText,
    overrides: Overrides = None,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run; goes on if it is there.")
    ] = None,
    device: Device = "auto",
    workers: Workers = 0,
    save_every: SaveEvery = 60.0,
    track: Track = None,
    perturb: Perturb = None,
    measure_data: MeasureData = None,
    measure_split: MeasureSplit = "test",
    measure_n: MeasureCount = None,
    after_only: AfterOnly = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show the recipe, and train nothing.")
    ] = False,
) -> None:
    """Train a network by a recipe; the folder is then a model for `holdfast measure --model`.

    Without --out the folder is runs/RECIPE-DIGEST. The same command goes on with an interrupted
    run. On several devices: accelerate launch -m holdfast train run RECIPE ...

    Example: holdfast train run classic-at data.name=npz:train.npz model.name=net.py:net
    train.epochs=10 --out runs/at --perturb 'autoattack(norm=linf, eps=8/255)'
    """
    from holdfast.training.reading import load_recipe, write_recipe
    from holdfast.training.run import train

    chosen = load_recipe(recipe, overrides or ())
    if dry_run:
        _show(chosen)
        out.print(write_recipe(chosen).rstrip(), markup=False)
        return
    folder = folder or Path("runs") / f"{Path(recipe).stem}-{chosen.digest[:8]}"
    folder = folder.expanduser()
    if speaks():
        say(f"run: {folder}")
    measured = Measured.of(chosen, perturb, measure_data, measure_split, measure_n)
    with stopped_by_signal() as stopping, _sinks(track, folder) as sinks:
        options = _options(device, workers, save_every, stopping.reason)
        training = _follow(train(chosen, folder, options), sinks)
    _conclude(folder, training, measured, device, after_only=after_only)


@app.command("resume")
@guarded
def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of an interrupted run.", metavar="DIR")],
    device: Device = "auto",
    workers: Workers = 0,
    save_every: SaveEvery = 60.0,
    track: Track = None,
    perturb: Perturb = None,
    measure_data: MeasureData = None,
    measure_split: MeasureSplit = "test",
    measure_n: MeasureCount = None,
    after_only: AfterOnly = False,
) -> None:
    """Go on with the run in a folder, by the recipe that lies there.

    Example: holdfast train resume runs/at
    """
    from holdfast.training.folders import read_recipe
    from holdfast.training.run import resume as go_on

    folder = folder.expanduser()
    measured = Measured.of(read_recipe(folder), perturb, measure_data, measure_split, measure_n)
    with stopped_by_signal() as stopping, _sinks(track, folder) as sinks:
        options = _options(device, workers, save_every, stopping.reason)
        training = _follow(go_on(folder, options), sinks)
    _conclude(folder, training, measured, device, after_only=after_only)


@app.command("presets")
@guarded
def presets(
    name: Annotated[str | None, typer.Argument(help="One preset, to show as a recipe.")] = None,
) -> None:
    """List published settings by name, or show one as YAML to start from.

    Example: holdfast train presets classic-at > recipe.yaml
    """
    from rich.table import Table

    from holdfast.training.presets import PRESETS, preset
    from holdfast.training.reading import load_recipe, write_recipe

    if name is not None:
        chosen = preset(name)
        for line in (f"{chosen.name}: {chosen.about}.", chosen.source):
            out.print(f"# {line}", markup=False)
        out.print(write_recipe(load_recipe(name)).rstrip(), markup=False)
        return
    table = Table("preset", "what", box=None, pad_edge=False, header_style="bold")
    for one in (PRESETS[known] for known in PRESETS):
        table.add_row(one.name, one.about)
    out.print(table)
    out.print("holdfast train presets NAME shows all settings and their source", style="dim")


@app.command("tune")
@guarded
def tune(
    recipe: RecipeText,
    overrides: Overrides = None,
    space: Annotated[
        str, typer.Option(help="FILE.yaml of fields and ranges, or heuillet, heuillet-lp.")
    ] = "heuillet",
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the trials; goes on if it is there.")
    ] = Path("tuning"),
    trials: Annotated[int | None, typer.Option("--trials", "-n", help="Trials in all.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Wall time in all.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    sampler: Annotated[str, typer.Option(help="tpe or random.")] = "tpe",
    metric: Annotated[
        str,
        typer.Option(help="score, validation_accuracy, validation_robust, or loss (minimized)."),
    ] = "score",
    grace: Annotated[int, typer.Option(min=1, help="Epochs before a trial can be stopped.")] = 1,
    reduction: Annotated[
        int, typer.Option(min=2, help="One of so many trials goes on at each rung.")
    ] = 2,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run trials as tasks of a Ray cluster.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Look for a recipe's settings by successive halving; the best is DIR/best.yaml.

    Example: holdfast train tune lp-ft data.name=folder:photos --space space.yaml --trials 50
    --out tuning
    """
    from holdfast.training.reading import load_recipe
    from holdfast.training.tuning import TrainingRunner, Tuning, TuningOptions, load_space

    if trials is None and seconds is None:
        raise BadValueError("say how long to look: --trials 50, --seconds 3600, or both")
    options = TuningOptions(
        trials=trials,
        seconds=seconds,
        jobs=jobs,
        sampler=sampler,  # type: ignore[arg-type]  # `TuningOptions` checks it
        metric=metric,
        grace=grace,
        reduction=reduction,
        ray=ray,
    )
    chosen = load_recipe(recipe, overrides or ())
    tuning = Tuning(chosen, load_space(space), folder, options, TrainingRunner(device=device))
    with err.status("first trial") as status:
        for trial in tuning.run():
            known = f"trial {trial.number}: {trial.status}, {metric} {trial.score:.4g}"
            values = ", ".join(f"{field}={value}" for field, value in trial.values.items())
            say(f"{known} after {trial.epochs} epochs, {trial.seconds:.0f} s: {values}")
            status.update(f"after {known}")
    _tell_best(tuning)


def _tell_best(tuning: Tuning) -> None:
    """What the trials so far have found, and how to train it."""
    result, folder = tuning.result(), tuning.folder
    if result.best is None:
        say("no trial has a score yet; the same command goes on")
        raise typer.Exit(1)
    out.print(f"best: trial {result.number}, score {result.score:.4f}", markup=False)
    for one in tuning.space.dimensions:
        value = result.trials.filter(number=result.number)[one.field][0]
        out.print(f"  {one.field} = {value}", markup=False)
    out.print(f"trials: {folder / 'trials.parquet'}", markup=False)
    out.print(f"train it: holdfast train run {folder / 'best.yaml'} --out DIR", markup=False)


@app.command("page")
@guarded
def page(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of runs; several are compared.", metavar="DIR...")
    ],
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of a comparison.")
    ] = None,
) -> None:
    """Write the page of a run again, or one page that compares several.

    Example: holdfast train page runs/lp runs/ft runs/lp-ft --out comparison
    """
    from holdfast.report.training import write_comparison_page, write_training_page

    if len(folders) == 1:
        out.print(f"page: {write_training_page(folders[0])}", markup=False)
        return
    if target is None:
        raise BadValueError("--out DIR says where the comparison of several runs goes")
    out.print(f"page: {write_comparison_page(folders, target)}", markup=False)


def _show(recipe: Recipe) -> None:
    """Say what a recipe would do."""
    phases = f"{recipe.protocol.kind}, {recipe.train.epochs} epochs"
    say(f"{recipe.model.name} on {recipe.data.name}: {phases}; digest {recipe.digest[:12]}")


def _options(device: str, workers: int, save_every: float, stopping: Callable[[], str]) -> Options:
    from holdfast.training.events import Options

    return Options(
        device=device,
        workers=workers,
        save_every=save_every,
        command=shlex.join(["holdfast", *sys.argv[1:]]),
        stopping=stopping,
    )


def _sinks(track: list[str] | None, folder: Path) -> AbstractContextManager[list[Sink]]:
    """Opened by the one process of several that measures."""
    from holdfast.training.sinks import opened_sinks

    return opened_sinks((track or ()) if speaks() else (), folder)


def _follow(events: Iterator[Event], sinks: list[Sink]) -> Training:
    """Show what happens; what came of it."""
    from holdfast.training.stepping import DivergedError

    try:
        with TrainingProgress(sinks) as progress:
            for event in events:
                progress.take(event)
    except DivergedError as error:
        # The input could be used; the run has failed.
        err.print("[bold red]error:[/]", end=" ")
        say(str(error))
        raise typer.Exit(1) from None
    return progress.training


def _conclude(
    folder: Path, training: Training, measured: Measured, device: str, *, after_only: bool
) -> None:
    """Measure, write the page, and end as the run did."""
    from holdfast.records.trainings import summary
    from holdfast.report.training import write_training_page

    if not speaks():
        return
    if training.status == "interrupted":
        say(f"{training.reason}; `holdfast train resume {folder}` goes on")
        raise typer.Exit(143 if "SIGTERM" in training.reason else 130)
    if training.reason:
        say(training.reason)
    measured.run(folder, device, after_only=after_only)
    for moment in summary(folder):
        out.print(_line(moment), markup=False)
    if _pretrained(training):
        weights = folder / "last.safetensors"
        out.print(f"fine-tune: holdfast train run RECIPE model.weights={weights}", markup=False)
    else:
        out.print(f"model: {folder}  (holdfast measure --model {folder} ...)", markup=False)
    out.print(f"page: {write_training_page(folder)}", markup=False)


def _pretrained(training: Training) -> bool:
    """Whether no label was looked at, so that the last layer has learned nothing."""
    from holdfast.training.pretrain import SelfSupervised
    from holdfast.training.reading import recipe_of

    return isinstance(recipe_of(training.recipe).objective, SelfSupervised)


def _line(moment: Moment) -> str:
    from holdfast.report.numbers import percent

    name, epoch, accuracy, robust, count = moment
    parts = [] if accuracy is None else [f"accuracy {percent(accuracy)}"]
    parts += [] if robust is None else [f"robust {percent(robust)}"]
    when = f"{name:<7}epoch {round(epoch, 2):g}"
    return f"{when}: {', '.join(parts) or 'not measured'} of {count} images"
