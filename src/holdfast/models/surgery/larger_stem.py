"""A larger kernel of the first convolution, begun from the old one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.surgery._parts import binomial, first_convolution, own_weight
from holdfast.models.surgery.base import CHANGES, Change

_LARGEST = 31


@CHANGES.named("larger_stem")
@dataclass(frozen=True, kw_only=True)
class LargerStem(Change):
    """Widen the kernel of the first convolution.

    `embed` puts the old kernel in the middle of zeros: the function stays, and training has more
    pixels to average over. `blurred` spreads the old kernel by a binomial filter of the added
    width, which is a low-pass filter before it.

    Source: Kim et al. 2025, arXiv:2509.20939, rule on stems; noise through a kernel w has the
    variance sigma^2 |w|^2.

    Attributes:
        add: Pixels that the kernel grows by, even.
        start: `embed` or `blurred`.
    """

    about: ClassVar[str] = "a larger kernel of the first convolution"
    add: int = 2
    start: Literal["embed", "blurred"] = "blurred"

    def __post_init__(self) -> None:
        if not 2 <= self.add < _LARGEST or self.add % 2:
            raise BadValueError(f"add must be even and from 2 to {_LARGEST - 1}, got {self.add}")

    @property
    def keeps(self) -> bool:
        """Whether the function stays the same: with `embed`."""
        return self.start == "embed"

    def _refuses(self, net: nn.Module, preprocessing: Preprocessing) -> str:
        found = first_convolution(net)
        if found is None:
            return "it has no single first convolution that takes the image"
        conv = found[1]
        if not own_weight(conv):
            return "its first convolution makes its weight of another, which no padding may change"
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str) or max(conv.dilation) > 1:
            return "its first convolution is padded or dilated in another way than by zeros"
        if _same(conv) and any(k < s for k, s in zip(conv.kernel_size, conv.stride, strict=True)):
            return "its first convolution skips pixels, and its padding would move with the kernel"
        if max(conv.kernel_size) + self.add > _LARGEST:
            return f"its first kernel would be wider than {_LARGEST} pixels"
        return ""

    def _made(self, net: nn.Module, preprocessing: Preprocessing) -> tuple[Any, Preprocessing]:
        found = first_convolution(net)
        if found is None:
            raise BadValueError("the first convolution is gone")
        conv, half = found[1], self.add // 2
        with torch.no_grad():
            old = conv.weight.detach()
            new = F.pad(old, (half,) * 4) if self.keeps else _spread(old, self.add + 1)
            conv.weight = nn.Parameter(new, requires_grad=conv.weight.requires_grad)
        high, wide = conv.kernel_size
        conv.kernel_size = (high + self.add, wide + self.add)
        # timm's convolutions with TensorFlow's padding compute theirs from the kernel.
        padding: Any = conv.padding
        if not _same(conv):
            conv.padding = (padding[0] + half, padding[1] + half)
        return net, preprocessing


def _same(conv: nn.Conv2d) -> bool:
    return type(conv).__name__ == "Conv2dSame"


def _spread(weight: Tensor, taps: int) -> Tensor:
    """Full convolution of kernels [O, I, k, k] with a binomial filter; k grows by taps - 1."""
    row = binomial(taps)
    kernel = torch.outer(row, row)[None, None]
    out, channels, high, wide = weight.shape
    flat = weight.cpu().double().reshape(out * channels, 1, high, wide)  # not every device has it
    spread = F.conv2d(F.pad(flat, (taps - 1,) * 4), kernel)
    return spread.reshape(out, channels, *spread.shape[-2:]).to(weight)
