"""What is odd about a table in imagenet-testbed's layout, told in flags or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from holdfast.core.errors import BadValueError
from holdfast.core.wording import shortlist
from holdfast.records._cells import is_text

_CLEAN = "clean"
_PERCENT = 100.0


def flag_texts(columns: Mapping[str, Sequence[str]], flags: list[str]) -> None:
    """Flag texts where accuracies stand."""
    found = []
    for name, cells in columns.items():
        first = next((cell for cell in cells if is_text(cell)), None)
        if first is not None:
            found.append(f"{name} ({first[:20]!r})")
    if found:
        flags.append(f"cells that are no numbers are taken for missing: {shortlist(found)}")


def flag_unread(names: Sequence[str], flags: list[str]) -> None:
    """Flag columns that a heading says are of a test set, and that hold no accuracies."""
    if names:
        flags.append(
            "columns of test sets without accuracies in 0..100 are left out: "
            f"{shortlist(list(names))}"
        )


def check_scale(path: str | Path, rows: pl.DataFrame, flags: list[str]) -> None:
    """Refuse or flag fractions among percent; `rows` are those percents by 100.

    No model is worse on clean images than one in a hundred and better on others, so a clean column
    that is that low is of fractions. A test set or a model may really be that low.

    Raises:
        BadValueError: Clean accuracies are fractions and others percent.
    """
    one = 1 / _PERCENT
    key = ["test_set", "level", "recording"]
    columns = rows.group_by(key, maintain_order=True).agg(pl.col("value").max())
    low = columns.filter((pl.col("value") > 0) & (pl.col("value") <= one))
    clean = low.filter(pl.col("test_set") == _CLEAN)
    if clean.height and low.height < columns.height:
        raise BadValueError(
            f"{path}: clean accuracies go up to {_PERCENT * clean['value'][0]:g} and others to "
            f"{_PERCENT * float(columns['value'].max()):g}; write all as percent, "  # type: ignore[arg-type]
            "or all as fractions"
        )
    models = rows.group_by("model", maintain_order=True).agg(pl.col("value").max(), pl.len())
    few = models.filter((pl.col("value") > 0) & (pl.col("value") <= one) & (pl.col("len") > 1))[
        "model"
    ]
    names = [
        name if level is None else f"{name} {level:g}"
        for name, level in low.select("test_set", "level").iter_rows()
    ]
    flags += [
        f"no value above 1 % where others have more: {shortlist(told)}; if these are fractions, "
        "write them as percent too"
        for told in (names, few.to_list())
        if told
    ]
