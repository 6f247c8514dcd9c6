"""timm's tables of results: `results/results-*.csv` of huggingface/pytorch-image-models.

A row is a model at an image size. Accuracies are percent, `param_count` counts millions with
commas between thousands, and tables of variants (ImageNet-V2, -Sketch, -R, ...) have the columns
`top1_diff`, `top5_diff` and `rank_diff` against a table of clean images; differences carry a sign,
as in `+5`, and are empty for models that the clean table lacks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.records._csv import numbers_of, read_texts

TIMM_COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "img_size": pl.Int64,  # pixels
    "top1": pl.Float64,  # fraction
    "top5": pl.Float64,  # fraction; null where the table has none
    "param_count": pl.Float64,  # millions
    "crop_pct": pl.Float64,
    "interpolation": pl.String,
    "rank_diff": pl.Int64,  # as published; null where the table states none
}
_NEEDED = ("model", "img_size", "top1")
_NUMBERS = tuple(name for name, kind in TIMM_COLUMNS.items() if kind != pl.String)
_PERCENT = 100.0


def read_timm_results(path: str | Path) -> pl.DataFrame:
    """Read one table of timm's results, in the order of the file; columns `TIMM_COLUMNS`.

    Raises:
        MissingError: No such file.
        BadValueError: A file with other columns, a cell that is no number, accuracies that are no
            percent, or a model at one size twice.
        StoreError: The file cannot be read.
    """
    texts = read_texts(path, "a table of timm's results", _NEEDED)
    columns: list[pl.Series] = []
    for name, kind in TIMM_COLUMNS.items():
        if name not in texts.columns:
            columns.append(pl.Series(name, [None] * texts.height, dtype=kind))
        elif name in _NUMBERS:
            values = numbers_of(texts, name, path).alias(name)
            _check_whole(values, path, kind)
            columns.append(values.cast(kind))
        else:
            columns.append(texts[name])
    frame = pl.DataFrame(columns)
    _check(frame, path)
    return frame.with_columns(pl.col("top1", "top5") / _PERCENT)


def _check_whole(values: pl.Series, path: str | Path, kind: Any) -> None:
    odd = (values != values.round()).fill_null(value=False).arg_true()
    if kind == pl.Int64 and len(odd):
        row = int(odd[0])
        raise BadValueError(
            f"{path}, row {row + 2}: {values.name} must be a whole number, got {values[row]:g}"
        )


def _check(frame: pl.DataFrame, path: str | Path) -> None:
    for name in _NEEDED:
        empty = frame[name].is_null().arg_true()
        if len(empty):
            raise BadValueError(
                f"{path}, row {int(empty[0]) + 2}: {name} is empty; fill or drop it"
            )
    for name in ("top1", "top5"):
        odd = (~frame[name].is_between(0, _PERCENT)).fill_null(value=False).arg_true()
        if len(odd):
            row = int(odd[0])
            raise BadValueError(
                f"{path}, row {row + 2}: {name} must be percent from 0 to 100, "
                f"got {frame[name][row]:g}"
            )
    most = frame["top1"].max()
    if isinstance(most, float) and 0 < most < 1:
        raise BadValueError(
            f"{path}: top1 must be percent, and its largest is {most:g}; multiply fractions by 100"
        )
    twice = frame.select("model", "img_size").is_duplicated().arg_true()
    if len(twice):
        model, size = frame.select("model", "img_size").row(int(twice[0]))
        raise BadValueError(f"{path} has {model} at {size} pixels twice; keep one row of it")
