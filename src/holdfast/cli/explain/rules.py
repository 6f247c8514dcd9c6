"""`holdfast explain rules`: which design choices go with robustness?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from holdfast.cli.console import err, guarded, out, say
from holdfast.cli.explain.keeping import OutFolder, columns, keep, note, signed
from holdfast.core.errors import BadValueError

if TYPE_CHECKING:
    import polars as pl

    from holdfast.explain.anatomy import Progress
    from holdfast.explain.observations import Observations
    from holdfast.records.explanations import Effect, Rules, Value

_EVERY = 50  # networks, of a note where no terminal shows the status
_STORE = typer.Argument(help="Folder that `holdfast measure` wrote.", show_default=False)
_TESTBED = typer.Option(
    "--from-testbed",
    help="A table in the layout of imagenet-testbed: one row a model, and columns such as val and "
    "imagenet-c.gaussian_noise.3_on-disk.",
    metavar="FILE.csv",
)
_TIMM = typer.Option(
    "--from-timm",
    help="timm's table of results on clean images, such as results-imagenet.csv.",
    metavar="BASE.csv",
)
_VARIANT = typer.Option(
    help="With --from-timm: timm's table of another test set, such as results-sketch.csv.",
    metavar="VARIANT.csv",
)
_PERTURBATION = typer.Option(
    help="Whose levels give the slopes, or all; by default gaussian_noise, or the only one there "
    "is.",
    show_default=False,
)
_ATTRIBUTES = typer.Option(
    "--attributes",
    help="Attributes that win over computed ones, CSV or Parquet: a column `model`, and columns "
    "named as those of `holdfast explain anatomy` or otherwise.",
    metavar="FILE",
)


class Recording(StrEnum):
    """Which measurement of a corruption."""

    ON_DISK = "on-disk"
    IN_MEMORY = "in-memory"


@guarded
def rules(
    store: Annotated[Path | None, _STORE] = None,
    from_testbed: Annotated[Path | None, _TESTBED] = None,
    from_timm: Annotated[Path | None, _TIMM] = None,
    variant: Annotated[Path | None, _VARIANT] = None,
    perturbation: Annotated[str | None, _PERTURBATION] = None,
    attributes: Annotated[Path | None, _ATTRIBUTES] = None,
    recording: Annotated[
        Recording,
        typer.Option(
            "--variant-kind", help="Of a testbed's corruptions that were measured both ways."
        ),
    ] = Recording.ON_DISK,
    seed: Annotated[int, typer.Option(help="Of the random halves of families.")] = 0,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="Processes that trace; 0: all cores.")
    ] = 0,
    top: Annotated[int, typer.Option(min=1, help="Effects to print; the page has all.")] = 12,
    out_folder: OutFolder = None,
) -> None:
    """Find design rules: what an attribute changes, and whether that holds for other families.

    Reads a store, a table of imagenet-testbed or a pair of timm's tables. Names of models are
    resolved to networks of timm and torchvision, whose attributes are computed without
    weights. Then each attribute is judged by matched pairs (networks that differ in it alone) and
    by a regression with family as a random effect; four published rules get a verdict each; and
    rules fitted on half of the families predict the other half.

    Example: holdfast explain rules --from-testbed robustness_top1s.csv --out rules
    Example: holdfast explain rules --from-timm results-imagenet.csv --variant results-sketch.csv
    """
    observations = _read(store, from_testbed, (from_timm, variant), recording.value)
    from holdfast.explain.rules import find_rules, read_given

    given = None if attributes is None else read_given(attributes)
    found = find_rules(
        observations,
        perturbation=perturbation,
        given=given,
        trace=lambda names: _trace(names, jobs),
        seed=seed,
    )
    found = signed(found)
    _print(found, top)
    note(found.flags)
    keep(out_folder, found)


def _read(
    store: Path | None,
    testbed: Path | None,
    timm: tuple[Path | None, Path | None],
    recording: str,
) -> Observations:
    base, variant = timm
    if sum(one is not None for one in (store, testbed, base)) != 1:
        raise BadValueError(
            "give one table: a STORE, --from-testbed FILE.csv, or --from-timm BASE.csv --variant "
            "VARIANT.csv"
        )
    if (variant is None) != (base is None):
        raise BadValueError("--from-timm BASE.csv and --variant VARIANT.csv go together")
    from holdfast.explain.tables import observations_of_store, observations_of_testbed
    from holdfast.explain.timm_observations import observations_of_timm

    if base is not None and variant is not None:
        return observations_of_timm(base, [variant])
    if testbed is not None:
        return observations_of_testbed(testbed, recording)
    return observations_of_store(store or "")


def _trace(names: Sequence[str], jobs: int) -> pl.DataFrame:
    """Anatomies, with how many are still to be traced."""
    from holdfast.explain.rules import trace_names

    with err.status("attributes") as status:

        def told(step: Progress) -> None:
            status.update(f"attributes: {step.done:,} of {step.total:,} networks, {step.name}")
            if not err.is_terminal and step.done % _EVERY == 0:
                say(f"attributes: {step.done:,} of {step.total:,} networks")

        return trace_names(names, jobs=jobs, told=told)


def _print(found: Rules, top: int) -> None:
    from holdfast.report import numbers

    levels = f", levels {', '.join(f'{one:g}' for one in found.levels)}" if found.levels else ""
    out.print(
        f"{found.perturbation}: {numbers.counted(found.models, 'model')}, {found.described} with "
        f"attributes{levels}",
        markup=False,
    )
    _print_verdicts(found)
    _print_effects(found, top)
    for one in found.held_out:
        out.print(
            f"held out, {one.outcome}: Spearman {_value(one.spearman)} on other families, "
            f"{_value(one.within)} on those fitted ({one.splits} halves of {one.families} "
            "families)",
            markup=False,
        )
    for line in found.linearity:
        out.print(
            f"linearity, {line.metric}: R^2 {line.median:.2f} [{line.low:.2f}, {line.high:.2f}] "
            f"over {line.count} models, {line.straight:.0%} above 0.9",
            markup=False,
        )
    lost = [one.model for one in found.points if "unresolved" in one.attributes]
    if lost:
        out.print(f"not resolved: {', '.join(lost)}", markup=False)


def _print_verdicts(found: Rules) -> None:
    table = columns("rule", "by", "verdict", "evidence")
    for one in found.verdicts:
        table.add_row(*map(escape, (one.rule, one.outcome, one.judgement, one.evidence)))
    out.print()
    out.print(table)


def _print_effects(found: Rules, top: int) -> None:
    """The strongest effects of the main outcome, the surest first."""
    main = next((name for name in ("slope", "drop") if _has(found, name)), None)
    shown = [one for one in found.effects if one.outcome == main and math.isfinite(one.p_value)]
    shown.sort(key=lambda one: (one.p_value, one.attribute))
    if not shown:
        return
    table = columns(f"effect on {main}", "contrast", "method", "value", "p", "p (Holm)", "n")
    for one in shown[:top]:
        table.add_row(*map(escape, _row(one)))
    out.print()
    out.print(table)
    if len(shown) > top:
        out.print(f"and {len(shown) - top} more: --top {len(shown)}", markup=False)
    out.print()


def _has(found: Rules, outcome: str) -> bool:
    return any(one.outcome == outcome for one in found.effects)


def _row(one: Effect) -> tuple[str, ...]:
    return (
        one.attribute,
        one.contrast,
        one.method,
        _effect(one),
        f"{one.p_value:.2g}",
        f"{one.p_holm:.2g}",
        str(one.effect.count),
    )


def _effect(one: Effect) -> str:
    from holdfast.records.explanations.rules import OUTCOME_UNITS
    from holdfast.report import numbers

    scale, unit = OUTCOME_UNITS[one.outcome]
    digits, found = (2 if scale > 1 else 0), one.effect
    bounds = numbers.interval(found.low, found.high, scale=scale, digits=digits)
    return f"{numbers.decimal(scale * found.value, digits)} {bounds} {unit}"


def _value(found: Value, digits: int = 2) -> str:
    from holdfast.report import numbers

    bounds = numbers.interval(found.low, found.high, digits=digits)
    return f"{numbers.decimal(found.value, digits)} {bounds}".strip()
