"""The part of a large space that a table knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from holdfast.search.spaces.base import Encoding, Graph, Space, not_in_space

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Recorded(Space):
    """Architectures of `inner` that have a value; a search that leaves them learns nothing.

    A neighbour is a recorded one. Where an architecture has none, as in a sparse sample of a
    large space, a mutation draws any recorded architecture.

    Attributes:
        inner: The whole space.
        archs: What is recorded.
    """

    about: ClassVar[str] = "the recorded part of a space"
    inner: Space
    archs: tuple[str, ...]

    def __getattribute__(self, name: str) -> Any:
        if name in ("vocabulary", "most_nodes", "graphs_each", "fewest_cells", "spec"):
            return getattr(self.inner, name)
        return super().__getattribute__(name)

    @property
    def whole(self) -> Space:
        """See `Space`."""
        return self.inner

    @cached_property
    def _known(self) -> dict[str, str]:
        """Each class with the first of its members that is recorded."""
        known: dict[str, str] = {}
        for arch in self.archs:
            known.setdefault(self.inner.key(arch), arch)
        return known

    @property
    def size(self) -> int:
        """Recorded classes."""
        return len(self._known)

    def check(self, arch: str) -> str:
        """See `Space`; what is not recorded is no member."""
        text = self.inner.check(arch)
        if self.inner.key(text) not in self._known:
            raise not_in_space(arch, self, "the table has no value for it")
        return text

    def key(self, arch: str) -> str:
        """See `Space`."""
        return self.inner.key(arch)

    def canonical(self, arch: str) -> str:
        """See `Space`."""
        return self.inner.canonical(arch)

    def sample(self, rng: np.random.Generator) -> str:
        """Draw a recorded architecture."""
        return self.archs[int(rng.integers(len(self.archs)))]

    def everything(self) -> Iterator[str]:
        """All that is recorded, one a class."""
        return iter(self._known.values())

    def neighbours(self, arch: str) -> list[str]:
        """Recorded ones among the neighbours."""
        near = (self._known.get(self.inner.key(other)) for other in self.inner.neighbours(arch))
        return list(dict.fromkeys(one for one in near if one is not None and one != arch))

    def mutate(self, arch: str, rng: np.random.Generator) -> str:
        """Draw a recorded neighbour, or any recorded architecture where there is none."""
        near = self.neighbours(arch)
        return near[int(rng.integers(len(near)))] if near else self.sample(rng)

    def encode(self, arch: str, how: Encoding = "one_hot") -> np.ndarray:
        """See `Space`."""
        return self.inner.encode(arch, how)

    def graphs(self, arch: str) -> tuple[Graph, ...]:
        """See `Space`."""
        return self.inner.graphs(arch)

    def from_graphs(self, graphs: tuple[Graph, ...]) -> str | None:
        """See `Space`; None for what is not recorded."""
        arch = self.inner.from_graphs(graphs)
        return None if arch is None else self._known.get(self.inner.key(arch))

    def build(self, arch: str, **sizes: Any) -> nn.Module:
        """See `Space`."""
        return self.inner.build(arch, **sizes)
