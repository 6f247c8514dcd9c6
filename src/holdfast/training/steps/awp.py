"""Adversarial weight perturbation: gradients where the weights are worst nearby."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.core.checks import check_number, check_whole
from holdfast.core.randomness import Keys
from holdfast.training.batch import TrainingBatch
from holdfast.training.steps.base import Step, Work, descend, step

_TINY = 1e-20  # added to the size of a gradient, as in the authors' code


@step("awp")
@dataclass(frozen=True, kw_only=True)
class Awp(Step):
    """Each weight w goes gamma |w| along its gradient g / |g|, and gradients are taken there.

    |.| is the L2 norm of a whole tensor. Weights of one axis or none (biases, normalization)
    stay, as in the authors' code. Images are crafted once, at the weights as they are. The weights
    come back to the bit, also when something is raised, and the look at the first gradient leaves
    neither `.grad` nor running statistics changed.

    Source: Wu, Xia and Wang 2020, arXiv:2004.05884, algorithm 1; csdongxian/AWP, whose gamma is
    0.01 for adversarial training, and 0.005 after 10 epochs for TRADES. Differs: there the
    optimizer moves the perturbed weights, so that weight decay acts on those, and the
    perturbation is subtracted afterwards. In a batch of several parts each part perturbs by its
    own gradient.

    Attributes:
        gamma: Size of the perturbation relative to the weight, 0 or more; 0: none.
        warmup: Epochs without it.
    """

    gamma: float = 0.005
    warmup: int = 0

    def __post_init__(self) -> None:
        check_number("awp gamma", self.gamma)
        check_whole("awp warmup", self.warmup, least=0)

    def gradients(self, work: Work, batch: TrainingBatch, rng: Keys) -> Tensor:
        """See `Step`; the losses are those at the perturbed weights."""
        crafted = work.objective.craft(work.classifier, batch, rng)
        if self.gamma == 0 or work.epoch < self.warmup:
            return descend(work, crafted)
        weights = [weight for weight in work.parameters if weight.ndim > 1]
        slopes = _slopes(work, crafted, weights)
        try:
            with _restored([weight.data for weight in weights]):
                for weight, slope in zip(weights, slopes, strict=True):
                    if slope is not None:
                        weight.data.add_(_moved(weight.data, slope, self.gamma))
                # Mixed precision would go on with the rounded weights that it has kept.
                torch.clear_autocast_cache()
                return descend(work, crafted)
        finally:
            torch.clear_autocast_cache()


def _slopes(work: Work, crafted: TrainingBatch, weights: list[nn.Parameter]) -> list[Tensor | None]:
    """Gradients at the weights as they are, None where there is none; all else stays."""
    # A gradient of its own would not be averaged over processes, as that of `backward` is.
    kept = [weight.grad for weight in work.parameters]
    try:
        with _restored(list(work.buffers)):
            for weight in work.parameters:
                weight.grad = None
            descend(work, crafted)
            return [weight.grad for weight in weights]
    finally:
        for weight, gradient in zip(work.parameters, kept, strict=True):
            weight.grad = gradient


@contextmanager
def _restored(tensors: list[Tensor]) -> Iterator[None]:
    """Put the values back at the end: subtracting what was added would round."""
    kept = [tensor.clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, kept, strict=True):
                tensor.copy_(value)


def _moved(weight: Tensor, slope: Tensor, gamma: float) -> Tensor:
    """What is added to a weight; nothing where the gradient is not finite."""
    length = gamma * weight.norm() / (slope.norm() + _TINY)
    # The overflow of a scaled loss, which the optimizer skips, must not reach the statistics.
    return (slope * length).nan_to_num(0, 0, 0)
