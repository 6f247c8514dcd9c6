"""Claim: a hundred repetitions of three searchers take seconds, near the floor of asking a table.

Floor: drawing as many architectures and looking each up, without any searcher: what no search of
a table can go below. No peer installs on a current Python (NASLib asks for 3.9 or older).

    python benchmarks/search_speed.py [--table FILE] [--objective TEXT] [--budget 300]
        [--trials 100] [--select-on test]

Without `--table` the table that ships is searched; it is smaller than the budget of 300.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from holdfast.search.run import Plan, Prepared, run


def floor(prepared: Prepared, queries: int) -> float:
    """Seconds to draw and look up."""
    space, objective = prepared.objective.space, prepared.objective
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    for _ in range(queries):
        objective(space.sample(rng))
    return time.perf_counter() - began


def main() -> None:
    """Print seconds and the ratio to the floor, a searcher a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", default="digits")
    parser.add_argument("--objective", default="clean[training=plain]")
    parser.add_argument("--searchers", default="random local evolution")
    parser.add_argument("--select-on", default="validation", choices=["validation", "test"])
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--trials", type=int, default=100)
    given = parser.parse_args()
    began = time.perf_counter()
    prepared = Prepared(
        Plan(
            given.table,
            (given.objective,),
            tuple(given.searchers.split()),
            budget=given.budget,
            repetitions=given.trials,
            select_on=given.select_on,
        )
    )
    print(f"table and objective: {time.perf_counter() - began:.2f} s")
    done = list(run(prepared, jobs=1))
    total = 0.0
    for name in prepared.names:
        mine = [one for one in done if one.searcher == name]
        seconds = sum(one.seconds for one in mine)
        queries = sum(len(one.trials) for one in mine)
        least = floor(prepared, queries)
        total += seconds
        print(f"{name}: {queries:,} queries {seconds:.2f} s, {seconds / least:.1f} x the floor")
    print(f"all: {total:.1f} s on one core")


if __name__ == "__main__":
    main()
