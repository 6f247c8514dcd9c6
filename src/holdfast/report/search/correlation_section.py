"""Heat maps of rank correlations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from holdfast.records.searches import Correlations
from holdfast.report import numbers
from holdfast.report.blocks import Block, Content, Figures, Heading, Option
from holdfast.report.search.plots import TEXT_CELLS, correlation_map

_NOTE = (
    "Kendall's tau-b and Spearman's rho over the architectures that have both columns: 1 is the "
    "same order, 0 none, -1 the reverse. Point at a cell for its 95 % interval and its count."
)
_CELL, _SMALL_CELL = 26, 17  # pixels of a row, with and without room for a number


def correlation_content(found: Sequence[Correlations], name: str) -> Content:
    """A heat map each, with a menu of coefficients."""
    blocks: list[Block] = []
    for place, one in enumerate(found):
        if one.title:
            blocks.append(Heading(one.title))
        options = [Option("Kendall's tau", [correlation_map(one, one.kendall, "tau")])]
        if one.spearman:
            options.append(Option("Spearman's rho", [correlation_map(one, one.spearman, "rho")]))
        cell = _CELL if len(one.columns) <= TEXT_CELLS else _SMALL_CELL
        height = 230 + cell * max(4, len(one.columns))
        about = f"Rank correlations between {len(one.columns)} columns"
        blocks.append(
            Figures(
                f"{name}-{place}", about, options, height, min_width=230 + cell * len(one.columns)
            )
        )
    return Content(_lead(found[0]), blocks, _NOTE)


def _lead(found: Correlations) -> str:
    pairs = [
        (found.kendall[row][column], found.columns[row], found.columns[column])
        for row, column in itertools.combinations(range(len(found.columns)), 2)
        if not math.isnan(found.kendall[row][column])
    ]
    if not pairs:
        return "No two columns share enough architectures to be compared."
    low, high = min(pairs), max(pairs)
    if len(pairs) == 1:
        return f"{low[1]} and {low[2]} correlate by tau {numbers.decimal(low[0], 2)}."
    return (
        f"{high[1]} and {high[2]} agree most (tau {numbers.decimal(high[0], 2)}), "
        f"{low[1]} and {low[2]} least (tau {numbers.decimal(low[0], 2)})."
    )
