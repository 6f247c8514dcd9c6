"""NAS-Bench-201 and NATS-Bench (topology): a CSV of accuracies, or the archive in one `.pth`.

The CSV has a line a number: `arch_str,dataset,split,epochs,seed,accuracy`, `accuracy` in percent
as the benchmark's own interface gives it, `seed` empty for a mean. Of NATS-Bench, which is a
folder of compressed pickles, a person writes it with the program of `EXPORT`, which uses the
authors' package. The archive `NAS-Bench-201-v1_1-096897.pth` is opened by torch with
`weights_only`, which runs nothing; where that refuses it, the CSV remains.
"""

from __future__ import annotations

import pickle
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.search.tables.formats._cells import SPACE
from holdfast.search.tables.readers import READERS, Reader, block, stacked
from holdfast.search.tables.schema import SPLITS
from holdfast.search.tables.sources import as_dict, head, read_text, some
from holdfast.search.tables.table import Card, Column

EXPORT = """\
import csv
from nats_bench import create
api = create(None, "tss", fast_mode=True, verbose=False)
with open("nats-bench.csv", "w", newline="") as file:
    out = csv.writer(file)
    out.writerow(["arch_str", "dataset", "split", "epochs", "seed", "accuracy"])
    for i in range(len(api)):
        for name, split, key in (
            ("cifar10-valid", "validation", "valid-accuracy"), ("cifar10", "test", "test-accuracy"),
            ("cifar100", "validation", "valid-accuracy"), ("cifar100", "test", "test-accuracy"),
            ("ImageNet16-120", "validation", "valid-accuracy"),
            ("ImageNet16-120", "test", "test-accuracy"),
        ):
            info = api.get_more_info(i, name, hp="200", is_random=False)
            out.writerow([api.arch(i), name, split, 200, "", info[key]])
"""
CARD = Card(
    name="nats-bench",
    title="15,625 NAS-Bench-201 cells on CIFAR-10, CIFAR-100 and ImageNet16-120",
    source="Dong and Yang 2020, NAS-Bench-201; Dong et al. 2021, NATS-Bench",
    manual="get NATS-tss-v1_0-3ffb9-simple from the Google Drive folder that the repository "
    "D-X-Y/NATS-Bench names, and write a CSV with the authors' package (the program is "
    "holdfast.search.tables.formats.nats_bench.EXPORT), or get NAS-Bench-201-v1_1-096897.pth",
)
_SPACE = "nb201"
_COLUMNS = ("arch_str", "dataset", "split", "accuracy")
_OPTIONAL = ("epochs", "seed")
_DATASETS = {"cifar10-valid": "cifar10"}  # the same images, fewer of them trained on
_PERCENT, _MILLION = 0.01, 1e6
# Evaluations of an archive that are a split of their own; the others mix two.
_EVALUATIONS = {
    ("cifar10-valid", "x-valid"): "validation",
    ("cifar10", "ori-test"): "test",
    ("cifar100", "x-valid"): "validation",
    ("cifar100", "x-test"): "test",
    ("ImageNet16-120", "x-valid"): "validation",
    ("ImageNet16-120", "x-test"): "test",
}
Found = dict[tuple[Column, int | None], tuple[list[str], list[Any]]]


def knows(path: Path) -> bool:
    """Whether a CSV has the columns, or an archive the published name."""
    if path.is_file() and path.suffix == ".pth":
        return path.name.lower().startswith(("nas-bench-201", "nats-"))
    first = head(path).split("\n", 1)[0].strip().split(",") if path.is_file() else []
    return set(_COLUMNS) <= set(first)


def read(path: Path) -> pl.DataFrame:
    """Rows of accuracies, and for an archive of parameters and multiply-adds.

    Raises:
        BadValueError: The file is damaged, of another layout, or an archive that cannot be opened
            without running what is in it.
    """
    if path.is_dir() or path.name.endswith((".pickle", ".pbz2")):
        raise BadValueError(f"{path} holds pickles, which are not read; {CARD.manual}")
    return _read_archive(path) if path.suffix == ".pth" else _read_csv(path)


