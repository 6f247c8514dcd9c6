"""`holdfast show`: a store as a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from holdfast.cli.console import guarded, out
from holdfast.cli.jsonlines import write_rows
from holdfast.core.errors import BadValueError
from holdfast.report.numbers import NO_BREAK

if TYPE_CHECKING:
    import polars as pl


@guarded
def show(
    store: Annotated[Path, typer.Argument(help="Folder that `holdfast measure` wrote.")],
    conditions: Annotated[
        bool, typer.Option("--conditions", help="One row a condition, not one a model.")
    ] = False,
    metric: Annotated[str, typer.Option(help="Metric of the rows of --conditions.")] = "accuracy",
    baseline: Annotated[
        str | None, typer.Option(help="Adds mCE: alexnet, or a model of the store.")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="All rows as JSON lines.")] = False,
) -> None:
    """Show what a store holds."""
    from holdfast.metrics import METRICS
    from holdfast.records import Store
    from holdfast.report import derived

    frame = Store.existing(store).measurements()
    card = METRICS[metric]
    if json_lines:
        write_rows(frame.iter_rows(named=True))
        write_rows(derived(frame, baseline=baseline))
    elif frame.is_empty():
        out.print(f"{store} holds no runs yet", markup=False)
    elif conditions:
        if card.inputs == "conditions":
            raise BadValueError(
                f"{metric} belongs to a model, not to a condition; leave out --conditions"
            )
        _print_conditions(frame, card.name)
    else:
        print_summary(frame, baseline)


def print_summary(frame: pl.DataFrame, baseline: str | None = None) -> None:
    """Print one row a model."""
    from holdfast.report import summary

    columns = ["model", "data", "clean", "corruptions", "noise", "ECE", "images", "notes"]
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    if baseline is not None:
        table.add_column("mCE")
    rows = summary(frame, baseline=baseline)
    raised = _raised(frame)
    for row in rows.iter_rows(named=True):
        cells = _cells(row, _where(row, rows), raised)
        table.add_row(*map(_safe, [*cells, *([] if baseline is None else [_percent(row, "mce")])]))
    out.print(table)
    out.print(
        "accuracies with 95 % intervals; corruptions: mean over those measured, "
        "noise: mean height of the accuracy curve over sigma",
        style="dim",
    )
    if baseline is not None and rows["mce"].null_count():
        out.print(
            f"mCE against {baseline} needs all 15 corruptions at all five severities, of both",
            style="dim",
            markup=False,
        )
    _print_attacks(frame)
    _print_smallest(frame)


def _print_attacks(frame: pl.DataFrame) -> None:
    """Print one row a model and attack with a radius; nothing where there are none."""
    import polars as pl

    from holdfast.report import condition_table, numbers

    every = condition_table(frame)
    rows = every.filter(pl.col("family") == "attack", pl.col("eps").is_not_null())
    _print_found(
        rows,
        "robust accuracy",
        lambda row: numbers.percent_interval(row["value"], row["low"], row["high"]),
        "share of all images that are right and stand the attack; an upper bound",
    )


def _print_smallest(frame: pl.DataFrame) -> None:
    """Print one row a model and attack without a radius; nothing where there are none."""
    from holdfast.report import condition_table, numbers

    _print_found(
        condition_table(frame, metric="median_norm"),
        "median perturbation",
        lambda row: numbers.size_interval(row["value"], row["low"], row["high"], row["norm"]),
        "size of the smallest perturbation found, over images that are right when clean",
    )


def _print_found(
    rows: pl.DataFrame, heading: str, told: Callable[[dict[str, Any]], str], legend: str
) -> None:
    """Print what attacks found, one row a model and attack, and below it what it is."""
    from holdfast.report import numbers

    if rows.is_empty():
        return
    columns = ["model", "data", "attack", heading, "images"]
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows.iter_rows(named=True):
        cells = [row["model"], _where(row, rows), row["title"], told(row)]
        table.add_row(*map(_safe, [*cells, numbers.count(row["count"])]))
    out.print()
    out.print(table)
    out.print(legend, style="dim")


def _raised(frame: pl.DataFrame) -> dict[tuple[str, str], tuple[int, int]]:
    """Conditions under which a flag was raised, and all of them, by model and flag."""
    counted: dict[tuple[str, str], tuple[int, int]] = {}
    runs = frame.unique("run_id").select("model", "flags")
    for (model,), group in runs.group_by("model"):
        for flag in set(group["flags"].explode().drop_nulls()):
            under = sum(flag in (flags or ()) for flags in group["flags"].to_list())
            counted[str(model), flag] = (under, len(group))
    return counted


def _where(row: dict[str, Any], rows: pl.DataFrame) -> str:
    """Data and split, and whatever else tells this row from the others."""
    from holdfast.report import numbers

    parts = [f"{numbers.shortened(row['data'])} {row['split']}"]
    parts += [f"{name} {row[name]}" for name in ("view", "seed") if rows[name].n_unique() > 1]
    return ", ".join(parts)


def _cells(
    row: dict[str, Any], where: str, raised: dict[tuple[str, str], tuple[int, int]]
) -> list[str]:
    from holdfast.report import numbers
    from holdfast.report.conditions import STANDARD_COUNT

    measured, levels = row["corruption_conditions"], row["noise_levels"]
    partial = "" if measured in (0, STANDARD_COUNT) else f" ({measured} of {STANDARD_COUNT})"
    notes = []
    for flag in row["flags"]:
        under, runs = raised.get((row["model"], flag), (1, 1))
        notes.append(flag if under == runs else f"{flag} ({under} of {runs} runs)")
    if row["failed_runs"]:
        notes.append(numbers.counted(row["failed_runs"], "failed run"))
    if row["broken"]:
        notes.append(numbers.counted(row["broken"], "broken image"))
    return [
        row["model"],
        where,
        _percent(row, "clean_accuracy"),
        _percent(row, "mean_corruption_accuracy") + partial,
        _percent(row, "noise_curve_area") if levels else numbers.NOT_MEASURED,
        numbers.decimal(row["ece"]),
        "" if row["clean_count"] is None else numbers.count(row["clean_count"]),
        ", ".join(notes),
    ]


def _percent(row: dict[str, Any], name: str) -> str:
    from holdfast.report import numbers

    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return numbers.percent_interval(row[name], low, high)


def _print_conditions(frame: pl.DataFrame, metric: str) -> None:
    from holdfast.metrics import METRICS
    from holdfast.report import condition_table, numbers

    fraction = METRICS[metric].unit == "fraction"
    columns = ["model", "data", "condition", metric, "images"]
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    rows = condition_table(frame, metric=metric)
    for row in rows.iter_rows(named=True):
        if fraction:
            written = numbers.percent_interval(row["value"], row["low"], row["high"])
        else:
            bounds = numbers.interval(row["low"], row["high"])
            written = f"{numbers.decimal(row['value'])} {bounds}".strip()
        attacked = row["family"] == "attack"
        name = row["title"] if attacked else row["condition"]
        cells = [row["model"], _where(row, rows), name, written]
        table.add_row(*map(_safe, [*cells, numbers.count(row["count"])]))
    out.print(table)
    out.print("with 95 % intervals", style="dim")


def _safe(text: str) -> str:
    """Text that a terminal shows and does not obey: names may hold markup and control codes."""
    return escape("".join(c if c.isprintable() or c == NO_BREAK else "?" for c in text))
