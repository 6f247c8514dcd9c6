"""HW-NAS-Bench of Li et al.: latency and energy of NAS-Bench-201 cells on six devices.

The published file is a pickle, which can run any program while it is read, so it is not read
here. Whoever trusts it turns it into JSON once, with the program of `CONVERTER`:
`{"nasbench201": {dataset: {"edgegpu_latency": [15625 numbers], ..., "config": [...]}}}`. The part
on FBNet's space in the same file is left alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.search.tables.formats._cells import SPACE
from holdfast.search.tables.readers import READERS, Reader, block, stacked
from holdfast.search.tables.sources import as_dict, head, read_json
from holdfast.search.tables.table import Card, Column

CONVERTER = (
    "import json, pickle; "
    "d = pickle.load(open('HW-NAS-Bench-v1_0.pickle', 'rb')); "
    "json.dump({'nasbench201': d['nasbench201']}, open('hw-nas-bench.json', 'w'), default=float)"
)
CARD = Card(
    name="hw-nas-bench",
    title="latency and energy of NAS-Bench-201 on six devices",
    source="Li et al. 2021, HW-NAS-Bench",
    manual="get HW-NAS-Bench-v1_0.pickle from the repository GATECH-EIC/HW-NAS-Bench and, if you "
    f'trust it (a pickle can run any program), turn it into JSON: python -c "{CONVERTER}"',
)
UNITS = {"latency": "milliseconds", "energy": "millijoules"}
_SPACE = "nb201"
_METRIC = re.compile(r"(\w+)_(latency|energy)")
_UNREAD = ("config", "average_hw_metric")


def knows(path: Path) -> bool:
    """Whether a file begins with the space's name and then a data set's."""
    text = head(path) if path.is_file() else ""
    return re.match(r'\s*\{\s*"nasbench201"\s*:\s*\{\s*"[\w-]+"\s*:', text) is not None


def read(path: Path) -> pl.DataFrame:
    """Rows `latency(device=...)` in milliseconds and `energy(device=...)` in millijoules.

    Raises:
        BadValueError: It is the pickle itself (the message has the converter), damaged, or a list
            has not a number for each of the 15,625 cells.
    """
    if _is_pickle(path):
        raise BadValueError(f"{path} is a pickle, which is not read; {CARD.manual}")
    found = as_dict(read_json(path), str(path))
    archs = list(SPACE.everything())
    blocks = []
    for dataset, metrics in as_dict(found.get("nasbench201"), f"nasbench201 in {path}").items():
        for name, values in as_dict(metrics, f"{dataset} in {path}").items():
            if name not in _UNREAD:
                column = _column(dataset, name, path)
                blocks.append(block(_SPACE, column, archs, _list(values, name, path)))
    return stacked(blocks, path)


def _is_pickle(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _column(dataset: str, name: str, path: Path) -> Column:
    match = _METRIC.fullmatch(name)
    if match is None:
        raise BadValueError(f"{path}: {name!r} is neither DEVICE_latency nor DEVICE_energy")
    device, kind = match.groups()
    return Column(dataset, "none", "none", None, f"{kind}(device={device})", UNITS[kind])


def _list(values: Any, name: str, path: Path) -> list[Any]:
    if not isinstance(values, list):
        raise BadValueError(f"{path}: {name} must be a list, got {type(values).__name__}")
    return values


READERS.register(CARD.name)(
    Reader(
        CARD,
        "JSON {nasbench201: {dataset: {DEVICE_latency: [15625 numbers]}}}",
        knows,
        read,
        whole=15_625,
    )
)
