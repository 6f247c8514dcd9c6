"""NARes: depths and widths of a wide residual network's three stages."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.search.spaces.base import (
    SPACES,
    Encoding,
    Graph,
    Space,
    no_encoding,
    not_in_space,
)

PARTS = ("D1", "W1", "D2", "W2", "D3", "W3")  # blocks and width factor of each stage
DEPTHS, WIDTHS = (4, 5, 7, 9, 11), (8, 10, 12, 14, 16)
CHOICES = (DEPTHS, WIDTHS) * 3
_TEXT = re.compile(r"Arch\((.*)\)")
_CHAIN = tuple((place, place + 1) for place in range(len(PARTS) + 1))


@SPACES.register("nares")
@dataclass(frozen=True)
class NARes(Space):
    """Wide residual networks; the text is `Arch(D1=5, W1=10, D2=5, W2=10, D3=5, W3=10)`.

    Source: "NARes: A Neural Architecture Dataset for Adversarial Robustness". Stage i has D_i
    blocks of two 3 x 3 convolutions with 16 W_1, 32 W_2 or 64 W_3 channels; the text above is
    WRN-34-10. Networks are listed in the order of their numbers here, not of the published ids,
    which follow multiply-adds. They are not built.
    """

    about: ClassVar[str] = "3 depths and 3 widths of a wide residual network (NARes): 15,625"
    vocabulary = (
        "input",
        *(f"depth{depth}" for depth in DEPTHS),
        *(f"width{width}" for width in WIDTHS),
        "output",
    )
    most_nodes = len(PARTS) + 2

    @property
    def size(self) -> int:
        """All strings: 15,625."""
        return len(DEPTHS) ** 3 * len(WIDTHS) ** 3

    def check(self, arch: str) -> str:
        """Give back the text as published; see `Space`."""
        return _text(self.numbers(arch))

    def numbers(self, arch: str) -> tuple[int, ...]:
        """D1, W1, D2, W2, D3, W3.

        Raises:
            BadValueError: No architecture of this space.
        """
        match = _TEXT.fullmatch(str(arch).strip())
        if match is None:
            raise not_in_space(arch, self, f"expected {_text((5, 10) * 3)}")
        pairs = [part.partition("=") for part in match[1].replace(" ", "").split(",")]
        given = {name: value for name, _, value in pairs}
        if len(pairs) != len(PARTS) or set(given) != set(PARTS):
            raise not_in_space(arch, self, f"expected the parts {', '.join(PARTS)}")
        for part, choices in zip(PARTS, CHOICES, strict=True):
            if given[part] not in map(str, choices):
                known = ", ".join(map(str, choices))
                raise not_in_space(arch, self, f"{part} must be one of {known}, got {given[part]}")
        return tuple(int(given[part]) for part in PARTS)

    def sample(self, rng: np.random.Generator) -> str:
        """Draw uniformly."""
        return _text(tuple(choices[int(rng.integers(len(choices)))] for choices in CHOICES))

    def neighbours(self, arch: str) -> list[str]:
        """The 24 networks that differ in one number."""
        numbers = self.numbers(arch)
        return [
            _text((*numbers[:place], new, *numbers[place + 1 :]))
            for place, choices in enumerate(CHOICES)
            for new in choices
            if new != numbers[place]
        ]

    def canonical(self, arch: str) -> str:
        """The text itself: no two networks are the same."""
        return self.check(arch)

    def encode(self, arch: str, how: Encoding = "one_hot") -> np.ndarray:
        """Encode the six choices as `one_hot`, [30]; see `Space`."""
        if how != "one_hot":
            raise no_encoding(how, self, ("one_hot",))
        encoded = np.zeros((len(PARTS), len(DEPTHS)), dtype=np.float32)
        for place, (number, choices) in enumerate(zip(self.numbers(arch), CHOICES, strict=True)):
            encoded[place, choices.index(number)] = 1
        return encoded.ravel()

    def graphs(self, arch: str) -> tuple[Graph, ...]:
        """One graph of eight nodes in a row: depth and width of each stage in turn."""
        labels = (
            f"{'depth' if part.startswith('D') else 'width'}{number}"
            for part, number in zip(PARTS, self.numbers(arch), strict=True)
        )
        return (Graph(("input", *labels, "output"), _CHAIN),)

    def from_graphs(self, graphs: tuple[Graph, ...]) -> str | None:
        """Network of a graph; see `Space`."""
        if len(graphs) != 1 or graphs[0].edges != _CHAIN or len(graphs[0].nodes) != self.most_nodes:
            return None
        first, *labels, last = graphs[0].nodes
        kinds = ("depth", "width") * 3
        known = all(
            label in {f"{kind}{number}" for number in choices}
            for label, kind, choices in zip(labels, kinds, CHOICES, strict=True)
        )
        if first != "input" or last != "output" or not known:
            return None
        return _text(tuple(int(label[5:]) for label in labels))

    def everything(self) -> Iterator[str]:
        """All networks, the last number changing fastest."""
        return map(_text, itertools.product(*CHOICES))


def _text(numbers: tuple[int, ...]) -> str:
    parts = (f"{part}={number}" for part, number in zip(PARTS, numbers, strict=True))
    return f"Arch({', '.join(parts)})"
