"""`holdfast search`: which architecture?"""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from holdfast.cli.console import err, guarded, out, say
from holdfast.cli.search_tables import tell_proxies, tell_search, tell_study
from holdfast.core.errors import BadValueError

if TYPE_CHECKING:
    from holdfast.search.run import Prepared, Repetition

_MANY = 8  # architectures from which on several processes rate them
_SMALL_NETWORK = 32  # channels times cells
_FEW = 3  # columns whose best are shown
_BESIDE = 8  # columns in which those are shown

app = typer.Typer(
    help="Which architecture? Search recorded scores, look at tables, rate untrained networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class SelectOn(StrEnum):
    """Split that a search may see."""

    VALIDATION = "validation"
    TEST = "test"


class Missing(StrEnum):
    """What an architecture without a value is."""

    REFUSE = "refuse"
    FAIL = "fail"


TableText = Annotated[
    str,
    typer.Option(
        "--table",
        "-t",
        help="digits (ships with the package), a name of `holdfast list tables`, a file or folder.",
    ),
]
Dataset = Annotated[str | None, typer.Option(help="Data set of the columns, such as cifar10.")]
Training = Annotated[str | None, typer.Option(help="plain or adversarial.")]
Epochs = Annotated[int | None, typer.Option(min=0, help="Epochs of the trained networks.")]


@app.command("run")
@guarded
def run_search(
    objectives: Annotated[
        list[str],
        typer.Option(
            "--objective",
            "-O",
            help="What to maximize: clean, 'pgd(eps=8/255)', 'mean(corruptions)', "
            "'0.5*clean + 0.5*mean(attacks)', 'min:latency(device=pi5)'; repeat it for a front.",
        ),
    ],
    table: TableText = "digits",
    searchers: Annotated[
        list[str] | None,
        typer.Option(
            "--searcher",
            "-s",
            help="Names of `holdfast list searchers`, such as random,local,'evolution"
            "(population=30)'.  [default: random,local,evolution]",
        ),
    ] = None,
    constraints: Annotated[
        list[str] | None,
        typer.Option(
            "--constraint", "-c", help="A bound to keep, such as 'latency(device=pi5) <= 6'."
        ),
    ] = None,
    budget: Annotated[int, typer.Option("--budget", "-b", help="Queries of a repetition.")] = 192,
    trials: Annotated[
        int, typer.Option("--trials", "-n", help="Repetitions of each searcher.")
    ] = 10,
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
    select_on: Annotated[
        SelectOn,
        typer.Option(help="Split that a search sees; test is what published comparisons did."),
    ] = SelectOn.VALIDATION,
    dataset: Dataset = None,
    training: Training = None,
    epochs: Epochs = None,
    unique: Annotated[
        bool,
        typer.Option(
            "--unique", help="Draw each class of equal architectures with the same probability."
        ),
    ] = False,
    missing: Annotated[
        Missing,
        typer.Option(help="Architectures without a value: refuse now, or fail when asked for."),
    ] = Missing.REFUSE,
    score: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            help="Columns to score winners on afterwards: attacks, 'fog'.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="Processes; 0: as many as cores.")
    ] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", "--store", "-o", help="Folder for trials and page; the same command goes on."
        ),
    ] = None,
) -> None:
    """Search a table of recorded scores, and tell what each searcher found.

    Accuracies are recorded, so a query costs nothing; what is compared is how few queries a
    searcher needs. Repetitions differ in their random numbers alone. A searcher sees the
    validation split; what it ends with is scored on the test split afterwards.

    Example: holdfast search run --objective 'pgd(eps=0.1)' --training adversarial
    --searcher random,local,evolution --budget 40 --trials 20 --out robust-cells
    """
    from holdfast.core.specs import split_specs
    from holdfast.records.searches import write_search
    from holdfast.search.conclude import conclude, trials_frame
    from holdfast.search.run import Plan, Prepared

    given = {"dataset": dataset, "training": training, "epochs": epochs}
    named = [one for text in searchers or ["random,local,evolution"] for one in split_specs(text)]
    plan = Plan(
        table=table,
        objectives=tuple(objectives),
        searchers=tuple(named),
        constraints=tuple(constraints or ()),
        budget=budget,
        repetitions=trials,
        seed=seed,
        select_on=select_on.value,
        given={key: value for key, value in given.items() if value is not None},
        missing=missing.value,
        unique=unique,
        score=tuple(score or ()),
    )
    prepared = Prepared(plan)
    if folder is not None:
        _check_same(folder, prepared)
    done = _run(prepared, folder, jobs)
    command = shlex.join(["holdfast", *sys.argv[1:]])
    found = conclude(prepared, done, command=command)
    page = None
    if folder is not None:
        from holdfast.report.search import write_search_page

        write_search(folder, found, trials_frame(prepared, done))
        page = write_search_page(folder)
    tell_search(found)
    if page is not None:
        out.print(f"page: {page}", markup=False)


