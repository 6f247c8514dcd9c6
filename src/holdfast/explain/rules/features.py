"""Attributes as numbers: the columns of the regression."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from holdfast.explain.rules.attributes import Described
from holdfast.metrics.intervals import FloatArray

AVERAGING = ("average", "blur")
CLIP_WORDS = ("clip", "siglip")
_ENOUGH = 0.8  # share of the described models that must have an attribute
_FEWEST = 3  # models on the rarer side of a yes or no
_MOST_LEVELS = 5  # kinds of a text that are told apart
_COLLINEAR = 0.99  # share of a column's variance that the columns before it may explain
_DISTINCT = 1e-9
Row = dict[str, Any]


@dataclass(frozen=True)
class Feature:
    """A column of the regression: what it is called, what one unit of it is, its values [N]."""

    attribute: str
    contrast: str
    values: FloatArray


@dataclass(frozen=True)
class Design:
    """Columns that can be told apart.

    Attributes:
        features: In order of their importance to us.
        rows: Which models have all of them, bool [N].
        dropped: Attribute -> why, of those left out.
    """

    features: tuple[Feature, ...]
    rows: Any
    dropped: dict[str, str]


def averages(row: Row) -> bool | None:
    """Whether any pool on the main way or in a shortcut averages; None where it is not known."""
    kinds = [row[name] for name in ("downsampling", "shortcut_downsampling", "stem_pool")]
    if all(kind is None for kind in kinds):
        return None
    return any("average" in (kind or "") for kind in kinds)


def is_clip(row: Row) -> bool | None:
    """Whether images were aligned with texts before; None where the training is not known."""
    return None if row["pretraining"] is None else row["pretraining"] in CLIP_WORDS


def clip_vit(row: Row) -> bool | None:
    """Whether it is an attention network trained so."""
    clip = is_clip(row)
    if clip is None or row["kind"] is None:
        return None
    return clip and row["kind"] == "attention"


def first_norm(row: Row) -> str | None:
    """The most frequent normalization."""
    return None if row["norms"] is None else str(row["norms"]).partition(",")[0].strip()


def features_of(described: Described, clean: FloatArray | None = None) -> list[Feature]:
    """All columns, the most important first; NaN where an attribute is not known.

    Args:
        described: The models.
        clean: Their clean accuracies [N], to be held too; None leaves them out.
    """
    rows = list(described.table.iter_rows(named=True))
    found = [
        Feature("stem_kernel", "per doubling", _log2(rows, "stem_kernel")),
        Feature("input_size", "per doubling", _log2(rows, "input_size")),
        Feature("average_pooling", "average against none that averages", _flag(rows, averages)),
        Feature("clip", "CLIP against other attention networks", _flag(rows, clip_vit)),
        Feature("parameters", "per doubling", _log2(rows, "parameters")),
    ]
    if clean is not None:
        found.append(Feature("clean_accuracy", "per 10 points", 10 * clean))
    found += [
        Feature("kind", f"{kind} against convolutional", _is(rows, "kind", kind))
        for kind in ("attention", "hybrid", "mlp")
    ]
    found += [
        _boolean(rows, "anti_aliased", "anti-aliased against not"),
        _boolean(rows, "more_data", "more than ImageNet-1k against it alone"),
        _boolean(rows, "adversarial", "adversarially trained against not"),
        _boolean(rows, "augmented", "named after an augmentation against not"),
        _boolean(rows, "less_training", "cut short or on less data against not"),
        _boolean(rows, "self_supervised", "self-supervised against not"),
        Feature("clip_other", "CLIP against other networks without attention",
                _flag(rows, _clip_elsewhere)),
        Feature("stem_pool", "max pool in the stem against none", _is(rows, "stem_pool", "max")),
        Feature("head_pool", "average against another", _is(rows, "head_pool", "average")),
        Feature("norm", "layer against another normalization",
                _flag(rows, lambda row: _same(first_norm(row), "layer"))),
        Feature("stem_effective_kernel", "per doubling", _log2(rows, "stem_effective_kernel")),
        Feature("pixel_factor", "per doubling", _log2(rows, "pixel_factor")),
    ]  # fmt: skip
    return found + _extra(described)


def design_of(features: Sequence[Feature], usable: Any, *, most: int | None = None) -> Design:
    """Leave out what is not known, constant or collinear, and say so.

    A column stays if four fifths of the models have it, if it varies (a yes or no: three models on
    either side), and if the columns before it explain at most 99 % of its variance.

    Args:
        features: In order of importance.
        usable: Models that have the outcome and attributes, bool [N].
        most: At most so many columns; further ones are left out for want of models.
    """
    dropped: dict[str, str] = {}
    kept: list[Feature] = []
    rows = np.array(usable, dtype=bool)
    for one in features:
        name = _title(one)
        known = np.isfinite(one.values) & usable
        if known.sum() < _ENOUGH * usable.sum():
            dropped[name] = f"known of {known.sum()} of {usable.sum()} models"
        elif not _varies(one.values[known]):
            dropped[name] = "the same for all, or for all but a few"
        else:
            kept.append(one)
            rows &= known
    chosen: list[Feature] = []
    for one in kept:
        name = _title(one)
        if not _varies(one.values[rows]):
            dropped[name] = "the same for all models that have all attributes"
        elif most is not None and len(chosen) >= most:
            dropped[name] = "too few models for another attribute"
        elif _explained(one, chosen, rows) > _COLLINEAR:
            dropped[name] = "follows from the others"
        else:
            chosen.append(one)
    return Design(tuple(chosen), rows, dropped)


def _title(one: Feature) -> str:
    return f"{one.attribute} ({one.contrast})"


def _varies(values: FloatArray) -> bool:
    if len(values) < 2 or float(np.ptp(values)) <= _DISTINCT * (1 + float(np.abs(values).max())):
        return False
    kinds, counts = np.unique(values, return_counts=True)
    return bool(len(kinds) > 2 or counts.min() >= _FEWEST)


def _explained(one: Feature, chosen: Sequence[Feature], rows: Any) -> float:
    """Share of a column's variance that a line in the chosen ones explains."""
    values = one.values[rows]
    values = values - values.mean()
    if not chosen:
        return 0.0
    others = np.column_stack([other.values[rows] for other in chosen])
    others = others - others.mean(0)
    others = others / np.maximum(np.linalg.norm(others, axis=0), _DISTINCT)
    left = values - others @ np.linalg.lstsq(others, values, rcond=None)[0]
    return 1 - float(left @ left) / float(values @ values)


