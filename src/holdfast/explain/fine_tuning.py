"""The robust fine-tuning grid as one study: rankings, groups, odds, cheap proxies, pitfalls.

Source: Heuillet et al. 2025, "A Guide to Robust Generalization", arXiv:2508.14079, and the
notebooks of MaxHeuillet/robust_training, whose figures this reproduces. Ours are the Borda
count that constant answers cannot win, the checks for them and for lost workers, and the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from holdfast.core.errors import BadValueError
from holdfast.explain.statistics import (
    borda,
    constant_answers,
    fair_borda,
    nested,
    one_way,
    product_sum,
    win_odds,
)
from holdfast.metrics.intervals import FloatArray
from holdfast.metrics.rank import rank_matrix, spearman
from holdfast.records.explanations import (
    BestOf,
    Configuration,
    FineTuning,
    Odds,
    Protocol,
    Proxy,
    Value,
)
from holdfast.records.fine_tuning_table import METRICS, read_fine_tuning

ALPHA = 0.1  # of Tukey's letters, as the authors
FACTORS = ("size", "kind", "loss", "strategy", "pretraining_data")
NESTED = (("kind", "size"), ("size", "loss"), ("strategy", "size"))
TRADES, CLASSIC = "TRADES", "Classic AT"
DEAR = "FFT-50"
CHANCE = 0.02  # clean accuracy below which the source's rows are near chance
_ORDER = (DEAR, "FFT-5", "LP-50")
_SIZES = ("small", "medium", "large")
_MOST_IMAGES = 3_000  # of a test set whose size is looked for
_USUAL = 0.8  # share of accuracies that must be whole numbers of images
_WHOLE = 1e-6  # how far accuracy * images may lie from a whole number
_KEY = ["backbone", "loss"]

Block: TypeAlias = FloatArray


@dataclass(frozen=True)
class Grid:
    """One protocol: configurations in rows, and their accuracies.

    Attributes:
        name: Of the protocol.
        about: One row a configuration: backbone, loss and the factors.
        datasets: In order.
        block: Accuracies [N, data sets, metrics].
        lacking: Configurations left out because a data set is missing.
    """

    name: str
    about: pl.DataFrame
    datasets: tuple[str, ...]
    block: Block
    lacking: int

    @property
    def flat(self) -> FloatArray:
        """Accuracies [N, data sets * metrics]."""
        return self.block.reshape(len(self.block), -1)

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Which configurations look like a constant answer on which data sets, [N, data sets]."""
        return np.stack(
            [constant_answers(self.block[:, place]) for place in range(len(self.datasets))], axis=1
        )

    @property
    def score(self) -> FloatArray:
        """Sum of the accuracies of each configuration, [N]."""
        return np.asarray(self.flat.sum(1))


def explain_fine_tuning(path: str | Path) -> FineTuning:
    """Read the published table, or one of its layout, and study it; see `fine_tuning_study`.

    Raises:
        MissingError: No such file.
        BadValueError: Another table.
        StoreError: The file cannot be read.
    """
    return fine_tuning_study(read_fine_tuning(path), source=Path(path).name)


