"""Frozen convolutions whose gradient with respect to their input costs less on a CPU.

oneDNN computes the input gradient of a layer that reads images several times slower than the
layer itself: with one to four channels in the result its vectors stay almost empty. Here the
gradient is taken for blocks of b x b pixels at once. A block of C channels is one pixel of C b^2
channels, and each of these is again a convolution of the output's gradient, of stride
b / stride. The terms of every sum are the same; their order is not.

The input gradient of a depthwise convolution of stride 1 is a depthwise convolution with the
window turned around, which oneDNN computes faster under that name.

Both can be differentiated again; neither works under `is_grads_batched`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FEW = 4  # input channels of a layer that reads images: gray, RGB, and one to spare
_BLOCK, _GRAY_BLOCK = 2, 4  # least side of a block: measured; 12 and 16 channels fill a vector


@dataclass(frozen=True)
class _Axis:
    """Which outputs reach which block of input pixels, along one axis.

    Input y = block * a + r - start takes part in output t through tap u exactly when
    stride * t + u = y + padding: in t = (block / stride) * a + d, where
    d = (r - start + padding - u) / stride is whole and lies in first..first + taps - 1.
    """

    kernel: int
    stride: int
    padding: int
    block: int
    start: int

    @property
    def first(self) -> int:
        return math.ceil((self.padding - self.start - (self.kernel - 1)) / self.stride)

    @property
    def taps(self) -> int:
        return (self.block - 1 - self.start + self.padding) // self.stride - self.first + 1

    @property
    def step(self) -> int:
        return self.block // self.stride

    def blocks(self, size: int) -> int:
        """How many blocks cover an input of this size."""
        return -(-(size + self.start) // self.block)

    def lead(self, size: int, outputs: int) -> int:
        """Blocks to compute before the first, so that equal margins reach the last one too."""
        furthest = self.step * (self.blocks(size) - 1) + self.taps + 2 * self.first
        return max(0, -((outputs - furthest) // self.step))

    def selection(self) -> Tensor:
        """One-hot [block, taps, kernel]: which tap joins a block's pixel r and its output d."""
        pixels = torch.arange(self.block).view(-1, 1, 1) - self.start + self.padding
        outputs = torch.arange(self.taps).view(1, -1, 1) + self.first
        return (pixels - self.stride * outputs == torch.arange(self.kernel)).float()


def _axis(kernel: int, stride: int, padding: int, block: int) -> _Axis:
    """Blocks aligned so that the fewest outputs reach one."""
    choices = [_Axis(kernel, stride, padding, block, start) for start in range(block)]
    return min(choices, key=lambda axis: axis.taps)


class _FrozenConv2d(nn.Conv2d):
    """A convolution with a gradient of its own; `turned` is the weights as that needs them."""

    turned: Tensor

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's own name)
        """Convolve [B, C, H, W]; where the input's gradient is not wanted, as torch does."""
        known = input.device.type == "cpu" and input.dtype == self.turned.dtype
        if known and input.ndim == 4 and input.requires_grad and torch.is_grad_enabled():
            return _Convolved.apply(input, self)
        return self.convolved(input)

    def convolved(self, images: Tensor) -> Tensor:
        return self._conv_forward(images, self.weight, self.bias)

    def input_gradient(self, gradient: Tensor, size: tuple[int, int]) -> Tensor:
        raise NotImplementedError

    def retuned(self) -> Tensor:
        """What `turned` is for the present weights."""
        raise NotImplementedError

    def retune(self) -> None:
        """Take note that the weights have changed."""
        self.turned.copy_(self.retuned())


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, layer: _FrozenConv2d) -> Tensor:
        ctx.layer, ctx.size = layer, tuple(images.shape[2:])
        return layer.convolved(images)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.input_gradient(gradients[0], ctx.size), None


