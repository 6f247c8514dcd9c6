"""Networks in which each edge of a NAS-Bench-201 cell holds several operations at once.

Source: Chen et al. 2021, "TE-NAS", section 3.2, and its code, in which the operations left on an
edge are averaged.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from holdfast.models.nb201 import NB201Network, flow, operation

Left = tuple[tuple[str, ...], ...]  # operations left on each edge, in the order of the text


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
            nn.ModuleDict({name: operation(name, channels) for name in edge}) for edge in operations
        )

    def forward(self, features: Tensor) -> Tensor:
        return flow(features, self._edge)

    def _edge(self, number: int, features: Tensor) -> Tensor:
        operations, names = cast("nn.ModuleDict", self.edges[number]), self.left[number]
        return torch.stack([operations[name](features) for name in names]).mean(0)


def supernet(operations: Left, *, channels: int, cells: int, classes: int = 10) -> NB201Network:
    """Network of NAS-Bench-201 whose cells are mixed; `draw_weights` gives it its weights."""
    with torch.random.fork_rng(devices=[]):  # torch draws weights as it builds
        return NB201Network(
            lambda width: MixedCell(operations, width),
            channels=channels,
            cells=cells,
            classes=classes,
        )


def draw_weights(network: nn.Module, generator: torch.Generator, *, fan: str) -> None:
    """Draw weights by He et al. 2015: normal, of variance 2 over the fan.

    Args:
        network: Its convolutions and linear layers are changed in place, and their biases
            become 0; normalization is left as it is.
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
