"""Networks of NAS-Bench-201: one cell string, repeated in three stages.

Source: Dong and Yang 2020, arXiv:2001.00326, "NAS-Bench-201", figure 1 and section 2.1; what its
text leaves open (no bias, the shortcut, which average a border pixel gets) as the networks that
its authors published have it, whose parameter names these share, so that published weights load.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError

# Edges of a cell as (from, to), in the order of the string; node 0 is the input, 3 the output.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
_NODES = 4
_SHOWN = 120


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


# In the order of the published digits 0 to 4.
OPERATIONS: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType(
    {
        "none": lambda channels: Zero(),
        "skip_connect": lambda channels: nn.Identity(),
        "nor_conv_1x1": lambda channels: ReluConvNorm(channels, channels, 1),
        "nor_conv_3x3": lambda channels: ReluConvNorm(channels, channels, 3),
        "avg_pool_3x3": lambda channels: AveragePool(),
    }
)


class Cell(nn.Module):
    """Four nodes; each is the sum of its edges, and the last is the output.

    Attributes:
        layers: One operation an edge, in the order of `EDGES`.
    """

    def __init__(self, operations: tuple[str, ...], channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(OPERATIONS[name](channels) for name in operations)

    def forward(self, features: Tensor) -> Tensor:
        nodes = [features]
        for node in range(1, _NODES):
            into = [
                layer(nodes[start])
                for layer, (start, end) in zip(self.layers, EDGES, strict=True)
                if end == node
            ]
            nodes.append(torch.stack(into).sum(0) if len(into) > 1 else into[0])
        return nodes[-1]


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
    normalised here. Gives logits [B, classes].
    """

    def __init__(
        self, operations: tuple[str, ...], channels: int, cells: int, classes: int, in_channels: int
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
            parts += [Cell(operations, width) for _ in range(cells)]
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
        BadValueError: No such cell, or a number below 1.
    """
    sizes = {"channels": channels, "cells": cells, "classes": classes, "in_channels": in_channels}
    for name, size in sizes.items():
        if size < 1:
            raise BadValueError(f"{name} must be 1 or more, got {size}")
    return NB201Network(parse_cell(arch), channels, cells, classes, in_channels)


def parse_cell(text: str) -> tuple[str, ...]:
    """Operations of a cell string, six names in the order of `EDGES`.

    Raises:
        BadValueError: The string has another form, or names an operation that there is not.
    """
    nodes = [node.strip() for node in text.strip().split("+")]
    if len(nodes) != _NODES - 1:
        raise _wrong(text, f"it has {len(nodes)} nodes")
    found: list[str] = []
    for place, node in enumerate(nodes, 1):
        if not (node.startswith("|") and node.endswith("|") and len(node) > 1):
            raise _wrong(text, f"node {place} does not stand between bars")
        edges = node[1:-1].split("|")
        if [edge.rpartition("~")[2] for edge in edges] != [str(start) for start in range(place)]:
            wanted = "|".join(f"OP~{start}" for start in range(place))
            raise _wrong(text, f"node {place} must be |{wanted}|, got {node}")
        found += [edge.rpartition("~")[0] for edge in edges]
    for name in found:
        if name not in OPERATIONS:
            raise _wrong(text, f"there is no operation {name!r}{_hint(name)}")
    return tuple(found)


def format_cell(operations: tuple[str, ...]) -> str:
    """Cell string of six operations, in the order of `EDGES`."""
    texts = [f"{name}~{start}" for name, (start, _) in zip(operations, EDGES, strict=True)]
    return "+".join(f"|{'|'.join(node)}|" for node in (texts[:1], texts[1:3], texts[3:]))


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, OPERATIONS, n=1, cutoff=0.5)
    known = f"known: {', '.join(OPERATIONS)}"
    return f"; did you mean {near[0]}?" if near else f"; {known}"


def _wrong(text: str, why: str) -> BadValueError:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return BadValueError(
        f"{shown!r} is no NAS-Bench-201 cell: {why}; expected |OP~0|+|OP~0|OP~1|+|OP~0|OP~1|OP~2|"
    )
