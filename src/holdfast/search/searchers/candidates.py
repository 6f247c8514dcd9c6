"""Which architectures a model-based searcher lets its model judge."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.search.predictors.targets import merits
from holdfast.search.spaces.base import Encoding, Space
from holdfast.search.trials import Trial


def best_first(history: Sequence[Trial]) -> list[str]:
    """Architectures of the history, the best first; equal ones in the order of asking."""
    order = np.argsort(-merits(history), kind="stable")
    return [history[place].arch for place in order]


def mutants(
    space: Space,
    parents: Sequence[str],
    seen: set[str],
    rng: np.random.Generator,
    tries: int,
    extra: float,
) -> list[str]:
    """Unseen architectures a few changes away from parents, parent by parent.

    Args:
        space: Where they live.
        parents: The first ones are used up first; no further one once `tries` are found.
        seen: Classes that are not wanted; those found are added.
        rng: Draws the changes.
        tries: Mutations of each parent, and how many are enough.
        extra: Mean number of changes beyond the first, Poisson.
    """
    found: list[str] = []
    for parent in parents:
        if len(found) >= tries:
            break
        for changes in 1 + rng.poisson(extra, tries):
            arch = parent
            for _ in range(changes):
                arch = space.mutate(arch, rng)
            key = space.key(arch)
            if key not in seen:
                seen.add(key)
                found.append(arch)
    return found


def seen_in(space: Space, history: Sequence[Trial]) -> set[str]:
    """Classes that were asked."""
    return {space.key(trial.arch) for trial in history}


def encoded(space: Space, archs: Sequence[str], how: Encoding) -> np.ndarray:
    """Encodings of architectures, float32 [N, D].

    Raises:
        BadValueError: An encoding that the space does not have.
    """
    return np.stack([space.encode(arch, how) for arch in archs])


def path_or_next(space: Space, arch: str, how: Encoding) -> Encoding:
    """`how`; in a space without paths, `adjacency` or `one_hot` takes their place."""
    choices: tuple[Encoding, ...] = ("path", "adjacency", "one_hot") if how == "path" else (how,)
    for choice in choices[:-1]:
        try:
            space.encode(arch, choice)
        except BadValueError:
            continue
        return choice
    return choices[-1]


def need(what: str, value: float, least: float, most: float = math.inf) -> None:
    """Refuse a setting below its least value, or above its largest.

    Raises:
        BadValueError: It is.
    """
    if not value >= least:
        raise BadValueError(f"{what} must be at least {least:g}, got {value:g}")
    if value > most:
        raise BadValueError(f"{what} must be at most {most:g}, got {value:g}")
