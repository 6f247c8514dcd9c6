"""`holdfast explain anatomy`: what is a model made of?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from holdfast.cli.console import err, guarded, out, say
from holdfast.cli.explain.keeping import OutFolder, columns, keep, note

if TYPE_CHECKING:
    import polars as pl

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "family": "family of architectures",
        "kind": "what mixes positions",
        "stem": "stem",
        "stem_effective_kernel": "stem sees, pixels",
        "stem_reduction": "stem reduces by",
        "patch_size": "patch size",
        "overlapping": "stem windows overlap",
        "downsampling": "downsampling",
        "shortcut_downsampling": "shortcuts reduce by",
        "anti_aliased": "anti-aliased",
        "head_pool": "pooling before the head",
        "norms": "normalization",
        "activation": "activation",
        "depth": "layers with weights",
        "width": "features",
        "parameters": "parameters",
        "multiply_adds": "multiply-adds",
        "receptive_field": "receptive field, pixels",
        "input_size": "input, pixels",
        "crop_fraction": "test crop",
        "interpolation": "interpolation",
        "mean": "mean",
        "std": "standard deviation",
        "pixel_factor": "1 / min std",
        "classes": "classes",
        "pretraining": "pretraining",
        "pretraining_data": "pretraining data",
        "fine_tuning_data": "fine-tuned on",
        "objective": "objective",
        "traced": "read from",
    }
)
_SHORT = ("kind", "stem", "head_pool", "norms", "parameters", "input_size", "pretraining")
_SUMMED = ("kind", "stem_pool", "head_pool", "anti_aliased", "pretraining")
_UNKNOWN = ("pretraining", "pretraining_data", "objective")  # rather than none
_MOST_ROWS = 40
_EVERY = 100  # structures, of a note where no terminal shows the status


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@guarded
def anatomy(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="A name of timm, any model of `holdfast measure`, or all: every pretrained "
            "name of timm.",
        ),
    ],
    pattern: Annotated[
        str, typer.Option("--filter", help="With all: names that fit, such as 'resnet*'.")
    ] = "",
    shape: Annotated[Format, typer.Option("--format", help="How to print rows.")] = Format.TABLE,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="Processes; 0: as many as cores.")
    ] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Trace anew what is known.")] = False,
    folder: OutFolder = None,
) -> None:
    """Tell what models are made of: stem, downsampling, pooling, size, training.

    Attributes are computed from the operations that run on one image; no weights are needed and
    nothing is downloaded. What was traced is kept, so that the next run takes seconds.

    Example: holdfast explain anatomy resnet50.a1_in1k
    Example: holdfast explain anatomy all --out anatomy
    """
    from holdfast.explain.anatomy import anatomy_frame, timm_names

    _check_names(models, pattern)
    if models == ["all"]:
        names = timm_names(pattern)
        if not names:
            from holdfast.core.errors import BadValueError

            raise BadValueError(f"no pretrained name of timm fits {pattern!r}")
        rows = _catalogue(names, jobs, fresh=fresh)
    else:
        rows = [_row(model, several=len(models) > 1) for model in models]
    frame = anatomy_frame(rows)
    if shape is not Format.TABLE:
        _print_rows(frame, shape)
    elif len(models) == 1 and models != ["all"]:
        _print_one(rows[0])
    elif len(rows) <= _MOST_ROWS:
        _print_table(rows)
    else:
        _print_summary(frame)
    _tell_failures(rows)
    keep(folder, frame)
    if any(row["status"] == "failed" for row in rows):
        raise typer.Exit(1)


def _check_names(models: Sequence[str], pattern: str) -> None:
    from holdfast.core.errors import BadValueError

    if "all" in models and len(models) > 1:
        raise BadValueError("all stands alone: it means every pretrained name of timm")
    if pattern and list(models) != ["all"]:
        raise BadValueError("--filter chooses among all names: write all in place of a model")


def _row(model: str, *, several: bool) -> dict[str, Any]:
    from holdfast.core.errors import BadValueError, HoldfastError
    from holdfast.explain.anatomy import anatomy as read
    from holdfast.explain.anatomy import failed_row

    try:
        return read(model)
    except BadValueError as error:
        return failed_row(model, error)
    except HoldfastError as error:  # a name that does not exist, a file that is not there
        if several:  # the others are worth their table
            return failed_row(model, error)
        raise


def _catalogue(names: Sequence[str], jobs: int, *, fresh: bool) -> list[dict[str, Any]]:
    from holdfast.explain.anatomy import Progress, anatomies

    rows: list[dict[str, Any]] = []
    began = time.monotonic()
    with err.status(f"{len(names):,} names") as status:
        for one in anatomies(names, jobs=jobs, fresh=fresh):
            if not isinstance(one, Progress):
                rows.append(one)
                continue
            rate = one.done / (time.monotonic() - began)
            left = (one.total - one.done) / rate
            told = f"{one.done:,} of {one.total:,} structures, {rate:.1f} a second, "
            told += f"about {left:.0f} s left"
            status.update(f"{told}; {one.name}")
            if not err.is_terminal and (one.done % _EVERY == 0 or one.done == one.total):
                say(told)
    say(f"{len(rows):,} names in {time.monotonic() - began:.1f} s")
    return rows


def _print_one(row: Mapping[str, Any]) -> None:
    if row["status"] == "failed":
        return
    table = columns(row["model"], "")
    for key, words in _WORDS.items():
        table.add_row(words, escape(_told(key, row[key])))
    out.print(table)
    note([row["flags"]] if row["flags"] else [])


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    table = columns("model", *(_WORDS.get(key, key) for key in _SHORT))
    for row in rows:
        if row["status"] == "ok":
            table.add_row(escape(row["model"]), *(escape(_told(key, row[key])) for key in _SHORT))
    out.print(table)


def _print_summary(frame: pl.DataFrame) -> None:
    import polars as pl

    from holdfast.report import numbers

    fine = frame.filter(pl.col("status") == "ok")
    families = numbers.counted(fine["family"].n_unique(), "family", "families")
    out.print(f"{numbers.counted(len(fine), 'model')} of {families}", markup=False)
    for key in _SUMMED:
        counts = fine[key].cast(pl.String).fill_null("unknown").value_counts(sort=True)
        told = ", ".join(f"{word} {number:,}" for word, number in counts.iter_rows())
        out.print(f"{_WORDS.get(key, key.replace('_', ' '))}: {told}", markup=False)
    stems = fine["stem"].value_counts(sort=True).head(8)
    told = "; ".join(f"{word} {number:,}" for word, number in stems.iter_rows())
    out.print(f"most frequent stems: {told}", markup=False)


def _print_rows(frame: pl.DataFrame, shape: Format) -> None:
    from holdfast.cli.jsonlines import write_rows

    if shape is Format.JSON:
        write_rows(frame.iter_rows(named=True))
    else:
        out.print(frame.write_csv(), markup=False, end="")


def _tell_failures(rows: Sequence[Mapping[str, Any]]) -> None:
    failed = [row for row in rows if row["status"] == "failed"]
    note([f"{row['model']} failed: {row['error']}" for row in failed[:10]])
    if len(failed) > 10:
        note([f"and {len(failed) - 10} more failed; --out keeps all reasons"])


def _told(key: str, value: Any) -> str:
    if value is None or value == "":
        return "unknown" if key in _UNKNOWN else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key in ("parameters", "multiply_adds"):
        return f"{value:,}"
    if isinstance(value, float):
        return "all" if value == float("inf") else f"{value:.4g}"
    return str(value)
