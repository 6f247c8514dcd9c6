"""`holdfast explain fine-tuning`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from holdfast.cli.console import guarded, out
from holdfast.cli.explain.keeping import OutFolder, columns, keep, note, signed

if TYPE_CHECKING:
    from holdfast.records.explanations import FineTuning, Protocol

_TABLE = typer.Argument(
    help="Table in the layout of results_dataset.csv of MaxHeuillet/robust_training.",
    metavar="TABLE.csv",
    show_default=False,
)


@guarded
def fine_tuning(
    table: Annotated[Path, _TABLE],
    top: Annotated[int, typer.Option(min=1, help="Configurations to print a protocol.")] = 5,
    out_folder: OutFolder = None,
) -> None:
    """Study a grid of robust fine-tuning: which backbone, which loss, which cheap proxy.

    Reads backbones x losses x protocols x data sets with five accuracies each. Prints rankings,
    group means with the p-values of their analysis of variance and Tukey's letters, how often
    TRADES wins, how cheap protocols rank, and what casts doubt on the ranking.
    """
    from holdfast.explain.fine_tuning import explain_fine_tuning

    found = signed(explain_fine_tuning(table))
    out.print(found.headline, markup=False)
    for protocol in found.protocols:
        _print_protocol(protocol, top)
    _print_proxies(found)
    note(found.flags)
    keep(out_folder, found)


def _print_protocol(protocol: Protocol, top: int) -> None:
    out.print(f"\n{protocol.name}", style="bold", markup=False)
    table = columns("place", "backbone", "loss", "Borda", "fair Borda", "sum", "constant on")
    for place, one in enumerate(protocol.configurations[:top], start=1):
        cells = (str(place), one.backbone, one.loss, str(one.borda), f"{one.fair_borda:g}")
        constant = str(one.constant) if one.constant else ""
        table.add_row(*map(escape, cells), f"{one.score_sum:.2f}", constant)
    out.print(table)
    for test in protocol.groups:
        letters = test.letters or ("",) * len(test.groups)
        told = ", ".join(
            f"{group} {mean:.1f}{' ' * bool(letter)}{letter}"
            for group, mean, letter in zip(test.groups, test.means, letters, strict=True)
        )
        out.print(f"{test.attribute} (p {_p(test.p_value)}): {told}", markup=False)
    wins = ", ".join(
        f"{odds.group} {odds.wins}:{odds.losses} (odds ratio {_ratio(odds.odds_ratio)}, p "
        f"{_p(odds.p_value)})"
        for odds in protocol.odds
    )
    if wins:
        out.print(f"TRADES against Classic AT: {wins}", markup=False)


def _print_proxies(found: FineTuning) -> None:
    from holdfast.report import numbers

    if not found.proxies:
        return
    out.print("\ncheap proxies", style="bold")
    table = columns("cheap", "dear", "configurations", "Spearman", "pairs")
    for one in found.proxies:
        bounds = numbers.interval(one.spearman.low, one.spearman.high, digits=2)
        rho = f"{numbers.decimal(one.spearman.value, 2)} {bounds}".strip()
        cells = (one.cheap, one.dear, one.group, rho, str(one.spearman.count))
        table.add_row(*map(escape, cells))
    out.print(table)


def _p(value: float) -> str:
    return "no data" if math.isnan(value) else f"{value:.2g}"


def _ratio(value: float) -> str:
    return "no data" if math.isnan(value) else f"{value:.3g}"
