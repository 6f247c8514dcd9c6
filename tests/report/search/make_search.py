"""Small results of searches, written by hand."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from holdfast.records.searches import (
    Asked,
    Best,
    Cell,
    ColumnSummary,
    Correlations,
    Limit,
    Neighbour,
    Neighbourhood,
    OperatorCounts,
    Optimum,
    Ran,
    Ranked,
    Scored,
    Search,
    Spread,
    TableInfo,
    TableStudy,
    Winner,
    trial_columns,
)

CELL = Cell(nodes=("input", "conv3x3", "none", "output"), edges=((0, 1), (0, 2), (1, 3), (2, 3)))
TABLE = TableInfo(name="small", title="A small table", source="Nobody 2020", space="nb201")
MATRIX = ((1.0, 0.5, -0.25), (0.5, 1.0, math.nan), (-0.25, math.nan, 1.0))


def make_trials(searchers, values, *, limits=0, feasible=None):
    """Trials of arrays [S, R, Q, M]; merit is the first value."""
    rows = []
    for (s, r, q), _ in np.ndenumerate(values[..., 0]):
        able = True if feasible is None else bool(feasible[s, r, q])
        row = {"searcher": searchers[s], "repetition": r, "step": q, "round": q}
        row |= {"arch": f"a{s}.{r}.{q}", "feasible": able}
        row |= {f"value_{m}": float(value) for m, value in enumerate(values[s, r, q])}
        row |= {f"limit_{place}": 1.0 for place in range(limits)}
        rows.append({**row, "merit": float(values[s, r, q, 0]) - (0 if able else 10)})
    return pl.DataFrame(rows, schema=trial_columns(values.shape[-1], limits))


def make_search(**changes):
    """A search for one thing by two searchers."""
    settings = {
        "table": TABLE,
        "objectives": (Asked(text="clean", column="clean[split=validation]", split="validation"),),
        "select_on": "validation",
        "budget": 8,
        "repetitions": 3,
        "seed": 0,
        "searchers": (
            Ran(spec="random", about="draws", seconds=1.5, found=0),
            Ran(spec="local", found=1),
        ),
        "optimum": Optimum(merit=0.9, values=(0.9,), arch="best"),
        "winners": (
            Winner(searcher="local", arch="best", share=1, values={"clean": 0.9}, cells=(CELL,)),
            Winner(searcher="random", arch="other", share=0.5, cells=(CELL,)),
        ),
        "scored": (Scored(searcher="local", column="fog", mean=0.5, low=0.4, high=0.6, count=3),),
        "correlations": Correlations(columns=("clean", "fog", "pgd"), kendall=MATRIX),
        "command": "holdfast search run",
        "version": "0.1",
    }
    return Search(**{**settings, **changes})


def make_values():
    """Rising values [2, 3, 8, 1]: the second searcher ends with the best of the table."""
    rng = np.random.default_rng(0)
    values = np.sort(rng.uniform(0.5, 0.8, size=(2, 3, 8, 1)), axis=2)
    values[1, :, -1] = 0.9
    return values


def make_limit():
    """A constraint that three of ten keep."""
    return Limit(text="latency <= 6", column="latency", bound=6, satisfied=3, of=10)


def make_study(**changes):
    """A look at a table with everything in it."""
    settings = {
        "table": TABLE,
        "architectures": 10,
        "described": (
            ColumnSummary(column="clean", count=10, lowest=0.1, median=0.5, mean=0.5, highest=0.9),
        ),
        "correlations": (Correlations(columns=("clean", "fog", "pgd"), kendall=MATRIX),),
        "best": (Best(column="clean", ranked=(Ranked(arch="a", values={"clean": 0.9}),)),),
        "neighbourhoods": (
            Neighbourhood(
                column="clean",
                arch="a",
                value=0.9,
                near=(
                    Neighbour(arch="b", change="node 1: x to y", value=0.95),
                    Neighbour(arch="c", change="node 1: x to y", value=0.2),
                    Neighbour(arch="d", change="node 2: x to y", value=math.nan),
                ),
            ),
        ),
        "operators": (OperatorCounts(column="clean", top=2, operators=("x", "y"), counts=(3, 1)),),
        "spreads": (Spread(column="clean", groups=("1 x conv",), values=((0.1, 0.5, 0.9),)),),
    }
    return TableStudy(**{**settings, **changes})
