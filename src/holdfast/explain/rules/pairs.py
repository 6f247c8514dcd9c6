"""Networks that are the same but for one attribute."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from holdfast.explain.rules.attributes import TRAINING_COLUMNS, Described
from holdfast.explain.rules.features import Row, averages, clip_vit, first_norm
from holdfast.explain.statistics import holm, sign_test
from holdfast.metrics.intervals import LEVEL, FloatArray
from holdfast.records.explanations import Effect, Value
from holdfast.records.explanations.rules import Outcome

_STEM = {"stem_kernel", "stem_depth", "stem_stride", "stem_reduction", "stem_effective_kernel"}
# A pool in the stem widens what the stem sees.
_POOLS = {
    "downsampling", "shortcut_downsampling", "stem_pool", "average_pooling",
    "stem_effective_kernel",
}  # fmt: skip
_TRAINED = {"pretraining", "pretraining_data", "fine_tuning_data", "objective", "recipe"}
_CONTROLS = (
    "family", "kind", "stem_kernel", "stem_depth", "stem_stride", "stem_reduction", "stem_pool",
    "downsampling", "shortcut_downsampling", "anti_aliased", "head_pool", "activation", "width",
    "input_size", "pretraining", "pretraining_data", "fine_tuning_data", "objective", "recipe",
    "pixel_factor", "stem_effective_kernel", *TRAINING_COLUMNS,
)  # fmt: skip
_NEAR = 1.05  # ratio of parameters up to which two networks are of one size
# First letters of an architecture, without prefixes of ports and words for its pools.
_BLOCK = re.compile(
    r"^(?:tf_|gluon_|legacy_|ssl_|swsl_|ig_)?(?P<word>[a-z]+?)(?:blur|aa)?(?![a-z])"
)
_WILCOXON = 6  # sets from which on a rank test can find anything at 5 %
_LISTED = 12  # sets in a note
_SAME = 1e-12


@dataclass(frozen=True)
class Comparison:
    """An attribute of which pairs are sought.

    Attributes:
        attribute: Its name.
        contrast: What is compared.
        value: Of a model: a number of which a doubling counts, or yes and no; None: not in it.
        free: Which controls may differ, beside the attribute itself.
    """

    attribute: str
    contrast: str
    value: Callable[[Row], float | bool | None]
    free: AbstractSet[str]


@dataclass(frozen=True)
class MatchedSet:
    """Models that agree in all but one attribute.

    Attributes:
        groups: Value of the attribute -> places of the models that have it, ascending.
    """

    groups: Mapping[float, tuple[int, ...]]


def _number(name: str) -> Callable[[Row], float | None]:
    return lambda row: row[name] or None


def _flag(name: str) -> Callable[[Row], bool | None]:
    return lambda row: row[name]


def _deep_and_average(row: Row) -> bool | None:
    """Both of ResNet-D's changes, or neither; other networks are in no such pair."""
    if row["stem_depth"] is None or averages(row) is None:
        return None
    deep = row["stem_depth"] > 1
    return deep if deep == averages(row) else None


def _clip_or_supervised(row: Row) -> bool | None:
    if clip_vit(row):
        return True
    supervised = row["pretraining"] == "supervised" and row["kind"] == "attention"
    return False if supervised else None


COMPARISONS: tuple[Comparison, ...] = (
    Comparison("stem_kernel", "per doubling", _number("stem_kernel"), _STEM),
    Comparison(
        "stem_effective_kernel", "per doubling", _number("stem_effective_kernel"), _STEM
    ),
    Comparison("input_size", "per doubling", _number("input_size"), set()),
    Comparison(
        "average_pooling", "average against none that averages", averages, _POOLS
    ),
    Comparison(
        "anti_aliased", "anti-aliased against not", _flag("anti_aliased"), _POOLS
    ),
    Comparison(
        "deep_stem_and_average", "both against neither", _deep_and_average,
        _STEM | _POOLS,
    ),
    Comparison(
        "head_pool", "average against another",
        lambda row: None if row["head_pool"] is None else row["head_pool"] == "average",
        set(),
    ),
    Comparison(
        "clip", "CLIP against supervised attention networks", _clip_or_supervised,
        _TRAINED | {"family", "pixel_factor", "activation", "norm", *TRAINING_COLUMNS},
    ),
    Comparison(
        "more_data", "more than ImageNet-1k against it alone", _flag("more_data"),
        _TRAINED,
    ),
    Comparison(
        "adversarial", "adversarially trained against not", _flag("adversarial"),
        {"recipe", "objective", "pixel_factor"},
    ),
    Comparison(
        "augmented", "named after an augmentation against not", _flag("augmented"),
        {"recipe"},
    ),
    Comparison("parameters", "per doubling", _number("parameters"), {"width", "body"}),
)  # fmt: skip


