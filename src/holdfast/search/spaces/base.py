"""What every search space answers: who is in it, who is next to whom, and as which numbers.

An architecture is its published string everywhere outside of its space: it is hashable, goes into
a table as it is, and means the same in every tool of the field.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, get_args

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.core.registry import Registry
from holdfast.core.specs import build, canonical, parse_spec

if TYPE_CHECKING:
    from torch import nn

Encoding = Literal["one_hot", "path", "adjacency"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
_SHOWN = 120  # characters of a string that is no architecture


@dataclass(frozen=True)
class Graph:
    """A cell as a directed acyclic graph with operations on its nodes, in topological order.

    Attributes:
        nodes: Label of each node; the first is the input, the last the output.
        edges: Pairs (i, j) with i < j, sorted, without repetition.
    """

    nodes: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    def adjacency(self) -> np.ndarray:
        """Upper triangular matrix, bool [N, N]."""
        matrix = np.zeros((len(self.nodes), len(self.nodes)), dtype=bool)
        for start, end in self.edges:
            matrix[start, end] = True
        return matrix


class Space(ABC):
    """A set of architectures.

    A space is a frozen dataclass registered in `SPACES`; its fields are what may be written
    between the parentheses of its spec.

    Attributes:
        about: One line: what the cells are, and the source.
        vocabulary: Labels that the nodes of a graph may have; the first is the input's, the
            last the output's.
        most_nodes: Nodes of the largest graph.
        graphs_each: Graphs of one architecture: 1, or 2 where a network has two kinds of cells.
        fewest_cells: What to build at least, so that all of an architecture is in the network.
    """

    about: ClassVar[str]
    vocabulary: tuple[str, ...]
    most_nodes: int
    graphs_each: int = 1
    fewest_cells: int = 1

    @property
    def spec(self) -> str:
        """Canonical text of this space, as tables name it."""
        return canonical(SPACES.name_of(type(self)), self)

    @property
    def whole(self) -> Space:
        """The space itself; of a part, the space that it is a part of."""
        return self

    @property
    @abstractmethod
    def size(self) -> int | None:
        """How many strings the space has; None where that is not known."""

    @abstractmethod
    def check(self, arch: str) -> str:
        """Give back the string as the space prints it.

        Raises:
            BadValueError: It is no architecture of this space.
        """

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> str:
        """Draw an architecture."""

    @abstractmethod
    def neighbours(self, arch: str) -> list[str]:
        """Architectures one change away: distinct, valid, never `arch`; in a fixed order."""

    def mutate(self, arch: str, rng: np.random.Generator) -> str:
        """Draw a neighbour; `arch` itself where it has none."""
        near = self.neighbours(arch)
        return near[int(rng.integers(len(near)))] if near else arch

    @abstractmethod
    def canonical(self, arch: str) -> str:
        """Representative of the architectures that compute the same function as `arch`."""

    def key(self, arch: str) -> str:
        """What tells whether `arch` was asked already: its class, unless a space says otherwise."""
        return self.canonical(arch)

    @abstractmethod
    def encode(self, arch: str, how: Encoding = "one_hot") -> np.ndarray:
        """Numbers for a predictor, float32 [D], D the same for the whole space.

        Raises:
            BadValueError: An encoding that this space does not have.
        """

    @abstractmethod
    def graphs(self, arch: str) -> tuple[Graph, ...]:
        """The cells of an architecture as graphs: `graphs_each` of them."""

    @abstractmethod
    def from_graphs(self, graphs: tuple[Graph, ...]) -> str | None:
        """Architecture that has these graphs; None where no architecture has."""

    def everything(self) -> Iterator[str]:
        """All architectures, in the order of their published ids.

        Raises:
            BadValueError: The space is too large to be listed.
        """
        raise BadValueError(f"{self.spec} is too large to be listed")

    def build(
        self,
        arch: str,
        *,
        channels: int | None = None,
        cells: int | None = None,
        classes: int = 10,
    ) -> nn.Module:
        """Real network with fresh weights; takes images float [B, 3, H, W], gives logits.

        Args:
            arch: Of this space.
            channels: Of the first stage; None: as published.
            cells: A stage, or in all where the space says so; None: as published.
            classes: Number of logits.

        Raises:
            BadValueError: No architecture of this space, sizes that its networks do not have, or
                a space without networks.
        """
        raise BadValueError(f"{self.spec} has no networks that could be built")


P = TypeVar("P")
S = TypeVar("S", bound=type[Space])
SPACES: Registry[type[Space]] = Registry("search space")


def space_of(text: str) -> Space:
    """Space that `text` names, such as `nb201` or `nb201(unique=True)`.

    Raises:
        UnknownNameError: No such space, or no such parameter.
        BadValueError: A parameter that the space refuses.
    """
    spec = parse_spec(text)
    return build("search space", spec.name, SPACES[spec.name], dict(spec.arguments))


def not_in_space(arch: object, space: Space, why: str) -> BadValueError:
    """Error for a string that is no architecture of `space`."""
    shown = repr(arch)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return BadValueError(f"{shown} is no architecture of {space.spec}: {why}")


def parsed(parse: Callable[[str], P], arch: str, space: Space) -> P:
    """What `parse` makes of an architecture.

    Raises:
        BadValueError: It cannot; the message of a ValueError says why.
    """
    try:
        return parse(arch)
    except (AttributeError, TypeError, ValueError) as error:
        why = str(error) if type(error) is ValueError else "a text is expected"
        raise not_in_space(arch, space, why) from None


def no_encoding(how: str, space: Space, known: tuple[str, ...]) -> BadValueError:
    """Error for an encoding that `space` does not have."""
    return BadValueError(f"{space.spec} has no encoding {how!r}; known: {', '.join(known)}")
