"""Finding and replacing layers of a network."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

Layer = TypeVar("Layer", bound=nn.Module)


class Prefixed(nn.Module):
    """A layer with another before it; its attributes are the layer's, for code that reads them."""

    def __init__(self, prefix: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.prefix = prefix
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(self.prefix(x))
        return result

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)


class Blur(nn.Module):
    """Depthwise filter by one separable kernel [k]; the border mirrors; the size stays."""

    taps: Tensor

    def __init__(self, taps: Tensor) -> None:
        super().__init__()
        # Not part of the state: the change that is made again brings it.
        self.register_buffer("taps", taps.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        radius = len(self.taps) // 2
        # A map may be narrower than the kernel; mirroring needs a pixel more than the radius.
        mode = "reflect" if min(x.shape[-2:]) > radius else "replicate"
        taps, channels = self.taps.to(x.dtype), x.shape[1]
        x = F.pad(x, (radius,) * 4, mode=mode)
        x = F.conv2d(x, taps.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return F.conv2d(x, taps.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def binomial(taps: int) -> Tensor:
    """Row of Pascal's triangle with the sum one, [taps] float64."""
    row = torch.ones(1, dtype=torch.float64)
    for _ in range(taps - 1):
        row = F.pad(row, (1, 0)) + F.pad(row, (0, 1))
    return row / row.sum()


def gaussian(std: float) -> Tensor:
    """Gaussian of a deviation in pixels, cut after three of them, sum one, [k] float64."""
    radius = max(1, int(3 * std + 0.5))
    places = torch.arange(-radius, radius + 1, dtype=torch.float64)
    taps = torch.exp(-0.5 * (places / std) ** 2)
    return taps / taps.sum()


def replace_module(net: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in the place of the one of that dotted name."""
    parent, _, last = name.rpartition(".")
    owner: Any = net.get_submodule(parent) if parent else net
    if last.isdigit() and isinstance(owner, nn.Sequential | nn.ModuleList):
        owner[int(last)] = new
    else:
        setattr(owner, last, new)


def layers(net: nn.Module, kind: type[Layer]) -> list[tuple[str, Layer]]:
    """Layers of a kind, each under every name that it has: one module may be called at two places.

    The network itself is none of its layers.
    """
    named = net.named_modules(remove_duplicate=False)
    return [(name, module) for name, module in named if name and isinstance(module, kind)]


def own_weight(conv: nn.Conv2d) -> bool:
    """Whether a convolution uses its weight as it is: some standardize or rescale it first."""
    # torch's, and timm's with TensorFlow's padding.
    known = type(conv).__name__ in ("Conv2d", "Conv2dSame")
    # Old weight and spectral norms leave the weight an attribute that hooks compute.
    return (
        known
        and not parametrize.is_parametrized(conv)
        and "weight" in dict(conv.named_parameters(recurse=False))
    )


def first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """Name and module of the first convolution that takes the network's channels.

    The first by definition; networks whose image goes several ways have none.
    """
    convs = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d)]
    if not convs:
        return None
    name, first = convs[0]
    # Branches that all take the image: which one is the stem is not decided here.
    rivals = [m for _, m in convs[1:] if m.in_channels == first.in_channels and m.groups == 1]
    few = first.in_channels in (1, 3)
    return (name, first) if few and not rivals else None
