"""`holdfast write-model-info` and `read-model-info`: RobustBench's JSON files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from holdfast.cli.console import guarded, out
from holdfast.cli.jsonlines import write_rows
from holdfast.core.errors import BadValueError

if TYPE_CHECKING:
    import polars as pl

_NEAR = 1e-9  # how far a radius of the store may lie from the text's

StoreFolder = Annotated[Path, typer.Argument(help="Folder that `holdfast measure` wrote.")]
Target = Annotated[
    Path,
    typer.Option("--out", "-o", help="File to write; RobustBench's: DATASET/THREAT/MODEL.json."),
]
Model = Annotated[str | None, typer.Option(help="Of the store, where it holds several.")]
Data = Annotated[str | None, typer.Option(help="Of the store, where it holds several.")]
Norm = Annotated[str | None, typer.Option(help="Of AutoAttack: linf, l2 or l1.")]
Eps = Annotated[str | None, typer.Option(help="Of AutoAttack, as 8/255 or 0.5.")]
Seed = Annotated[int | None, typer.Option(help="Of the runs, where there are several.")]
Title = Annotated[str, typer.Option("--name", help="Title of the paper.")]
Authors = Annotated[str, typer.Option(help="Names, separated by commas.")]
Venue = Annotated[str, typer.Option(help="Where it was published.")]
Link = Annotated[str, typer.Option(help="To the paper.")]
Architecture = Annotated[str, typer.Option(help="Such as WideResNet-28-10.")]
Dataset = Annotated[
    str | None, typer.Option(help="Name that the file gives to the data, such as cifar10.")
]
Additional = Annotated[
    bool | None,
    typer.Option(
        "--additional-data/--no-additional-data",
        help="Whether other data than the data set's was trained on.",
    ),
]
Reported = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Robust accuracy that its authors report, a fraction."),
]
Footnote = Annotated[str, typer.Option(help="Anything else.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")]


@guarded
def write(
    store: StoreFolder,
    target: Target,
    model: Model = None,
    data: Data = None,
    norm: Norm = None,
    eps: Eps = None,
    seed: Seed = None,
    name: Title = "",
    authors: Authors = "",
    venue: Venue = "",
    link: Link = "",
    architecture: Architecture = "",
    dataset: Dataset = None,
    additional_data: Additional = None,
    reported: Reported = None,
    footnote: Footnote = "",
    force: Force = False,
) -> None:
    """Write RobustBench's JSON file of one model, from its clean accuracy and AutoAttack's.

    Example: holdfast write-model-info s --out cifar10/Linf/Mine.json --eps 8/255
    """
    from holdfast.records import ModelInfo, Store, write_model_info

    if target.exists() and not force:
        raise BadValueError(f"{target} is there already; --force replaces it")
    info = ModelInfo(
        name=name,
        authors=authors,
        venue=venue,
        link=link,
        architecture=architecture,
        dataset=dataset,
        additional_data=additional_data,
        reported=reported,
        footnote=footnote,
    )
    frame = Store.existing(store).measurements()
    for column, wanted in (("model", model), ("data", data), ("seed", seed)):
        frame = _only(frame, column, wanted)
    write_model_info(target, _at_radius(frame, norm, eps), info)
    out.print(f"written: {target}", markup=False)


@guarded
def read(
    path: Annotated[
        Path, typer.Argument(help="JSON file of RobustBench, or a folder with some below it.")
    ],
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a number.")] = False,
) -> None:
    """Show the published numbers of RobustBench's JSON files.

    Example: holdfast read-model-info robustbench/model_info/cifar10/Linf
    """
    from holdfast.records import read_model_info

    frame = read_model_info(path)
    if json_lines:
        write_rows(frame.iter_rows(named=True))
        return
    columns = ["model", "dataset", "threat", "eps", "metric", "value", "notes"]
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in frame.iter_rows(named=True):
        table.add_row(*map(escape, _cells(row)))
    out.print(table)
    if frame.is_empty():
        out.print(f"{path} holds no numbers", markup=False)


def _only(frame: pl.DataFrame, column: str, wanted: str | int | None) -> pl.DataFrame:
    """Rows with a value that is wanted; refuse one that no row has."""
    import polars as pl

    if wanted is None:
        return frame
    kept = frame.filter(pl.col(column) == wanted)
    if kept.is_empty():
        known = ", ".join(map(str, frame[column].unique().sort())) or "nothing"
        raise BadValueError(f"the store has no {column} {wanted}: it holds {known}")
    return kept


def _at_radius(frame: pl.DataFrame, norm: str | None, eps: str | None) -> pl.DataFrame:
    """Clean rows, and those of attacks at one norm and radius."""
    import polars as pl

    wanted = pl.lit(value=True)
    if norm is not None:
        wanted &= pl.col("norm") == norm
    if eps is not None:
        wanted &= (pl.col("eps") - _radius(eps)).abs() < _NEAR
    kept = frame.filter((pl.col("condition") == "clean") | wanted)
    if kept.filter(pl.col("family") == "attack").is_empty():
        attacks = frame.filter(pl.col("family") == "attack")
        known = ", ".join(attacks["condition"].unique().sort()) or "none"
        raise BadValueError(
            f"the store has no attack at norm {norm or 'any'} and eps {eps or 'any'}: it holds "
            f"{known}; measure 'autoattack(norm=linf, eps=8/255)' first"
        )
    return kept


def _radius(text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise BadValueError(f"--eps must be a number such as 8/255 or 0.5, got {text!r}") from None


def _cells(row: dict[str, Any]) -> list[str]:
    from holdfast.report import numbers

    ratio = row["metric"].startswith("mce")
    value = numbers.decimal(row["value"], 4) if ratio else numbers.percent(row["value"], 2)
    eps = "" if row["eps"] is None else numbers.eps(row["eps"])
    notes = "unreliable" if row["unreliable"] else ""
    words = (row["model"], row["dataset"] or "", row["threat"] or "", eps, row["metric"])
    return [*words, value, notes]