@app.command("table")
@guarded
def look_at_table(
    table: Annotated[str, typer.Argument(help="As --table of `holdfast search run`.")] = "digits",
    describe: Annotated[
        bool, typer.Option("--describe", help="Sum up each column (what happens by default).")
    ] = False,
    correlate: Annotated[
        bool, typer.Option("--correlate", help="Kendall's tau between the columns.")
    ] = False,
    best: Annotated[
        bool, typer.Option("--best", help="The best architectures and what they are made of.")
    ] = False,
    count: Annotated[int, typer.Option(min=1, help="Architectures that --best shows.")] = 5,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", help="Only these, such as attacks or 'clean[split=test]'."),
    ] = None,
    neighbours: Annotated[
        list[str] | None,
        typer.Option("--neighbours", help="An architecture whose neighbours are shown."),
    ] = None,
    dataset: Dataset = None,
    training: Training = None,
    epochs: Epochs = None,
    split: Annotated[str | None, typer.Option(help="validation or test.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for numbers and page.")
    ] = None,
    converted: Annotated[
        Path | None,
        typer.Option("--convert", help="Write the table as one Parquet file that opens at once."),
    ] = None,
) -> None:
    """Look at a table of recorded scores.

    Example: holdfast search table digits --correlate --best --split test --out digits-table
    """
    from holdfast.records.searches import write_table_study
    from holdfast.search.analysis import Questions, named_columns, study
    from holdfast.search.tables import open_table, write_parquet

    opened = open_table(table)
    if converted is not None:
        _check_parquet(converted, table)
    given = {"dataset": dataset, "training": training, "epochs": epochs, "split": split}
    said = {key: value for key, value in given.items() if value is not None}
    named = named_columns(opened, columns or (), said, main=correlate)
    if correlate and len(named) < 2:
        raise BadValueError("a correlation needs two columns or more; name them with --column")
    accuracies = [one for one in named if one.metric == "accuracy"] or named
    first = accuracies[: _FEW if columns else 1]
    asked = Questions(
        describe=named if describe or not (correlate or best or neighbours) else (),
        correlate=named if correlate else (),
        best=first if best else (),
        others=accuracies[:_BESIDE] if best else (),
        count=count,
        neighbours=neighbours or (),
        around=first,
    )
    found = study(opened, asked, command=shlex.join(["holdfast", *sys.argv[1:]]))
    written = []
    if folder is not None:
        from holdfast.report.search import write_table_page

        write_table_study(folder, found)
        written.append(f"page: {write_table_page(folder)}")
    if converted is not None:
        write_parquet(opened, converted)
        written.append(f"table: {converted}")
    tell_study(found)
    if best and len(accuracies) > len(first):
        say(f"--best shows {len(first)} of {len(accuracies)} columns: name some with --column")
    for line in written:
        out.print(line, markup=False)


