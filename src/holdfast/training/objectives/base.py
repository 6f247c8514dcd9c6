"""What training minimizes: a classifier, a batch and its random streams to a loss a sample.

An objective has two halves, so that a training step may come between them: `craft` looks for
images (an attack, noise, further views) and `losses` differentiates. Called, it does both.

A classifier is any callable from images float [B, C, H, W] in [0, 1] to logits [B, K]. Where it
brings an attribute `search`, images are crafted on that one: the same network in the mode in
which it shall be attacked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from holdfast.core.randomness import Keys
from holdfast.core.registry import Registry
from holdfast.core.specs import Value, canonical, parse_part
from holdfast.perturb.base import Classifier
from holdfast.training.batch import TrainingBatch

O = TypeVar("O", bound="Objective")  # noqa: E741 - one letter, as all type variables here

OBJECTIVES: Registry[type[Objective]] = Registry("objective")


class Objective(ABC):
    """Base of all objectives; subclasses are frozen dataclasses whose fields people type."""

    name: ClassVar[str]  # set by `objective`
    attack: Any = None  # text of the inner attack, of those that have one
    single_step: ClassVar[bool] = False  # its attack is one step: may overfit catastrophically

    def craft(self, classifier: Classifier, batch: TrainingBatch, rng: Keys) -> TrainingBatch:
        """Look for the images that `losses` needs; no gradient reaches the weights.

        Args:
            classifier: See the module; only its `search` is called, if it has one.
            batch: See `TrainingBatch`.
            rng: One random stream a sample.
        """
        return batch

    @abstractmethod
    def losses(self, classifier: Classifier, batch: TrainingBatch) -> Tensor:
        """Loss of each sample, [B], under autograd; `batch` comes from `craft`."""

    def __call__(self, classifier: Classifier, batch: TrainingBatch, rng: Keys) -> Tensor:
        """Craft, then give the loss of each sample, [B]."""
        return self.losses(classifier, self.craft(classifier, batch, rng))

    def grown(self, factor: float) -> Objective:
        """The same with the radius of its attack times a factor in [0, 1]."""
        if self.attack is None or factor == 1:
            return self
        from holdfast.training.objectives._inner import Inner  # noqa: PLC0415 - which imports us

        return replace(self, attack=Inner.of(self.attack).grown(factor).text)  # type: ignore[type-var]

    @property
    def spec(self) -> str:
        """Canonical text."""
        return canonical(self.name, self)


objective = OBJECTIVES.named  # the decorator of each


def parse_objective(text: str, parameters: dict[str, Value] | None = None) -> Objective:
    """Objective that a person means, such as `trades(beta=6)`; see `parse_part`."""
    return parse_part(OBJECTIVES, text, parameters)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Minus the mean log-probability under the targets [B, K], of each sample, [B]."""
    return F.cross_entropy(logits, targets, reduction="none")


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of each sample, [B], from log-probabilities [B, K]."""
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


def attacked(classifier: Classifier) -> Classifier:
    """The one to craft on."""
    search: Any = getattr(classifier, "search", None)
    return classifier if search is None else search


def both(classifier: Classifier, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of two sets of images in one pass: batch normalization sees them together."""
    logits = classifier(torch.cat([first, second]))
    return logits[: len(first)], logits[len(first) :]
