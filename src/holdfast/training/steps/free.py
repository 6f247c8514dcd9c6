"""Free adversarial training: one backward pass for weights and images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.core.checks import check_whole
from holdfast.core.errors import BadValueError
from holdfast.core.randomness import Keys
from holdfast.training.batch import TrainingBatch
from holdfast.training.objectives._inner import Inner
from holdfast.training.objectives.base import Objective
from holdfast.training.objectives.trades import Trades
from holdfast.training.steps.base import Step, Work, descend, step

_KEPT = "free.perturbation"  # in `Work.extra`: float32 [N, C, H, W], by row of the nominal batch


@step("free")
@dataclass(frozen=True, kw_only=True)
class Free(Step):
    """A batch is used several times; the pass that trains the weights also moves its images.

    Each use shows the images with the perturbation that the uses before have left, also those of
    the batch before, and adds eps times the sign of the images' gradient to it, within eps and
    the box. Of the objective's attack only the norm, which must be Linf, and the radius count; it
    is not run. A batch of fewer images uses the first rows of the perturbation. Training takes
    1 / replays of the usual epochs for the usual number of moves.

    Source: Shafahi et al. 2019, arXiv:1904.12843, algorithm 1;
    mahyarnajibi/FreeAdversarialTraining. Differs: there the loss is cross-entropy, and the
    perturbation is kept within eps alone while the images are clipped, so that a pixel beyond
    the box has no gradient and stays there.

    Attributes:
        replays: How often a batch is used, 1 or more.
    """

    crafts: ClassVar[bool] = False
    replays: int = 8

    def __post_init__(self) -> None:
        check_whole("free replays", self.replays)

    def check(self, objective: Objective) -> None:
        """Refuse an objective without attack, or one whose attack free training cannot replace."""
        _radius(objective)

    def gradients(self, work: Work, batch: TrainingBatch, rng: Keys) -> Tensor:
        """See `Step`; called once a use."""
        eps, images = _radius(work.objective), batch.images
        kept = _rows(work, images)
        lowest, highest = (images - eps).clamp_(0, 1), (images + eps).clamp_(0, 1)
        shown = (images + kept).clamp_(lowest, highest).requires_grad_(True)
        losses = descend(work, replace(batch, adversarial=shown))
        if shown.grad is not None:  # an objective may give attacked images no weight
            with torch.no_grad():
                uphill = shown.grad.sign()  # 0 where it is NaN
                moved = uphill.mul_(eps).add_(shown).clamp_(lowest, highest)
                kept.copy_(moved.sub_(images))
        return losses


def _radius(objective: Objective) -> float:
    """Radius of an objective's attack; 0 where that is what it says."""
    if isinstance(objective, Trades):
        raise BadValueError(
            "free training follows the gradient at the image itself first, where the divergence of "
            "trades has none: take adversarial, mixture or mart, or the step plain"
        )
    if objective.attack is None:
        raise BadValueError(
            f"free training perturbs images, and the objective {objective.name} attacks none: "
            "take adversarial, or the step plain"
        )
    attack = Inner.of(objective.attack).attack
    if attack is None:
        return 0.0
    if attack.norm != "linf" or attack.target is not None:
        raise BadValueError(
            f"free training climbs the loss along signs in an Linf ball, got {objective.attack}: "
            "set norm=linf and no target, or take the step plain"
        )
    return float(attack.eps)


def _rows(work: Work, images: Tensor) -> Tensor:
    """The images' part of the kept perturbation, a view; zero where there is none yet."""
    kept, end = work.extra.get(_KEPT), work.start + len(images)
    if kept is None or kept.shape[1:] != images.shape[1:]:
        kept = images.new_zeros(0, *images.shape[1:])
    kept = kept.to(images)
    missing = end - len(kept)
    if missing > 0:
        kept = torch.cat([kept, kept.new_zeros(missing, *kept.shape[1:])])
    work.extra[_KEPT] = kept
    return kept[work.start : end]
