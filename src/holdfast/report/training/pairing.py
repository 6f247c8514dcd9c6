"""Difference of two accuracies of the images that both samples have."""

from __future__ import annotations

import polars as pl

from holdfast.metrics.intervals import Estimate
from holdfast.metrics.pairing import paired_difference


def paired_samples(before: pl.DataFrame, after: pl.DataFrame) -> Estimate:
    """`paired_difference` of the samples that both have, by their ids."""
    both = before.select("id", "correct").join(
        after.select("id", "correct"), on="id", how="inner", suffix="_after"
    )
    return paired_difference(both["correct"].to_numpy(), both["correct_after"].to_numpy())
