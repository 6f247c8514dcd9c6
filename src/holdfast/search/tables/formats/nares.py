"""NARes of Wang et al.: wide residual networks trained adversarially, one JSON object a line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.search.spaces import space_of
from holdfast.search.spaces.nares import PARTS
from holdfast.search.tables.readers import READERS, Reader, block, stacked
from holdfast.search.tables.sources import as_dict, head, parse_json, read_text
from holdfast.search.tables.table import Card, Column

CARD = Card(
    name="nares",
    title="15,625 wide residual networks trained adversarially on CIFAR-10",
    source="NARes: A Neural Architecture Dataset for Adversarial Robustness",
    manual="get cifar10.jsonl as the repository zhichao-lu/arch-dataset-adv-robustness says",
)
_SPACE = "nares"
_EPOCHS = 100
_PERCENT = 0.01
# The steps of the attacks are not in the file, so the conditions do not name any.
VALIDATION = {
    "val_acc": "clean",
    "pgd": "pgd(norm=linf, eps=8/255)",
    "cw": "cw_pgd(norm=linf, eps=8/255)",
}
TEST = {
    "test_clean_acc": "clean",
    "Linf_fgsm_acc": "fgsm(norm=linf, eps=8/255)",
    "Linf_pgd_acc": "pgd(norm=linf, eps=8/255)",
    "Linf_cw_acc": "cw_pgd(norm=linf, eps=8/255)",
    "Linf_aa_acc": "autoattack(norm=linf, eps=8/255)",
}
_COSTS = {
    "Params": Column("cifar10", "none", "none", None, "params", "params"),
    "MACs": Column("cifar10", "none", "none", None, "flops", "multiply_adds"),
}
_LEVELS = range(1, 6)
Pair = tuple[Column, int | None, Any]  # column, seed, value


def knows(path: Path) -> bool:
    """Whether the first line has depths and widths."""
    text = head(path) if path.is_file() else ""
    return text.lstrip().startswith("{") and all(f'"{part}"' in text for part in PARTS)


def read(path: Path) -> pl.DataFrame:
    """Rows of validation values at the best epoch, test values, corruptions and costs.

    Raises:
        BadValueError: A line that is damaged or of another layout; its number is said.
    """
    space = space_of(_SPACE)
    found: dict[tuple[Column, int | None], tuple[list[str], list[Any]]] = defaultdict(
        lambda: ([], [])
    )
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"line {number} of {path}"
        record = as_dict(parse_json(line, Path(where)), where)
        try:
            arch = space.check(_arch(record["arch"]))
            pairs = list(_pairs(record, where))
        except (KeyError, IndexError, TypeError) as error:
            raise BadValueError(f"{where} lacks {error}; expected a record of NARes") from None
        for column, seed, value in pairs:
            archs, values = found[column, seed]
            archs.append(arch)
            values.append(value)
    blocks = [block(_SPACE, c, *data, seed=seed) for (c, seed), data in found.items()]
    return stacked(blocks, path)


def _arch(arch: dict[str, int]) -> str:
    return f"Arch({', '.join(f'{part}={arch[part]}' for part in PARTS)})"


def _pairs(record: dict[str, Any], where: str) -> Iterator[Pair]:
    trainings, tests = record["train"], record["test_best"]
    if len(trainings) != len(tests) or not trainings:
        raise BadValueError(f"{where} has {len(trainings)} trainings and {len(tests)} tests")
    for name, column in _COSTS.items():
        yield column, None, record[name]
    for train, test in zip(trainings, tests, strict=True):
        seed, best = int(train["seed"]), int(train["best_epoch"])
        for name, condition in VALIDATION.items():
            yield _column("validation", condition), seed, _fraction(train[name][best])
        for name, condition in TEST.items():
            yield _column("test", condition), seed, _fraction(test.get(name))
        for name, levels in (test.get("corruptions") or {}).items():
            for level in _LEVELS:
                value = levels[str(level)]["acc"]
                yield _column("test", f"{name}(severity={level})"), seed, _fraction(value)


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else percent * _PERCENT


def _column(split: str, condition: str) -> Column:
    return Column("cifar10", split, "adversarial", _EPOCHS, condition, "accuracy")


READERS.register(CARD.name)(
    Reader(CARD, "JSON lines with arch D1 ... W3", knows, read, whole=15_625)
)