def _read_csv(path: Path) -> pl.DataFrame:
    text = read_text(path)
    kinds = {"accuracy": pl.Float64, "epochs": pl.Int32, "seed": pl.Int32}
    try:
        frame = pl.read_csv(text.encode(), schema_overrides=kinds)
    except pl.exceptions.PolarsError as error:
        line = str(error).split("\n", 1)[0]
        raise BadValueError(f"{path} cannot be read as CSV: {line}") from error
    wrong = sorted(set(frame.columns) - {*_COLUMNS, *_OPTIONAL})
    if wrong or not set(_COLUMNS) <= set(frame.columns):
        raise BadValueError(
            f"{path} has the columns {', '.join(frame.columns)}; expected "
            f"{', '.join(_COLUMNS)} and perhaps {', '.join(_OPTIONAL)}"
        )
    frame = frame.with_columns(
        pl.lit(None, pl.Int32).alias(name) for name in _OPTIONAL if name not in frame.columns
    )
    unknown = sorted(set(frame["split"]) - set(SPLITS))
    if unknown:
        raise BadValueError(f"{path} has the split {some(unknown)}; known: {', '.join(SPLITS)}")
    found: Found = defaultdict(lambda: ([], []))
    for row in frame.iter_rows(named=True):
        column = _column(row["dataset"], row["split"], row["epochs"])
        _add(found, (column, row["seed"]), row["arch_str"], _times(row["accuracy"], _PERCENT))
    return _stacked(found, path)


def _read_archive(path: Path) -> pl.DataFrame:
    import torch  # noqa: PLC0415 - takes seconds

    try:
        archive = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        line = str(error).split("\n", 1)[0]
        raise BadValueError(
            f"{path} cannot be opened without running what is in it ({line}); {CARD.manual}"
        ) from error
    infos = as_dict(as_dict(archive, str(path)).get("arch2infos"), f"arch2infos in {path}")
    found: Found = defaultdict(lambda: ([], []))
    for number, hypers in infos.items():
        for state in as_dict(hypers, f"cell {number} in {path}").values():
            try:
                _add_state(found, state)
            except (KeyError, TypeError, AttributeError, IndexError) as error:
                raise BadValueError(f"{path}: cell {number} lacks {error}") from None
    return _stacked(found, path)


def _add_state(found: Found, state: dict[str, Any]) -> None:
    """Results of one cell trained with one set of hyper-parameters."""
    arch = state["arch_str"]
    for (dataset, seed), result in state["all_results"].items():
        epochs = int(result["epochs"])
        for name, split, value in _evaluations(dataset, result, epochs):
            column = _column(name, split, epochs)
            _add(found, (column, int(seed)), arch, _times(value, _PERCENT))
        costs = {"params": ("params", "params"), "flop": ("flops", "multiply_adds")}
        for key, (condition, metric) in costs.items():
            cost = Column(_DATASETS.get(dataset, dataset), "none", "none", None, condition, metric)
            if arch not in found[cost, None][0][-1:]:
                _add(found, (cost, None), arch, _times(result[key], _MILLION))


def _evaluations(
    dataset: str, result: dict[str, Any], epochs: int
) -> Iterator[tuple[str, str, float]]:
    """(dataset, split, percent) after the last epoch."""
    for key, value in result["eval_acc1es"].items():
        match = re.fullmatch(r"(.+)@(\d+)", key)
        if match and int(match[2]) == epochs - 1 and (dataset, match[1]) in _EVALUATIONS:
            yield dataset, _EVALUATIONS[dataset, match[1]], value


def _column(dataset: str, split: str, epochs: int | None) -> Column:
    return Column(_DATASETS.get(dataset, dataset), split, "plain", epochs, "clean", "accuracy")


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _add(found: Found, key: tuple[Column, int | None], arch: str, value: float | None) -> None:
    archs, values = found[key]
    archs.append(SPACE.check(arch))
    values.append(value)


def _stacked(found: Found, path: Path) -> pl.DataFrame:
    blocks = [block(_SPACE, c, *data, seed=seed) for (c, seed), data in found.items()]
    return stacked(blocks, path)


READERS.register(CARD.name)(
    Reader(
        CARD, "CSV arch_str,dataset,split,epochs,seed,accuracy; or .pth", knows, read, whole=15_625
    )
)
