"""The robustness dataset of Jung et al.: a folder of JSON files, one a measurement.

Accuracy and confidence become rows a condition. A confusion matrix becomes ten (or as many as
there are classes) metrics `recall(class=K)`, its diagonal over its row sums, and not a row a
field: all conditions of the release would be 70 million rows, and what an objective can use of a
matrix is how well each class is recognised. `confusion_matrices` reads the matrices themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from holdfast.core.errors import BadValueError, MissingError
from holdfast.core.specs import format_spec
from holdfast.search.tables.formats._cells import Meta, find_meta, read_meta
from holdfast.search.tables.naming import CORRUPTIONS
from holdfast.search.tables.readers import READERS, Reader, block, numbers_of, stacked
from holdfast.search.tables.sources import as_dict, head, read_json
from holdfast.search.tables.table import Card, Column

CARD = Card(
    name="robustness-dataset",
    title="6,466 NAS-Bench-201 networks under attacks and corruptions, plain training",
    source="Jung, Lukasik and Keuper 2023, Neural Architecture Design and Robustness: A Dataset",
    verified="CIFAR-10: accuracies of all 20 conditions, confusion matrices of clean images",
    manual="get the zips and meta.zip from data.robustness.vision, unpack them into one folder",
)
ATTACKS: dict[str, tuple[str, dict[str, int]]] = {  # how each was run; radii are in meta.json
    "fgsm@Linf": ("fgsm", {}),
    "pgd@Linf": ("pgd", {"steps": 40}),
    "aa_apgd-ce@Linf": ("apgd_ce", {"steps": 100}),
    "aa_square@Linf": ("square", {"queries": 5000}),
}
MEASURES = ("accuracy", "confidence", "cm")
_EPOCHS = 200  # released weights of NAS-Bench-201
_SEVERITIES = 5
_SPACE = "nb201"


def knows(path: Path) -> bool:
    """Whether a folder has files of measurements, itself or one level below."""
    if not path.is_dir():
        return False
    return any(_is_measurement(file) for file in _files(path)[:3])


def _is_measurement(path: Path) -> bool:
    return path.stem.endswith(tuple(f"_{measure}" for measure in MEASURES)) and (
        head(path).lstrip().startswith("{")
    )


def _files(path: Path) -> list[Path]:
    found = [*path.glob("*.json"), *path.glob("*/*.json")]
    return sorted(file for file in found if not file.stem.endswith("meta"))


def read(path: Path) -> pl.DataFrame:
    """Rows of all measurements in a folder.

    Args:
        path: `<root>` with `meta.json` and `<dataset>/<key>_<measure>.json`, or a folder of such
            files, with `meta.json` in it or above it.

    Raises:
        MissingError: No such folder, or no `meta.json`.
        BadValueError: A file that is damaged, has other keys, leaves out an architecture or has
            one that `meta.json` does not know, or not as many values as there are radii.
    """
    if not path.is_dir():
        raise BadValueError(f"{path} is a file; expected the folder with all of them")
    files = _files(path)
    if not files:
        raise BadValueError(f"{path} has no files KEY_MEASURE.json in it, or one level below")
    place = find_meta(path)
    if place is None:
        raise MissingError(f"there is no meta.json in {path} or above it; put it there")
    meta = read_meta(place)
    return stacked([part for file in files for part in _blocks(file, meta)], path)


def _blocks(path: Path, meta: Meta) -> Iterator[pl.DataFrame]:
    for dataset, key, measure, values in _entries(path):
        where = f"{dataset} {key} {measure} in {path}"
        archs = meta.names(values, where)
        meta.complete(values, where)
        numbers = numbers_of(values.values(), where)
        conditions = _conditions(key, meta, where)
        extra = 1 if conditions else 0
        if measure == "cm":
            numbers = _recalls(numbers, extra, where)
        yield from _columns(dataset, measure, conditions, (archs, numbers), where)


def _entries(path: Path) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(dataset, key, measure, values by number) of a file."""
    for dataset, keys in as_dict(read_json(path), str(path)).items():
        for key, measures in as_dict(keys, f"{dataset} in {path}").items():
            for measure, values in as_dict(measures, f"{dataset} {key} in {path}").items():
                if measure not in MEASURES:
                    raise BadValueError(
                        f"{path} has the measure {measure!r}; expected {', '.join(MEASURES)}"
                    )
                yield dataset, key, measure, as_dict(values, f"{dataset} {key} in {path}")


