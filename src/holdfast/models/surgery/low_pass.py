"""A low-pass filter before the network, at test time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from holdfast.core.errors import BadValueError
from holdfast.models.loading import head_layers
from holdfast.models.preprocessing import Preprocessing
from holdfast.models.surgery._parts import Blur, gaussian
from holdfast.models.surgery.base import CHANGES, Change


@CHANGES.named("low_pass")
@dataclass(frozen=True, kw_only=True)
class LowPass(Change):
    """Blur each picture by a Gaussian before the network sees it; the border mirrors.

    White noise keeps about 1 / (4 pi std^2) of its variance; what the picture loses in detail
    depends on the picture, so that only a measurement says whether it pays.

    Attributes:
        std: Deviation of the Gaussian, in pixels of the network's input.
    """

    about: ClassVar[str] = "a Gaussian low-pass filter before the network"
    std: float = 0.5

    def __post_init__(self) -> None:
        if not 0.05 <= self.std <= 20:
            raise BadValueError(f"std must be from 0.05 to 20 pixels, got {self.std}")

    def _refuses(self, net: nn.Module, preprocessing: Preprocessing) -> str:
        return ""

    def _made(self, net: nn.Module, preprocessing: Preprocessing) -> tuple[Any, Preprocessing]:
        return Filtered(Blur(gaussian(self.std)), net).eval(), preprocessing


class Filtered(nn.Module):
    """A network behind a filter; normalization and filter commute."""

    def __init__(self, blur: Blur, net: nn.Module) -> None:
        super().__init__()
        heads = head_layers(net)
        self.blur = blur
        self.net = net
        self.pretrained_cfg = {"classifier": tuple(f"net.{name}" for name in heads)}

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(self.blur(images))
        return logits
