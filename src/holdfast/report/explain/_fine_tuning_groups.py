"""The part of the fine-tuning study that compares groups of backbones."""

from __future__ import annotations

import math

from holdfast.records.explanations import FineTuning
from holdfast.records.explanations.rules import GroupTest
from holdfast.report import numbers
from holdfast.report.blocks import Block, Cell, Column, Content, Heading, Table, number_cell

_FACTORS = {
    "size": "Size of the backbone",
    "kind": "Kind of the backbone",
    "loss": "Loss",
    "strategy": "Pretraining",
    "pretraining_data": "Pretraining data",
}


def group_content(found: FineTuning) -> Content:
    """Mean Borda of the groups of each factor, with letters and p-values."""
    blocks: list[Block] = []
    for place, factor in enumerate(found.protocols[0].groups):
        blocks.append(Heading(_FACTORS.get(factor.attribute, factor.attribute)))
        blocks.append(_group_table(found, factor.attribute, f"fine-tuning-group-{place}"))
    blocks += [Heading("Tests"), _tests(found)]
    first = found.protocols[0]
    told = [
        f"{one.groups[0]} first and {one.groups[-1]} last by {_factor(one.attribute)} (p "
        f"{p_text(one.p_value)})"
        for one in first.groups
        if one.attribute in {"size", "kind", "strategy"} and len(one.groups) > 1
    ]
    lead = f"Mean Borda under {first.name}: {numbers.listing(told)}."
    note = (
        "Means of Borda over configurations. p is of a one-way analysis of variance. Groups that "
        "share a letter do not differ by Tukey's honest significant difference at 0.1. `kind / "
        "size` is the nested analysis: sizes within kinds, over the scatter within both."
    )
    return Content(lead, blocks, note)


def _group_table(found: FineTuning, attribute: str, name: str) -> Table:
    tests = {
        one.name: next(test for test in one.groups if test.attribute == attribute)
        for one in found.protocols
    }
    groups = list(dict.fromkeys(group for test in tests.values() for group in test.groups))
    columns = [Column("group", "Group"), Column("count", "Configurations", numeric=True)]
    columns += [
        Column(one, one, f"mean Borda; p {p_text(test.p_value)}", numeric=True)
        for one, test in tests.items()
    ]
    rows = []
    for group in groups:
        counts = [
            test.counts[test.groups.index(group)] for test in tests.values() if group in test.groups
        ]
        cells = [Cell(group, "", group), number_cell(max(counts), numbers.count(max(counts)))]
        rows.append([*cells, *(_mean_cell(test, group) for test in tests.values())])
    return Table(name, f"Mean Borda by {_factor(attribute)}", columns, rows)


def _mean_cell(test: GroupTest, group: str) -> Cell:
    if group not in test.groups:
        return Cell(numbers.NO_DATA)
    place = test.groups.index(group)
    letters = test.letters[place] if test.letters else ""
    return number_cell(test.means[place], f"{test.means[place]:,.1f}", letters)


def _tests(found: FineTuning) -> Table:
    columns = [Column("test", "p of")]
    columns += [Column(one.name, one.name, numeric=True) for one in found.protocols]
    names = [one.attribute for one in found.protocols[0].groups]
    rows = []
    for name in names:
        tests = [next(t for t in one.groups if t.attribute == name) for one in found.protocols]
        cells = [number_cell(t.p_value, p_text(t.p_value), _f(t)) for t in tests]
        rows.append([Cell(numbers.sentence(_factor(name))), *cells])
    for key in found.protocols[0].nested:
        values = [one.nested.get(key, math.nan) for one in found.protocols]
        outer, _, inner = key.partition("/")
        told = f"{outer} / {inner}, nested" if inner else f"{outer}, of the nested analysis"
        rows.append([Cell(numbers.sentence(told)), *(number_cell(v, p_text(v)) for v in values)])
    return Table("fine-tuning-tests", "p-values", columns, rows, sortable=False)


def _f(test: GroupTest) -> str:
    return "" if math.isnan(test.f_value) else f"F {numbers.decimal(test.f_value, 2)}"


def _factor(attribute: str) -> str:
    return _FACTORS.get(attribute, attribute).lower()


def p_text(value: float) -> str:
    """Write a p-value with two significant digits, such as `0.025` or `8.4e\u22127`."""
    if math.isnan(value):
        return numbers.NO_DATA
    if value < 1e-15:
        return "below 1e\u221215"
    return f"{value:.2g}".replace("-0", "-").replace("-", "\N{MINUS SIGN}")
