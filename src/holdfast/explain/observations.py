"""Tables of models x conditions, whoever measured them, in one form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

CLEAN = "clean"
OBSERVATION_COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "perturbation": pl.String,  # clean, gaussian_noise, fog, imagenet-r, ...
    "level": pl.Float64,  # severity or sigma or eps; 0 for clean; null where it has none
    "metric": pl.String,  # accuracy (a fraction), ece, ...
    "value": pl.Float64,  # NaN or null: no data
    "count": pl.Int64,  # images; null where the table does not say
}


@dataclass(frozen=True)
class Observations:
    """What was measured of many models.

    Attributes:
        rows: Columns `OBSERVATION_COLUMNS`; a model, perturbation, level and metric occur once.
        attributes: One row a model: `model`, and whatever design attributes came with the table.
        source: Where it came from, in words.
        flags: What casts doubt on it, one sentence each: missing severities, duplicate names.
    """

    rows: pl.DataFrame
    attributes: pl.DataFrame
    source: str
    flags: tuple[str, ...] = ()
