"""The contract of a searcher, and the registry that names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from holdfast.core.registry import Registry
from holdfast.core.specs import build, canonical, parse_spec
from holdfast.search.spaces.base import Space
from holdfast.search.trials import Trial


class Searcher(Protocol):
    """A dataclass of settings that proposes what to ask next.

    Attributes:
        about: One line: what it does, and the source.
    """

    about: ClassVar[str]

    def propose(
        self, space: Space, history: Sequence[Trial], rng: np.random.Generator
    ) -> list[str]:
        """Architectures to be asked next, in order: one round; empty where nothing is left.

        Args:
            space: Where to search.
            history: All trials so far, oldest first.
            rng: Keyed by the seed and the step at which this round begins, so that an
                interrupted round is proposed again as it was.
        """
        ...


@runtime_checkable
class Remembers(Protocol):
    """A searcher that keeps more between rounds than the history tells."""

    def save(self) -> dict[str, np.ndarray]:
        """What it keeps, as arrays."""
        ...

    def load(self, kept: dict[str, np.ndarray]) -> None:
        """Take up what `save` gave."""
        ...


SEARCHERS: Registry[type[Searcher]] = Registry("searcher")


def searcher(text: str) -> Searcher:
    """Searcher that `text` names, such as `local` or `evolution(population=30)`.

    Raises:
        UnknownNameError: No such searcher, or no such setting.
        BadValueError: A setting that the searcher refuses.
    """
    spec = parse_spec(text)
    return build("searcher", spec.name, SEARCHERS[spec.name], dict(spec.arguments))


def spec_of(one: Searcher) -> str:
    """Canonical text of a searcher with its settings."""
    return canonical(SEARCHERS.name_of(type(one)), one)


def unseen(
    space: Space, history: Sequence[Trial], rng: np.random.Generator, count: int
) -> list[str]:
    """Up to `count` random architectures of classes that were not asked yet.

    Fewer come back where the space holds no more, or where 100 draws in a row are known.
    """
    seen = {space.key(trial.arch) for trial in history}
    drawn: list[str] = []
    misses = 0
    while len(drawn) < count and misses < _PATIENCE:
        arch = space.sample(rng)
        key = space.key(arch)
        if key in seen:
            misses += 1
            continue
        misses = 0
        seen.add(key)
        drawn.append(arch)
    return drawn + _listed(space, seen, count - len(drawn))


_PATIENCE = 100  # draws in a row that were asked before
_SMALL = 50_000  # strings that can be listed in an instant


def _listed(space: Space, seen: set[str], wanted: int) -> list[str]:
    """The first classes of a small space that random draws no longer find."""
    if wanted < 1 or space.size is None or space.size > _SMALL:
        return []
    left: dict[str, str] = {}
    for arch in space.everything():
        key = space.key(arch)
        if key not in seen:
            left.setdefault(key, arch)
    return list(left.values())[:wanted]
