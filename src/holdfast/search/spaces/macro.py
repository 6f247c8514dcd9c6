"""NAS-Bench-Macro: eight blocks in a row, three choices each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.search.spaces.base import (
    SPACES,
    Encoding,
    Graph,
    Space,
    no_encoding,
    not_in_space,
)

if TYPE_CHECKING:
    from torch import nn

STAGES = (2, 3, 3)  # blocks a stage; the first of a stage halves the picture
BLOCKS = ("identity", "mb3_k3", "mb6_k5")
CHOICES = "012"
LAYERS = sum(STAGES)
_CHAIN = tuple((place, place + 1) for place in range(LAYERS + 1))


@SPACES.register("macro")
@dataclass(frozen=True)
class Macro(Space):
    """Chains of NAS-Bench-Macro; the text is eight digits: 0 identity, 1 mb3_k3, 2 mb6_k5.

    Source: Su et al. 2021, "Prioritized Architecture Sampling with Monto-Carlo Tree Search". An
    mbE_kK is MobileNetV2's block of expansion E and kernel K. Within a stage an identity after the
    first block does nothing, so 3,969 of the 6,561 strings compute different functions; the
    benchmark holds all strings.
    """

    about: ClassVar[str] = "8 blocks in a row with 3 choices (Su et al. 2021): 6,561 strings"
    vocabulary = ("input", *BLOCKS, "output")
    most_nodes = LAYERS + 2
    fewest_cells = LAYERS

    @property
    def size(self) -> int:
        """All strings: 6,561."""
        return len(CHOICES) ** LAYERS

    def check(self, arch: str) -> str:
        """Give back the eight digits; see `Space`."""
        text = str(arch).strip()
        if len(text) != LAYERS or not set(text) <= set(CHOICES):
            raise not_in_space(arch, self, f"expected {LAYERS} digits of 0, 1 and 2")
        return text

    def sample(self, rng: np.random.Generator) -> str:
        """Draw uniformly."""
        return "".join(CHOICES[choice] for choice in rng.integers(len(CHOICES), size=LAYERS))

    def neighbours(self, arch: str) -> list[str]:
        """The 16 strings that differ in one digit."""
        text = self.check(arch)
        return [
            text[:place] + new + text[place + 1 :]
            for place in range(LAYERS)
            for new in CHOICES
            if new != text[place]
        ]

    def canonical(self, arch: str) -> str:
        """The string whose identities come last in each stage, the first block staying first."""
        rest = iter(self.check(arch))
        parts = []
        for blocks in STAGES:
            first, *others = itertools.islice(rest, blocks)
            parts += [first, *sorted(others, key=lambda choice: choice == CHOICES[0])]
        return "".join(parts)

    def key(self, arch: str) -> str:
        """The string itself: the benchmark trained all of them."""
        return self.check(arch)

    def cross(self, arch: str, other: str, rng: np.random.Generator) -> str:
        """Take each block from one of two chains, by chance."""
        pairs = zip(self.check(arch), self.check(other), rng.integers(2, size=LAYERS), strict=True)
        return "".join(b if pick else a for a, b, pick in pairs)

    def encode(self, arch: str, how: Encoding = "one_hot") -> np.ndarray:
        """Encode a chain as `one_hot`, the choice of each block, [24]; see `Space`."""
        if how != "one_hot":
            raise no_encoding(how, self, ("one_hot",))
        encoded = np.zeros((LAYERS, len(CHOICES)), dtype=np.float32)
        encoded[np.arange(LAYERS), [int(choice) for choice in self.check(arch)]] = 1
        return encoded.ravel()

    def graphs(self, arch: str) -> tuple[Graph, ...]:
        """One graph of ten nodes in a row."""
        names = (BLOCKS[int(choice)] for choice in self.check(arch))
        return (Graph(("input", *names, "output"), _CHAIN),)

    def from_graphs(self, graphs: tuple[Graph, ...]) -> str | None:
        """Chain of a graph; see `Space`."""
        if len(graphs) != 1 or graphs[0].edges != _CHAIN or len(graphs[0].nodes) != LAYERS + 2:
            return None
        first, *names, last = graphs[0].nodes
        if first != "input" or last != "output" or not set(names) <= set(BLOCKS):
            return None
        return "".join(CHOICES[BLOCKS.index(name)] for name in names)

    def everything(self) -> Iterator[str]:
        """All strings in the order of numbers, as the benchmark lists them."""
        return map("".join, itertools.product(CHOICES, repeat=LAYERS))

    def build(
        self,
        arch: str,
        *,
        channels: int | None = None,
        cells: int | None = None,
        classes: int = 10,
    ) -> nn.Module:
        """Network of the benchmark: 32 channels of the stem, and always eight blocks.

        Raises:
            BadValueError: No architecture of this space, or another number of blocks.
        """
        from holdfast.models.macro_cells import (  # noqa: PLC0415 - spaces need no torch
            macro_network,
        )

        if cells not in (None, LAYERS):
            raise BadValueError(f"a network of {self.spec} has {LAYERS} blocks, not cells={cells}")
        choices = [int(choice) for choice in self.check(arch)]
        return macro_network(
            choices, channels=32 if channels is None else channels, classes=classes
        )