def fine_tuning_study(table: pl.DataFrame, *, source: str = "") -> FineTuning:
    """Study a grid of backbones x losses x protocols x data sets.

    Args:
        table: Columns `FINE_TUNING_COLUMNS`.
        source: Where it came from, in words.

    Returns:
        The study; `source` has the number of rows.

    Raises:
        BadValueError: No protocol in which two configurations have all data sets.
    """
    names = table["protocol"].unique(maintain_order=True).to_list()
    names.sort(key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    grids = [_grid(table, name) for name in names]
    kept = [grid for grid in grids if len(grid.block) > 1]
    if not kept:
        raise BadValueError(
            "the table has no protocol in which two configurations have all data sets; ranks need "
            "at least two complete ones"
        )
    lost, unknown = _lost_workers(table)
    protocols = tuple(_protocol(grid) for grid in kept)
    return FineTuning(
        source=f"{source}: {table.height:,} rows" if source else f"{table.height:,} rows",
        metrics=METRICS,
        rows=table.height,
        protocols=protocols,
        proxies=tuple(_proxies(kept)),
        lost_workers=lost,
        headline=_headline(protocols),
        mac_global=_mac(kept[0].block.reshape(-1, len(METRICS))),
        datasets=tuple(sorted(set(table["dataset"]))),
        flags=(*_flags(grids, protocols, lost, table.height), *_unknown_sizes(unknown)),
    )


def _grid(table: pl.DataFrame, name: str) -> Grid:
    rows = table.filter(pl.col("protocol") == name)
    datasets = sorted(set(rows["dataset"]))
    whole = rows.filter(pl.len().over(_KEY) == len(datasets)).sort(*_KEY, "dataset")
    about = whole.unique(_KEY, maintain_order=True).select(*_KEY, *_rest(FACTORS))
    block = whole.select(METRICS).to_numpy().reshape(len(about), len(datasets), len(METRICS))
    lacking = rows.select(_KEY).n_unique() - len(about)
    return Grid(name, about, tuple(datasets), np.ascontiguousarray(block), lacking)


def _rest(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in _KEY]


def _protocol(grid: Grid) -> Protocol:
    counts = borda(grid.flat)
    groups = [
        one_way(counts, grid.about[factor].to_list(), ALPHA, attribute=factor, outcome="borda")
        for factor in FACTORS
    ]
    rows = grid.block.reshape(-1, len(METRICS))
    return Protocol(
        name=grid.name,
        means=tuple(rows.mean(0).tolist()),
        spearman=tuple(map(tuple, rank_matrix(rows, "spearman").values.tolist())),
        mac=float(np.mean([_mac(grid.block[:, one]) for one in range(len(grid.datasets))])),
        configurations=tuple(_configurations(grid, counts)),
        groups=tuple(groups),
        nested=_nested(grid, counts),
        odds=tuple(_odds(grid)),
        best=tuple(_best(grid)),
        chance=int((grid.block[:, :, 0] < CHANCE).sum()),
    )


def _configurations(grid: Grid, counts: FloatArray) -> list[Configuration]:
    constant = grid.constant
    fair = fair_borda(grid.flat, np.repeat(constant, len(METRICS), axis=1))
    products, score, means = product_sum(grid.block), grid.score, grid.block.mean(1)
    found = [
        Configuration(
            backbone=row["backbone"],
            loss=row["loss"],
            size=row["size"],
            kind=row["kind"],
            strategy=row["strategy"],
            borda=round(counts[place]),
            fair_borda=float(fair[place]),
            score_sum=float(score[place]),
            geometric=float(products[place]),
            constant=int(constant[place].sum()),
            means=tuple(means[place].tolist()),
        )
        for place, row in enumerate(grid.about.iter_rows(named=True))
    ]
    return sorted(found, key=lambda one: (-one.borda, -one.score_sum, one.backbone, one.loss))


def _nested(grid: Grid, counts: FloatArray) -> dict[str, float]:
    found: dict[str, float] = {}
    for outer, inner in NESTED:
        above, below = nested(counts, grid.about[outer].to_list(), grid.about[inner].to_list())
        found |= {outer: above.p_value, f"{outer}/{inner}": below.p_value}
    return found


def _odds(grid: Grid) -> list[Odds]:
    rows = grid.about.with_columns(pl.Series("score", grid.score))
    first = rows.filter(pl.col("loss") == TRADES)
    second = rows.filter(pl.col("loss") == CLASSIC)
    pairs = first.join(second, on="backbone", suffix="_other", maintain_order="left")
    sizes = [one for one in _SIZES if one in pairs["size"]]
    sizes += sorted(set(pairs["size"]) - set(sizes))
    found = []
    for size in [*sizes, "all"]:
        some = pairs if size == "all" else pairs.filter(pl.col("size") == size)
        if some.is_empty():
            continue
        odds = win_odds(some["score"].to_numpy(), some["score_other"].to_numpy())
        found.append(
            Odds(
                group=size,
                wins=odds.wins,
                losses=odds.losses,
                odds_ratio=odds.odds_ratio,
                p_value=odds.p_value,
            )
        )
    return found


def _best(grid: Grid) -> list[BestOf]:
    found = []
    named = [f"{row['backbone']} with {row['loss']}" for row in grid.about.iter_rows(named=True)]
    for place, dataset in enumerate(grid.datasets):
        here = grid.block[:, place]
        counts = borda(here)
        best = int(np.lexsort((here.sum(1), counts))[-1])
        row = grid.about.row(best, named=True)
        tied = np.flatnonzero(counts == counts[best])
        found.append(
            BestOf(
                dataset=dataset,
                backbone=row["backbone"],
                loss=row["loss"],
                accuracies=tuple(here[best].tolist()),
                tied=tuple(named[one] for one in tied if one != best),
            )
        )
    return found


def _proxies(grids: Sequence[Grid]) -> list[Proxy]:
    dear = next((grid for grid in grids if grid.name == DEAR), None)
    if dear is None:
        return []
    goal = dear.about.with_columns(pl.Series("goal", dear.score))
    found = []
    for grid in grids:
        if grid.name == DEAR:
            continue
        both = grid.about.with_columns(pl.Series("score", grid.score)).join(goal, on=_KEY)
        for group in ("all", TRADES, CLASSIC):
            some = both if group == "all" else both.filter(pl.col("loss") == group)
            if some.height > 1:
                rho = spearman(some["score"].to_numpy(), some["goal"].to_numpy())
                value = Value(value=rho.value, low=rho.low, high=rho.high, count=rho.count)
                found.append(Proxy(cheap=grid.name, dear=DEAR, group=group, spearman=value))
    return found


def _mac(rows: FloatArray) -> float:
    """Mean absolute Spearman correlation off the diagonal; NaN pairs are left out."""
    values = np.abs(rank_matrix(rows, "spearman").values[np.triu_indices(rows.shape[1], 1)])
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _lost_workers(table: pl.DataFrame) -> tuple[int, tuple[str, ...]]:
    """Accuracies that are no whole number of images, and data sets whose size was not found."""
    lost, unknown = 0, []
    for (dataset,), rows in table.group_by("dataset", maintain_order=True):
        values = rows.select(METRICS).to_numpy().ravel()
        images = usual_test_size(values)
        if images is None:
            unknown.append(str(dataset))
        else:
            lost += int((~_whole(values, images)).sum())
    return lost, tuple(unknown)


def usual_test_size(accuracies: FloatArray) -> int | None:
    """Smallest number of images of which four in five accuracies are whole counts; None: none."""
    for images in range(1, _MOST_IMAGES + 1):
        if _whole(accuracies, images).mean() >= _USUAL:
            return images
    return None


def _whole(accuracies: FloatArray, images: int) -> NDArray[np.bool_]:
    counts = accuracies * images
    return np.asarray(np.abs(counts - np.round(counts)) < _WHOLE)


def _headline(protocols: Sequence[Protocol]) -> str:
    first = protocols[0]
    best = first.configurations[0]
    most = len(first.configurations) * len(first.best) * len(first.means)
    won = f"{best.backbone} with {best.loss} ranks first: Borda {best.borda:,} of {most:,}"
    told = [f"Under {first.name}, {won}"]
    for factor in ("kind", "size"):
        test = next(one for one in first.groups if one.attribute == factor)
        if len(test.groups) > 1:
            told.append(
                f"of {factor}s, {test.groups[0]} has the highest mean Borda ({test.means[0]:,.0f}) "
                f"and {test.groups[-1]} the lowest ({test.means[-1]:,.0f}; analysis of variance of "
                f"all {factor}s, p {_p(test.p_value)})"
            )
    every = next((one for one in first.odds if one.group == "all"), None)
    if every is not None and every.wins + every.losses:
        told.append(
            f"TRADES beats classic adversarial training for {every.wins} of "
            f"{every.wins + every.losses} backbones"
        )
    return "; ".join(told) + "."


def _p(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.2g}"


def _flags(grids: Sequence[Grid], protocols: Sequence[Protocol], lost: int, rows: int) -> list[str]:
    flags = [
        f"{grid.name}: {grid.lacking} configurations lack a data set and are left out"
        for grid in grids
        if grid.lacking
    ]
    near = sum(protocol.chance for protocol in protocols)
    if near:
        flags.append(
            f"{near} of {rows:,} rows have a clean accuracy below {CHANCE:.0%}: ranks among them "
            "are chance"
        )
    flags += [flag for one in protocols if (flag := _constants(one))]
    if lost:
        flags.append(
            f"{lost} of {rows * len(METRICS):,} accuracies are no whole number of the usual test "
            "images: some were measured on a part, as when a worker is lost"
        )
    return flags


def _constants(protocol: Protocol) -> str:
    """The constant answer that Borda ranks highest; empty where there is none."""
    half = len(protocol.best) / 2
    fair = sorted(protocol.configurations, key=lambda one: -one.fair_borda)
    for place, one in enumerate(protocol.configurations, start=1):
        if one.constant >= half:
            return (
                f"{protocol.name}: {one.backbone} with {one.loss} looks like a constant answer on "
                f"{one.constant} of {len(protocol.best)} data sets and yet is number {place} of "
                f"{len(fair)} by Borda, whose ties favour it; number {fair.index(one) + 1} by "
                "fair Borda"
            )
    return ""


def _unknown_sizes(datasets: Sequence[str]) -> list[str]:
    return [
        f"{dataset}: its usual number of test images cannot be told from the accuracies, so lost "
        "workers were not looked for"
        for dataset in datasets
    ]
