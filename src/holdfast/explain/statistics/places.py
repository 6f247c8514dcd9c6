"""Places in a table by accuracy, and how they change, as timm's result tables count them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from holdfast.core.errors import BadValueError
from holdfast.metrics.intervals import FloatArray, IntArray

K = TypeVar("K", bound=Hashable)


def rank_places(top1: ArrayLike, names: Sequence[Any], top5: ArrayLike | None = None) -> IntArray:
    """Places 1, 2, ... [N] by top-1 accuracy, highest first.

    Ties are broken by top-5 accuracy, highest first, then by name in ascending order, so no two
    share a place. Where `top5` is not known it is left out (NaN stands below every number).

    Args:
        top1: Accuracies [N] in any unit.
        names: N of them, comparable with each other: texts, or tuples such as (model, size).
        top5: Accuracies [N], or None.

    Raises:
        BadValueError: Lengths differ, or a top-1 accuracy is not finite.

    Source: results/generate_csv_results.py of huggingface/pytorch-image-models sorts so.
    """
    first = np.asarray(top1, dtype=np.float64)
    if first.shape != (len(names),):
        raise BadValueError(f"one name an accuracy is needed, got {len(names)} for {first.shape}")
    if not np.isfinite(first).all():
        raise BadValueError("places need a top-1 accuracy of every model; leave out those without")
    second = _second(top5, first)
    order = sorted(range(len(names)), key=lambda one: (-first[one], -second[one], names[one]))
    places = np.empty(len(names), dtype=np.int64)
    places[order] = np.arange(1, len(names) + 1)
    return places


def rank_diff(
    base: Sequence[K], base_places: ArrayLike, variant: Sequence[K], variant_places: ArrayLike
) -> dict[K, int]:
    """Places that each model gained: place in the base table - place in the variant's.

    Positive moved up. Places are those in the two full tables, also where one holds models that
    the other lacks; models that are in one alone have no difference.

    Args:
        base: Names in the base table, each once.
        base_places: Their places there.
        variant: Names in the variant's table, each once.
        variant_places: Their places there.

    Raises:
        BadValueError: A name that occurs twice, or other numbers of places than names.

    Source: the column `rank_diff` of timm's result tables. Timm writes the base position minus
    the position in the variant's file as it stood before it was sorted, so among ties in top-1
    accuracy the published number may differ by a few places.
    """
    before, after = _by_name(base, base_places), _by_name(variant, variant_places)
    return {name: before[name] - place for name, place in after.items() if name in before}


def _by_name(names: Sequence[K], places: ArrayLike) -> dict[K, int]:
    listed = np.asarray(places)
    if listed.shape != (len(names),):
        raise BadValueError(f"one place a name is needed, got {listed.shape} for {len(names)}")
    found = dict(zip(names, map(int, listed), strict=True))
    if len(found) != len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise BadValueError(f"{twice} occurs twice in a table; keep one row of it")
    return found


def _second(top5: ArrayLike | None, first: FloatArray) -> FloatArray:
    if top5 is None:
        return np.zeros(len(first))
    second = np.asarray(top5, dtype=np.float64)
    if second.shape != first.shape:
        raise BadValueError(f"one top-5 accuracy a model, got {second.shape} for {first.shape}")
    return np.where(np.isnan(second), -np.inf, second)
