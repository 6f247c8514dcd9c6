"""Convolutions whose gradient with respect to their input costs less on a CPU.

oneDNN computes the input gradient of a layer that reads an image several times slower than the
layer itself, because a convolution with one to four output channels leaves its vectors almost
empty. Here the gradient is gathered for blocks of b x b pixels at once: a block of C channels is
one "pixel" of C b^2 channels, and each of them is again a convolution of the output's gradient.
The sums are the same, in another order.

A depthwise convolution's input gradient is the same convolution with the window turned around,
which oneDNN computes faster under that name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FEW = 4  # input channels up to which a layer reads an image: RGB, gray, with one to spare


@dataclass(frozen=True)
class _Axis:
    """How input pixels in blocks depend on output positions, along one axis.

    Input pixel y = block * a + r - start is reached by tap u from output t exactly when
    stride * t + u = y + padding, that is t = (block / stride) * a + d with
    d = (r - start + padding - u) / stride whole; `first` <= d <= `last`.
    """

    kernel: int
    stride: int
    padding: int
    block: int
    start: int
    first: int
    last: int

    @property
    def taps(self) -> int:
        return self.last - self.first + 1

    def blocks(self, size: int) -> int:
        """How many blocks cover an input of this size."""
        return -(-(size + self.start) // self.block)

    def margin(self, size: int, outputs: int) -> int:
        """Zeros that the output's gradient needs on both sides."""
        furthest = self.block // self.stride * (self.blocks(size) - 1) + self.last
        return max(-self.first, furthest - (outputs - 1), 0)


def _axis(kernel: int, stride: int, padding: int, block: int) -> _Axis:
    """Blocks aligned so that the fewest outputs reach one."""
    choices = []
    for start in range(block):
        first = math.ceil((padding - start - (kernel - 1)) / stride)
        last = (block - 1 - start + padding) // stride
        choices.append(_Axis(kernel, stride, padding, block, start, first, last))
    return min(choices, key=lambda axis: axis.taps)


class ImageConv2d(nn.Conv2d):
    """A frozen convolution over images, with a blockwise input gradient.

    `adopt` turns a convolution into one, in place. The weights may not change after it.
    """

    rows: _Axis
    columns: _Axis
    turned: Tensor

    @staticmethod
    def fits(layer: nn.Module) -> bool:
        """Whether a layer reads an image: few channels and a plain window."""
        return (
            type(layer) is nn.Conv2d
            and layer.in_channels <= _FEW
            and layer.groups == 1
            and layer.dilation == (1, 1)
            and _plain_padding(layer)
        )

    @staticmethod
    def adopt(layer: nn.Conv2d) -> None:
        """Change the class of `layer`, so that all that refer to it see the change."""
        layer.__class__ = ImageConv2d
