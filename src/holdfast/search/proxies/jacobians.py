"""Proxies from the gradient of the logits with respect to the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from holdfast.search.proxies._networks import gradients, normalizing
from holdfast.search.proxies.base import PROXIES, Batch, BatchProxy, calibrated_for

_K = 1e-5  # both papers: keeps logarithms and quotients finite
_MANY = 100  # classes from which EPE-NAS compares classes instead of summing over them


def _rows(network: nn.Module, batch: Batch) -> Tensor:
    """Gradient of the sum of all logits with respect to each image, float64 [B, C H W]."""

    def make() -> Tensor:
        images = batch.images.clone().requires_grad_(True)
        (found,) = gradients(normalizing(network)(images).sum(), [images])
        return found.flatten(1).double()

    return batch.once(network, "image gradients", make)


@PROXIES.register("jacov")
@dataclass(frozen=True, kw_only=True)
class Jacov(BatchProxy):
    """Minus the sum of log(v + k) + 1 / (v + k) over the correlation matrix's eigenvalues v.

    The correlation is that of the images' gradients: a network that tells images apart by itself
    has them uncorrelated. k = 1e-5.

    Source: Mellor et al. 2020, arXiv:2006.04647v1, equations 4 and 5.
    """

    about: ClassVar[str] = "correlation of the images' gradients (JacobCov, Mellor et al. 2020)"
    sign: ClassVar = 1
    needs: ClassVar = frozenset(("images", "gradients"))

    def _score(self, network: nn.Module, batch: Batch) -> float | Tensor:
        correlation = torch.corrcoef(_rows(network, batch)).reshape(len(batch), -1)
        if not bool(correlation.isfinite().all()):
            return torch.nan
        values = torch.linalg.eigvalsh(correlation) + _K
        return -(values.log() + 1 / values).sum()


@PROXIES.register("epe_nas")
@dataclass(frozen=True, kw_only=True)
class EpeNas(BatchProxy):
    """Sum over classes of |sum of log(|r| + k)|, r the correlations among a class's gradients.

    k = 1e-5. With more than 100 classes among the images each sum is divided by the class's
    images, and the score is how far the sums lie apart, over all pairs, by number of classes.

    Source: Lopes et al. 2021, "EPE-NAS", section 3, and its code.
    """

    about: ClassVar[str] = "correlation within classes (EPE-NAS, Lopes et al. 2021)"
    sign: ClassVar = 1
    needs: ClassVar = frozenset(("images", "labels", "gradients"))

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        rows = _rows(network, batch)
        classes: Tensor = torch.unique(batch.labels)
        many = len(classes) > _MANY
        sums = []
        for label in classes:
            logs = (torch.corrcoef(rows[batch.labels == label]).abs() + _K).log()
            sums.append(logs.sum() / (logs.numel() ** 0.5 if many else 1))
        each = torch.stack(sums)
        if many:
            return (each[:, None] - each).abs().sum() / len(each)
        return each.abs().sum()


@PROXIES.register("jacobian_frobenius")
@dataclass(frozen=True, kw_only=True)
class JacobianFrobenius(BatchProxy):
    """Mean over images of the Frobenius norm of the logits' derivative by the pixels.

    Exact, one backward pass a class, with pixels in [0, 1]. Normalization goes by the statistics
    of the batch, held fixed, so that each image has a Jacobian of its own.

    Source: Hoffman et al. 2019, arXiv:1908.02729, as used by Jung et al. 2023, section 5. The
    mode of normalization and the number of images are not stated there.
    """

    about: ClassVar[str] = "norm of the logits' Jacobian (Hoffman et al. 2019; Jung et al. 2023)"
    sign: ClassVar = -1
    needs: ClassVar = frozenset(("images", "gradients"))
    batch: int = 16

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        images = batch.images.clone().requires_grad_(True)
        net = calibrated_for(network, batch)
        net.requires_grad_(False)
        logits = net(images)
        squares = images.new_zeros(len(images), dtype=torch.float64)
        for logit in logits.unbind(1):
            (found,) = gradients(logit.sum(), [images], again=True)
            squares += found.flatten(1).double().square().sum(1)
        return squares.sqrt().mean()
