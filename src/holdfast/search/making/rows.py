"""Layers over a stack of networks, for images of few pixels.

Features are [G, B, H, D]: network, image, row of pixels, and D = W * C numbers of a row, channels
last. A 3 x 3 convolution is three products of whole rows with matrices [D, D'] (the kernel's upper,
middle and lower row, each as a banded matrix over the columns), which at these sizes is several
times faster than a convolution a network: at 8 x 8 x 8, 4 x 4 x 16 and 2 x 2 x 32, D is 64. No
network's numbers depend on which others are in the stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NORM_EPS = 1e-5  # torch's default
_KERNEL = 3


def banded(kernels: Tensor, width: int, stride: int = 1) -> Tensor:
    """Matrices of 3 x 3 kernels over rows of `width` pixels.

    Args:
        kernels: [G, C', C, 3, 3].
        width: Pixels a row before the convolution.
        stride: 1 or 2.

    Returns:
        [G, 3, width * C, width / stride * C'], for the three rows of the kernel.
    """
    count, after, before = kernels.shape[:3]
    columns = torch.zeros(_KERNEL, width, width // stride)
    for place in range(width // stride):
        for offset in range(_KERNEL):
            source = stride * place + offset - 1
            if 0 <= source < width:
                columns[offset, source, place] = 1
    matrices = torch.einsum("goikd,dwv->gkwivo", kernels, columns)
    return matrices.reshape(count, _KERNEL, width * before, width // stride * after)


def pooling(kernels: Tensor, width: int) -> Tensor:
    """Matrices of a 2 x 2 mean and a 1 x 1 convolution, for the sum of two rows.

    Args:
        kernels: [G, C', C, 1, 1].
        width: Pixels a row before.

    Returns:
        [G, width * C, width / 2 * C'].
    """
    count, after, before = kernels.shape[:3]
    pairs = torch.eye(width // 2).repeat_interleave(2, 0) / 4
    matrices = torch.einsum("goi,wv->gwivo", kernels[..., 0, 0], pairs)
    return matrices.reshape(count, width * before, width // 2 * after)


class RowConv(torch.autograd.Function):
    """3 x 3 convolution with zero padding, after a ReLU where that is wanted."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, matrices: Tensor, stride: int, relu: bool) -> Tensor:  # noqa: FBT001
        """Features [G, B, H, D] and matrices [G, 3, D, D'] to [G, B, H / stride, D']."""
        images, height = features.shape[1:3]
        rows = _padded(features, stride, relu=relu)
        count = images * (height + stride) // stride
        windows = _windows(rows, count, stride)
        out = torch.bmm(windows[0], matrices[:, 0])
        for place in (1, 2):
            out.baddbmm_(windows[place], matrices[:, place])
        ctx.save_for_backward(rows, matrices)
        ctx.sizes = images, height, stride, relu
        return _unpadded(out, images)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of features and matrices."""
        rows, matrices = ctx.saved_tensors
        images, height, stride, relu = ctx.sizes
        padded = _padded(grads, 1, relu=False)
        count = images * (height + stride) // stride
        d_features = d_matrices = None
        if ctx.needs_input_grad[1]:
            own = padded[:, 1 : 1 + count]
            parts = [w.transpose(1, 2).bmm(own) for w in _windows(rows, count, stride)]
            d_matrices = torch.stack(parts, 1)
        if ctx.needs_input_grad[0]:
            back = _back if stride == 1 else _back_strided
            d_features = back(padded, matrices.transpose(2, 3), images)
            if relu:
                seen = rows[:, 1:-1].view(len(rows), images, height + stride, -1)[:, :, :height]
                d_features = torch.ops.aten.threshold_backward(d_features, seen, 0)
        return d_features, d_matrices, None, None


def _back(padded: Tensor, turned: Tensor, images: int) -> Tensor:
    """Gradient of a row: from the rows below, beside and above it."""
    windows = _windows(padded, padded.shape[1] - 2, 1)
    out = torch.bmm(windows[0], turned[:, 2])
    out.baddbmm_(windows[1], turned[:, 1])
    out.baddbmm_(windows[2], turned[:, 0])
    return _unpadded(out, images)


def _back_strided(padded: Tensor, turned: Tensor, images: int) -> Tensor:
    """Even rows were in the middle of one window, odd ones at the end of two."""
    count = padded.shape[1] - 2
    own = padded[:, 1 : 1 + count]
    even = torch.bmm(own, turned[:, 1])
    odd = torch.bmm(own, turned[:, 2]).baddbmm_(padded[:, 2:], turned[:, 0])
    both = torch.stack([_unpadded(even, images), _unpadded(odd, images)], 3)
    return both.flatten(2, 3)


def _padded(features: Tensor, after: int, *, relu: bool) -> Tensor:
    """Rows of all images below each other, [G, 1 + B (H + after) + 1, D].

    A row of zeros above the first image, `after` of them below each, and one at the end.
    """
    count, images, height, width = features.shape
    rows = features.new_empty(count, images * (height + after) + 2, width)
    rows[:, 0] = 0
    rows[:, -1] = 0
    inner = rows[:, 1:-1].view(count, images, height + after, width)
    inner[:, :, height:] = 0
    if relu:
        torch.clamp(features, min=0, out=inner[:, :, :height])
    else:
        inner[:, :, :height] = features
    return rows


def _windows(rows: Tensor, count: int, stride: int) -> list[Tensor]:
    last = stride * (count - 1) + 1
    return [rows[:, place : place + last : stride] for place in range(_KERNEL)]


def _unpadded(out: Tensor, images: int) -> Tensor:
    """Leave out the windows that lie between two images; a view."""
    return out.view(len(out), images, -1, out.shape[2])[:, :, :-1]


class BatchNorm(torch.autograd.Function):
    """Batch normalization of each network over its own images."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features [G, B, H, W * C] with weight and bias [G, C].

        Returns:
            The normalised features, and mean and (biased) variance [G, C] before.
        """
        channels = weight.shape[1]
        mean = _means(features, channels)
        centered = features - _wide(mean, features)
        variance = _means(centered * centered, channels)
        inverse = (variance + NORM_EPS).rsqrt()
        out = centered * _wide(weight * inverse, features)
        out += _wide(bias, features)
        ctx.save_for_backward(centered, weight, inverse)
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of features, weight and bias."""
        centered, weight, inverse = ctx.saved_tensors
        channels = weight.shape[1]
        many = grads[0].numel() // channels
        mean = _means(grads, channels)
        slope = _means(grads * centered, channels)
        moved = centered * _wide(-slope * inverse * inverse, grads)
        moved += grads
        moved -= _wide(mean, grads)
        moved *= _wide(weight * inverse, grads)
        return moved, slope * inverse * many, mean * many


class Split(torch.autograd.Function):
    """Hand parts of a stack to the edges that leave a node."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, parts: list[list[int]]) -> tuple[Tensor, ...]:
        """Features [G, ...] to [len(places), ...] for each list of places."""
        ctx.parts, ctx.shape = parts, features.shape
        return tuple(_taken(features, places) for places in parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Sum of the gradients of all parts."""
        return _summed(grads[0], ctx.shape, ctx.parts, grads), None


class Join(torch.autograd.Function):
    """Sum what arrives at a node from some of a stack's networks; zeros where nothing does."""

    @staticmethod
    def forward(ctx: Any, like: Tensor, parts: list[list[int]], *arriving: Tensor) -> Tensor:
        """Features [len(places), ...] for each list of places to [G, ...], as `like`."""
        ctx.parts = parts
        return _summed(like, like.shape, parts, arriving)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grads: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of each part."""
        return None, None, *(_taken(grads, places) for places in ctx.parts)


def _taken(features: Tensor, places: list[int]) -> Tensor:
    """Some networks' features; a view where they lie side by side."""
    if places[-1] - places[0] == len(places) - 1:
        return features[places[0] : places[-1] + 1]
    return features.index_select(0, torch.tensor(places))


def _summed(
    like: Tensor, shape: torch.Size, parts: list[list[int]], values: Sequence[Tensor]
) -> Tensor:
    """Sum of parts, [G, ...]; the same order of addition for a network in any stack."""
    total = like.new_zeros(shape)
    for places, value in zip(parts, values, strict=True):
        if places[-1] - places[0] == len(places) - 1:
            total[places[0] : places[-1] + 1] += value
        else:
            total.index_add_(0, torch.tensor(places), value)
    return total


def _means(features: Tensor, channels: int) -> Tensor:
    """Mean over images and pixels, [G, C]."""
    count, images, height, width = features.shape
    sums = features.sum((1, 2)).view(count, -1, channels).sum(1)
    return sums / (images * height * width // channels)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """One value a channel [G, C] beside features [G, B, H, W * C]."""
    return values.repeat(1, like.shape[3] // values.shape[1])[:, None, None]
