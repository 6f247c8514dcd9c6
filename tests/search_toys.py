"""A small table whose best cells are known."""

from __future__ import annotations

import polars as pl

from holdfast.search.spaces import space_of
from holdfast.search.tables.schema import frame_of
from holdfast.search.tables.table import BenchmarkTable, Card

SPACE = "nb201(operations=[none, skip_connect, nor_conv_3x3])"
LATENCY = "latency(device=toy)"
PGD = "pgd(norm=linf, eps=0.1, steps=20)"
_WORTH = {"none": 0.0, "skip_connect": 0.02, "nor_conv_3x3": 0.05}
# The edge from the first node to the last is worth twice as much.
_WEIGHTS = (1.0, 1.0, 1.0, 2.0, 1.0, 1.0)


def worth(cell: tuple[str, ...]) -> float:
    """Clean validation accuracy of a cell: largest, 0.85, where all edges are convolutions."""
    return 0.5 + sum(w * _WORTH[op] for w, op in zip(_WEIGHTS, cell, strict=True))


def toy_table(
    *, without: str = "", only: int = 729, extra: dict[str, float] | None = None
) -> BenchmarkTable:
    """Every cell under clean (validation and test), PGD and a latency.

    PGD falls with the number of convolutions, latency rises with it, and the clean test accuracy
    is 0.1 below that of validation. The class of `without` is left out, and all but
    the first `only`.
    """
    space = space_of(SPACE)
    gone = space.canonical(without) if without else ""
    archs = [arch for arch in space.everything() if space.canonical(arch) != gone]
    archs = archs[:only]
    cells = [space.graphs(arch)[0].nodes[1:-1] for arch in archs]
    convolutions = [cell.count("nor_conv_3x3") for cell in cells]
    columns = [
        ("validation", "plain", 10, "clean", "accuracy", [worth(cell) for cell in cells]),
        ("test", "plain", 10, "clean", "accuracy", [worth(cell) - 0.1 for cell in cells]),
        ("validation", "plain", 10, PGD, "accuracy", [0.6 - 0.1 * n for n in convolutions]),
        ("test", "plain", 10, "fog(severity=3)", "accuracy", [0.5 for _ in cells]),
        ("none", "none", None, LATENCY, "milliseconds", [1.0 + n for n in convolutions]),
    ]  # fmt: skip
    frames = [
        pl.DataFrame(
            {
                "space": SPACE,
                "arch": archs,
                "dataset": "none" if split == "none" else "toys",
                "split": split,
                "training": training,
                "epochs": pl.Series([epochs] * len(archs), dtype=pl.Int32),
                "condition": condition,
                "metric": metric,
                "seed": pl.Series([0] * len(archs), dtype=pl.Int32),
                "value": [(extra or {}).get(f"{condition} {arch}", value)
                          for arch, value in zip(archs, values, strict=True)],
            }
        )
        for split, training, epochs, condition, metric, values in columns
    ]  # fmt: skip
    card = Card("toy", "cells of known worth", "made up for tests")
    return BenchmarkTable(card, frame_of(pl.concat(frames)))
