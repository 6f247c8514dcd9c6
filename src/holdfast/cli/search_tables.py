"""What the verbs of `holdfast search` print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from holdfast.cli.console import err, out

if TYPE_CHECKING:
    import polars as pl

    from holdfast.records.searches import Correlations, Search, TableStudy
    from holdfast.search.tables.table import BenchmarkTable, Column

_SHOWN = 12  # columns of a matrix that fit a terminal
_FOREST = 20  # architectures from which on a forest of proxies is fitted
_LEADING = 5  # proxies of a forest that are named


def _table(*columns: str) -> Table:
    return Table(*map(escape, columns), box=None, pad_edge=False, header_style="bold")


def _flagged(flags: Sequence[str]) -> None:
    for flag in flags:
        err.print("note:", style="bold yellow", end=" ")
        err.print(flag, markup=False)


def tell_search(found: Search) -> None:
    """The final table: what each searcher's architectures score, and how often the optimum."""
    _flagged([*_selected(found), *found.flags])
    names = list(dict.fromkeys(one.column for one in found.scored))
    means = {(one.searcher, one.column): one for one in found.scored}
    out.print(
        f"What searchers end with: means over {found.repetitions} repetitions and their 95 % "
        "intervals, accuracies in per cent",
        markup=False,
    )
    table = _table(found.scored_on or "column", *(one.spec for one in found.searchers))
    for name in names:
        table.add_row(
            escape(name), *(escape(_number(means[one.spec, name])) for one in found.searchers)
        )
    if found.optimum is not None:
        table.add_row("found the optimum", *(f"{one.found:.0%}" for one in found.searchers))
    out.print(table)
    _tell_front(found)
    for one in found.searchers:
        first = next(winner for winner in found.winners if winner.searcher == one.spec)
        out.print(f"{one.spec}: {first.arch} ({first.share:.0%} of repetitions)", markup=False)


def _tell_front(found: Search) -> None:
    """Architectures that no other one beats in all objectives."""
    if not found.front:
        return
    names = [name for name in found.front[0].values if name in _objective_names(found)]
    table = _table(f"front of {len(found.front)} architectures", *names)
    for one in found.front[:_SHOWN]:
        table.add_row(*map(escape, (one.arch, *(f"{one.values[name]:.5g}" for name in names))))
    out.print(table)
    if len(found.front) > _SHOWN:
        out.print(f"and {len(found.front) - _SHOWN} more: --out shows all of them", markup=False)


def _objective_names(found: Search) -> set[str]:
    """Names of the first columns that were scored: those of the objectives stand there."""
    names = list(dict.fromkeys(one.column for one in found.scored))
    return set(names[: len(found.objectives)])


def _selected(found: Search) -> list[str]:
    if found.select_on != "test":
        return []
    return ["selected on the test split: these values are those of the best of many looks at it"]


def _number(one: Any) -> str:
    if math.isnan(one.mean):
        return "no data"
    accuracy = one.metric == "accuracy"

    def told(value: float) -> str:
        return f"{100 * value:.2f}" if accuracy else f"{value:,.6g}"

    if math.isnan(one.low):
        return told(one.mean)
    return f"{told(one.mean)} [{told(one.low)}, {told(one.high)}]"


def tell_study(study: TableStudy) -> None:
    """Print a look at a table, part by part."""
    _flagged(study.flags)
    info = study.table
    out.print(
        f"{info.name}: {study.architectures:,} architectures of {info.space}; {info.title}",
        markup=False,
    )
    if study.described:
        table = _table("column", "architectures", "lowest", "median", "mean", "highest")
        for one in study.described:
            values = (one.lowest, one.median, one.mean, one.highest)
            told = (_plain(value, one.metric) for value in values)
            table.add_row(escape(one.column), f"{one.count:,}", *told)
        out.print(table)
    for matrix in study.correlations:
        _tell_matrix(matrix)
    _tell_best(study)
    for around in study.neighbourhoods:
        table = _table(f"neighbour of {around.arch}", around.column, "difference")
        for near in sorted(around.near, key=lambda one: -one.value):
            difference = near.value - around.value
            table.add_row(escape(near.change), f"{near.value:.4f}", f"{difference:+.4f}")
        out.print(table)


