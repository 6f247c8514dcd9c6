"""A low-pass filter before each reduction of the resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.surgery._parts import (
    Blur,
    Prefixed,
    binomial,
    first_convolution,
    layers,
    replace_module,
)
from holdfast.models.surgery.base import CHANGES, Change

_LARGEST = 9


@CHANGES.named("blurred_downsampling")
@dataclass(frozen=True, kw_only=True)
class BlurredDownsampling(Change):
    """Blur what a strided convolution or max pooling is about to thin out.

    Convolution and blur commute, so a blur before a strided convolution is one behind the same
    convolution without its stride, at a fraction of the cost. Max pooling is done densely, then
    blurred and thinned out.

    Source: Zhang 2019, "Making convolutional networks shift-invariant again", arXiv:1904.11486.
    Differs: his blur stands behind the activation, and his networks are trained with it. As
    there, shortcuts of one pixel are blurred too. Poolings with TensorFlow's padding, and those
    whose window or stride is no square, are left.

    Attributes:
        taps: Width of the binomial filter, odd.
        stem: Whether the first convolution, which takes the image, is blurred too.
    """

    about: ClassVar[str] = "a binomial low-pass before each reduction"
    taps: int = 3
    stem: bool = False

    def __post_init__(self) -> None:
        if not 3 <= self.taps <= _LARGEST or self.taps % 2 == 0:
            raise BadValueError(f"taps must be odd and from 3 to {_LARGEST}, got {self.taps}")

    def _refuses(self, net: nn.Module, preprocessing: Preprocessing) -> str:
        if any(_blurred(module) for module in net.modules()):
            return "its reductions are blurred already"
        if self._convolutions(net) or _pools(net):
            return ""
        return "no convolution behind the stem and no max pooling layer reduces its resolution"

    def _made(self, net: nn.Module, preprocessing: Preprocessing) -> tuple[Any, Preprocessing]:
        for name, conv in self._convolutions(net):
            replace_module(net, name, Prefixed(Blur(binomial(self.taps)), conv))
        for name, pool in _pools(net):
            replace_module(net, name, BlurredMax(pool, Blur(binomial(self.taps))))
        return net.eval(), preprocessing

    def _convolutions(self, net: nn.Module) -> list[tuple[str, nn.Conv2d]]:
        found = first_convolution(net)
        stem = None if found is None else found[1]
        first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
        spared = None if self.stem else (stem or first)
        return [
            (name, module)
            for name, module in layers(net, nn.Conv2d)
            if module is not spared and max(module.stride) > 1
        ]


def _blurred(module: nn.Module) -> bool:
    return isinstance(module, BlurredMax) or (
        isinstance(module, Prefixed) and isinstance(module.prefix, Blur)
    )


class BlurredMax(nn.Module):
    """Max pooling without its stride, a blur, and every so manieth pixel of it."""

    def __init__(self, pool: nn.MaxPool2d, blur: Blur) -> None:
        super().__init__()
        # Its settings, not the pool: another change would find it and replace it to no effect.
        self.kernel, self.stride = _one(pool.kernel_size), _one(pool.stride)
        self.padding, self.ceil_mode = _one(pool.padding), bool(pool.ceil_mode)
        self.blur = blur

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, padding = self.kernel, self.stride, self.padding
        # Rounding up looks past the border, where nothing is larger than anything.
        beyond = stride if self.ceil_mode else 0
        sides = (padding, padding + beyond, padding, padding + beyond)
        dense = F.max_pool2d(F.pad(x, sides, value=float("-inf")), kernel, 1)
        if beyond:  # windows that begin outside hold no pixel
            height, width = (self._rounded_up(side) for side in x.shape[-2:])
            dense = dense[..., : (height - 1) * stride + 1, : (width - 1) * stride + 1]
        return self.blur(dense)[..., ::stride, ::stride]

    def _rounded_up(self, side: int) -> int:
        """Positions that are left of a side; a window must begin on a pixel or the left padding."""
        places = -(-(side + 2 * self.padding - self.kernel) // self.stride) + 1
        return places - ((places - 1) * self.stride >= side + self.padding)


def _pools(net: nn.Module) -> list[tuple[str, nn.MaxPool2d]]:
    return [
        (name, pool)
        for name, pool in layers(net, nn.MaxPool2d)
        if type(pool) is nn.MaxPool2d  # others pad in their own forward
        and _square(pool)
        and _one(pool.stride) > 1
        and pool.dilation in (1, (1, 1))
    ]


def _square(pool: nn.MaxPool2d) -> bool:
    parts = (pool.kernel_size, pool.stride, pool.padding)
    return all(isinstance(part, int) or len(set(part)) == 1 for part in parts)


def _one(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
