"""Tables of models made from a known linear model with families."""

from __future__ import annotations

import csv

import numpy as np
import polars as pl

from holdfast.explain.observations import CLEAN, OBSERVATION_COLUMNS, Observations

TRUTH = {"stem_kernel": 0.006, "input_size": -0.008, "average_pooling": 0.012}
LEVELS = (1, 2, 3, 4, 5)


def make_models(seed, count=200, families=25, effects=None, spread=0.006, noise=0.006):
    """Attributes and outcomes of models: slope = effects + family + noise, in fractions a level."""
    effects = TRUTH if effects is None else effects
    rng = np.random.default_rng(seed)
    of_family = rng.normal(0, spread, families)
    rows = []
    for one in range(count):
        family = int(rng.integers(families))
        kernel, size = rng.choice([3, 4, 7, 16]), rng.choice([160, 224, 288, 384])
        average = bool(rng.random() < 0.4)
        slope = -0.09 + of_family[family] + rng.normal(0, noise)
        slope += effects.get("stem_kernel", 0) * (np.log2(kernel) - 2)
        slope += effects.get("input_size", 0) * (np.log2(size) - 8)
        slope += effects.get("average_pooling", 0) * average
        rows.append(
            {
                "model": f"net-{one:03d}",
                "family": f"family{family}",
                "kind": "convolutional",
                "stem_kernel": int(kernel),
                "input_size": int(size),
                "downsampling": "strided conv",
                "stem_pool": "average" if average else "max",
                "parameters": int(1e7 * 2 ** rng.normal(0, 1)),
                "clean": float(rng.uniform(0.72, 0.85)),
                "true_slope": float(slope),
            }
        )
    return rows


def write_testbed(path, rows, lacking=()):
    """The table of imagenet-testbed, percent, with attributes as further columns."""
    shown = [name for name in rows[0] if name not in {"clean", "true_slope", "model"}]
    levels = [level for level in LEVELS if level not in lacking]
    head = ["model", *shown, "imagenet-r", "val"]
    for recording in ("in-memory", "on-disk"):
        head += [f"imagenet-c.gaussian_noise.{level}_{recording}" for level in levels]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for row in rows:
            curve = [100 * (row["clean"] + row["true_slope"] * level) for level in levels]
            cells = [50, 100 * row["clean"], *(value + 3 for value in curve), *curve]
            writer.writerow([row["model"], *(row[name] for name in shown), *cells])
    return path


def observe(rows, more=()):
    """Observations of the same, without a file; `more` are further rows."""
    long = [(row["model"], CLEAN, 0.0, "accuracy", row["clean"], None) for row in rows]
    long += [
        (row["model"], "gaussian_noise", float(level), "accuracy", value, None)
        for row in rows
        for level in LEVELS
        if 0 <= (value := row["clean"] + row["true_slope"] * level) <= 1
    ]
    long += list(more)
    frame = pl.DataFrame(long, schema=OBSERVATION_COLUMNS, orient="row")
    shown = [name for name in rows[0] if name not in {"clean", "true_slope"}]
    return Observations(frame, pl.DataFrame(rows).select(shown), "a toy table")


def effect(found, attribute, outcome="slope", method="regression"):
    """The effects of an attribute; there must be one."""
    some = [
        one
        for one in found
        if (one.attribute, one.outcome, one.method) == (attribute, outcome, method)
    ]
    assert len(some) == 1, attribute
    return some[0]
