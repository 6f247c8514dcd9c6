"""NAS-Bench-Macro of Su et al.: one JSON file, accuracies of three trainings a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.search.spaces import space_of
from holdfast.search.tables.readers import READERS, Reader, block, numbers_of, stacked
from holdfast.search.tables.sources import as_dict, head, read_json
from holdfast.search.tables.table import Card, Column

CARD = Card(
    name="nasbench-macro",
    title="6,561 chains of MobileNet blocks on CIFAR-10, three seeds",
    source="Su et al. 2021, Prioritized Architecture Sampling with Monto-Carlo Tree Search",
    address="https://raw.githubusercontent.com/xiusu/NAS-Bench-Macro/master/data/"
    "nas-bench-macro_cifar10.json",
)
_SPACE = "macro"
_ACCURACY = Column("cifar10", "test", "plain", None, "clean", "accuracy")
_COSTS = {
    "params": Column("cifar10", "none", "none", None, "params", "params"),
    "flops": Column("cifar10", "none", "none", None, "flops", "multiply_adds"),
}
_PERCENT = 0.01


def knows(path: Path) -> bool:
    """Whether the first key is eight digits and its entry has accuracies."""
    text = head(path) if path.is_file() else ""
    return re.match(r'\s*\{\s*"[012]{8}"\s*:\s*\{', text) is not None and "acc" in text


def read(path: Path) -> pl.DataFrame:
    """Rows of `{arch: {test_acc: [A, B, C], mean_acc, std, params, flops}}`.

    Accuracies are in percent in the file. Trainings have no seed of their own there, so they are
    numbered by their place in the list.

    Raises:
        BadValueError: The file is damaged or of another layout, or has a string that is no
            architecture, or lists of unequal length.
    """
    found = as_dict(read_json(path), str(path))
    space = space_of(_SPACE)
    archs = [space.check(arch) for arch in found]
    runs = numbers_of((_entry(found, arch, "test_acc", path) for arch in found), str(path))
    if runs.ndim != 2:
        raise BadValueError(f"{path}: test_acc must be a list of as many numbers everywhere")
    blocks = [
        block(_SPACE, _ACCURACY, archs, runs[:, seed] * _PERCENT, seed=seed)
        for seed in range(runs.shape[1])
    ]
    for name, column in _COSTS.items():
        values = [_entry(found, arch, name, path) for arch in found]
        blocks.append(block(_SPACE, column, archs, values))
    return stacked(blocks, path)


def _entry(found: dict[str, Any], arch: str, name: str, path: Path) -> Any:
    entry = as_dict(found[arch], f"{arch} in {path}")
    if name not in entry:
        raise BadValueError(f"{path}: {arch} has no {name}")
    return entry[name]


READERS.register(CARD.name)(
    Reader(
        CARD,
        "JSON {8 digits: {test_acc, params, flops}}",
        knows,
        read,
        file="nas-bench-macro_cifar10.json",
        whole=6_561,
    )
)