def _extra(described: Described) -> list[Feature]:
    """Columns of the table or of a file that no anatomy has."""
    found: list[Feature] = []
    for name in described.extra:
        column = described.table[name]
        if column.dtype == pl.Boolean:
            found.append(Feature(name, "yes against no", _numeric(column)))
        elif column.dtype.is_numeric():
            values = _numeric(column)
            known = values[np.isfinite(values)]
            scale = float(known.std()) if len(known) else 0.0
            if scale > 0:
                found.append(Feature(name, "per standard deviation", values / scale))
        elif column.dtype == pl.String:
            found += _dummies(name, column)
    return found


def _dummies(name: str, column: pl.Series) -> list[Feature]:
    kinds = column.drop_nulls().value_counts(sort=True)[name].to_list()
    if not 2 <= len(kinds) <= _MOST_LEVELS:
        return []  # a name or a comment
    base, *others = sorted(kinds, key=lambda kind: (-int((column == kind).sum()), kind))
    return [Feature(name, f"{kind} against {base}", _numeric(column == kind)) for kind in others]


def _numeric(column: pl.Series) -> FloatArray:
    return np.array([math.nan if one is None else float(one) for one in column], dtype=np.float64)


def _log2(rows: Sequence[Row], name: str) -> FloatArray:
    return np.array(
        [math.log2(row[name]) if row[name] and row[name] > 0 else math.nan for row in rows],
        dtype=np.float64,
    )


def _flag(rows: Sequence[Row], of: Callable[[Row], bool | None]) -> FloatArray:
    found = (of(row) for row in rows)
    return np.array([math.nan if one is None else float(one) for one in found], dtype=np.float64)


def _is(rows: Sequence[Row], name: str, value: str) -> FloatArray:
    return _flag(rows, lambda row: _same(row[name], value))


def _same(found: str | None, value: str) -> bool | None:
    return None if found is None else found == value


def _boolean(rows: Sequence[Row], name: str, contrast: str) -> Feature:
    # Without a reduction there is nothing to alias.
    default = False if name == "anti_aliased" else None
    return Feature(
        name,
        contrast,
        _flag(
            rows,
            lambda row: default if row[name] is None and row["kind"] is not None else row[name],
        ),
    )


def _clip_elsewhere(row: Row) -> bool | None:
    clip = is_clip(row)
    if clip is None or row["kind"] is None:
        return None
    return clip and row["kind"] != "attention"
