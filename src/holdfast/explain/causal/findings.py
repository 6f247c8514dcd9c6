"""From trainings to what was caused: means over seeds, paired contrasts, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from holdfast.explain.causal.design import Design
from holdfast.explain.causal.experiment import Done
from holdfast.explain.statistics import holm
from holdfast.metrics.slope import robustness_slope
from holdfast.metrics.trajectories import repeated_mean
from holdfast.records.explanations import Causal, Contrast, Trained, Value, Variant

_SLOPE = "slope"
_CAUSED = "Caused, since nothing else differed"
_PROBABLE = "Probably caused, but not beyond doubt when all contrasts are counted"
_UNDECIDED = "Undecided, since no effect is within the interval"
_UNKNOWN = "Too few finished trainings to tell"
_LOOKED = "Seeds were added after"
_MANY = 5  # seeds from which Student's interval is less than half as wide again as the normal one
_ALPHA = 0.05
_STRAIGHT = 0.9  # R^2 below which a slope says too little
_STEP = 0.1  # of sigma, for which changes of a slope are told
_EXACT = 1e-12  # scatter below which differences are all the same
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
Outcome = Callable[[Trained], float]


@dataclass(frozen=True)
class _Choice:
    """Two choices that are held against each other: which trainings have which."""

    what: str
    phrase: str
    first: Callable[[Trained], bool]
    second: Callable[[Trained], bool]
    rest: Callable[[Trained], object]  # what else was varied


def conclude(design: Design, done: Iterable[Done]) -> Causal:
    """Means, contrasts and the verdict of an experiment.

    A contrast is computed seed by seed: the difference of two choices, averaged over what else
    was varied, is one observation, so that no more is claimed than as many seeds can say. The
    p-value is that of Student's paired t-test; Holm's correction is over the contrasts of an
    outcome.
    """
    finished = sorted(done, key=lambda one: (one.cell.seed, one.cell.stem, one.cell.pool))
    trained = tuple(one.trained for one in finished)
    able = [one for one in trained if one.status == "ok"]
    pairs = contrasts(design, able)
    return Causal(
        source=_source(design),
        flags=tuple(_flags(design, trained)),
        model=design.model,
        data=_data(design),
        epochs=design.epochs,
        images=max((one.images for one in finished), default=0),
        train_images=max((one.train_images for one in finished), default=0),
        trained=trained,
        variants=variants(design, able),
        contrasts=pairs,
        verdict=verdict(design, pairs),
    )


def after_a_look(found: Causal, earlier: Causal) -> Causal:
    """The same, flagged where seeds were added after a look at what fewer had said.

    Who adds seeds until p is small will find an effect in noise alone sooner or later; the flag
    stays with the folder.
    """
    same = ("model", "data", "epochs", "images", "train_images")
    if any(getattr(found, name) != getattr(earlier, name) for name in same):
        return found
    flags = [flag for flag in earlier.flags if flag.startswith(_LOOKED)]
    before, now = (len({one.seed for one in some.trained}) for some in (earlier, found))
    if before < now and not flags:
        flags = [f"{_LOOKED} {_count(before)} had been looked at, so p-values are too small."]
    return found.model_copy(update={"flags": (*found.flags, *flags)})


def variants(design: Design, trained: Sequence[Trained]) -> tuple[Variant, ...]:
    """Mean and Student's t interval over the seeds of each stem and pooling."""
    found = []
    for stem in design.kernels:
        for pool in design.pools:
            some = [one for one in trained if (one.stem, one.pool) == (stem, pool)]
            levels = sorted({sigma for one in some for sigma, _ in one.accuracies})
            curve = tuple((level, _mean([at(level)(one) for one in some])) for level in levels)
            found.append(
                Variant(
                    stem=stem,
                    pool=pool,
                    seeds=len(some),
                    accuracies=curve,
                    slope=_mean([one.slope for one in some]),
                    stem_gain=_mean([one.stem_gain for one in some]),
                    stem_ratio=_mean([one.stem_ratio for one in some]),
                )
            )
    return tuple(found)


