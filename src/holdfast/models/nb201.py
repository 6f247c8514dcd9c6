"""Networks of NAS-Bench-201: one cell string, repeated in three stages.

Source: Dong and Yang 2020, arXiv:2001.00326, "NAS-Bench-201", figure 1 and section 2.1; what its
text leaves open (no bias, the shortcut, which average a border pixel gets) as the networks that
its authors published have it, whose parameter names these share, so that published weights load.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.models._nb201_text import EDGES, NODES, format_cell, parse_cell
from holdfast.models._sizes import check_sizes

__all__ = [
    "EDGES",
    "Cell",
    "NB201Network",
    "Reduction",
    "build_nb201",
    "flow",
    "format_cell",
    "operation",
    "parse_cell",
]


class Zero(nn.Module):
    """`none`: zeros in the shape of what comes."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.zeros_like(features)


class ReluConvNorm(nn.Module):
    """`nor_conv_KxK`: ReLU, convolution without bias, batch normalization."""

    def __init__(self, before: int, after: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, features: Tensor) -> Tensor:
        moved: Tensor = self.op(features)
        return moved


class AveragePool(nn.Module):
    """`avg_pool_3x3`: mean over the neighbours that lie inside of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.op = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)

    def forward(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.op(features)
        return pooled


_LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: Zero(),
    "skip_connect": lambda channels: nn.Identity(),
    "nor_conv_1x1": lambda channels: ReluConvNorm(channels, channels, 1),
    "nor_conv_3x3": lambda channels: ReluConvNorm(channels, channels, 3),
    "avg_pool_3x3": lambda channels: AveragePool(),
}


def operation(name: str, channels: int) -> nn.Module:
    """Layer of an operation, which keeps the shape [B, channels, H, W] of what comes."""
    return _LAYERS[name](channels)


def flow(features: Tensor, edge: Callable[[int, Tensor], Tensor]) -> Tensor:
    """What reaches the last of four nodes, each of which is the sum of its edges.

    Args:
        features: Of node 0.
        edge: What an edge, by its place in `EDGES`, makes of the node where it starts.
    """
    nodes = [features]
    for node in range(1, NODES):
        into = [
            edge(place, nodes[start]) for place, (start, end) in enumerate(EDGES) if end == node
        ]
        nodes.append(torch.stack(into).sum(0) if len(into) > 1 else into[0])
    return nodes[-1]


class Cell(nn.Module):
    """One operation an edge; see `flow`.

    Attributes:
        layers: One operation an edge, in the order of `EDGES`.
    """

    def __init__(self, operations: tuple[str, ...], channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(operation(name, channels) for name in operations)

    def forward(self, features: Tensor) -> Tensor:
        return flow(features, lambda place, start: self.layers[place](start))


class Reduction(nn.Module):
    """Residual block that halves the side and doubles the channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv_a = ReluConvNorm(before, after, 3, stride=2)
        self.conv_b = ReluConvNorm(after, after, 3)
        self.downsample = nn.Sequential(
            nn.AvgPool2d(2, stride=2), nn.Conv2d(before, after, 1, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        shortcut: Tensor = self.downsample(features)
        return shortcut + self.conv_b(self.conv_a(features))


class NB201Network(nn.Module):
    """Stem, three stages of cells with a reduction between them, and a linear head.

    Takes images [B, in_channels, H, W] with sides divisible by 4, as they are: nothing is
    normalised here. Gives logits [B, classes]. `cell` makes a cell of a width.
    """

    def __init__(
        self,
        cell: Callable[[int], nn.Module],
        *,
        channels: int,
        cells: int,
        classes: int,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        parts: list[nn.Module] = []
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                parts.append(Reduction(width // 2, width))
            parts += [cell(width) for _ in range(cells)]
        self.cells = nn.ModuleList(parts)
        self.lastact = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.stem(images)
        for part in self.cells:
            features = part(features)
        features = F.adaptive_avg_pool2d(self.lastact(features), 1).flatten(1)
        logits: Tensor = self.classifier(features)
        return logits


def build_nb201(
    arch: str, *, channels: int = 16, cells: int = 5, classes: int = 10, in_channels: int = 3
) -> NB201Network:
    """Network of a cell string, with fresh weights from torch's global generator.

    With the usual settings and all operations `nor_conv_3x3` it has 1,531,546 parameters, and
    220.12 million multiply-adds at 32 x 32 pixels.

    Args:
        arch: Such as `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|`.
        channels: Of the first stage; the second and third have twice and four times as many.
        cells: Cells a stage.
        classes: Number of logits.
        in_channels: Channels of the images.

    Raises:
        BadValueError: No such cell, a size below 1, or fewer than two classes.
    """
    check_sizes(channels=channels, cells=cells, classes=classes, in_channels=in_channels)
    operations = parse_cell(arch)
    return NB201Network(
        lambda width: Cell(operations, width),
        channels=channels,
        cells=cells,
        classes=classes,
        in_channels=in_channels,
    )
