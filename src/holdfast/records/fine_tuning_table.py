"""The robust fine-tuning grid of Heuillet et al. 2025: one row a configuration and data set.

The published `results_dataset.csv` (MaxHeuillet/robust_training) has 1,440 rows: 40 backbones x 2
losses x 3 protocols x 6 data sets, each with five accuracies. Its short names `backbone_name` are
wrong for two backbones, so `backbone` is the key.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.records._csv import numbers_of, read_texts

METRICS = ("clean", "linf", "l2", "l1", "common")
FINE_TUNING_COLUMNS: dict[str, Any] = {
    "backbone": pl.String,
    "loss": pl.String,  # TRADES or Classic AT
    "protocol": pl.String,  # FFT-50, FFT-5, LP-50, or as the file says
    "dataset": pl.String,
    "size": pl.String,  # small, medium, large
    "kind": pl.String,  # convolutional, attention, hybrid
    "strategy": pl.String,  # of pretraining, such as supervised (robust)
    "pretraining_data": pl.String,
    **dict.fromkeys(METRICS, pl.Float64),  # accuracies, fractions
}
# Column -> what the file calls it.
_NAMES = MappingProxyType(
    {
        "backbone": "backbone",
        "loss": "loss_function",
        "protocol": "ft_strategy",
        "dataset": "dataset",
        "size": "model_size",
        "kind": "model_type",
        "strategy": "pre_training_strategy",
        "pretraining_data": "pre_training_dataset",
        "clean": "clean_acc",
        "linf": "Linf_acc",
        "l2": "L2_acc",
        "l1": "L1_acc",
        "common": "common_acc",
    }
)
_PROTOCOLS = {"FFT (50 epochs)": "FFT-50", "FFT (5 epochs)": "FFT-5", "LP (50 epochs)": "LP-50"}
_KEY = ("backbone", "loss", "protocol", "dataset")


def read_fine_tuning(path: str | Path) -> pl.DataFrame:
    """Read the grid, in the order of the file; columns `FINE_TUNING_COLUMNS`.

    `fully convolutional` and `fully attention` lose their `fully`.

    Raises:
        MissingError: No such file.
        BadValueError: Other columns, empty cells, accuracies that are no fractions, or a
            configuration that stands twice on a data set.
        StoreError: The file cannot be read.
    """
    texts = read_texts(path, "the robust fine-tuning table", list(_NAMES.values()))
    frame = pl.DataFrame(
        [
            (numbers_of(texts, theirs, path) if ours in METRICS else texts[theirs]).alias(ours)
            for ours, theirs in _NAMES.items()
        ]
    )
    _check(frame, path)
    return frame.with_columns(
        pl.col("protocol").replace(_PROTOCOLS), pl.col("kind").str.replace("^fully ", "")
    )


def _check(frame: pl.DataFrame, path: str | Path) -> None:
    for ours, theirs in _NAMES.items():
        empty = frame[ours].is_null().arg_true()
        if len(empty):
            raise BadValueError(
                f"{path}, row {int(empty[0]) + 2}: {theirs} is empty; fill it or drop the row"
            )
    for ours in METRICS:
        odd = (~frame[ours].is_between(0, 1)).arg_true()
        if len(odd):
            row = int(odd[0])
            raise BadValueError(
                f"{path}, row {row + 2}: {_NAMES[ours]} must be a fraction in [0, 1], "
                f"got {frame[ours][row]:g}; divide percent by 100"
            )
    twice = frame.select(_KEY).is_duplicated().arg_true()
    if len(twice):
        shown = ", ".join(frame.select(_KEY).row(int(twice[0])))
        raise BadValueError(f"{path} has two rows of {shown}; keep one")
