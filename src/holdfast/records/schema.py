"""What one row says; the only place where columns are named.

Accuracies and errors are fractions, times seconds, eps and sigma pixel units of [0, 1].
"""

from __future__ import annotations

from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

FORMAT = 1  # of the store; raised when an older reader would misread a column

Status = Literal["ok", "failed", "skipped"]
Kind = Literal["clean", "corruption", "noise", "attack", "shift"]


class Measurement(BaseModel):
    """One number with its count and 95 % interval, and all that is needed to read it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)

    study: str = ""
    run_id: str
    status: Status
    error: str | None = None
    model: str
    weights_digest: str
    data: str
    data_digest: str
    split: str
    view: str
    condition: str
    family: Kind
    severity: int | None = None
    sigma: float | None = None
    norm: str | None = None
    eps: float | None = None
    steps: int | None = None
    metric: str
    value: float | None = None  # None in the row of a failed run; NaN where there was no data
    low: float | None = None
    high: float | None = None
    count: int = 0  # samples that the value rests on
    broken: int = 0  # images of the set that could not be read
    forward_evals: int = 0
    gradient_evals: int = 0
    seconds: float = 0.0
    device: str
    dtype: str
    seed: int
    flags: tuple[str, ...] = ()
    holdfast_version: str
    torch_version: str


MEASUREMENT_COLUMNS: dict[str, Any] = {
    "study": pl.String,
    "run_id": pl.String,
    "status": pl.String,
    "error": pl.String,
    "model": pl.String,
    "weights_digest": pl.String,
    "data": pl.String,
    "data_digest": pl.String,
    "split": pl.String,
    "view": pl.String,
    "condition": pl.String,
    "family": pl.String,
    "severity": pl.Int64,
    "sigma": pl.Float64,
    "norm": pl.String,
    "eps": pl.Float64,
    "steps": pl.Int64,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "count": pl.Int64,
    "broken": pl.Int64,
    "forward_evals": pl.Int64,
    "gradient_evals": pl.Int64,
    "seconds": pl.Float64,
    "device": pl.String,
    "dtype": pl.String,
    "seed": pl.Int64,
    "flags": pl.List(pl.String),
    "holdfast_version": pl.String,
    "torch_version": pl.String,
}

# One row a sample. `prediction` is -1 and the scores NaN where the logits were not finite.
SAMPLE_COLUMNS: dict[str, Any] = {
    "id": pl.Int64,
    "label": pl.Int64,
    "prediction": pl.Int64,
    "confidence": pl.Float64,
    "correct": pl.Boolean,
    "top5": pl.Boolean,
    "nll": pl.Float64,
    "brier": pl.Float64,
    "forward_evals": pl.Int64,
    "gradient_evals": pl.Int64,
}

# One row an image that could not be read.
BROKEN_COLUMNS: dict[str, Any] = {"id": pl.Int64, "name": pl.String, "reason": pl.String}

# A few perturbed images, as PNG files.
PICTURE_COLUMNS: dict[str, Any] = {
    "id": pl.Int64,
    "label": pl.Int64,
    "clean_prediction": pl.Int64,
    "prediction": pl.Int64,
    "norm": pl.Float64,
    "clean": pl.Binary,
    "difference": pl.Binary,  # amplified around mid gray to the full range
    "perturbed": pl.Binary,
}


def measurement_frame(rows: list[Measurement]) -> pl.DataFrame:
    """Rows as a table with the columns above, in their order."""
    return pl.DataFrame([row.model_dump() for row in rows], schema=MEASUREMENT_COLUMNS)


class RunSpec(BaseModel):
    """One row of a plan: all that decides a run's numbers, and nothing that does not.

    Neither code version nor machine, batch size or device is part of it. Where a name was
    typed as a path, only what the path holds counts: its digest stands for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    weights_digest: str
    source_digest: str
    data_digest: str
    split: str
    view: str
    condition: str
    seed: int
    search: str | None = None  # precision of the search for adversarial images, if not float32
    until: float | None = None  # half-width of the interval at which no more images are drawn
