"""Average for max pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from holdfast.models.preprocessing import Preprocessing
from holdfast.models.surgery._parts import replace_module
from holdfast.models.surgery.base import CHANGES, Change


@CHANGES.named("average_pooling")
@dataclass(frozen=True, kw_only=True)
class AveragePooling(Change):
    """Let every max pooling take the mean of its window instead.

    Window, stride, padding and rounding stay; the mean is over the pixels that there are, not
    over the padding. On a constant map both give the same.

    Source: Kim et al. 2025, arXiv:2509.20939, rule on pooling; the theory is that of a mean of
    k^2 values, whose noise has variance sigma^2 / k^2 and no bias.

    Attributes:
        where: `stem` takes the first pooling alone.
    """

    about: ClassVar[str] = "average instead of max pooling"
    where: Literal["all", "stem"] = "all"

    def _refuses(self, net: nn.Module, preprocessing: Preprocessing) -> str:
        return "" if _pools(net) else "it has no max pooling layer"

    def _made(self, net: nn.Module, preprocessing: Preprocessing) -> tuple[Any, Preprocessing]:
        pools = _pools(net)
        for name, pool in pools[:1] if self.where == "stem" else pools:
            new = nn.AvgPool2d(
                pool.kernel_size,
                pool.stride,
                pool.padding,
                ceil_mode=pool.ceil_mode,
                count_include_pad=False,
            )
            replace_module(net, name, new.train(pool.training))
        return net, preprocessing


def _pools(net: nn.Module) -> list[tuple[str, nn.MaxPool2d]]:
    """Max pools without dilation, which an average has none of."""
    found = [(name, m) for name, m in net.named_modules() if isinstance(m, nn.MaxPool2d)]
    return [(name, pool) for name, pool in found if pool.dilation in (1, (1, 1))]