def matched_sets(described: Described, one: Comparison) -> list[MatchedSet]:
    """Sets of models that agree in all attributes but one, and in what goes along with it.

    They agree in family, first word of the architecture, kind, stem, downsampling, pools, norm,
    activation, width, layers behind the stem, input size, pretraining and recipe, in further
    columns of the table, and within 5 % in parameters. A deeper stem goes along with its kernel,
    kinds of downsampling with anti-aliasing, training data and recipe with CLIP.
    """
    rows = list(described.table.iter_rows(named=True))
    free = one.free | {one.attribute}
    names = [name for name in (*_CONTROLS, *described.extra) if name not in free]
    strata: dict[tuple[Any, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if one.value(row) is None or row["kind"] is None or row["family"] is None:
            continue
        key = tuple(row[name] for name in names) + _derived(row, free)
        strata.setdefault(key, []).append(place)
    found = []
    for places in strata.values():
        for near in _of_one_size(rows, places, sized="parameters" not in free):
            groups: dict[float, list[int]] = {}
            for place in near:
                groups.setdefault(float(one.value(rows[place]) or 0), []).append(place)
            if len(groups) > 1:
                found.append(MatchedSet({key: tuple(groups[key]) for key in sorted(groups)}))
    return found


def _derived(row: Row, free: AbstractSet[str]) -> tuple[Any, ...]:
    known = row["depth"] is not None and row["stem_depth"] is not None
    parts = {
        "body": row["depth"] - row["stem_depth"] if known else row["depth"],
        "block": _block(row["architecture"]),
        "norm": first_norm(row),
        "average_pooling": averages(row),
    }
    return tuple(value for name, value in parts.items() if name not in free)


def _block(architecture: str | None) -> str | None:
    """What tells apart blocks of one family: resnet, resnext, seresnet, ecaresnet, ..."""
    found = _BLOCK.match(architecture or "")
    return found["word"] if found else architecture


def _of_one_size(rows: Sequence[Row], places: list[int], *, sized: bool) -> list[list[int]]:
    if not sized:
        return [places]
    ordered = sorted(places, key=lambda place: rows[place]["parameters"] or 0)
    groups: list[list[int]] = []
    for place in ordered:
        size = rows[place]["parameters"] or 0
        # Against the first of the group, so that small steps do not add up.
        if groups and size <= _NEAR * (rows[groups[-1][0]]["parameters"] or 0):
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def pair_effects(described: Described, outcomes: Mapping[Outcome, FloatArray]) -> list[Effect]:
    """Mean effect of each attribute over its matched sets, with a t-interval.

    A set counts once, however many models it has: its effect is the difference of the means of
    those with and without, or the slope over the logarithm of the attribute. The note has the sign
    test and, from six sets on, Wilcoxon's signed ranks, and lists the sets. One set has no
    interval.
    """
    names = described.table["model"].to_list()
    families = described.table["family"].to_list()
    found: list[Effect] = []
    sets = [(one, matched_sets(described, one)) for one in COMPARISONS]
    for outcome, values in outcomes.items():
        effects = [
            effect
            for one, some in sets
            if (effect := _effect(one, some, outcome, values, (names, families))) is not None
        ]
        corrected = holm([effect.p_value for effect in effects])
        found += [
            effect.model_copy(update={"p_holm": float(p)})
            for effect, p in zip(effects, corrected, strict=True)
        ]
    return found


def _effect(
    one: Comparison,
    sets: Sequence[MatchedSet],
    outcome: Outcome,
    values: FloatArray,
    who: tuple[list[str], list[str | None]],
) -> Effect | None:
    names, families = who
    known = [(each, value) for each in sets if math.isfinite(value := _change(each, values))]
    if not known:
        return None
    changes = np.array([value for _, value in known])
    members = {
        families[place] for each, _ in known for some in each.groups.values() for place in some
    }
    mean, p = _mean(changes)
    return Effect(
        attribute=one.attribute,
        contrast=one.contrast,
        outcome=outcome,
        method="pairs",
        effect=mean,
        p_value=p,
        families=len(members),
        note=_note(known, changes, names),
    )


def _change(one: MatchedSet, values: FloatArray) -> float:
    """Effect within a set: NaN where fewer than two values of the attribute were measured."""
    means = {}
    for key, places in one.groups.items():
        some = values[list(places)]
        if np.isfinite(some).any():
            means[key] = float(some[np.isfinite(some)].mean())
    if len(means) < 2:
        return math.nan
    keys, found = np.array(list(means)), np.array(list(means.values()))
    across = keys if set(means) == {0.0, 1.0} else np.log2(keys)
    across = across - across.mean()
    return float(across @ (found - found.mean()) / (across @ across))


def _mean(changes: FloatArray) -> tuple[Value, float]:
    count = len(changes)
    mean = float(changes.mean())
    if count < 2:
        return Value(value=mean, count=count), math.nan
    error = float(changes.std(ddof=1)) / math.sqrt(count)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, count - 1)) * error
    value = Value(value=mean, low=mean - half, high=mean + half, count=count)
    if error <= _SAME * (abs(mean) + _SAME):
        return value, math.nan  # all sets say the same, to the last digit: nothing to judge by
    return value, float(2 * stats.t.sf(abs(mean) / error, count - 1))


def _note(
    known: Sequence[tuple[MatchedSet, float]], changes: FloatArray, names: Sequence[str]
) -> str:
    up, down = int((changes > 0).sum()), int((changes < 0).sum())
    told = [f"{up} of {len(changes)} sets up, {down} down"]
    if up + down:
        told[0] += f" (sign test p {sign_test(up, down):.2g})"
    if up + down >= _WILCOXON:
        told.append(f"Wilcoxon p {float(stats.wilcoxon(changes[changes != 0]).pvalue):.2g}")
    listed = [
        " | ".join(", ".join(names[place] for place in some) for some in each.groups.values())
        for each, _ in known[:_LISTED]
    ]
    if len(known) > _LISTED:
        listed.append(f"and {len(known) - _LISTED} more")
    return f"{'; '.join(told)}. Sets: {'; '.join(listed)}"
