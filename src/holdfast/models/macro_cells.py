"""Networks of NAS-Bench-Macro: a chain of eight chosen blocks (Su et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from holdfast.core.errors import BadValueError
from holdfast.models._sizes import check_sizes

MACRO_STAGES = (2, 3, 3)  # blocks a stage; the first of a stage halves the picture
MACRO_BLOCKS = ("identity", "mb3_k3", "mb6_k5")
_EXPANSIONS = {1: (3, 3), 2: (6, 5)}  # choice to (expansion, kernel)
_LAST = 1280  # channels before the linear layer


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen by 1 x 1, filter each channel, narrow by 1 x 1.

    float [B, before, H, W] to [B, after, H/stride, W/stride]; adds its input where shapes allow.
    """

    def __init__(
        self, before: int, after: int, stride: int, *, expansion: int, kernel: int
    ) -> None:
        super().__init__()
        wide = before * expansion
        self._adds = stride == 1 and before == after
        self.layers = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.layers(images)
        return out + images if self._adds else out


def macro_network(choices: Sequence[int], *, channels: int = 32, classes: int = 10) -> nn.Module:
    """Build the network of eight choices, with fresh weights as torch draws them.

    An identity that opens a stage is a strided 1 x 1 convolution with normalization, as published.

    Args:
        choices: Eight of 0 (identity), 1 (expansion 3, kernel 3) and 2 (expansion 6, kernel 5).
        channels: Of the stem; doubled at each stage. Published: 32.
        classes: How many logits.

    Returns:
        Network that takes float [B, 3, H, W] and gives logits float [B, classes].

    Raises:
        BadValueError: Not eight choices, another choice, or a size below 1.
    """
    check_sizes(channels=channels, cells=1, classes=classes)
    if len(choices) != sum(MACRO_STAGES) or not set(choices) <= set(range(len(MACRO_BLOCKS))):
        raise BadValueError(f"needs {sum(MACRO_STAGES)} choices of 0, 1 and 2, got {choices!r}")
    layers: list[nn.Module] = [
        nn.Conv2d(3, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    ]
    width, rest = channels, iter(choices)
    for blocks in MACRO_STAGES:
        for place in range(blocks):
            after, stride = (2 * width, 2) if place == 0 else (width, 1)
            layers.append(_block(next(rest), width, after, stride))
            width = after
    layers += [nn.Conv2d(width, _LAST, 1, bias=False), nn.BatchNorm2d(_LAST), nn.ReLU()]
    pool: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_LAST, classes)]
    return nn.Sequential(*layers, *pool)


def _block(choice: int, before: int, after: int, stride: int) -> nn.Module:
    if choice in _EXPANSIONS:
        expansion, kernel = _EXPANSIONS[choice]
        return InvertedResidual(before, after, stride, expansion=expansion, kernel=kernel)
    if stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