def _conditions(key: str, meta: Meta, where: str) -> list[str]:
    """Canonical conditions of a key, one a value of a list; none where it is one number."""
    if key == "clean":
        return []
    if key in CORRUPTIONS:
        return [f"{key}(severity={level + 1})" for level in range(_SEVERITIES)]
    if key not in ATTACKS:
        raise BadValueError(
            f"{where}: the key is neither clean, nor an attack ({', '.join(ATTACKS)}), nor a "
            "corruption"
        )
    if key not in meta.epsilons:
        raise BadValueError(f"{meta.source} has no epsilons of {key}")
    name, settings = ATTACKS[key]
    return [
        format_spec(name, {"norm": "linf", "eps": Fraction(str(eps)) / 255, **settings})
        for eps in meta.epsilons[key]
    ]


def _columns(
    dataset: str,
    measure: str,
    conditions: list[str],
    data: tuple[list[str], np.ndarray],
    where: str,
) -> Iterator[pl.DataFrame]:
    """Blocks of values [A], [A, C], or with a last axis of classes."""
    archs, numbers = data
    if conditions and (numbers.ndim < 2 or numbers.shape[1] != len(conditions)):
        got = numbers.shape[1] if numbers.ndim > 1 else 1
        raise BadValueError(
            f"{where} has {got} values an architecture; expected {len(conditions)}, one for each "
            f"of {conditions[0]} to {conditions[-1]}"
        )
    numbers = numbers if conditions else numbers[:, None]
    listed = numbers.ndim > 2 and measure != "accuracy"
    metrics = _metrics(measure, numbers.shape[2]) if listed else [measure]
    numbers = numbers.reshape(len(archs), len(conditions) or 1, -1)
    if numbers.shape[2] != len(metrics):
        raise BadValueError(f"{where} has lists of lists where numbers are expected")
    for place, condition in enumerate(conditions or ["clean"]):
        for which, metric in enumerate(metrics):
            column = Column(dataset, "test", "plain", _EPOCHS, condition, metric)
            yield block(_SPACE, column, archs, numbers[:, place, which])


def _metrics(measure: str, count: int) -> list[str]:
    """Names of the places of a list: classes of a matrix; of confidences no file says what."""
    if measure == "cm":
        return [f"recall(class={k})" for k in range(count)]
    return [f"{measure}(place={k})" for k in range(count)]


def _recalls(matrices: np.ndarray, extra: int, where: str) -> np.ndarray:
    """Correct over all images of each class, from counts [..., true class, predicted class]."""
    if matrices.ndim != 3 + extra or matrices.shape[-1] != matrices.shape[-2]:
        raise BadValueError(f"{where} has no square matrices")
    with np.errstate(invalid="ignore"):  # a class without images has no recall
        return np.diagonal(matrices, axis1=-2, axis2=-1) / matrices.sum(-1)


def confusion_matrices(path: Path) -> Mapping[str, np.ndarray]:
    """Matrices of one `<key>_cm.json`, counts int64 by number: [K, K] or [C, K, K].

    Raises:
        MissingError: No such file.
        BadValueError: It is damaged, or holds another measure.
    """
    for _, _, measure, values in _entries(path):
        if measure == "cm":
            return {uid: np.array(matrix, dtype=np.int64) for uid, matrix in values.items()}
    raise BadValueError(f"{path} has no confusion matrices")


READERS.register(CARD.name)(Reader(CARD, "folder of KEY_MEASURE.json and meta.json", knows, read))
