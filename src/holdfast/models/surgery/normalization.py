"""Another mean and deviation, folded into the first convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from holdfast.core.errors import BadValueError
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.surgery._parts import (
    Prefixed,
    first_convolution,
    layers,
    own_weight,
    replace_module,
)
from holdfast.models.surgery.base import CHANGES, Change


@CHANGES.named("normalization")
@dataclass(frozen=True, kw_only=True)
class Normalization(Change):
    """Normalize pixels by another mean and deviation, and undo it in the first convolution.

    The function of the pixels stays, so by itself this changes nothing: the factor 1 / min std
    of a preprocessing says nothing of a network whose weights make up for it. It matters to what
    is trained from here. The mean is undone by a shift before the convolution, because padding
    by zero means another gray in either normalization.

    Source: Kim et al. 2025, arXiv:2509.20939, on preprocessing; the objection is a reviewer's.

    Attributes:
        mean: Of all channels, pixels in [0, 1].
        std: Likewise.
    """

    about: ClassVar[str] = "another mean and deviation, undone in the first convolution"
    mean: float = 0.5
    std: float = 0.5

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean) or not 0 <= self.mean <= 1:
            raise BadValueError(f"mean must be in [0, 1], got {self.mean}")
        if not 0.01 <= self.std <= 1.5:
            raise BadValueError(f"std must be from 0.01 to 1.5, got {self.std}")

    @property
    def keeps(self) -> bool:
        """Whether the function stays the same: always."""
        return True

    def _refuses(self, net: nn.Module, preprocessing: Preprocessing) -> str:
        found = first_convolution(net)
        if found is None:
            return "it has no single first convolution that takes the image"
        odd = _odd_weight(found[1])
        if odd:
            return odd
        channels, taken = preprocessing.channels, found[1].in_channels
        if channels > taken:
            return f"it takes {channels} channels, and its first convolution {taken}"
        if preprocessing.resize == "border":
            return "it pads pictures with its mean, which would be another color"
        old = (preprocessing.mean or (0.0,) * channels, preprocessing.std or (1.0,) * channels)
        if old == ((self.mean,) * channels, (self.std,) * channels):
            return "it is normalized so already"
        return ""

    def _made(self, net: nn.Module, preprocessing: Preprocessing) -> tuple[Any, Preprocessing]:
        found = first_convolution(net)
        if found is None:
            raise BadValueError("the first convolution is gone")
        conv = found[1]
        channels = preprocessing.channels
        mean = torch.tensor(preprocessing.mean or (0.0,) * channels, dtype=torch.float64)
        std = torch.tensor(preprocessing.std or (1.0,) * channels, dtype=torch.float64)
        with torch.no_grad():
            factor = (self.std / std).to(conv.weight).view(1, -1, 1, 1)
            conv.weight.mul_(factor)
        # An earlier shift before the same convolution is in units of the old deviation.
        for module in net.modules():
            if isinstance(module, Shift):
                module.shift.mul_((std / self.std).to(module.shift).view(1, -1, 1, 1))
        # A shift by nothing too: files of weights fit whatever the mean was.
        shift = (mean - self.mean) / self.std
        shifted = Prefixed(Shift(shift), conv)
        for name, module in layers(net, nn.Conv2d):
            if module is conv:
                replace_module(net, name, shifted)
        new = replace(preprocessing, mean=(self.mean,) * channels, std=(self.std,) * channels)
        return net.eval(), new


def _odd_weight(conv: nn.Conv2d) -> str:
    """Why a factor a channel cannot be put into a convolution; empty where it can."""
    if not own_weight(conv):
        return "its first convolution makes its weight of another, and would undo the factor"
    return "its first convolution works on groups of channels" if conv.groups > 1 else ""


class Shift(nn.Module):
    """Subtract a constant from each channel."""

    shift: Tensor

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        # Kept with the weights that were made for it.
        self.register_buffer("shift", shift.float().view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.shift.to(x.dtype)
