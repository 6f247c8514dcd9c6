"""NAS-Bench-301 of Siems et al.: the trained networks, or what a surrogate predicts for some.

Two layouts. The training data: a folder of `results_*.json`, one a network, at any depth. And a
CSV of predictions, `arch,val_accuracy` in percent, one line a genotype, which a person writes
with the authors' package: their surrogates come as pickles, which are not read here.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.search.spaces import space_of
from holdfast.search.tables.readers import READERS, Reader, block, stacked
from holdfast.search.tables.sources import as_dict, head, read_json, read_text
from holdfast.search.tables.table import Card, Column

_SOURCE = "Siems et al. 2020, NAS-Bench-301"
CARD = Card(
    name="nasbench301",
    title="about 60,000 DARTS networks on CIFAR-10",
    source=f"{_SOURCE}, training data",
    manual="get the training data nasbench301_full_data from figshare (its page is named in the "
    "repository automl/nasbench301) and unpack it",
)
PREDICTED = Card(
    name="nasbench301-predicted",
    title="DARTS networks on CIFAR-10, as a surrogate of NAS-Bench-301 predicts them",
    source=f"{_SOURCE}, surrogates",
    manual="write a CSV with the columns arch,val_accuracy (Genotype text, percent) from "
    "nasbench301's predict(); its models are pickles, so they are not read here",
)
_SPACE = "darts"
_PREFIX = "NetworkSelectorDatasetInfo:darts:"
_CELLS = ("normal", "reduce")
_INPUTS, _LAST = 2, 6
_PERCENT = 0.01


def _knows(path: Path) -> bool:
    if not path.is_dir():
        return False
    return any("optimized_hyperparamater_config" in head(f) for f in islice(_files(path), 1))


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("results_*.json"))


def _knows_predicted(path: Path) -> bool:
    lines = head(path).splitlines()[:2] if path.is_file() else []
    return len(lines) == 2 and "val_accuracy" in lines[0] and "Genotype(" in lines[1]


def read(path: Path) -> pl.DataFrame:
    """Rows of validation and test accuracy, training time and parameters.

    `epochs` is the budget that a training was given. Networks that were trained more than once
    have as many rows; the files name no seed, so their order, by name, stands for it.

    Raises:
        BadValueError: No such files in the folder, or one that is damaged or of another layout.
    """
    files = _files(path)
    if not files:
        raise BadValueError(f"{path} has no results_*.json in it")
    space = space_of(_SPACE)
    found: dict[tuple[Column, int], dict[str, Any]] = defaultdict(dict)
    repeats: Counter[tuple[Column, str]] = Counter()
    for file in files:
        result = as_dict(read_json(file), str(file))
        arch = space.check(genotype(result.get("optimized_hyperparamater_config"), file))
        for column, value in _values(result, file):
            found[column, repeats[column, arch]][arch] = value
            repeats[column, arch] += 1
    blocks = [
        block(_SPACE, column, list(values), values.values(), seed=repeat)
        for (column, repeat), values in found.items()
    ]
    return stacked(blocks, path)


def _values(result: dict[str, Any], path: Path) -> list[tuple[Column, float | None]]:
    try:
        epochs, info = int(result["budget"]), result["info"][0]
        validation, test = info["val_accuracy"], result["test_accuracy"]
        seconds, parameters = result["runtime"], info["model_parameters"]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadValueError(f"{path} lacks {error}; expected a result of NAS-Bench-301") from None
    return [
        (_accuracy("validation", epochs), _fraction(validation)),
        (_accuracy("test", epochs), _fraction(test)),
        (Column("cifar10", "none", "plain", epochs, "training_time", "seconds"), seconds),
        (Column("cifar10", "none", "none", None, "params", "params"), parameters),
    ]


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else percent * _PERCENT


def _accuracy(split: str, epochs: int | None) -> Column:
    return Column("cifar10", split, "plain", epochs, "clean", "accuracy")


def genotype(config: Any, path: Path) -> str:
    """Genotype text of a configuration's `edge_*` and `inputs_node_*`.

    Edges are numbered through all earlier nodes of each node: 0 and 1 belong to the first node,
    2 to 4 to the second, and so on.

    Raises:
        BadValueError: A node has not two edges.
    """
    found = as_dict(config, f"optimized_hyperparamater_config in {path}")
    cells = {kind: _edges(found, kind, path) for kind in _CELLS}
    ends = list(range(_INPUTS, _LAST))
    parts = ", ".join(f"{kind}={cells[kind]}, {kind}_concat={ends}" for kind in _CELLS)
    return f"Genotype({parts})"


def _edges(config: dict[str, Any], kind: str, path: Path) -> list[tuple[str, int]]:
    edges, first = [], 0
    for node in range(_INPUTS, _LAST):
        inputs = str(config.get(f"{_PREFIX}inputs_node_{kind}_{node}", "0_1"))
        for source in map(int, re.findall(r"\d+", inputs)):
            name = f"{_PREFIX}edge_{kind}_{first + source}"
            if name not in config:
                raise BadValueError(f"{path} has no {name}, which {kind} node {node} reads")
            edges.append((str(config[name]), source))
        first += node
    return edges


def read_predicted(path: Path) -> pl.DataFrame:
    """Rows of a CSV `arch,val_accuracy`, percent.

    Raises:
        BadValueError: It is no such CSV, or has a text that is no genotype.
    """
    text = read_text(path)
    try:
        frame = pl.read_csv(text.encode(), schema_overrides={"val_accuracy": pl.Float64})
        archs, values = frame["arch"].to_list(), frame["val_accuracy"] * _PERCENT
    except pl.exceptions.PolarsError as error:
        line = str(error).split("\n", 1)[0]
        raise BadValueError(f"{path} is no CSV with arch and val_accuracy: {line}") from error
    space = space_of(_SPACE)
    names = [space.check(arch) for arch in archs]
    # Surrogates predict the validation accuracy after the authors' training of 98 epochs.
    column = _accuracy("validation", _EPOCHS)
    return stacked([block(_SPACE, column, names, values)], path)


_EPOCHS = 98

READERS.register(CARD.name)(Reader(CARD, "folder of results_*.json", _knows, read))
READERS.register(PREDICTED.name)(
    Reader(PREDICTED, "CSV arch,val_accuracy", _knows_predicted, read_predicted)
)
