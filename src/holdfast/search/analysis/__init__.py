"""What tables and trials say: pure functions of recorded numbers."""

from __future__ import annotations

from holdfast.search.analysis.best import (
    best,
    cells,
    neighbourhood,
    operations,
    operator_counts,
    top,
)
from holdfast.search.analysis.columns import (
    Scores,
    classes,
    condensed,
    labels,
    mean_of,
    named_columns,
    scores,
    shared,
)
from holdfast.search.analysis.correlations import correlate, correlations, rank_transfer
from holdfast.search.analysis.importance import Importance, importance_of, proxy_importance
from holdfast.search.analysis.latent import tsne
from holdfast.search.analysis.spread import (
    spread_by_column,
    spread_by_operations,
    with_operations,
)
from holdfast.search.analysis.study import Questions, describe, study

__all__ = [
    "Importance",
    "Questions",
    "Scores",
    "best",
    "cells",
    "classes",
    "condensed",
    "correlate",
    "correlations",
    "describe",
    "importance_of",
    "labels",
    "mean_of",
    "named_columns",
    "neighbourhood",
    "operations",
    "operator_counts",
    "proxy_importance",
    "rank_transfer",
    "scores",
    "shared",
    "spread_by_column",
    "spread_by_operations",
    "study",
    "top",
    "tsne",
    "with_operations",
]