class ImageConv2d(_FrozenConv2d):
    """A convolution over images, with a blockwise input gradient."""

    rows: _Axis
    columns: _Axis

    def retuned(self) -> Tensor:
        """The weights as a convolution of the output's gradient has them, a block at a time."""
        picks = (axis.selection().to(self.weight) for axis in (self.rows, self.columns))
        weight = self.weight.detach()
        return torch.einsum("rju,slv,oiuv->rsiojl", *picks, weight).flatten(0, 2)

    def input_gradient(self, gradient: Tensor, size: tuple[int, int]) -> Tensor:
        """Gradient with respect to the input, [B, O, h, w] -> contiguous [B, C, H, W]."""
        rows, columns = self.rows, self.columns
        up, left = rows.lead(size[0], gradient.shape[2]), columns.lead(size[1], gradient.shape[3])
        margins = (rows.step * up - rows.first, columns.step * left - columns.first)
        blocks = F.conv2d(gradient, self.turned, None, (rows.step, columns.step), margins)
        high, wide = rows.blocks(size[0]), columns.blocks(size[1])
        blocks = blocks[:, :, up : up + high, left : left + wide]
        split = torch.unflatten(blocks, 1, (rows.block, columns.block, self.in_channels))
        whole = split.permute(0, 3, 4, 1, 5, 2).flatten(2, 3).flatten(3, 4)
        top, first = rows.start, columns.start
        return whole[:, :, top : top + size[0], first : first + size[1]].contiguous()


class DepthwiseConv2d(_FrozenConv2d):
    """A depthwise convolution of stride 1, differentiated by one of its kind."""

    margins: tuple[int, int]

    def retuned(self) -> Tensor:
        """The windows turned around."""
        return self.weight.detach().flip(2, 3)

    def input_gradient(self, gradient: Tensor, size: tuple[int, int]) -> Tensor:
        """Gradient with respect to the input, [B, C, h, w] -> [B, C, H, W]."""
        return F.conv2d(gradient, self.turned, None, 1, self.margins, 1, self.groups)


def adopt(net: nn.Module, *, channels_last: bool) -> int:
    """Give frozen float32 convolutions of `net` the cheaper gradient, where there is one.

    The class of a layer changes, so that all that refer to it see the change. After a change of
    its weights it must `retune`; the gradient of other devices' and dtypes' images stays torch's.

    Args:
        net: Changed in place.
        channels_last: Layout of its weights.

    Returns:
        How many layers were changed.
    """
    layers = [layer for layer in net.modules() if type(layer) is nn.Conv2d and _plain(layer)]
    changed = 0
    for layer in layers:
        if layer.groups == 1 and layer.in_channels <= _FEW:
            _adopt_image_layer(layer, channels_last=channels_last)
        elif layer.groups == layer.in_channels == layer.out_channels and layer.stride == (1, 1):
            _adopt_depthwise(layer, channels_last=channels_last)
        else:
            continue
        changed += 1
    return changed


def _plain(layer: nn.Conv2d) -> bool:
    return (
        layer.weight.dtype == torch.float32
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and all(p < k for p, k in zip(_margins(layer), layer.kernel_size, strict=True))
    )


def _margins(layer: nn.Conv2d) -> tuple[int, int]:
    return int(layer.padding[0]), int(layer.padding[1])  # no word: `_plain` saw to that


def _adopt_image_layer(layer: nn.Conv2d, *, channels_last: bool) -> None:
    least = _GRAY_BLOCK if layer.in_channels == 1 else _BLOCK
    sides = zip(layer.kernel_size, layer.stride, _margins(layer), strict=True)
    rows, columns = (_axis(k, s, p, s * -(-least // s)) for k, s, p in sides)
    vars(layer).update(rows=rows, columns=columns)
    _become(layer, ImageConv2d, channels_last=channels_last)


def _adopt_depthwise(layer: nn.Conv2d, *, channels_last: bool) -> None:
    sides = zip(layer.kernel_size, _margins(layer), strict=True)
    vars(layer).update(margins=tuple(kernel - 1 - padding for kernel, padding in sides))
    _become(layer, DepthwiseConv2d, channels_last=channels_last)


def _become(layer: Any, kind: type[_FrozenConv2d], *, channels_last: bool) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    layer.__class__ = kind
    layer.register_buffer("turned", layer.retuned().contiguous(memory_format=layout), False)
