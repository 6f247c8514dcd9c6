"""`holdfast explain ranks`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from holdfast.cli.console import guarded, out
from holdfast.cli.explain.keeping import OutFolder, columns, keep, note, signed
from holdfast.core.errors import BadValueError

if TYPE_CHECKING:
    from holdfast.records.explanations import RankedModel, Ranks, Value

_STORE = typer.Argument(help="Folder that `holdfast measure` wrote.", show_default=False)
_TIMM = typer.Option(
    "--from-timm",
    help="timm's table of results on clean images, such as results-imagenet.csv.",
    metavar="BASE.csv",
)
_VARIANT = typer.Option(
    help="With --from-timm: timm's table of another test set, such as results-sketch.csv.",
    metavar="VARIANT.csv",
)
_TESTBED = typer.Option(
    "--from-testbed",
    help="A table in the layout of imagenet-testbed: one row a model, one column a test set.",
    metavar="FILE.csv",
)
_PERTURBATION = typer.Option(
    help="Rank under this one alone, with slopes over its levels, such as gaussian_noise; the mean "
    "of all, unlike ones too, if left out."
)


@guarded
def ranks(
    store: Annotated[Path | None, _STORE] = None,
    from_timm: Annotated[Path | None, _TIMM] = None,
    variant: Annotated[Path | None, _VARIANT] = None,
    from_testbed: Annotated[Path | None, _TESTBED] = None,
    perturbation: Annotated[str | None, _PERTURBATION] = None,
    metric: Annotated[
        str, typer.Option(help="What is ranked; higher must be better.")
    ] = "accuracy",
    top: Annotated[int, typer.Option(min=1, help="Models to print; the page has all.")] = 20,
    out_folder: OutFolder = None,
) -> None:
    """Rank models under perturbations against how they rank on clean images.

    Reads a store, a pair of timm's tables, or a table of imagenet-testbed. Prints places, rank
    differences (positive moved up), effective robustness (above what clean accuracy predicts),
    slopes and Borda counts, and which of these orders agree.
    """
    sources = [one for one in (store, from_timm, from_testbed) if one is not None]
    if len(sources) != 1:
        raise BadValueError(
            "give one thing to rank: a STORE, --from-timm BASE.csv --variant VARIANT.csv, or "
            "--from-testbed FILE.csv"
        )
    if (variant is None) != (from_timm is None):
        raise BadValueError("--from-timm BASE.csv and --variant VARIANT.csv go together")
    if from_timm is not None and variant is not None:
        found = _of_timm(from_timm, variant, perturbation, metric)
    else:
        found = _of_table(store, from_testbed, perturbation, metric)
    found = signed(found)
    _print(found, top)
    note(found.flags)
    keep(out_folder, found)


def _of_timm(base: Path, variant: Path, perturbation: str | None, metric: str) -> Ranks:
    from holdfast.explain.ranking import rank_timm
    from holdfast.explain.timm_observations import condition_name

    if perturbation not in {None, condition_name(variant)}:
        raise BadValueError(
            f"{variant.name} holds {condition_name(variant)} alone; leave out --perturbation"
        )
    if metric != "accuracy":
        raise BadValueError("timm's tables are ranked by accuracy; leave out --metric")
    return rank_timm(base, variant)


def _of_table(
    store: Path | None, testbed: Path | None, perturbation: str | None, metric: str
) -> Ranks:
    from holdfast.explain.ranking import rank
    from holdfast.explain.tables import observations_of_store, observations_of_testbed

    if store is not None:
        seen = observations_of_store(store)
    elif testbed is not None:
        seen = observations_of_testbed(testbed)
    return rank(seen, perturbation, metric=metric)


def _print(found: Ranks, top: int) -> None:
    from holdfast.explain.ranking import NEAR, published_matches
    from holdfast.report import numbers

    conditions = numbers.counted(len(found.conditions), "condition")
    heading = f"{found.perturbation}: {numbers.counted(len(found.models), 'model')}, {conditions}"
    out.print(heading, markup=False)
    _print_models(found, top)
    if found.agreements:
        out.print()
        table = columns("order", "and order", "Spearman", "Kendall", "models")
        for one in found.agreements:
            cells = (one.first, one.second, _correlation(one.spearman), _correlation(one.kendall))
            table.add_row(*map(escape, cells), str(one.spearman.count))
        out.print(table)
    same, near, stated = published_matches(found)
    if stated:
        out.print(
            f"published rank_diff: {same} of {stated} equal ours ({same / stated:.1%}), {near} "
            f"within {NEAR} places ({near / stated:.1%})",
            markup=False,
        )


def _print_models(found: Ranks, top: int) -> None:
    slopes = any(math.isfinite(one.slope.value) for one in found.models)
    several = len(found.conditions) > 1
    names = ["place", "model", "clean", "perturbed", "rank_diff", "effective"]
    names += ["slope", "R^2"] * slopes + ["Borda", "fair Borda"] * several
    table = columns(*names)
    for one in found.models[:top]:
        table.add_row(*map(escape, _row(one, slopes=slopes, several=several)))
    out.print(table)
    left = len(found.models) - top
    if left > 0:
        out.print(f"and {left} more: --top {len(found.models)}", markup=False)


def _row(one: RankedModel, *, slopes: bool, several: bool) -> list[str]:
    from holdfast.report import numbers

    found = [
        "-" if one.perturbed_rank is None else str(one.perturbed_rank),
        one.model + (" (constant?)" if one.constant else ""),
        numbers.percent(one.clean),
        numbers.percent(one.perturbed),
        "-" if one.rank_diff is None else f"{one.rank_diff:+d}".replace("+0", "0"),
        "-" if math.isnan(one.effective) else numbers.points(one.effective),
    ]
    if slopes:
        bounds = numbers.interval(one.slope.low, one.slope.high)
        found.append(f"{numbers.decimal(one.slope.value)} {bounds}".strip())
        found.append(numbers.decimal(one.r_squared, 2))
    if several:
        found += [
            "-" if math.isnan(value) else f"{value:g}" for value in (one.borda, one.fair_borda)
        ]
    return found


def _correlation(found: Value) -> str:
    from holdfast.report import numbers

    bounds = numbers.interval(found.low, found.high, digits=2)
    return f"{numbers.decimal(found.value, 2)} {bounds}".strip()