def _tell_best(study: TableStudy) -> None:
    for group in study.best:
        names = list(group.ranked[0].values) if group.ranked else []
        table = _table(f"best in {group.column}", *names)
        for one in group.ranked:
            table.add_row(escape(one.arch), *(f"{one.values[name]:.4g}" for name in names))
        out.print(table)
    for counted in study.operators:
        pairs = zip(counted.operators, counted.counts, strict=True)
        told = ", ".join(f"{name} {count}" for name, count in pairs)
        out.print(f"operators of the best {counted.top} in {counted.column}: {told}", markup=False)


def _tell_matrix(matrix: Correlations) -> None:
    shown = matrix.columns[:_SHOWN]
    table = _table(
        f"Kendall's tau {matrix.title}".strip(),
        *(f"({place})" for place in range(1, len(shown) + 1)),
    )
    for place, name in enumerate(shown):
        row = matrix.kendall[place][: len(shown)]
        table.add_row(escape(f"({place + 1}) {name}"), *(f"{value:.2f}" for value in row))
    out.print(table)
    if len(matrix.columns) > len(shown):
        out.print(
            f"and {len(matrix.columns) - len(shown)} more columns: --out shows all of them",
            markup=False,
        )


def tell_proxies(
    rows: pl.DataFrame, table: BenchmarkTable | None, columns: Sequence[Column]
) -> None:
    """Print how each proxy ranks architectures, beside recorded scores where there are any."""
    import polars as pl

    from holdfast.search.analysis import labels
    from holdfast.search.proxies.base import short_name
    from holdfast.search.proxies.compare import compare

    failed = rows.filter(pl.col("value").is_null())
    if len(failed):
        first = failed.row(0, named=True)
        what = f"{first['proxy']} of {first['arch']}: {first['error']}"
        _flagged([f"{len(failed)} scores have no value; the first: {what}"])
    if table is None:
        wide = rows.pivot("proxy", index="arch", values="value")
        shown = _table(*wide.columns)
        for row in wide.iter_rows():
            shown.add_row(escape(row[0]), *("none" if v is None else f"{v:.5g}" for v in row[1:]))
        out.print(shown)
        return
    shown = _table("proxy", "column", "architectures", "Spearman [95 %]", "Kendall [95 %]")
    names = dict(zip(map(str, columns), labels(columns), strict=True))
    for one in compare(rows, table, columns):
        shown.add_row(
            escape(short_name(one.proxy)),
            escape(names[one.column]),
            f"{one.spearman.count}",
            *(
                escape(f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]")
                for e in (one.spearman, one.kendall)
            ),
        )
    out.print(shown)
    if rows["proxy"].n_unique() > 1 and rows["arch"].n_unique() >= _FOREST:
        _tell_forest(rows, table, columns)


def _tell_forest(rows: pl.DataFrame, table: BenchmarkTable, columns: Sequence[Column]) -> None:
    """What a random forest over all proxies goes by, one forest a column."""
    from holdfast.search.analysis import importance_of
    from holdfast.search.proxies.base import short_name

    for column in columns:
        found = importance_of(rows, table, [column])
        order = sorted(range(len(found.names)), key=lambda place: -found.permutation[place])
        told = ", ".join(
            f"{short_name(found.names[place])} {found.permutation[place]:.2f}"
            for place in order[:_LEADING]
        )
        out.print(
            f"a forest over all proxies predicts {column} with R^2 {found.test_r2:.2f} on "
            f"{found.test} held-out architectures; what shuffling a proxy costs: {told}",
            markup=False,
        )


def _plain(value: float, metric: str) -> str:
    if math.isnan(value):
        return "no data"
    return f"{value:.4f}" if metric == "accuracy" else f"{value:,.6g}"
