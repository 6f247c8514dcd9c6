"""Proxies of the network alone: how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from holdfast.models.cost import count_multiply_adds, count_parameters
from holdfast.search.proxies._networks import fresh_copy, weights
from holdfast.search.proxies.base import PROXIES, Batch, Proxy


@PROXIES.register("params")
@dataclass(frozen=True)
class Params(Proxy):
    """Number of parameters, exactly."""

    about: ClassVar[str] = "number of parameters"
    sign: ClassVar = 1

    def _score(self, network: nn.Module, batch: Batch) -> float:
        return count_parameters(network)


@PROXIES.register("flops")
@dataclass(frozen=True)
class Flops(Proxy):
    """Multiply-adds of one image of the batch's size, exactly; see `models.cost`."""

    about: ClassVar[str] = "multiply-adds of one image"
    sign: ClassVar = 1

    def _score(self, network: nn.Module, batch: Batch) -> float:
        channels, height, width = batch.images.shape[1:]
        return count_multiply_adds(fresh_copy(network).cpu(), (channels, height, width))


@PROXIES.register("l2_norm")
@dataclass(frozen=True)
class L2Norm(Proxy):
    """Sum over convolutions and linear layers of the Euclidean length of their weights.

    Source: Abdelfattah et al. 2021, "Zero-Cost Proxies for Lightweight NAS", its code.
    """

    about: ClassVar[str] = "sum of the layers' weight norms (Abdelfattah et al. 2021)"
    sign: ClassVar = 1

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        return sum((weight.norm() for weight in weights(network)), start=batch.images.new_zeros(()))
