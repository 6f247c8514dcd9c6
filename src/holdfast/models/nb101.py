"""Networks of NAS-Bench-101 (Ying et al., ICML 2019, section 2 and appendix)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError, unknown_name
from holdfast.models._sizes import check_sizes

Edges = Sequence[tuple[int, int]]

NB101_OPERATIONS = ("conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")
_STACKS = 3
_MOMENTUM = 0.003  # the paper's 0.997 counts the running mean's share, torch the new value's


def vertex_channels(edges: Edges, vertices: int, before: int, after: int) -> list[int]:
    """Channels that each vertex of a module gives, in the order of the vertices.

    The output's channels are split evenly over the vertices that it concatenates, the first ones
    taking one more where the split is uneven; any other vertex has as many channels as the widest
    vertex that it feeds. So where the split is uneven, the order of the vertices matters.

    Args:
        edges: Pairs (i, j) with i < j; every vertex lies on a path from vertex 0 to the last.
        vertices: How many vertices there are, at least 2.
        before: Channels of the module's input.
        after: Channels of the module's output.
    """
    last = vertices - 1
    channels = [0] * vertices
    channels[0], channels[last] = before, after
    joined = sorted(start for start, end in edges if end == last and start > 0)
    for place, vertex in enumerate(joined):
        channels[vertex] = after // len(joined) + (place < after % len(joined))
    for vertex in range(last - 1, 0, -1):
        if vertex not in joined:
            channels[vertex] = max(channels[end] for start, end in edges if start == vertex)
    return channels


class NB101Module(nn.Module):
    """One module: sums into every vertex, a concatenation into the output.

    What leaves the module's input passes a 1 x 1 convolution first; a vertex that gives one channel
    more than its successor takes loses its last one. float [B, before, H, W] to [B, after, H, W].
    """

    def __init__(self, operations: Sequence[str], edges: Edges, before: int, after: int) -> None:
        super().__init__()
        self._last = len(operations) + 1
        self._channels = vertex_channels(edges, self._last + 1, before, after)
        self._sources = [
            sorted(start for start, end in edges if end == vertex)
            for vertex in range(self._last + 1)
        ]
        self.projections = nn.ModuleDict(
            {
                str(vertex): _conv(before, self._channels[vertex], 1)
                for vertex in range(1, self._last + 1)
                if 0 in self._sources[vertex]
            }
        )
        self.operations = nn.ModuleList(
            _operation(name, width)
            for name, width in zip(operations, self._channels[1:-1], strict=True)
        )

    def forward(self, images: Tensor) -> Tensor:
        given: list[Tensor] = []  # given[i] is what vertex i + 1 gives
        for vertex, operation in enumerate(self.operations, start=1):
            width = self._channels[vertex]
            taken = [given[s - 1][:, :width] for s in self._sources[vertex] if s > 0]
            given.append(operation(self._add_projection(images, vertex, taken)))
        joined = [given[s - 1] for s in self._sources[self._last] if s > 0]
        whole = [torch.cat(joined, dim=1)] if joined else []
        return self._add_projection(images, self._last, whole)

    def _add_projection(self, images: Tensor, vertex: int, taken: list[Tensor]) -> Tensor:
        if str(vertex) in self.projections:
            taken = [*taken, self.projections[str(vertex)](images)]
        total = taken[0]
        for tensor in taken[1:]:
            total = total + tensor
        return total


class NB101Network(nn.Module):
    """Stem, three stacks of modules with 2 x 2 max pooling between, average pool, linear layer.

    Takes float [B, 3, H, W], H and W at least 4; gives logits float [B, classes].
    """

    def __init__(self, modules: Sequence[Sequence[nn.Module]], channels: int, classes: int) -> None:
        super().__init__()
        self.stem = _conv(3, channels, 3)
        self.stacks = nn.ModuleList(nn.Sequential(*stack) for stack in modules)
        self.head = nn.Linear(channels * 2 ** (_STACKS - 1), classes)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.stem(images)
        for place, stack in enumerate(self.stacks):
            if place > 0:
                features = F.max_pool2d(features, 2, ceil_mode=True)
            features = stack(features)
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


def nb101_network(
    operations: Sequence[str],
    edges: Edges,
    *,
    channels: int = 128,
    cells: int = 3,
    classes: int = 10,
) -> NB101Network:
    """Build the network of a pruned module, with fresh weights.

    The weights are drawn as torch draws them, not by the paper's truncated normal; every
    convolution is normalized after, so the scale does not matter.

    Args:
        operations: Names of the vertices between input and output, in topological order.
        edges: Pairs (i, j) with i < j; vertex 0 is the input, the last one the output.
        channels: Of the stem and the first stack; doubled at each further stack. Published: 128.
        cells: Modules a stack. Published: 3.
        classes: How many logits.

    Raises:
        UnknownNameError: An operation that the space does not have.
        BadValueError: A vertex without a way from the input or to the output, or a size below 1.
    """
    check_sizes(channels=channels, cells=cells, classes=classes)
    _check(operations, edges)
    widths = [channels, *(channels * 2**stack for stack in range(_STACKS))]
    stacks = [
        [
            NB101Module(operations, edges, after if place else before, after)
            for place in range(cells)
        ]
        for before, after in pairwise(widths)
    ]
    return NB101Network(stacks, channels, classes)


def _check(operations: Sequence[str], edges: Edges) -> None:
    for name in operations:
        if name not in NB101_OPERATIONS:
            raise unknown_name("NAS-Bench-101 operation", name, NB101_OPERATIONS)
    vertices = len(operations) + 2
    starts, ends = {start for start, _ in edges}, {end for _, end in edges}
    forward = all(0 <= start < end < vertices for start, end in edges)
    if not forward or starts != set(range(vertices - 1)) or ends != set(range(1, vertices)):
        raise BadValueError(
            f"{vertices} vertices need edges (i, j), i < j, that leave every vertex but the last "
            f"and enter every one but the first, got {sorted(edges)}; prune the module first"
        )


def _conv(before: int, after: int, size: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(after, eps=1e-5, momentum=_MOMENTUM),
        nn.ReLU(),
    )


def _operation(name: str, width: int) -> nn.Module:
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    return _conv(width, width, 1 if name == "conv1x1-bn-relu" else 3)
