"""Proxies from what the units do, without any gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from holdfast.core.errors import BadValueError
from holdfast.search.proxies._networks import (
    WEIGHTED,
    bare,
    is_leaf,
    is_relu,
    normalizing,
    recording,
)
from holdfast.search.proxies.base import PROXIES, Batch, BatchProxy, Proxy, check_counts


def active_units(network: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """Which units of each ReLU pass their input on, bool [B, units] a use of a module.

    Raises:
        BadValueError: The network has no ReLU module: functions leave no trace.
    """
    with recording(network, is_relu) as record, torch.no_grad():
        network(images)
    if not record.passes:
        raise BadValueError(
            "the network runs no nn.ReLU module, whose active units this proxy counts"
        )
    for one in record.passes:
        yield (one.before > 0).flatten(1)


@PROXIES.register("nwot")
@dataclass(frozen=True, kw_only=True)
class Nwot(BatchProxy):
    """Logarithm of the determinant of the matrix of units on which two images agree.

    Minus infinity, hence NaN, where two images have all units alike.

    Source: Mellor et al. 2021, "Neural Architecture Search without Training", equation 2.
    """

    about: ClassVar[str] = "log determinant of agreeing ReLU units (NASWOT, Mellor et al. 2021)"
    sign: ClassVar = 1
    needs: ClassVar = frozenset(("images",))

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        kernel = torch.zeros(len(batch), len(batch), dtype=torch.float64)
        for active in active_units(normalizing(network), batch.images):
            on, off = active.float(), (~active).float()
            kernel += (on @ on.T + off @ off.T).double().cpu()
        sign, logarithm = torch.linalg.slogdet(kernel)
        return torch.where(sign > 0, logarithm, torch.nan)


@PROXIES.register("zen")
@dataclass(frozen=True, kw_only=True)
class Zen(BatchProxy):
    """How far features move with the image, in Gaussian networks on Gaussian images.

    log of the mean over images of |f(x) - f(x + 0.01 d)|_1, x and d standard normal, f the
    features before global pooling; plus, for each batch normalization, log of the root of its
    mean variance over channels, which undoes the normalization. Weights of convolutions and
    linear layers are drawn from N(0, 1) anew, biases 0, normalization 1 and 0.

    Source: Lin et al. 2021, "Zen-NAS", algorithm 1, and its code. Differs: variances are those of
    the batch (its code: running ones, a tenth of the way there); the features are those of the
    last module with more than one pixel, or what the last linear layer gets.

    Attributes:
        repeats: Networks drawn; the mean is given. Their code: 32; NAS-Bench-Suite-Zero: 1.
    """

    about: ClassVar[str] = "change of Gaussian features (Zen-NAS, Lin et al. 2021)"
    sign: ClassVar = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        check_counts(self, "batch", "repeats")

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        net = normalizing(bare(network))
        generator = batch.generator("zen")
        shape, like = batch.images.shape, batch.images
        scores = []
        for _ in range(self.repeats):
            _make_gaussian(net, generator)
            image, shift = (torch.randn(shape, generator=generator).to(like) for _ in range(2))
            features, scale = _features(net, image)
            moved, _ = _features(net, image + _SHIFT * shift)
            change = (features - moved).abs().flatten(1).double().sum(1).mean()
            scores.append(change.log() + scale)
        return torch.stack(scores).mean()


_SHIFT = 0.01


def _make_gaussian(net: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, WEIGHTED):
                drawn = torch.randn(module.weight.shape, generator=generator)
                module.weight.copy_(drawn)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, _BatchNorm) and module.affine:
                module.weight.fill_(1)
                module.bias.zero_()


def _features(net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features before global pooling, and the logarithm of all that normalization divided by."""
    with recording(net, is_leaf) as record, torch.no_grad():
        net(images)
    scale = images.new_zeros((), dtype=torch.float64)
    features = None
    for one in record.passes:
        if isinstance(one.layer, _BatchNorm):
            channels = one.before.transpose(0, 1).flatten(1).double()
            scale += channels.var(1).mean().log() / 2
        if one.after.dim() == 4 and one.after[0, 0].numel() > 1:
            features = one.after
    if features is None:
        linear = [one.before for one in record.passes if isinstance(one.layer, nn.Linear)]
        if not linear:
            raise BadValueError("the network has neither maps of features nor a linear layer")
        features = linear[-1]
    return features, scale


@PROXIES.register("linear_regions")
@dataclass(frozen=True, kw_only=True)
class LinearRegions(Proxy):
    """How many patterns of active ReLU units small random crops of the images have.

    A pattern is a linear region of the network. A wide network gives every crop a pattern of its
    own, so the thinnest network of an architecture is asked about: one channel, one cell a stage.

    Source: Chen et al. 2021, "TE-NAS", section 3.1.2: 3,000 crops of 3 x 3 pixels. Differs: crops
    of 4 x 4, which networks that halve the side twice take, and of all colors.

    Attributes:
        crops: Crops that are looked at, drawn over images and places.
        side: Of a crop, in pixels.
        channels: Of the network's first stage, where an evaluation builds it.
        cells: A stage.
    """

    about: ClassVar[str] = "activation patterns on small crops (TE-NAS, Chen et al. 2021)"
    sign: ClassVar = 1
    needs: ClassVar = frozenset(("images",))
    crops: int = 3000
    side: int = 4
    channels: int | None = 1
    cells: int | None = 1

    def __post_init__(self) -> None:
        check_counts(self, "crops", "side", "channels", "cells")

    def _score(self, network: nn.Module, batch: Batch) -> float:
        crops = random_crops(batch.images, self.crops, self.side, batch.generator("crops"))
        return count_regions(normalizing(network), crops)


def random_crops(images: Tensor, count: int, side: int, generator: torch.Generator) -> Tensor:
    """Crops of random images at random places, [count, C, side, side].

    Raises:
        BadValueError: The images are smaller than the crops.
    """
    height, width = images.shape[2:]
    if min(height, width) < side:
        raise BadValueError(f"crops of {side} pixels from images of {height} x {width}")
    which = torch.randint(len(images), (count,), generator=generator)
    tops = torch.randint(height - side + 1, (count,), generator=generator)
    lefts = torch.randint(width - side + 1, (count,), generator=generator)
    along = torch.arange(side)
    rows, columns = tops[:, None, None] + along[:, None], lefts[:, None, None] + along
    where = (which[:, None, None], slice(None), rows, columns)
    return images.cpu()[where].permute(0, 3, 1, 2).to(images.device)


def count_regions(network: nn.Module, images: Tensor) -> int:
    """Number of different patterns of active units among images."""
    packed = [np.packbits(active.cpu().numpy(), axis=1) for active in active_units(network, images)]
    rows = np.ascontiguousarray(np.concatenate(packed, axis=1))
    return len(np.unique(rows.view(f"V{rows.shape[1]}")))
