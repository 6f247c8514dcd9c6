"""What attacks left in a store: curves over eps, stages of ensembles, evaluations spent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from holdfast.metrics.accuracy import proportion
from holdfast.metrics.intervals import Estimate
from holdfast.report.attack_text import member_name, norm_name
from holdfast.report.conditions import Condition
from holdfast.report.evidence import Evidence, Setting, clean_accuracy
from holdfast.report.subjects import Subject

# RobustBench's radii (Croce et al. 2021, arXiv:2010.09670) and, for L1, that of Croce and Hein
# 2021, arXiv:2103.01208: what a reader compares with first.
_COMMON = {"linf": (8 / 255, 4 / 255), "l2": (0.5,), "l1": (12.0,)}
_EVALS = "evals_"
WRONG, STANDS = "wrong when clean", "stands"


@dataclass(frozen=True)
class Family:
    """Conditions that differ in nothing but eps: the points of a curve."""

    title: str  # such as `AutoAttack Linf`
    norm: str
    conditions: Sequence[Condition]

    @property
    def minimum(self) -> Condition | None:
        """The condition without eps, from whose norms a curve is read; None where it has eps."""
        first = self.conditions[0]
        return first if first.eps is None else None


def attacks(setting: Setting) -> list[Condition]:
    """Attacks of a setting, by norm, attack and eps."""
    return [condition for condition in setting.conditions() if condition.attack is not None]


def families(setting: Setting) -> list[Family]:
    """Attacks of a setting, those that differ in eps alone together; most measured first."""
    groups: dict[tuple[str, bool], list[Condition]] = {}
    for condition in attacks(setting):
        if condition.attack is not None:
            key = (condition.attack.curve, condition.eps is None)
            groups.setdefault(key, []).append(condition)
    found = [_family(conditions) for conditions in groups.values()]
    first = headline(setting)
    return sorted(
        found, key=lambda f: (first not in f.conditions, -len(f.conditions), f.norm, f.title)
    )


def _family(conditions: Sequence[Condition]) -> Family:
    first = conditions[0]
    name = first.attack.name if first.attack else first.spec
    norm = first.norm or ""
    return Family(f"{name} {norm_name(norm)}", norm, conditions)


def headline(setting: Setting, norm: str | None = None) -> Condition | None:
    """The attack that a reader asks for first; None without one that has an eps.

    The one that most members were measured under; then AutoAttack before others, Linf before
    other norms, RobustBench's radii before others, the smallest eps (a huge one is a check of
    the attack, not a verdict on the model), and the attack that leaves the lowest accuracy.
    """
    known = [c for c in attacks(setting) if c.eps is not None and norm in (None, c.norm)]
    found = {c.spec: _accuracies(setting, c) for c in known}
    return max(
        known,
        key=lambda c: (len(found[c.spec]), *_standing(c), -sum(found[c.spec]), c.spec),
        default=None,
    )


def _accuracies(setting: Setting, condition: Condition) -> list[float]:
    """Accuracy of each member that has one under the condition; no data is no sign of strength."""
    found = [member.subject.estimate(condition.spec, "accuracy") for member in setting.members]
    return [1.0 if math.isnan(e.value) else e.value for e in found if e is not None]


def _standing(condition: Condition) -> tuple[bool, bool, int, float]:
    eps = condition.eps or 0.0
    common = _COMMON.get(condition.norm or "", ())
    places = [-n for n, radius in enumerate(common) if math.isclose(radius, eps)]
    whole = condition.spec.startswith("autoattack(")
    rank = max(places, default=-len(common) - 1)
    return whole, condition.norm == "linf", rank, -eps


def accuracy_by_eps(subject: Subject, family: Family) -> dict[float, Estimate]:
    """Robust accuracy by eps, ascending, clean being eps 0; empty where no eps was measured.

    Where an eps was measured twice (alone and after smaller ones), the estimate over the most
    images counts, and of equals the lower: both attacks are valid.
    """
    found: dict[float, Estimate] = {}
    for condition in family.conditions:
        estimate = subject.estimate(condition.spec, "accuracy")
        if condition.eps is not None and estimate is not None:
            found[condition.eps] = _stronger(found.get(condition.eps, estimate), estimate)
    clean = clean_accuracy(subject)
    if not found or clean is None:
        return dict(sorted(found.items()))
    return {0.0: clean} | dict(sorted(found.items()))


def _stronger(one: Estimate, other: Estimate) -> Estimate:
    return min(one, other, key=lambda e: (-e.count, math.inf if math.isnan(e.value) else e.value))


def norms(samples: pl.DataFrame) -> NDArray[np.float64]:
    """Size of the smallest adversarial perturbation of each sample; infinite where it stands."""
    column = samples["norm"].cast(pl.Float64).fill_null(math.nan).to_numpy()
    return np.where(np.isnan(column), np.inf, column)


def accuracy_from_norms(
    sizes: NDArray[np.float64], places: Iterable[float]
) -> dict[float, Estimate]:
    """Share of samples whose smallest perturbation is larger than each eps, by eps."""
    return {eps: proportion(int((sizes > eps).sum()), len(sizes)) for eps in places}


def stages(samples: pl.DataFrame) -> dict[str, int]:
    """Number of samples wrong from the start, broken by each attack in its order, and standing."""
    by = samples["broken_by"].cast(pl.String)
    counts = {WRONG: int((by == "clean").sum())}
    for short in members(samples):
        counts[member_name(short)] = int((by == short).sum())
    return counts | {STANDS: by.null_count()}


def members(samples: pl.DataFrame) -> list[str]:
    """Short names of the attacks that samples walked through, in their order."""
    return [name.removeprefix(_EVALS) for name in samples.columns if name.startswith(_EVALS)]


def is_attacked(samples: pl.DataFrame | None) -> bool:
    """Whether sample rows tell what an attack did."""
    return samples is not None and {"broken_by", "norm"} <= set(samples.columns)


def chain(subject: Subject, condition: Condition) -> list[Condition]:
    """The condition after those at smaller eps that its attack went through first.

    Its own evaluations are those at its own eps; what a verdict cost is the sum. Those that the
    store lacks are left out.
    """
    if condition.attack is None:
        return [condition]
    after = condition.attack.after
    earlier = {(place, eps) for place, eps in enumerate(after)}
    found = [
        other
        for other in subject.conditions.values()
        if other.attack is not None
        and other.attack.curve == condition.attack.curve
        and any(
            math.isclose(other.eps or 0.0, eps) and other.attack.after == after[:place]
            for place, eps in earlier
        )
    ]
    return [*sorted(found, key=lambda other: other.eps or 0.0), condition]


def evaluations(evidence: Evidence, subject: Subject, condition: Condition) -> pl.DataFrame | None:
    """Evaluations of each sample over the whole chain: id, forward_evals, gradient_evals.

    None where a run kept no samples or a smaller eps is not in the store.
    """
    parts = chain(subject, condition)
    wanted = 1 + (len(condition.attack.after) if condition.attack else 0)
    frames = [evidence.samples(subject, part.spec) for part in parts]
    known = [frame for frame in frames if frame is not None]
    if len(known) < wanted:
        return None
    columns = ("forward_evals", "gradient_evals")
    return pl.concat([f.select("id", *columns) for f in known]).group_by("id").sum().sort("id")


def full_budget(frames: Iterable[pl.DataFrame], *, runs_on: bool = False) -> int | None:
    """Forward passes of an image that stands to the end; None where that cannot be known.

    A sample that went past an attack has received all of that attack's budget.

    Args:
        frames: Samples of all models under one condition.
        runs_on: The attack goes on after a sample fell, as one without a radius does.
    """
    budgets: dict[str, int] = {}
    order: list[str] = []
    for samples in frames:
        order = members(samples)
        ends = {name: place for place, name in enumerate(order)} | {"clean": -1}
        by = samples["broken_by"].cast(pl.String)
        ended = by.replace_strict(ends, default=len(order), return_dtype=pl.Int64)
        for place, name in enumerate(order):
            whole = ended >= 0 if runs_on else ended > place
            spent = samples.filter(whole)[_EVALS + name].max()
            if isinstance(spent, int) and spent:
                budgets[name] = max(spent, budgets.get(name, 0))
    if not order or any(name not in budgets for name in order):
        return None
    return sum(budgets[name] for name in order)
