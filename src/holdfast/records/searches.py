"""What a search and a look at a table leave behind: a folder that a page is made of.

A search is `search.json` beside `trials.parquet`, which has one row a query; a look at a table
is `table.json`. Accuracies are fractions in [0, 1]; a number without data is NaN here and null
in the file.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field

from holdfast.core.errors import BadValueError, MissingError
from holdfast.records._files import read_json, write_json, write_whole
from holdfast.records._parts import Number, Part

SEARCH_FILE = "search.json"
TRIALS_FILE = "trials.parquet"
TABLE_FILE = "table.json"
# Before value_0, value_1, ... (one an objective) and limit_0, ... (one a constraint).
TRIAL_COLUMNS: dict[str, Any] = {
    "searcher": pl.String,
    "repetition": pl.Int64,
    "step": pl.Int64,
    "round": pl.Int64,
    "arch": pl.String,
    "merit": pl.Float64,  # larger is better; -inf where the architecture has no value
    "feasible": pl.Boolean,
}


class TableInfo(Part):
    """The table that was searched: its name, title, source and the spec of its space."""

    name: str
    title: str = ""
    source: str = ""
    space: str = ""


class Asked(Part):
    """One objective: as it was written, which way is better, and the column or columns.

    `metric` is that of its columns, and empty where they have several: a sum of unlike things has
    no unit.
    """

    text: str
    direction: Literal["maximize", "minimize"] = "maximize"
    column: str = ""
    split: str = ""
    metric: str = "accuracy"

    @property
    def sign(self) -> int:
        """Turns a recorded value, of which larger is better, back to the column's value."""
        return 1 if self.direction == "maximize" else -1


class Limit(Part):
    """One constraint, and how many of the architectures satisfy it."""

    text: str
    column: str = ""
    bound: Number = math.nan
    satisfied: int = 0
    of: int = 0


class Ran(Part):
    """One searcher.

    Attributes:
        spec: As it was typed, which is what trials, winners and scores call it.
        settings: Canonical text, with the settings that were not typed.
        about: One line about it.
        seconds: What the queries of all its repetitions took.
        found: Part of its repetitions that ended with the optimum's merit; NaN where several
            objectives have none.
    """

    spec: str
    settings: str = ""
    about: str = ""
    seconds: Number = math.nan
    found: Number = math.nan


class Cell(Part):
    """A cell to be drawn: a directed acyclic graph with an operation a node.

    Attributes:
        nodes: Labels in topological order.
        edges: Pairs (i, j) with i < j.
    """

    nodes: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]


class Optimum(Part):
    """The best of the whole table: merit, values (larger is better) and architecture."""

    merit: float
    values: tuple[Number, ...] = ()
    arch: str = ""


class Winner(Part):
    """An architecture that a searcher ended with.

    Attributes:
        searcher: Spec of the searcher.
        arch: Published string.
        share: Part of the repetitions that ended with it, in [0, 1].
        values: Value of each column that was scored, as it stands in the table.
        cells: Its graphs.
    """

    searcher: str
    arch: str
    share: float
    values: dict[str, Number] = Field(default_factory=dict)
    cells: tuple[Cell, ...] = ()


class Scored(Part):
    """What a searcher's incumbents score in a column: mean over `count` repetitions, interval."""

    searcher: str
    column: str
    metric: str = "accuracy"
    mean: Number
    low: Number = math.nan
    high: Number = math.nan
    count: int = 0


