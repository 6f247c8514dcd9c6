"""NAS-Bench-101 of Ying et al.: the published TFRecord file itself, without TensorFlow.

A TFRecord file is a row of records: length (8 bytes), a checksum (4), content, a checksum (4).
Content is JSON `[hash, epochs, adjacency, operations, metrics]`, and `metrics` a protocol buffer
in base 64, of which three numbers are taken: validation and test accuracy at the end of training,
and the number of parameters. The checksums are not tested, lengths and contents are.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from holdfast.core.errors import BadValueError, MissingError
from holdfast.search.spaces import Space, space_of
from holdfast.search.tables.readers import READERS, Reader, block, stacked
from holdfast.search.tables.table import Card, Column

CARD = Card(
    name="nasbench101",
    title="423,624 NAS-Bench-101 modules on CIFAR-10, 108 epochs, three seeds",
    source="Ying et al. 2019, NAS-Bench-101",
    address="https://storage.googleapis.com/nasbench/nasbench_only108.tfrecord",
)
_SPACE = "nb101"
_LENGTH, _CHECKSUM = 8, 4
_LARGEST = 1 << 16  # bytes of a record; published ones have a few hundred
_VALIDATION, _TEST = 4, 5  # fields of an evaluation
_EVALUATIONS, _PARAMETERS = 1, 2  # fields of the metrics


def knows(path: Path) -> bool:
    """Whether the first record is JSON that begins with a hash."""
    try:
        with path.open("rb") as file:
            start = file.read(_LENGTH + _CHECKSUM + 2)
    except OSError:
        return False
    return start[_LENGTH + _CHECKSUM :] == b'["'


def read(path: Path) -> pl.DataFrame:
    """Rows of validation and test accuracy by seed, and of parameters.

    Trainings of a module have no seed of their own in the file, so they are numbered in order.

    Raises:
        MissingError: No such file.
        BadValueError: It is no TFRecord file of the benchmark, is cut off, or has a module
            outside of the space.
    """
    space = space_of(_SPACE)
    names: dict[str, str] = {}
    parameters: dict[str, int] = {}
    runs: dict[tuple[str, int], int] = defaultdict(int)
    # Columns by split, epochs and place of the training: architectures and values.
    found: dict[tuple[str, int, int], tuple[list[str], list[float]]] = {}
    for row in _rows(path):
        digest, epochs, adjacency, operations, metrics = row
        if digest not in names:
            names[digest] = _arch(adjacency, operations, space, path)
        arch = names[digest]
        validation, test, parameters[arch] = _metrics(metrics, path)
        seed = runs[digest, epochs]
        runs[digest, epochs] += 1
        for split, value in (("validation", validation), ("test", test)):
            archs, values = found.setdefault((split, epochs, seed), ([], []))
            archs.append(arch)
            values.append(value)
    blocks = [
        block(_SPACE, _accuracy(split, epochs), archs, values, seed=seed)
        for (split, epochs, seed), (archs, values) in sorted(found.items())
    ]
    column = Column("cifar10", "none", "none", None, "params", "params")
    blocks.append(block(_SPACE, column, list(parameters), parameters.values()))
    return stacked(blocks, path)


def _accuracy(split: str, epochs: int) -> Column:
    return Column("cifar10", split, "plain", epochs, "clean", "accuracy")


def _rows(path: Path) -> Iterator[tuple[str, int, str, str, str]]:
    try:
        with path.open("rb") as file:
            for content in _records(file, path):
                yield _row(content, path)
    except IsADirectoryError:
        raise BadValueError(f"{path} is a folder; expected a TFRecord file") from None
    except OSError as error:
        raise MissingError(f"{path} cannot be read: {error}") from error


def _records(file: BinaryIO, path: Path) -> Iterator[bytes]:
    while frame := file.read(_LENGTH + _CHECKSUM):
        length = int.from_bytes(frame[:_LENGTH], "little")  # of noise, any number
        if length > _LARGEST:
            raise BadValueError(f"{path} is no TFRecord file of NAS-Bench-101")
        content = file.read(length)
        if len(content) < length or len(file.read(_CHECKSUM)) < _CHECKSUM:
            raise BadValueError(f"{path} ends within a record, so it is not whole; fetch it again")
        yield content


def _row(content: bytes, path: Path) -> tuple[str, int, str, str, str]:
    try:
        digest, epochs, adjacency, operations, metrics = json.loads(content)
        return str(digest), int(epochs), str(adjacency), str(operations), str(metrics)
    except (ValueError, TypeError):
        raise BadValueError(
            f"{path} has a record that is not [hash, epochs, adjacency, operations, metrics]"
        ) from None


def _arch(adjacency: str, operations: str, space: Space, path: Path) -> str:
    side = math.isqrt(len(adjacency))
    if side**2 != len(adjacency):
        raise BadValueError(f"{path} has an adjacency of {len(adjacency)} digits, no square")
    upper = "".join(adjacency[side * row + end] for row, end in combinations(range(side), 2))
    return space.check(f"{upper}|{','.join(operations.split(',')[1:-1])}")


def _metrics(text: str, path: Path) -> tuple[float, float, int]:
    """Validation and test accuracy at the end of training, and parameters."""
    try:
        fields = list(_fields(base64.b64decode(text, validate=True)))
        last = dict(_fields([value for key, value in fields if key == _EVALUATIONS][-1]))
        return _double(last[_VALIDATION]), _double(last[_TEST]), int(dict(fields)[_PARAMETERS])
    except (binascii.Error, IndexError, KeyError, TypeError, ValueError, struct.error):
        raise BadValueError(f"{path} has metrics that cannot be read") from None


def _double(value: Any) -> float:
    return float(struct.unpack("<d", value)[0])


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protocol buffer; numbers other than int as bytes."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield tag >> 3, value
            continue
        length, place = _varint(data, place) if kind == 2 else ({1: 8, 5: 4}[kind], place)
        if place + length > len(data):
            raise ValueError
        yield tag >> 3, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


READERS.register(CARD.name)(
    Reader(
        CARD,
        "TFRecord file nasbench_only108.tfrecord or nasbench_full.tfrecord",
        knows,
        read,
        file="nasbench_only108.tfrecord",
        whole=423_624,
    )
)
