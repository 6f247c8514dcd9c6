"""NAS-RobBench-201 of Wu et al.: networks trained adversarially, by seed or as means of seeds.

Two layouts. The release: `result[dataset][number][metric][seed]`, the number being the cell's in
`meta.json` (of the robustness dataset; where there is none, NAS-Bench-201's own). The table of the
project's page: a script `acc = {...}` with a list a measured cell, the number of the cell measured
in its stead for the others, and the names of the columns under the empty key. The page's
AutoAttack column is of one seed, as its digits show; the others are means of three.

The metrics say `val`, but the images are those of the test split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.search.tables.formats._cells import Meta, find_meta, published_meta, read_meta
from holdfast.search.tables.readers import READERS, Reader, block, numbers_of, stacked
from holdfast.search.tables.sources import as_dict, head, parse_json, read_text, some
from holdfast.search.tables.table import Card, Column

_SOURCE = "Wu et al. 2024, Robust NAS under Adversarial Training (NAS-RobBench-201)"
CARD = Card(
    name="nasrobbench201",
    title="6,466 NAS-Bench-201 networks trained adversarially, three data sets, by seed",
    source=_SOURCE,
    manual="get NAS-RobBench-201_all.json from the Google Drive folder that the authors' "
    "repository TT2408/nasrobbench201 names",
)
PAGE = Card(
    name="nasrobbench201-page",
    title="6,466 NAS-Bench-201 networks trained adversarially, three data sets, means of seeds",
    source=f"{_SOURCE}, table of the project's page",
    address="https://raw.githubusercontent.com/TT2408/nasrobbench201hp/main/files/"
    "NAS-RobBench-201_html.json",
)
CONDITIONS = {
    "val_acc": "clean",
    "val_fgsm_3_acc": "fgsm(norm=linf, eps=3/255)",
    "val_fgsm_8_acc": "fgsm(norm=linf, eps=8/255)",
    "val_pgd_3_acc": "pgd(norm=linf, eps=3/255, steps=20)",
    "val_pgd_8_acc": "pgd(norm=linf, eps=8/255, steps=20)",
    "autoattack": "autoattack(norm=linf, eps=8/255)",
}
DATASETS = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet": "ImageNet16-120"}
_EPOCHS = 50
_SPACE = "nb201"
_ASSIGNMENT = re.compile(r"\s*(?:var\s+|let\s+|const\s+)?\w+\s*=\s*(?=\{)")


def _knows(path: Path) -> bool:
    text = head(path) if path.is_file() else ""
    names = "|".join(DATASETS)
    return re.match(rf'\s*\{{\s*"({names})"\s*:\s*\{{\s*"\d+"\s*:\s*\{{', text) is not None


def _knows_page(path: Path) -> bool:
    text = head(path) if path.is_file() else ""
    start = _ASSIGNMENT.match(text)
    return (
        start is not None and re.match(r'\{\s*"\d*"\s*:\s*[\["]', text[start.end() :]) is not None
    )


def read(path: Path) -> pl.DataFrame:
    """Rows of the release, one a seed.

    Raises:
        BadValueError: The file is damaged or of another layout, leaves out an architecture, or
            has one that `meta.json` does not know.
    """
    text = read_text(path)
    place = find_meta(path)
    meta = read_meta(place) if place else published_meta()
    found = as_dict(parse_json(text, path), str(path))
    blocks = [
        part
        for dataset, scores in found.items()
        for part in _by_seed(dataset, as_dict(scores, f"{dataset} in {path}"), meta, path)
    ]
    return stacked(blocks, path)


def _by_seed(
    dataset: str, scores: Mapping[str, Any], meta: Meta, path: Path
) -> Iterator[pl.DataFrame]:
    archs = meta.names(scores, f"{dataset} in {path}")
    meta.complete(scores, f"{dataset} in {path}")
    parts: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for arch, (uid, metrics) in zip(archs, scores.items(), strict=True):
        for metric, seeds in as_dict(metrics, f"{dataset} {uid} in {path}").items():
            for seed, value in as_dict(seeds, f"{dataset} {uid} {metric} in {path}").items():
                parts.setdefault((metric, seed), []).append((arch, value))
    for (metric, seed), pairs in sorted(parts.items()):
        if not seed.isdigit():
            raise BadValueError(f"{path}: the seed {seed!r} of {metric} is no whole number")
        names, values = zip(*pairs, strict=True)
        yield block(_SPACE, _column(dataset, metric, path), names, values, seed=int(seed))


def _column(dataset: str, metric: str, path: Path) -> Column:
    plain = metric.replace(".0", "")
    if plain not in CONDITIONS:
        raise unknown_name(f"metric of {path}", metric, CONDITIONS)
    if dataset not in DATASETS:
        raise unknown_name(f"data set of {path}", dataset, DATASETS)
    condition = CONDITIONS[plain]
    return Column(DATASETS[dataset], "test", "adversarial", _EPOCHS, condition, "accuracy")


def read_page(path: Path) -> pl.DataFrame:
    """Rows of the page's table, means of seeds.

    Raises:
        BadValueError: The file is damaged or of another layout, a list has another length than
            the names of the columns, or a number leads nowhere.
    """
    text = read_text(path)
    start = _ASSIGNMENT.match(text)
    if start is None:
        raise BadValueError(f"{path} does not begin with NAME = {{; expected the page's script")
    body = text[start.end() :].rstrip().rstrip(";")
    found = as_dict(parse_json(body, path), str(path))
    order = found.pop("", None)
    if not isinstance(order, list) or not all(isinstance(name, str) for name in order):
        raise BadValueError(f"{path} has no list of columns under the empty key")
    lists = {uid: entry for uid, entry in found.items() if isinstance(entry, list)}
    _check_page(found, lists, len(order), path)
    meta = published_meta()
    archs = meta.names(lists, str(path))
    meta.complete(lists, str(path))
    numbers = numbers_of(lists.values(), str(path))
    columns = [_column(*_parts(name, path), path) for name in order]
    blocks = [block(_SPACE, c, archs, numbers[:, place]) for place, c in enumerate(columns)]
    return stacked(blocks, path)


def _parts(name: str, path: Path) -> tuple[str, str]:
    dataset, mark, metric = name.partition("#")
    if not mark:
        raise BadValueError(f"{path} names the column {name!r}; expected dataset#metric")
    return dataset, metric


def _check_page(
    found: Mapping[str, Any], lists: Mapping[str, list[Any]], width: int, path: Path
) -> None:
    uneven = [uid for uid, entry in lists.items() if len(entry) != width]
    if uneven:
        raise BadValueError(
            f"{path} has {len(lists[uneven[0]])} numbers for cell {some(uneven)}; expected {width}"
        )
    lost = [uid for uid, entry in found.items() if uid not in lists and str(entry) not in lists]
    if lost:
        raise BadValueError(f"{path}: cell {some(lost)} leads to a cell without numbers")


READERS.register(CARD.name)(
    Reader(CARD, "JSON result[dataset][number][metric][seed]", _knows, read, whole=6_466)
)
READERS.register(PAGE.name)(
    Reader(
        PAGE,
        "script acc = {number: list or number}",
        _knows_page,
        read_page,
        file="NAS-RobBench-201_html.json",
        whole=6_466,
    )
)
