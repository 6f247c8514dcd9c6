"""Networks in which each edge of a NAS-Bench-201 cell holds several operations at once.

Source: Chen et al. 2021, "TE-NAS", section 3.2, and its code, in which the operations left on an
edge are averaged.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.models.nb201 import EDGES, OPERATIONS, Reduction

_NODES = 4
Left = tuple[tuple[str, ...], ...]  # operations left on each edge, in the order of EDGES


class MixedCell(nn.Module):
    """Cell whose edges are the mean of the operations left on them.

    Every operation that an edge ever had keeps its weights, so that two supernets of one seed
    differ in what was taken away and in nothing else.

    Attributes:
        left: Operations in use, an edge each.
    """

    def __init__(self, operations: Left, channels: int) -> None:
        super().__init__()
        self.left = operations
        self.edges = nn.ModuleList(
            nn.ModuleDict({name: OPERATIONS[name](channels) for name in edge})
            for edge in operations
        )

    def forward(self, features: Tensor) -> Tensor:
        nodes = [features]
        for node in range(1, _NODES):
            into = [
                self._edge(number, nodes[start])
                for number, (start, end) in enumerate(EDGES)
                if end == node
            ]
            nodes.append(torch.stack(into).sum(0))
        return nodes[-1]

    def _edge(self, number: int, features: Tensor) -> Tensor:
        operations, names = cast("nn.ModuleDict", self.edges[number]), self.left[number]
        return torch.stack([operations[name](features) for name in names]).mean(0)


class Supernet(nn.Module):
    """Stem, three stages of mixed cells with a reduction between them, and a linear head.

    Takes images [B, 3, H, W]; gives logits [B, classes].
    """

    def __init__(self, operations: Left, *, channels: int, cells: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        parts: list[nn.Module] = []
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                parts.append(Reduction(width // 2, width))
            parts += [MixedCell(operations, width) for _ in range(cells)]
        self.parts = nn.Sequential(*parts)
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.last(self.parts(self.stem(images)))
        logits: Tensor = self.classifier(F.adaptive_avg_pool2d(features, 1).flatten(1))
        return logits


def draw_weights(network: nn.Module, generator: torch.Generator, *, fan: str) -> None:
    """Draw weights by He et al. 2015: normal, of variance 2 over the fan.

    Args:
        network: Changed in place; biases become 0, normalization 1 and 0.
        generator: Of all draws.
        fan: "in" keeps the size of features, "out" that of gradients.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                weight = module.weight
                size = weight[0].numel() if fan == "in" else weight[:, 0].numel()
                drawn = torch.randn(weight.shape, generator=generator)
                weight.copy_(drawn * (2 / size) ** 0.5)
                if module.bias is not None:
                    module.bias.zero_()


def leave(network: nn.Module, operations: Left) -> None:
    """Use these operations on the edges of every cell, in place."""
    for module in network.modules():
        if isinstance(module, MixedCell):
            module.left = operations
