"""Average for max pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.models.preprocessing import Preprocessing
from holdfast.models.surgery._parts import layers, replace_module
from holdfast.models.surgery.base import CHANGES, Change


@CHANGES.named("average_pooling")
@dataclass(frozen=True, kw_only=True)
class AveragePooling(Change):
    """Let every max pooling take the mean of its window instead.

    Window, stride, padding and rounding stay; the mean is over the pixels that there are, not
    over the padding. On a constant map both give the same. Poolings that are functions, not
    layers, are not seen.

    Source: Kim et al. 2025, arXiv:2509.20939, rule on pooling; the theory is that of a mean of
    k^2 values, whose noise has variance sigma^2 / k^2 and no bias.

    Attributes:
        where: `stem` takes the first pooling alone.
    """

    about: ClassVar[str] = "average instead of max pooling"
    where: Literal["all", "stem"] = "all"

    def _refuses(self, net: nn.Module, preprocessing: Preprocessing) -> str:
        return "" if _pools(net) else "it has no max pooling layer"

    def _made(self, net: nn.Module, preprocessing: Preprocessing) -> tuple[Any, Preprocessing]:
        pools = _pools(net)
        for name, pool in pools[:1] if self.where == "stem" else pools:
            replace_module(net, name, _average(pool).train(pool.training))
        return net, preprocessing


class SameAverage(nn.Module):
    """Mean of the pixels that there are, under TensorFlow's padding: the odd one below right."""

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        sides = zip(x.shape[-2:], self.kernel, self.stride, strict=True)
        (top, bottom), (left, right) = (_same_padding(*side) for side in sides)
        edges = (left, right, top, bottom)
        there = F.pad(torch.ones_like(x[:1, :1]), edges)
        total = F.avg_pool2d(F.pad(x, edges), self.kernel, self.stride)
        return total / F.avg_pool2d(there, self.kernel, self.stride)


def _average(pool: nn.MaxPool2d) -> nn.Module:
    if _same(pool):
        return SameAverage(_two(pool.kernel_size), _two(pool.stride))
    return nn.AvgPool2d(
        pool.kernel_size,
        pool.stride,
        pool.padding,
        ceil_mode=pool.ceil_mode,
        count_include_pad=False,
    )


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    short = max(0, (-(-side // stride) - 1) * stride + kernel - side)
    return short // 2, short - short // 2


def _two(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _pools(net: nn.Module) -> list[tuple[str, nn.MaxPool2d]]:
    """Max pools without dilation, which an average has none of, nor a forward of their own."""
    return [
        (name, pool)
        for name, pool in layers(net, nn.MaxPool2d)
        if pool.dilation in (1, (1, 1)) and (type(pool) is nn.MaxPool2d or _same(pool))
    ]


def _same(pool: nn.MaxPool2d) -> bool:
    """Whether it is timm's with TensorFlow's padding, which pads in its own forward."""
    return type(pool).__name__ == "MaxPool2dSame"
