"""Noise gain of a network's first linear layer: exact, from its weights and its normalization.

White noise of variance v in pixels of [0, 1] comes out of a linear filter w with variance
v * sum((w / std)^2), where std is that of the normalization before it. Strides, groups and
dilation change nothing in this. It is the value in the interior: a window that reaches into
padding sees less noise.

Whether the first layer is linear in pixels is not assumed but seen: a few pictures are sent
through the model, and what arrives at its first convolution or linear layer must be an affine map
of colors at each pixel, or each of its numbers that of one pixel (space to depth, patches that
are cut out). So normalization inside a network, swapped colors and patch embeddings are all
found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from holdfast.core.checks import check_whole
from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for

FloatArray = NDArray[np.float64]
_ANY_SIZE = (32, 32)  # of pictures for a network that takes any
_SAME = 1e-4  # how far float32 may bring apart what is equal, of the largest number
_Layer = nn.Conv2d | nn.Linear


@dataclass(frozen=True, eq=False)
class Stem:
    """The first linear layer of a network, in pixel units.

    Attributes:
        name: Dotted name of the module.
        module: The layer itself.
        weight: float64 [filters, colors, height, width]: what a filter's output changes by when
            a pixel of [0, 1] does.
        stride: Pixels from one output to the next, down and across.
        margin: Outputs at each border whose windows may reach into padding.
        image: Height and width of the picture that it was looked at with.
    """

    name: str
    module: _Layer
    weight: FloatArray
    stride: tuple[int, int]
    margin: tuple[int, int]
    image: tuple[int, int]

    @property
    def gains(self) -> FloatArray:
        """Noise variance of each filter's output over that of the pixels, float64 [filters]."""
        return noise_gains(self.weight)

    @property
    def about(self) -> str:
        """In words, such as `conv1: 64 filters of 7x7 pixels, stride 2`."""
        filters, _, height, width = self.weight.shape
        down, across = self.stride
        stride = str(down) if down == across else f"{down}x{across}"
        return f"{self.name}: {filters} filters of {height}x{width} pixels, stride {stride}"

    def interior(self, output: Tensor) -> Tensor:
        """Outputs whose windows lie within the picture, [B, filters, positions].

        Of all positions where there is no interior.
        """
        if isinstance(self.module, nn.Linear):
            return output.reshape(len(output), -1, output.shape[-1]).transpose(1, 2)
        down, across = self.margin
        inner = output[..., down : output.shape[-2] - down, across : output.shape[-1] - across]
        return (inner if inner.numel() else output).flatten(2)


