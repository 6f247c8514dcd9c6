"""Final architectures, drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping

from holdfast.records.searches import Winner
from holdfast.report import numbers
from holdfast.report.blocks import Content, Drawings, DrawnCard
from holdfast.report.search.drawing import draw, swatches
from holdfast.report.search.runs import Findings
from holdfast.report.search.shell import Unit

_MOST = 8  # cards of a page


def build(findings: Findings) -> Content | None:
    """A card an architecture: who ended with it and how often, the cell, and its values."""
    found = findings.search.winners
    if not found:
        return None
    by_arch: dict[str, list[Winner]] = {}
    for winner in found:
        by_arch.setdefault(winner.arch, []).append(winner)
    order = sorted(by_arch.values(), key=lambda same: -sum(one.share for one in same))
    shown = order[:_MOST]
    legend = swatches(cell for same in shown for cell in same[0].cells)
    colors = {one.name: one.color for one in legend}
    cards = [_card(findings, same, colors) for same in shown]
    same = order[0]
    who = numbers.listing(
        [f"{one.searcher} in {numbers.percent(one.share, 0)}" for one in same[:4]]
    )
    lead = f"Searches end most often with the first cell: {who} of repetitions."
    left = len(order) - len(shown)
    note = "Boxes are operations, arrows the flow of data; a dashed box passes nothing on."
    if left > 0:
        note += f" {numbers.sentence(numbers.counted(left, 'rarer architecture'))} not shown."
    block = Drawings("winner-cards", "Cells of the final architectures", cards, legend)
    return Content(lead, [block], note)


def _card(findings: Findings, same: list[Winner], colors: dict[str, str]) -> DrawnCard:
    first = same[0]
    best = findings.search.optimum
    title = "; ".join(f"{one.searcher}: {numbers.percent(one.share, 0)}" for one in same)
    if best is not None and best.arch == first.arch:
        title = f"The best of the table. {title}"
    return DrawnCard(
        title=title,
        drawings=[draw(cell, colors) for cell in first.cells],
        entries=value_entries(first.values, findings.metrics),
        text=first.arch,
    )


def value_entries(values: Mapping[str, float], metrics: Mapping[str, str]) -> list[tuple[str, str]]:
    """Columns with their values in words; a column without a metric holds accuracies."""
    units = {name: Unit.of(metrics.get(name, "accuracy")) for name in values}
    return [
        (name, numbers.NO_DATA if math.isnan(value) else units[name].write(value))
        for name, value in values.items()
    ]
