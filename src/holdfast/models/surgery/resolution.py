"""A lower resolution of the network's input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.surgery.base import CHANGES, Change
from holdfast.models.surgery.low_pass import Filtered

_LARGEST = 4096


@CHANGES.named("resolution")
@dataclass(frozen=True, kw_only=True)
class Resolution(Change):
    """Let the network see pictures at another size.

    Noise that was there before an anti-aliased resize by s keeps about 1 / s^2 of its variance.
    Noise that is added behind the resize is not touched, so that this helps where pictures are
    perturbed at their own size (`--view native`).

    Source: Kim et al. 2025, arXiv:2509.20939, rule on resolution.

    Attributes:
        size: Height and width in pixels; the test crop keeps its fraction.
    """

    about: ClassVar[str] = "a lower resolution of the input"
    size: int = 160

    def __post_init__(self) -> None:
        if not 8 <= self.size <= _LARGEST:
            raise BadValueError(f"size must be from 8 to {_LARGEST} pixels, got {self.size}")

    def _refuses(self, net: nn.Module, preprocessing: Preprocessing) -> str:
        if preprocessing.input_size is None:
            return "it takes pictures of any size as they are"
        if preprocessing.input_size == (self.size, self.size):
            return f"it sees {self.size} pixels already"
        patch = _patch(_inner(net))
        if self.size % patch:
            return f"its patches of {patch} pixels do not fill {self.size}"
        if hasattr(_inner(net), "set_input_size"):
            return ""
        try:
            images = torch.zeros(1, preprocessing.channels, self.size, self.size)
            place = next((p for p in net.parameters()), images)
            with torch.no_grad():
                net(images.to(place.device, place.dtype))
        except Exception as error:  # noqa: BLE001 - a network may raise anything
            lines = str(error).splitlines() or [type(error).__name__]
            return f"it takes no pictures of {self.size} pixels: {lines[0][:120]}"
        return ""

    def _made(self, net: nn.Module, preprocessing: Preprocessing) -> tuple[Any, Preprocessing]:
        size = (self.size, self.size)
        resizable: Any = _inner(net)
        if hasattr(resizable, "set_input_size"):  # timm resamples the position embedding
            resizable.set_input_size(img_size=size)
        old = preprocessing.input_size or size
        scale = preprocessing.scale_size
        if scale is not None:
            scale = (
                max(self.size, round(scale[0] * self.size / old[0])),
                max(self.size, round(scale[1] * self.size / old[1])),
            )
        return net, replace(preprocessing, input_size=size, scale_size=scale)


def _patch(net: nn.Module) -> int:
    """Side of a transformer's patches, the longer one; 1 for others.

    Some of timm's cut off what does not fill a patch, without a word.
    """
    size: Any = getattr(getattr(net, "patch_embed", None), "patch_size", 1)
    sides = size if isinstance(size, tuple) else (size,)
    return max((side for side in sides if isinstance(side, int)), default=1)


def _inner(net: nn.Module) -> nn.Module:
    """The network behind its filters."""
    while isinstance(net, Filtered):
        net = net.net
    return net
