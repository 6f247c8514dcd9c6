"""Tangent kernels of untrained networks, clean and attacked, and what they say of training.

A kernel is the Gram matrix of features phi(x), the derivative of an output of the network by all
of its parameters, biases and normalization included (TE-NAS' code: weights only). The output is
the sum of the logits over the root of their number; with `logits=all` the kernel is the mean over
logits of each one's, which costs a backward pass a class. In wide networks both are the kernel
of a single logit.

Batch normalization goes by the statistics of the clean images, held fixed: gradients then belong
to images, and an attack faces the function whose kernel is taken. (TE-NAS' code keeps the
batch's statistics in the graph, so that each row is mixed of all images.)
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from holdfast.core.errors import BadValueError
from holdfast.perturb.attacks.inner import worst_images
from holdfast.perturb.attacks.pgd import PGD
from holdfast.search.proxies._features import tangent_gram
from holdfast.search.proxies.base import PROXIES, Batch, BatchProxy, calibrated_for, check_counts

Kernel = Literal["clean", "robust", "cross", "twice", "all", "robust_all"]
_EPS = Fraction(8, 255)


@dataclass(frozen=True, kw_only=True)
class TangentProxy(BatchProxy):
    """Settings of a kernel.

    `clean` is K of phi(x); `robust` of phi(A(x)); `twice` of phi(A(A(x))); `cross` has
    <phi(x_i), phi(A(x_j))> and is not symmetric, so that its singular values stand for
    eigenvalues. `all` is the Gram matrix of (1 - beta) phi(x) + beta phi(A(x)), and `robust_all`
    that of (1 - beta) phi(A(x)) + beta phi(A(A(x))).

    A is PGD on the untrained network: cross-entropy, Linf, random start, steps of 2.5 eps / steps.

    Source: Wu et al. 2024, "Robust NAS under adversarial training", section 4, equations 4 and 5.
    Differs: at finite width, on the output above; the attack is theirs in training but for the
    length of its steps (2/255).

    Attributes:
        kernel: Which one.
        beta: Part of the attacked images in `all` and `robust_all`.
        eps: Radius of the attack.
        steps: Of the attack.
        logits: sum or all.
        channels: Of the network's first stage; None: as the whole evaluation.
        cells: A stage; None: as the whole evaluation.
    """

    needs: ClassVar = frozenset(("images", "labels", "gradients"))
    batch: int = 16
    kernel: Kernel = "clean"
    beta: float = 0.5
    eps: Fraction = _EPS
    steps: int = 7
    logits: Literal["sum", "all"] = "sum"
    channels: int | None = None
    cells: int | None = None

    def __post_init__(self) -> None:
        check_counts(self, "batch", "steps", "channels", "cells")
        if not 0 <= self.beta <= 1:
            raise BadValueError(f"beta must be in [0, 1], got {self.beta}")
        self.attack()

    def attack(self) -> PGD:
        """The attack A."""
        return PGD(eps=self.eps, steps=self.steps)

    def matrix(self, network: nn.Module, batch: Batch) -> Tensor:
        """The kernel, float64 [B, B].

        Args:
            network: Left as it was.
            batch: All of its images take part.
        """
        if self.kernel == "clean":
            return self._gram(network, batch, (0,))
        if self.kernel in ("twice", "robust_all"):
            return self._mixed(self._gram(network, batch, (1, 2)), len(batch))
        return self._mixed(self._gram(network, batch, (0, 1)), len(batch))

    def _mixed(self, gram: Tensor, count: int) -> Tensor:
        """Kernel from the blocks of two sets of images."""
        first, cross, second = gram[:count, :count], gram[:count, count:], gram[count:, count:]
        if self.kernel == "cross":
            return cross
        if self.kernel in ("robust", "twice"):
            return second
        beta = self.beta
        both = (1 - beta) * beta * (cross + cross.T)
        return (1 - beta) ** 2 * first + both + beta**2 * second

    def _gram(self, network: nn.Module, batch: Batch, rounds: tuple[int, ...]) -> Tensor:
        """Gram matrix of the images after so many attacks."""
        attack = () if rounds == (0,) else (self.eps, self.steps)

        def make() -> Tensor:
            net = calibrated_for(network, batch)
            images = torch.cat([self._attacked(network, batch, count) for count in rounds])
            classes = net(batch.images[:1]).shape[1]
            eye = torch.eye(classes, device=images.device)
            readouts = eye if self.logits == "all" else eye.sum(0, keepdim=True) / classes**0.5
            return tangent_gram(net, images, readouts)

        return batch.once(network, ("gram", rounds, attack, self.logits), make)

    def _attacked(self, network: nn.Module, batch: Batch, count: int) -> Tensor:
        """Images after `count` attacks in sequence."""
        if count == 0:
            return batch.images

        def make() -> Tensor:
            before = self._attacked(network, batch, count - 1)
            net = calibrated_for(network, batch).requires_grad_(False)
            keys = batch.keys(f"tangent kernel attack {count}")
            return worst_images(self.attack(), net, before, batch.labels, keys)

        return batch.once(network, ("attacked", self.eps, self.steps, count), make)

    def _spectrum(self, network: nn.Module, batch: Batch) -> Tensor:
        """Eigenvalues, ascending; of `cross`, singular values."""
        matrix = self.matrix(network, batch)
        if not bool(matrix.isfinite().all()):
            return torch.full_like(matrix[0], torch.nan)
        if self.kernel == "cross":
            return torch.linalg.svdvals(matrix).flip(0)
        return torch.linalg.eigvalsh(matrix)


@PROXIES.register("ntk_smallest")
@dataclass(frozen=True, kw_only=True)
class NtkSmallest(TangentProxy):
    """Smallest eigenvalue of a tangent kernel.

    It goes mostly by the size of the gradients; `scaled=True` takes that out. See `TangentProxy`
    for the kernels.

    Source: Wu et al. 2024, section 4 and figure 3. Differs: exact, where they bound it.

    Attributes:
        scaled: Divide by the mean eigenvalue.
    """

    about: ClassVar[str] = "smallest eigenvalue of a tangent kernel (Wu et al. 2024)"
    sign: ClassVar = 1
    scaled: bool = False

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        values = self._spectrum(network, batch)
        return values[0] / values.mean() if self.scaled else values[0]


@PROXIES.register("ntk_condition")
@dataclass(frozen=True, kw_only=True)
class NtkCondition(TangentProxy):
    """Largest eigenvalue of a tangent kernel over the smallest.

    NaN where the smallest is zero but for rounding. See `TangentProxy` for the kernels.

    Source: Chen et al. 2021, "TE-NAS", section 3.1.1.
    """

    about: ClassVar[str] = "condition number of a tangent kernel (TE-NAS, Chen et al. 2021)"
    sign: ClassVar = -1

    def _score(self, network: nn.Module, batch: Batch) -> float:
        return condition(self._spectrum(network, batch))


def condition(values: Tensor) -> float:
    """Largest of ascending eigenvalues over the smallest; NaN where that is zero."""
    return float(values[-1] / values[0]) if _regular(values) else torch.nan


@PROXIES.register("ntk_bound")
@dataclass(frozen=True, kw_only=True)
class NtkBound(TangentProxy):
    """Root of y' K^-1 y / N, the leading term of a bound on the error.

    y are the labels, one column a class that occurs, 1 or 0 less the class's part of the images;
    the columns' terms are summed. NaN for a singular kernel. See `TangentProxy` for the kernels.

    Source: Wu et al. 2024, theorem 1 and corollary 1: kernel `all` for the clean error and
    `robust_all` for the robust one. Differs: they have two classes, of labels -1 and 1.
    """

    about: ClassVar[str] = "root of y' K^-1 y / N of a tangent kernel (Wu et al. 2024)"
    sign: ClassVar = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel == "cross":
            raise BadValueError("the bound has no kernel cross, which is not symmetric")

    def _score(self, network: nn.Module, batch: Batch) -> Tensor:
        matrix = self.matrix(network, batch)
        if not _regular(self._spectrum(network, batch)):
            return matrix.new_tensor(torch.nan)
        labels = torch.unique(batch.labels, return_inverse=True)[1]
        columns = torch.nn.functional.one_hot(labels).double()
        columns -= columns.mean(0)
        solved = torch.linalg.solve(matrix, columns)
        return ((columns * solved).sum() / len(batch)).sqrt()


_ROUNDING = 1e-9  # of the largest eigenvalue; features are float32 and summed in float64


def _regular(values: Tensor) -> bool:
    """Whether ascending eigenvalues are all above what rounding makes of zero."""
    return bool(values[0] > _ROUNDING * values[-1])
