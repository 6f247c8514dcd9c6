"""NSGA-II: evolution towards the front of several objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from holdfast.search.searchers.base import SEARCHERS, unseen
from holdfast.search.searchers.candidates import need, seen_in
from holdfast.search.spaces.base import Space
from holdfast.search.trials import Trial


@runtime_checkable
class Crosses(Protocol):
    """A space in which two architectures can have a child."""

    def cross(self, arch: str, other: str, rng: np.random.Generator) -> str:
        """Take each part from one of two architectures, by chance."""
        ...


@SEARCHERS.register("nsga2")
@dataclass
class Nsga2:
    """Multi-objective evolution by non-dominated sorting and crowding distance.

    Source: Deb, Pratap, Agarwal and Meyarivan 2002 (NSGA-II), with their constrained domination.
    A generation is a round: of parents and children together, the best `population` survive. An
    architecture is asked once, so a child of a known class is drawn again. What survives is
    replayed from the history.

    Attributes:
        population: Architectures of a generation.
        crossover: Probability that a child has two parents, where the space can cross them.
        mutation: Probability that a child is changed once more after crossing; a child of one
            parent always is.
    """

    population: int = 20
    crossover: float = 0.9
    mutation: float = 0.5

    many_objectives: ClassVar[bool] = True  # goes by each value, not by the merit
    about: ClassVar[str] = "multi-objective evolution, NSGA-II (Deb et al. 2002)"

    def __post_init__(self) -> None:
        need("nsga2 population", self.population, 2)
        for name in ("crossover", "mutation"):
            need(f"nsga2 {name}", getattr(self, name), 0, 1)

    def propose(
        self, space: Space, history: Sequence[Trial], rng: np.random.Generator
    ) -> list[str]:
        """A random generation, then children of the survivors; see `Searcher`."""
        if not history:
            return unseen(space, history, rng, self.population)
        alive, standing = survivors(history, self.population)
        seen = seen_in(space, history)
        children: list[str] = []
        for _ in range(_PATIENCE * self.population):
            if len(children) == self.population:
                return children
            child = self.child(space, alive, standing, rng)
            key = space.key(child)
            if key not in seen:
                seen.add(key)
                children.append(child)
        rest = unseen(space, history, rng, 2 * self.population)
        fresh = [arch for arch in rest if space.key(arch) not in seen]
        return [*children, *fresh][: self.population]

    def child(
        self,
        space: Space,
        alive: Sequence[Trial],
        standing: Sequence[tuple[int, float]],
        rng: np.random.Generator,
    ) -> str:
        """Child of one or two parents, each the better of two drawn ones."""
        child = alive[_tournament(standing, rng)].arch
        crossed = isinstance(space, Crosses) and rng.random() < self.crossover
        if crossed and isinstance(space, Crosses):
            child = space.cross(child, alive[_tournament(standing, rng)].arch, rng)
        if not crossed or rng.random() < self.mutation:
            child = space.mutate(child, rng)
        return child


_PATIENCE = 20  # draws for each child that is wanted


def _tournament(standing: Sequence[tuple[int, float]], rng: np.random.Generator) -> int:
    """The better of two: the lower front, then the emptier surroundings, then the first drawn."""
    first, second = rng.integers(len(standing), size=2)
    better = (-standing[second][0], standing[second][1]) > (
        -standing[first][0],
        standing[first][1],
    )
    return int(second if better else first)


def survivors(
    history: Sequence[Trial], population: int
) -> tuple[list[Trial], list[tuple[int, float]]]:
    """Who is alive after all rounds of the history, with front (0 is best) and crowding distance.

    Args:
        history: All trials; those of one round are one generation.
        population: How many survive a generation.
    """
    alive: list[Trial] = []
    standing: list[tuple[int, float]] = []
    for _, born in groupby(history, key=lambda trial: trial.round):
        both = [*alive, *born]
        ranked = _ranked(both)[:population]
        alive = [both[place] for place, _, _ in ranked]
        standing = [(front, distance) for _, front, distance in ranked]
    return alive, standing


def _ranked(trials: Sequence[Trial]) -> list[tuple[int, int, float]]:
    """Place, front and crowding distance of each trial, the best first."""
    values = _values(trials)
    ranked = []
    for front, members in enumerate(fronts(dominance(trials))):
        for place, distance in zip(members, crowding(values[members]), strict=True):
            ranked.append((place, front, float(distance)))
    return sorted(ranked, key=lambda entry: (entry[1], -entry[2], entry[0]))


def _values(trials: Sequence[Trial]) -> np.ndarray:
    """Objectives, float64 [N, K], larger is better; one without a value is -inf."""
    values = np.array([trial.score.values for trial in trials], dtype=np.float64)
    return np.where(np.isnan(values), -np.inf, values)


def dominance(trials: Sequence[Trial]) -> np.ndarray:
    """Whether trial i dominates trial j, bool [N, N] (Deb et al. 2002, definition 1).

    One that keeps all constraints dominates one that does not; of two that do not, the larger
    merit does, which is the smaller violation; of two that do, one that is nowhere worse and
    somewhere better.
    """
    values = _values(trials)
    feasible = np.array([trial.score.feasible for trial in trials])
    merit = np.array([trial.score.merit for trial in trials], dtype=np.float64)
    merit = np.where(np.isnan(merit), -np.inf, merit)
    no_worse = (values[:, None] >= values[None]).all(axis=-1)
    better = no_worse & (values[:, None] > values[None]).any(axis=-1)
    both = feasible[:, None] & feasible
    neither = ~feasible[:, None] & ~feasible
    less = merit[:, None] > merit
    dominates: np.ndarray = (both & better) | (feasible[:, None] & ~feasible) | (neither & less)
    return dominates


def fronts(dominates: np.ndarray) -> list[list[int]]:
    """Split into fronts: nobody in a front is dominated once the fronts before it are gone.

    Args:
        dominates: Whether i dominates j, bool [N, N].

    Returns:
        Places of each front's members, ascending; the best front first.
    """
    above = dominates.sum(axis=0)
    left = np.ones(len(dominates), dtype=bool)
    found: list[list[int]] = []
    while left.any():
        members = np.flatnonzero(left & (above == 0))
        found.append([int(member) for member in members])
        left[members] = False
        above = above - dominates[members].sum(axis=0)
    return found


def crowding(values: np.ndarray) -> np.ndarray:
    """Crowding distance of each member of a front, [N]: large where it is alone.

    Deb et al. 2002, section III.B.1: over the objectives, the gap between the neighbours on
    either side, as a share of the front's range; the ends of each objective are infinite.

    Args:
        values: Objectives of the front, [N, K].
    """
    distance = np.zeros(len(values))
    for column in np.where(np.isfinite(values), values, 0.0).T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        span = ordered[-1] - ordered[0]
        if span > 0:
            distance[order[1:-1]] += (ordered[2:] - ordered[:-2]) / span
        distance[order[[0, -1]]] = np.inf
    return distance