class Correlations(Part):
    """Rank correlations between columns, with the architectures behind each; [C, C] each.

    Attributes:
        title: What is compared, where a page has several.
        columns: Names.
        kendall: Kendall's tau-b.
        spearman: Spearman's rho; empty where it was not computed.
        low: Lower ends of tau's 95 % intervals; empty as above.
        high: Upper ends.
        counts: Architectures that have both columns.
    """

    title: str = ""
    columns: tuple[str, ...]
    kendall: tuple[tuple[Number, ...], ...]
    spearman: tuple[tuple[Number, ...], ...] = ()
    low: tuple[tuple[Number, ...], ...] = ()
    high: tuple[tuple[Number, ...], ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()


class Ranked(Part):
    """An architecture among the best of a column, with its values elsewhere."""

    arch: str
    values: dict[str, Number]
    cells: tuple[Cell, ...] = ()


class Search(Part):
    """All of a search but its trials.

    Attributes:
        table: Where the scores come from.
        objectives: One, or several for a Pareto front.
        constraints: What an architecture must keep to.
        select_on: Split by which searchers chose; `test` gives numbers that flatter.
        budget: Queries of a repetition.
        repetitions: Of each searcher.
        seed: Of all repetitions; each draws by it and by its own number.
        searchers: In the order in which they were named.
        optimum: Best of the table; None where the table is not whole, or for several objectives.
        winners: Final architectures, a searcher's most frequent first.
        front: For several objectives, the architectures that none asked for beats in all.
        scored: Final architectures under the columns that were wanted, then under others, which
            no searcher saw.
        scored_on: What these columns share and their names leave out, such as `split=test`.
        flags: Anything that casts doubt, one sentence each.
        correlations: Between the columns of interest; None where there is one.
        command: What to type to get this again.
        version: Of holdfast.
    """

    table: TableInfo
    objectives: tuple[Asked, ...]
    constraints: tuple[Limit, ...] = ()
    select_on: Literal["validation", "test"]
    budget: int
    repetitions: int
    seed: int
    searchers: tuple[Ran, ...]
    optimum: Optimum | None = None
    winners: tuple[Winner, ...] = ()
    front: tuple[Ranked, ...] = ()
    scored: tuple[Scored, ...] = ()
    scored_on: str = ""
    flags: tuple[str, ...] = ()
    correlations: Correlations | None = None
    command: str = ""
    version: str = ""


class ColumnSummary(Part):
    """One column in numbers, over the architectures that have a value."""

    column: str
    count: int
    lowest: Number
    median: Number
    mean: Number
    highest: Number
    metric: str = "accuracy"


class Best(Part):
    """The best architectures of a column, best first.

    Attributes:
        column: By which they are ranked.
        metric: Of that column.
        metrics: Of each column in `Ranked.values`; accuracy where it is not named.
        ranked: The architectures.
    """

    column: str
    metric: str = "accuracy"
    metrics: dict[str, str] = Field(default_factory=dict)
    ranked: tuple[Ranked, ...]


class Neighbour(Part):
    """An architecture one change away; NaN where the table lacks it."""

    arch: str
    change: str
    value: Number


class Neighbourhood(Part):
    """An architecture, its value in a column, and those of its neighbours."""

    column: str
    metric: str = "accuracy"
    arch: str
    value: Number
    near: tuple[Neighbour, ...]


class OperatorCounts(Part):
    """How often each operation occurs in the `top` best architectures of a column."""

    column: str
    top: int
    operators: tuple[str, ...]
    counts: tuple[int, ...]


class Spread(Part):
    """Values of architectures that are alike in something, such as their operations.

    Attributes:
        column: Of the values.
        metric: Of the column; empty where several of unlike metrics were averaged.
        groups: Name of each group.
        values: Values of each group's architectures.
    """

    column: str
    metric: str = "accuracy"
    groups: tuple[str, ...]
    values: tuple[tuple[Number, ...], ...]


class TableStudy(Part):
    """What `holdfast search table` found: each part empty where it was not asked for."""

    table: TableInfo
    architectures: int = 0
    described: tuple[ColumnSummary, ...] = ()
    correlations: tuple[Correlations, ...] = ()
    best: tuple[Best, ...] = ()
    neighbourhoods: tuple[Neighbourhood, ...] = ()
    operators: tuple[OperatorCounts, ...] = ()
    spreads: tuple[Spread, ...] = ()
    flags: tuple[str, ...] = ()
    command: str = ""
    version: str = ""


def trial_columns(objectives: int, constraints: int) -> dict[str, Any]:
    """Columns of the trials of a search, with their types."""
    values = {f"value_{number}": pl.Float64 for number in range(objectives)}
    limits = {f"limit_{number}": pl.Float64 for number in range(constraints)}
    return {**TRIAL_COLUMNS, **values, **limits}


def write_search(folder: str | Path, search: Search, trials: pl.DataFrame) -> Path:
    """Write a search; each file is replaced whole.

    Args:
        folder: Made when it is not there.
        search: All but the trials.
        trials: Columns `trial_columns`, in any order; one row a query.

    Returns:
        The folder.

    Raises:
        BadValueError: The trials lack a column or have one too many.
        StoreError: The folder cannot be written.
    """
    wanted = trial_columns(len(search.objectives), len(search.constraints))
    _check_columns(trials, wanted, "trials")
    frame = trials.select(pl.col(name).cast(kind) for name, kind in wanted.items())
    folder = Path(folder)
    write_whole(folder / TRIALS_FILE, frame.write_parquet)
    write_json(folder / SEARCH_FILE, search)
    return folder


def read_search(folder: str | Path) -> tuple[Search, pl.DataFrame]:
    """Read what `write_search` wrote.

    Raises:
        MissingError: One of the two files is not there.
        BadValueError: A file that says something else.
    """
    folder = Path(folder)
    search = read_json(folder / SEARCH_FILE, Search, "holdfast search run --out")
    path = folder / TRIALS_FILE
    if not path.is_file():
        raise MissingError(f"no {TRIALS_FILE} in {folder}; run the search again with --out")
    try:
        trials = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadValueError(f"{path} is no table of trials: {error}; search again") from error
    wanted = trial_columns(len(search.objectives), len(search.constraints))
    _check_columns(trials, wanted, str(path))
    return search, trials.select(list(wanted))


def write_table_study(folder: str | Path, study: TableStudy) -> Path:
    """Write a look at a table, replaced whole; give back the folder.

    Raises:
        StoreError: The folder cannot be written.
    """
    write_json(Path(folder) / TABLE_FILE, study)
    return Path(folder)


def read_table_study(folder: str | Path) -> TableStudy:
    """Read what `write_table_study` wrote.

    Raises:
        MissingError: There is no such file.
        BadValueError: A file that says something else.
    """
    return read_json(Path(folder) / TABLE_FILE, TableStudy, "holdfast search table --out")


def _check_columns(frame: pl.DataFrame, wanted: dict[str, Any], what: str) -> None:
    if set(frame.columns) != set(wanted):
        missing = sorted(set(wanted) - set(frame.columns))
        extra = sorted(set(frame.columns) - set(wanted))
        raise BadValueError(
            f"{what} must have the columns {', '.join(wanted)}; "
            f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(extra) or 'none'}"
        )