def noise_gains(weight: ArrayLike, *, std: ArrayLike = 1.0, groups: int = 1) -> FloatArray:
    """Variance out over variance in, for white noise, of each filter of a linear layer.

    Args:
        weight: [filters, channels / groups, ...], as torch has it.
        std: What each input channel is divided by before, [channels]; or one number.
        groups: Of the convolution.

    Returns:
        float64 [filters].

    Raises:
        BadValueError: Shapes that do not fit.
    """
    rows = np.asarray(weight, np.float64)
    if rows.ndim < 2 or groups < 1 or len(rows) % groups:
        raise BadValueError(
            f"weights must be [filters, channels, ...] with filters a multiple of groups {groups}, "
            f"got {rows.shape}"
        )
    channels = rows.shape[1] * groups
    scale = np.broadcast_to(np.asarray(std, np.float64), (channels,))
    energy = (rows.reshape(*rows.shape[:2], -1) ** 2).sum(2)
    group = np.repeat(np.arange(groups), len(rows) // groups)
    seen = group[:, None] * rows.shape[1] + np.arange(rows.shape[1])
    return np.asarray((energy / scale[seen] ** 2).sum(1), np.float64)


def averaged(
    weight: ArrayLike, stride: tuple[int, int] | int, window: int
) -> tuple[FloatArray, tuple[int, int]]:
    """One filter that does what a filter and an average pooling do after one another.

    Neighbouring outputs of a filter see overlapping pixels, so that their noise is correlated
    and pooling takes less than 1 / window^2; this is exact.

    Args:
        weight: [filters, colors, h, w].
        stride: Of the filter, pixels.
        window: Of the pooling, which moves by its own width.

    Returns:
        Weights [filters, colors, h + (window - 1) * stride, ...], and their stride.

    Raises:
        BadValueError: Not [filters, colors, h, w].
    """
    rows = np.asarray(weight, np.float64)
    check_whole("window", window)
    if rows.ndim != 4:
        raise BadValueError(f"weights must be [filters, colors, h, w], got {rows.shape}")
    down, across = (stride, stride) if isinstance(stride, int) else stride
    height, width = rows.shape[2:]
    reach = (window - 1) * down, (window - 1) * across
    made = np.zeros((*rows.shape[:2], height + reach[0], width + reach[1]))
    for y in range(0, reach[0] + 1, down):
        for x in range(0, reach[1] + 1, across):
            made[:, :, y : y + height, x : x + width] += rows
    return made / window**2, (down * window, across * window)


class _Stopped(Exception):  # noqa: N818  # no error: it ends a pass that has seen enough
    """The first layer was reached."""


@dataclass
class _Seen:
    name: str = ""
    layer: _Layer | None = None
    before: Tensor | None = None


def stem_of(
    net: nn.Module, run: Callable[[Tensor], Any], size: tuple[int, int] | None, colors: int = 3
) -> Stem | str:
    """The first convolution or linear layer of a network, if it is linear in pixels.

    Args:
        net: The network, in evaluation mode.
        run: Sends pictures float32 [B, colors, H, W] in [0, 1] through normalization and network.
        size: Height and width of the pictures; None takes 32 x 32.
        colors: 1 or 3.

    Returns:
        The stem, or a sentence on why there is none.
    """
    height, width = size or _ANY_SIZE
    probes = _probes(height, width, colors)
    seen = _first_layer(net, run, probes)
    if seen.layer is None or seen.before is None:
        return "No convolution and no linear layer was reached."
    before = seen.before.detach().double().cpu()
    pixels = probes.double().cpu()
    kernel = _kernel(seen.layer, before[:1])
    if isinstance(seen.layer, nn.Conv2d) and before.shape[2:] == pixels.shape[2:]:
        mix = _mix_of_colors(before, pixels)
        if mix is not None:
            weight = np.einsum("ojhw,jc->ochw", kernel, mix)
            stride = cast("tuple[int, int]", seen.layer.stride)
            return _stem(seen.name, seen.layer, weight, stride, (height, width))
    found = _rearranged(seen.layer, before, pixels, kernel)
    if found is None:
        return (
            f"What {seen.name} is given, the first layer with weights, is neither the picture with "
            "its colors scaled nor its pixels in another order: the stem is not linear in pixels."
        )
    return _stem(seen.name, seen.layer, *found, (height, width))


def _stem(
    name: str,
    layer: _Layer,
    weight: FloatArray,
    stride: tuple[int, int],
    image: tuple[int, int],
) -> Stem:
    padded = isinstance(layer, nn.Conv2d) and weight.shape[2:] != stride
    margin = [
        math.ceil(side / step) if padded else 0
        for side, step in zip(weight.shape[2:], stride, strict=True)
    ]
    return Stem(name, layer, weight, stride, (margin[0], margin[1]), image)


def _probes(height: int, width: int, colors: int) -> Tensor:
    """Black, each color, ramps down and across, and noise: [colors + 4, colors, H, W]."""
    probes = torch.zeros(colors + 4, colors, height, width)
    for color in range(colors):
        probes[1 + color, color] = 1.0
    probes[colors + 1] = torch.linspace(0, 1, height)[:, None]
    probes[colors + 2] = torch.linspace(0, 1, width)
    keys = keys_for(torch.zeros(1, dtype=torch.int64), seed=0, stream="stem probe")
    probes[colors + 3] = keys.uniform(colors, height, width)[0].float()
    return probes


def _first_layer(net: nn.Module, run: Callable[[Tensor], Any], probes: Tensor) -> _Seen:
    seen = _Seen()
    names = {module: name for name, module in net.named_modules()}

    def reached(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.name, seen.layer = names[module] or "the network", cast("_Layer", module)
        seen.before = inputs[0].clone() if inputs and isinstance(inputs[0], Tensor) else None
        raise _Stopped

    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_pre_hook(reached) for layer in layers]
    try:
        with torch.no_grad():
            run(probes)
    except _Stopped:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _kernel(layer: _Layer, before: Tensor) -> FloatArray:
    """Weights of a layer, groups written out, float64 [filters, channels, h, w]."""
    if isinstance(layer, nn.Linear):
        return layer.weight.detach().double().cpu().numpy()[:, :, None, None]
    weight = layer.weight
    if type(layer) is not nn.Conv2d:
        weight = _acting_weight(layer, before)
    kernel = weight.detach().double().cpu().numpy()
    whole = np.zeros((len(kernel), layer.in_channels, *kernel.shape[2:]))
    wide, share = kernel.shape[1], len(kernel) // layer.groups
    for group in range(layer.groups):
        rows = slice(group * share, (group + 1) * share)
        whole[rows, group * wide : (group + 1) * wide] = kernel[rows]
    return whole


def _acting_weight(layer: nn.Conv2d, before: Tensor) -> Tensor:
    """Weight that a convolution of another class really multiplies by, such as a standardized one.

    The derivative of an output in the middle by the input, which for a linear layer is its kernel.
    """
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    sides = [4 * max(r, s) for r, s in zip(reach, layer.stride, strict=True)]
    like = layer.weight
    image = torch.zeros(layer.out_channels, layer.in_channels, *sides).to(like)
    image.requires_grad_(True)
    with torch.enable_grad():
        output = layer(image)
        middle = output[..., output.shape[2] // 2, output.shape[3] // 2]
        slope = torch.autograd.grad(middle.diagonal().sum(), image)[0]
    return _cut(slope, layer, reach)


def _cut(slope: Tensor, layer: nn.Conv2d, reach: list[int]) -> Tensor:
    """The window of a kernel out of a picture of it, without the holes of dilation."""
    used = slope.abs().sum((0, 1)) > 0
    places = used.nonzero()
    if not len(places):
        return torch.zeros_like(layer.weight)
    top, left = (int(value) for value in places.min(0).values)
    window = slope[:, :, top : top + reach[0], left : left + reach[1]]
    window = window[:, :, :: layer.dilation[0], :: layer.dilation[1]]
    wide, share = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    return torch.cat(
        [
            window[g * share : (g + 1) * share, g * wide : (g + 1) * wide]
            for g in range(layer.groups)
        ]
    )


def _mix_of_colors(before: Tensor, pixels: Tensor) -> FloatArray | None:
    """Matrix [channels, colors] if the layer is given mix @ color + shift at each pixel."""
    colors = pixels.shape[1]
    middle = (before.shape[2] // 2, before.shape[3] // 2)
    shift = before[0, :, middle[0], middle[1]]
    mix = before[1 : colors + 1, :, middle[0], middle[1]].T - shift[:, None]
    told = torch.einsum("jc,nchw->njhw", mix, pixels) + shift[None, :, None, None]
    return np.asarray(mix.numpy(), np.float64) if _equal(told, before) else None


def _equal(first: Tensor, second: Tensor) -> bool:
    room = _SAME * max(1.0, float(second.abs().max()))
    return float((first - second).abs().max()) <= room


def _rearranged(
    layer: _Layer, before: Tensor, pixels: Tensor, kernel: FloatArray
) -> tuple[FloatArray, tuple[int, int]] | None:
    """Weights in pixels, and stride, if each number that the layer is given is one pixel's.

    Positions are those of convolutions, or the tokens of a linear layer.
    """
    if before.dim() == 4 and isinstance(layer, nn.Linear):
        before = before.flatten(1, 2)  # tokens on a grid
    if before.dim() == 2:
        before = before[:, None]  # one token: all of the picture
    if isinstance(layer, nn.Linear):
        before = before.transpose(1, 2)
    values = before.flatten(2)  # [probes, features, positions]
    if values.shape[1] != kernel.shape[1]:  # pictures of another size than it takes
        return None
    where = _origin(values, pixels)
    if where is None:
        return None
    color, slope, down, across = where
    first = np.stack([down[:, 0], across[:, 0]], 1)  # of the first position
    block = first.max(0) + 1
    moves = kernel.shape[2:]
    wide = (len(kernel), pixels.shape[1], block[0] * moves[0], block[1] * moves[1])
    weight = np.zeros(wide)
    for feature, (y, x) in enumerate(first):
        scaled = kernel[:, feature] * slope[feature]
        weight[:, color[feature], y :: block[0], x :: block[1]] += scaled
    steps = layer.stride if isinstance(layer, nn.Conv2d) else (1, 1)
    return weight, (int(block[0] * steps[0]), int(block[1] * steps[1]))


def _origin(
    values: Tensor, pixels: Tensor
) -> tuple[NDArray[np.int64], FloatArray, NDArray[np.int64], NDArray[np.int64]] | None:
    """Color [F], slope [F], row [F, P] and column [F, P] of the pixel behind each number."""
    colors, (height, width) = pixels.shape[1], pixels.shape[2:]
    black = values[0]
    slopes = values[1 : colors + 1, :, 0] - black[None, :, 0]  # [colors, F]
    size, color = slopes.abs().max(0)
    if not bool((size > 0).all()):
        return None
    slope = slopes.gather(0, color[None])[0]
    down = ((values[colors + 1] - black) / slope[:, None] * (height - 1)).round().long()
    across = ((values[colors + 2] - black) / slope[:, None] * (width - 1)).round().long()
    inside = (down >= 0) & (down < height) & (across >= 0) & (across < width)
    if not bool(inside.all()):
        return None
    told = black + slope[:, None] * pixels[colors + 3][color[:, None], down, across]
    if not _equal(told, values[colors + 3]):
        return None
    return color.numpy(), slope.numpy().astype(np.float64), down.numpy(), across.numpy()
