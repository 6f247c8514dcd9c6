"""Proxy from the curvature of the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.search.proxies._networks import gradients
from holdfast.search.proxies.base import PROXIES, Batch, BatchProxy, calibrated_for, check_counts

_TINY = 1e-12  # of the largest value: a direction this short is rounding


@PROXIES.register("hessian_top")
@dataclass(frozen=True, kw_only=True)
class HessianTop(BatchProxy):
    """Largest eigenvalue of the Hessian of the mean cross-entropy over all parameters.

    By Lanczos iteration with full reorthogonalization on Hessian-vector products, until the value
    moves by less than `tolerance` of itself, at most `steps` products. Normalization goes by the
    statistics of the batch, held fixed.

    Source: Jung et al. 2023, section 5 (after Zhao et al. 2020); the mode of normalization and the
    number of images are not stated there, and power iteration is usual.

    Attributes:
        steps: Most Hessian-vector products.
        tolerance: Relative change of the value at which it counts as found.
        channels: Of the network's first stage; None: as the whole evaluation.
        cells: A stage; None: as the whole evaluation.
    """

    about: ClassVar[str] = "top eigenvalue of the loss Hessian (Jung et al. 2023)"
    sign: ClassVar = -1
    needs: ClassVar = frozenset(("images", "labels", "gradients"))
    batch: int = 16
    steps: int = 10
    tolerance: float = 1e-2
    channels: int | None = None
    cells: int | None = None

    def __post_init__(self) -> None:
        check_counts(self, "batch", "steps", "channels", "cells")
        if not 0 <= self.tolerance < 1:
            raise BadValueError(f"tolerance must be in [0, 1), got {self.tolerance}")

    def _score(self, network: nn.Module, batch: Batch) -> float:
        net = calibrated_for(network, batch)
        parameters = list(net.parameters())
        loss = F.cross_entropy(net(batch.images), batch.labels)
        first = _flat(gradients(loss, parameters, graph=True))

        def product(vector: Tensor) -> Tensor:
            return _flat(gradients((first * vector).sum(), parameters, again=True))

        start = torch.randn(first.shape, generator=batch.generator("hessian")).to(first)
        return largest_eigenvalue(product, start, steps=self.steps, tolerance=self.tolerance)


def _flat(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])


def largest_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Tensor, *, steps: int, tolerance: float
) -> float:
    """Largest eigenvalue of a symmetric matrix that is known by its products, by Lanczos.

    Args:
        product: The matrix times a vector [N].
        start: Vector [N] with which it begins.
        steps: Most products.
        tolerance: Relative change of the value at which it counts as found.
    """
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    value = torch.nan
    for _ in range(min(steps, start.numel())):
        image = product(basis[-1])
        diagonal.append(float(image @ basis[-1]))
        before, value = value, _top(diagonal, beside)
        if abs(value - before) <= tolerance * abs(value):
            break
        span = torch.stack(basis)
        for _ in range(2):  # once is not enough in float32
            image = image - (span @ image) @ span
        length = float(image.norm())
        if not length > _TINY * max(abs(one) for one in diagonal):
            break
        beside.append(length)
        basis.append(image / length)
    return value


def _top(diagonal: list[float], beside: list[float]) -> float:
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        aside = torch.diag(torch.tensor(beside, dtype=torch.float64), 1)
        matrix = matrix + aside + aside.T
    if not bool(matrix.isfinite().all()):
        return torch.nan
    return float(torch.linalg.eigvalsh(matrix)[-1])