def contrasts(design: Design, trained: Sequence[Trained]) -> tuple[Contrast, ...]:
    """Each larger stem against the smallest, and average against max pooling, in each outcome."""
    middle = sorted(design.sigmas)[len(design.sigmas) // 2]
    outcomes: dict[str, Outcome] = {
        _SLOPE: lambda one: one.slope,
        "clean accuracy": at(0.0),
        f"accuracy at sigma {middle:g}": at(middle),
    }
    found = []
    for name, outcome in outcomes.items():
        rows = []
        for choice in _choices(design):
            differences = _differences(design, choice, trained, outcome)
            rows.append((choice.what, _mean(differences), paired_p(differences)))
        corrected = holm([p for _, _, p in rows])
        found += [
            Contrast(what=what, outcome=name, difference=mean, p_value=p, p_holm=float(total))
            for (what, mean, p), total in zip(rows, corrected, strict=True)
        ]
    return tuple(found)


def paired_p(differences: Sequence[float]) -> float:
    """Two-sided p-value that the mean of differences [n] is zero (Student's t); NaN below two."""
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return math.nan
    scatter = float(values.std(ddof=1)) / math.sqrt(len(values))
    if scatter < _EXACT:
        return 1.0 if abs(float(values.mean())) < _EXACT else 0.0
    return float(2 * special.stdtr(len(values) - 1, -abs(float(values.mean())) / scatter))


def verdict(design: Design, found: Sequence[Contrast]) -> str:
    """Say for each choice what it did to the slope, and how sure that is.

    Accuracies are added where they differ, since a slope alone says little of curves that bend;
    what does not outlast Holm's correction is called probable, as with slopes.
    """
    phrases = {choice.what: choice.phrase for choice in _choices(design)}
    slopes = [one for one in found if one.outcome == _SLOPE]
    if not any(math.isfinite(one.p_value) for one in slopes):
        return (
            "Fewer than two seeds were finished, which cannot tell a cause from chance; give "
            "--seeds 3 or more: what is finished is not done again."
        )
    sentences = [
        f"{judgement}: {_effects(some, phrases)}."
        for judgement, some in _by_judgement(slopes).items()
        if some
    ]
    for outcome in dict.fromkeys(one.outcome for one in found if one.outcome != _SLOPE):
        seen = [one for one in found if one.outcome == outcome and one.p_value < _ALPHA]
        if seen:
            sentences.append(f"{_levels(outcome, seen, phrases)}.")
    return " ".join([*sentences, _surety(slopes)])


def at(sigma: float) -> Outcome:
    """Accuracy at a sigma; 0 is clean."""
    return lambda one: dict(one.accuracies).get(sigma, math.nan)


def _by_judgement(slopes: Sequence[Contrast]) -> dict[str, list[Contrast]]:
    """Contrasts by how sure they are, the surest first."""
    found: dict[str, list[Contrast]] = {_CAUSED: [], _PROBABLE: [], _UNDECIDED: [], _UNKNOWN: []}
    for one in sorted(slopes, key=lambda one: (math.isnan(one.p_value), one.p_value)):
        if math.isnan(one.p_value):
            found[_UNKNOWN].append(one)
        elif one.p_holm < _ALPHA:
            found[_CAUSED].append(one)
        else:
            found[_PROBABLE if one.p_value < _ALPHA else _UNDECIDED].append(one)
    return found


def _effects(some: Sequence[Contrast], phrases: dict[str, str]) -> str:
    """What changes of the stem do to accuracy, such as `it falls 7.2 points less ...`."""
    told = []
    for one in some:
        points, *ends = (
            100 * _STEP * end
            for end in (one.difference.value, one.difference.low, one.difference.high)
        )
        if math.isnan(one.p_value):
            told.append(phrases[one.what])
            continue
        sign = -1 if points < 0 else 1
        low, high = sorted(sign * end for end in ends)
        told.append(
            f"{sign * points:.1f} points {'less' if sign > 0 else 'more'} {_bounds(low, high)} "
            f"with {phrases[one.what]} (p {_p(one.p_holm)})"
        )
    joined = ", and ".join(told)
    known = any(math.isfinite(one.p_value) for one in some)
    return f"for each {_STEP:g} of sigma accuracy falls {joined}" if known else joined


def _levels(outcome: str, some: Sequence[Contrast], phrases: dict[str, str]) -> str:
    """What changes of the stem do to an accuracy, such as `Clean accuracy is 2.7 points lower`."""
    told = []
    for one in some:
        points, low, high = (
            100 * end for end in (one.difference.value, one.difference.low, one.difference.high)
        )
        sign = -1 if points < 0 else 1
        low, high = sorted((sign * low, sign * high))
        surely = "" if one.p_holm < _ALPHA else "probably "
        told.append(
            f"{surely}{sign * points:.1f} points {'higher' if sign > 0 else 'lower'} "
            f"{_bounds(low, high)} with {phrases[one.what]} (p {_p(one.p_holm)})"
        )
    return f"{outcome[:1].upper()}{outcome[1:]} is {', and '.join(told)}"


def _surety(slopes: Sequence[Contrast]) -> str:
    seeds = max(one.difference.count for one in slopes)
    few = "so few miss all but large effects; " if seeds < _MANY else ""
    corrected = ""
    if len(slopes) > 1:
        corrected = f", after Holm's correction for {_count(len(slopes))} contrasts"
    return f"On {_count(seeds)} seeds each: {few}p is of t-tests paired by seed{corrected}."


def _choices(design: Design) -> list[_Choice]:
    least = min(design.kernels)
    found = [_stems(kernel, least) for kernel in sorted(design.kernels) if kernel != least]
    if set(design.pools) == {"average", "max"}:
        found.append(
            _Choice(
                "average against max",
                "average instead of max pooling",
                lambda one: one.pool == "average",
                lambda one: one.pool == "max",
                lambda one: one.stem,
            )
        )
    return found


def _stems(kernel: int, least: int) -> _Choice:
    return _Choice(
        f"stem {kernel} against {least}",
        f"a stem of {kernel} instead of {least} pixels",
        lambda one: one.stem == kernel,
        lambda one: one.stem == least,
        lambda one: one.pool,
    )


def _differences(
    design: Design, choice: _Choice, trained: Sequence[Trained], outcome: Outcome
) -> list[float]:
    """Mean difference of each seed; NaN where a training of it is missing."""
    found = []
    for seed in range(design.seeds):
        some = [one for one in trained if one.seed == seed]
        first = {choice.rest(one): outcome(one) for one in some if choice.first(one)}
        second = {choice.rest(one): outcome(one) for one in some if choice.second(one)}
        whole = len(design.pools if choice.what.startswith("stem") else design.kernels)
        if not len(first) == len(second) == whole:
            found.append(math.nan)
            continue
        found.append(float(np.mean([first[key] - second[key] for key in first])))
    return found


def _mean(values: Sequence[float]) -> Value:
    found = repeated_mean(values)
    return Value(value=found.value, low=found.low, high=found.high, count=found.count)


def _flags(design: Design, trained: Sequence[Trained]) -> list[str]:
    flags = [
        f"Stem {one.stem} with {one.pool} pooling, seed {one.seed}, failed: {one.error}"
        for one in trained
        if one.status == "failed"
    ]
    fits = [
        robustness_slope(*zip(*one.accuracies, strict=True)).r_squared
        for one in trained
        if len(one.accuracies) > 2
    ]
    bent = sum(fit < _STRAIGHT for fit in fits)
    if bent:
        flags.append(
            f"Accuracy against sigma is no straight line in {bent} of {len(fits)} trainings (R^2 "
            f"down to {min(fits):.2f}): read the curves beside the slopes."
        )
    same = design.test_data is None or design.test_data == design.data
    if same and design.test_split == design.split:
        flags.append("It was measured on the images that it was trained on.")
    return flags


def _data(design: Design) -> str:
    trained = f"{design.data}, {design.split}"
    measured = f"{design.test_data or design.data}, {design.test_split}"
    return f"trained on {trained}; measured on {measured}"


def _source(design: Design) -> str:
    count = len(design.cells)
    stems = ", ".join(map(str, design.kernels))
    return (
        f"{count} trainings of {design.model} with stems {stems} and {' or '.join(design.pools)} "
        f"pooling, {_count(design.seeds)} seeds each; {_data(design)}"
    )


def _count(value: int) -> str:
    return _WORDS[value] if 0 <= value < len(_WORDS) else f"{value:,}"


def _bounds(low: float, high: float) -> str:
    return f"[{low:.1f}, {high:.1f}]".replace("-", "\N{MINUS SIGN}")


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.2g}"