@app.command("proxies")
@guarded
def rate_untrained(
    names: Annotated[
        str,
        typer.Argument(help="Names of `holdfast list proxies`, such as params,nwot,ntk; all."),
    ] = "all",
    space: Annotated[
        str, typer.Option(help="Search space, where no table says it.")
    ] = "nb201(unique=True)",
    archs: Annotated[
        list[str] | None, typer.Option("--arch", help="An architecture; repeat it for more.")
    ] = None,
    count: Annotated[
        int, typer.Option("--n", min=1, help="Architectures to draw where none is named.")
    ] = 50,
    data: Annotated[
        str, typer.Option(help="Images that the networks look at, as `holdfast measure` names.")
    ] = "digits",
    split: Annotated[str, typer.Option(help="Split of the images.")] = "train",
    table: Annotated[
        str | None, typer.Option("--table", "-t", help="Table whose columns to compare with.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", help="Columns of the table, such as clean or 'pgd(eps=8/255)'."),
    ] = None,
    dataset: Dataset = None,
    training: Training = None,
    epochs: Epochs = None,
    channels: Annotated[
        int | None, typer.Option(min=1, help="Channels of the networks; as published if left out.")
    ] = None,
    cells: Annotated[
        int | None, typer.Option(min=1, help="Cells a stage; as published if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides weights and draws.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="Processes on a CPU; 0: as many as cores.")
    ] = 0,
    target: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File of JSON lines; the same command goes on."),
    ] = None,
) -> None:
    """Rate architectures by untrained networks, and compare with recorded scores.

    Example: holdfast search proxies params,nwot,synflow --table digits --n 30 --column
    'clean[training=plain, split=test]' --out proxies.jsonl
    """
    from holdfast.core.processes import cores
    from holdfast.search.analysis import named_columns
    from holdfast.search.proxies.base import parse_proxies
    from holdfast.search.proxies.run import Networks, evaluate, frame_of
    from holdfast.search.proxies.sampling import draw_architectures, open_batch
    from holdfast.search.spaces import space_of
    from holdfast.search.tables import open_table

    wanted = parse_proxies(names)
    opened = open_table(table) if table else None
    where = opened.space if opened else space_of(space)
    given = {"dataset": dataset, "training": training, "epochs": epochs}
    said = {key: value for key, value in given.items() if value is not None}
    compared = named_columns(opened, columns or (), said) if opened else []
    chosen = [*archs] if archs else draw_architectures(where, count, seed=seed, table=opened)
    most = max((getattr(one, "batch", 1) for one in wanted), default=1)
    batch, classes = open_batch(data, split=split, count=most, seed=seed, device=device)
    sizes = Networks(channels=channels, cells=cells, classes=classes)
    # A process takes seconds to begin; small networks are rated before that.
    large = cells is None or cells * (channels or 1) > _SMALL_NETWORK
    processes = jobs or (cores() if large and len(chosen) >= _MANY else 1)
    rows: list[dict[str, Any]] = []
    with err.status(f"0 of {len(chosen)} architectures") as status:
        for step in evaluate(
            where, chosen, wanted, batch, networks=sizes, out=target, jobs=processes
        ):
            rows += step.rows
            status.update(f"{step.done} of {step.total} architectures")
            if not err.is_terminal and (step.done % 10 == 0 or step.done == step.total):
                say(f"{step.done} of {step.total} architectures, {step.seconds:.1f} s for the last")
    tell_proxies(frame_of(rows), opened, compared)
    if target is not None:
        out.print(f"scores: {target}", markup=False)


def _check_same(folder: Path, prepared: Prepared) -> None:
    """Refuse a folder that holds another search: its page would be replaced."""
    from holdfast.records.searches import SEARCH_FILE, read_search

    if not (folder / SEARCH_FILE).exists():
        return
    there, plan = read_search(folder)[0], prepared.plan
    before = ([one.text for one in there.objectives], there.table.name, there.budget, there.seed)
    wanted = [one.text for one in prepared.objective.quantities]
    now = (wanted, prepared.table.card.name, plan.budget, plan.seed)
    if before != now:
        raise BadValueError(
            f"{folder} holds another search ({' and '.join(before[0])} of {before[1]}, budget "
            f"{before[2]}, seed {before[3]}): choose another --out"
        )


def _check_parquet(target: Path, table: str) -> None:
    """Refuse to write a table over its own source, or under a name that says another format."""
    if target.suffix != ".parquet":
        raise BadValueError(
            f"--convert writes Parquet: give a name that ends in .parquet, not {target}"
        )
    if target.exists() and Path(table).exists() and target.samefile(table):
        raise BadValueError(
            f"--convert {target} would replace the table it reads; choose another name"
        )


def _run(prepared: Prepared, folder: Path | None, jobs: int) -> list[Repetition]:
    from holdfast.search.run import run

    total = len(prepared.specs) * prepared.plan.repetitions
    done: list[Repetition] = []
    told: dict[str, int] = {}
    with err.status(f"0 of {total} repetitions") as status:
        for one in run(prepared, folder=folder, jobs=jobs):
            done.append(one)
            told[one.searcher] = told.get(one.searcher, 0) + 1
            status.update(escape(f"{len(done)} of {total} repetitions, now {one.searcher}"))
            if told[one.searcher] == prepared.plan.repetitions:
                _tell_searcher(one.searcher, done)
    return done


def _tell_searcher(spec: str, done: list[Repetition]) -> None:
    mine = [one for one in done if one.searcher == spec]
    seconds = sum(one.seconds for one in mine)
    known = sum(one.known for one in mine)
    queries = sum(len(one.trials) for one in mine)
    note = f", {known:,} of them known from before" if known else ""
    say(f"{spec}: {queries:,} queries in {len(mine)} repetitions, {seconds:.1f} s{note}")
