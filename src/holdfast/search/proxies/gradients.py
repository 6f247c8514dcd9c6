"""Proxies from the gradient of the loss, or of the logits, with respect to weights.

The loss is the mean cross-entropy of the batch. Batch normalization goes by the batch at hand,
as in a training step. Sums run over the weights of convolutions and linear layers; biases and
normalization have no part, as in the code of Abdelfattah et al. 2021 ("Zero-Cost Proxies for
Lightweight NAS"), which NAS-Bench-Suite-Zero (Krishnakumar et al. 2022) took over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.search.proxies._networks import (
    WEIGHTED,
    bare,
    gradients,
    layers,
    normalizing,
    recording,
    weights,
    without_normalization,
)
from holdfast.search.proxies.base import PROXIES, Batch, BatchProxy, Need, Proxy

_ALL: frozenset[Need] = frozenset(("images", "labels", "gradients"))
Pairs = list[tuple[Tensor, Tensor]]


def _loss_gradients(network: nn.Module, batch: Batch) -> Pairs:
    """Weights of a copy, each with the gradient of the loss."""

    def make() -> Pairs:
        net = normalizing(network)
        found = weights(net)
        loss = F.cross_entropy(net(batch.images), batch.labels)
        pairs = zip(found, gradients(loss, found), strict=True)
        return [(weight.detach(), gradient) for weight, gradient in pairs]

    return batch.once(network, "loss gradients", make)


def _total(terms: list[Tensor]) -> Tensor:
    return torch.stack([term.double() for term in terms]).sum()


@PROXIES.register("grad_norm")
@dataclass(frozen=True, kw_only=True)
class GradNorm(BatchProxy):
    """Sum over layers of the length of the loss gradient.

    Source: Abdelfattah et al. 2021, section 3.2.
    """

    about: ClassVar[str] = "sum of the layers' gradient norms (Abdelfattah et al. 2021)"
    sign: ClassVar = 1
    needs: ClassVar = _ALL

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        return _total([gradient.norm() for _, gradient in _loss_gradients(network, batch)])


@PROXIES.register("snip")
@dataclass(frozen=True, kw_only=True)
class Snip(BatchProxy):
    """Sum of |w dL/dw|: how much the loss hangs on each weight's presence.

    Source: Lee et al. 2019, "SNIP", equation 6 before its normalization, summed as in
    Abdelfattah et al. 2021. The derivative by a mask at 1 is w dL/dw, so no mask is laid.
    """

    about: ClassVar[str] = "sum of |w dL/dw| (SNIP, Lee et al. 2019)"
    sign: ClassVar = 1
    needs: ClassVar = _ALL

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        return _total([(w * g).abs().sum() for w, g in _loss_gradients(network, batch)])


@PROXIES.register("plain")
@dataclass(frozen=True, kw_only=True)
class Plain(BatchProxy):
    """Sum of w dL/dw.

    Source: Abdelfattah et al. 2021, its code.
    """

    about: ClassVar[str] = "sum of w dL/dw (Abdelfattah et al. 2021)"
    sign: ClassVar = 1
    needs: ClassVar = _ALL

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        return _total([(w * g).sum() for w, g in _loss_gradients(network, batch)])


@PROXIES.register("grasp")
@dataclass(frozen=True, kw_only=True)
class Grasp(BatchProxy):
    """Sum of -w (H g): how the gradient's length would change with each weight's removal.

    H is the Hessian of the loss over the weights, g its gradient.

    Source: Wang et al. 2020, "GraSP", equation 8, at temperature 1 and on one batch, summed as in
    Abdelfattah et al. 2021.
    """

    about: ClassVar[str] = "sum of -w (Hg) (GraSP, Wang et al. 2020)"
    sign: ClassVar = 1
    needs: ClassVar = _ALL

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        net = normalizing(network)
        found = weights(net)
        loss = F.cross_entropy(net(batch.images), batch.labels)
        first = gradients(loss, found, graph=True)
        half = torch.stack([(g.detach() * g).sum() for g in first]).sum()
        second = gradients(half, found)
        return _total([-(w.detach() * h).sum() for w, h in zip(found, second, strict=True)])


@PROXIES.register("fisher")
@dataclass(frozen=True, kw_only=True)
class Fisher(BatchProxy):
    """Sum over channels of half the mean over images of (sum over pixels of a dL/da) squared.

    `a` is what a convolution or linear layer gives. An estimate of how the loss rises when the
    channel is taken away.

    Source: Theis et al. 2018 and Turner et al. 2020, "BlockSwap", equation 3, summed as in
    Abdelfattah et al. 2021.
    """

    about: ClassVar[str] = "Fisher information of the channels (Turner et al. 2020)"
    sign: ClassVar = 1
    needs: ClassVar = _ALL

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        net = normalizing(network)
        layers(net)
        with recording(net, lambda module: isinstance(module, WEIGHTED)) as record:
            loss = F.cross_entropy(net(batch.images), batch.labels)
        after = [one.after for one in record.passes]
        pairs = zip(after, gradients(loss, after), strict=True)
        return _total([_channels(a.detach() * g) for a, g in pairs])


def _channels(products: Tensor) -> Tensor:
    """Half the mean square of each channel's sum over pixels, summed; [B, C, ...]."""
    return (
        products.flatten(2).sum(2).square().mean(0).sum() / 2
        if products.dim() > 2
        else (products.square().mean(0).sum() / 2)
    )


@PROXIES.register("synflow")
@dataclass(frozen=True)
class Synflow(Proxy):
    """Sum of |w dR/dw|, R the sum of logits of a network of absolute weights shown all ones.

    Without batch normalization and in float64, since R grows with the product of the layers'
    weights. Needs no data.

    Source: Tanaka et al. 2020, "SynFlow", section 6, summed as in Abdelfattah et al. 2021. Biases
    are made absolute too, as there.
    """

    about: ClassVar[str] = "sum of |w dR/dw| on ones (SynFlow, Tanaka et al. 2020)"
    sign: ClassVar = 1
    needs: ClassVar = frozenset(("gradients",))

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        net = without_normalization(bare(network)).double()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.abs_()
        found = weights(net)
        ones = torch.ones_like(batch.images[:1], dtype=torch.float64)
        flow = gradients(net(ones).sum(), found)
        return _total([(w.detach() * g).abs().sum() for w, g in zip(found, flow, strict=True)])
