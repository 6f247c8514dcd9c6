"""NAS-Bench-NLP of Klyuchnikov et al.: a folder of training logs, one JSON a recurrent network."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.search.spaces import space_of
from holdfast.search.tables.readers import READERS, Reader, block, numbers_of, stacked
from holdfast.search.tables.sources import as_dict, head, read_json
from holdfast.search.tables.table import Card, Column

CARD = Card(
    name="nasbench-nlp",
    title="14,322 recurrent cells on Penn Treebank",
    source="Klyuchnikov et al. 2022, NAS-Bench-NLP",
    manual="unpack train_logs_single_run/logs.zip of the repository fmsnew/nas-bench-nlp-release",
)
_SPACE = "nlp"
_FIELDS = ("recepie", "val_losses", "test_losses")
_EPOCHS = 50


def knows(path: Path) -> bool:
    """Whether a folder has JSON files of logs."""
    if not path.is_dir():
        return False
    return any('"recepie"' in head(file) for file in islice(path.glob("*.json"), 1))


def read(path: Path) -> pl.DataFrame:
    """Rows of perplexity (exp of the loss) on validation and test data, and of parameters.

    Both are those of the epoch with the least validation loss. A training that diverged at once
    has no data.

    Raises:
        BadValueError: No logs in the folder, or one that is damaged or of another layout.
    """
    if not path.is_dir():
        raise BadValueError(f"{path} is a file; expected the folder of logs")
    files = sorted(path.glob("*.json"))
    if not files:
        raise BadValueError(f"{path} has no logs *.json in it")
    space = space_of(_SPACE)
    found: dict[Column, tuple[list[str], list[float]]] = defaultdict(lambda: ([], []))
    for file in files:
        log = as_dict(read_json(file), str(file))
        if not set(_FIELDS) <= set(log):
            raise BadValueError(f"{file} lacks one of {', '.join(_FIELDS)}")
        arch = space.check(_recipe(log["recepie"]))
        for column, value in _values(log, file).items():
            found[column][0].append(arch)
            found[column][1].append(value)
    return stacked([block(_SPACE, column, *data) for column, data in found.items()], path)


def _recipe(recipe: Any) -> str:
    return recipe if isinstance(recipe, str) else json.dumps(recipe)


def _values(log: dict[str, Any], path: Path) -> dict[Column, float]:
    dataset = Path(str(log.get("data", "ptb"))).name
    validation = numbers_of(log["val_losses"], f"val_losses in {path}")
    test = numbers_of(log["test_losses"], f"test_losses in {path}")
    if len(validation) != len(test):
        raise BadValueError(f"{path} has {len(validation)} val_losses and {len(test)} test_losses")
    best = int(np.nanargmin(validation)) if np.isfinite(validation).any() else None
    epochs = int(log.get("epochs", _EPOCHS))
    losses = {"validation": validation, "test": test}
    values = {
        Column(dataset, split, "plain", epochs, "clean", "perplexity"): (
            np.nan if best is None else _perplexity(loss[best])
        )
        for split, loss in losses.items()
    }
    if "num_params" in log:
        values[Column(dataset, "none", "none", None, "params", "params")] = log["num_params"]
    return values


def _perplexity(loss: float) -> float:
    """Exp of a loss; NaN where it is more than a table can hold."""
    return float(np.exp(loss)) if loss < _LARGEST else np.nan


_LARGEST = 88.0  # exp of it is the largest float32

READERS.register(CARD.name)(
    Reader(
        CARD, "folder of log JSON with recepie, val_losses, test_losses", knows, read, whole=14_322
    )
)
