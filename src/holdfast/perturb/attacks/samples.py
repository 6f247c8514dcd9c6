"""Samples on their way through the attacks, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.perturb.attacks._lanes import Lanes
from holdfast.perturb.attacks.base import UNTARGETED, Attack
from holdfast.perturb.base import Batch

CLEAN = -1  # stage of samples that were wrong from the start
GIVEN = "given"  # instead of a rule for targets: the labels of the batches are the wanted classes
SLACK = 1e-6  # relative and absolute, of the size of a confirmed perturbation


def limit(eps: float) -> float:
    """Largest float64 size of a float32 perturbation that counts as being within eps."""
    return float(eps) * (1 + SLACK) + SLACK


@dataclass
class Samples(Lanes):
    """What the engine knows of samples on their way; all tensors, sample first.

    Attributes:
        ids: int64 [B].
        labels: int64 [B].
        targets: Class that an attack must reach, int64 [B]; -1 where any wrong one will do.
        images: Their own, [B, C, H, W].
        logits: Of their own images, [B, K].
        lane: Which lane of the present stage comes next, int64 [B].
        forward: Forward passes in each stage, int64 [B, S + 1]; the last column counts the clean
            pass and confirmations.
        gradient: Passes with gradient in each stage, int64 [B, S + 1].
        norm: Size of the smallest perturbation that a minimum-norm attack has found, float64 [B],
            where images are kept; infinity: none. In a transfer that of the lane's image that the
            judge shall see.
        found: That adversarial image, [B, C, H, W]; [B, 0] where none is kept.
        found_by: Stage that found it, int64 [B]; with an infinite norm, one whose images the judge
            cannot confirm.
        fresh: Lanes that have had no answer yet, bool [B].
    """

    ids: Tensor
    labels: Tensor
    targets: Tensor
    images: Tensor
    logits: Tensor
    lane: Tensor
    forward: Tensor
    gradient: Tensor
    norm: Tensor
    found: Tensor
    found_by: Tensor
    fresh: Tensor

    def keep_smallest(self, sizes: Tensor, images: Tensor, stage: int) -> None:
        """Keep images [B, C, H, W] that are adversarial and smaller than what was found.

        Args:
            sizes: Of their perturbations, float64 [B]; infinite where they are not adversarial.
            images: One a sample.
            stage: Stage that asked for them.
        """
        better = sizes < self.norm
        self.norm[better] = sizes[better]
        self.found[better] = images[better]
        self.found_by[better] = stage

    def keep_adversarial(self, attack: Attack, images: Tensor, wrong: Tensor) -> None:
        """Keep what shall be transferred: the smallest image within eps, or the latest one.

        The smallest for minimum-norm attacks. For the others, which raise a loss, the latest:
        it tends to have the highest one, and so to be the likeliest to fool another model. The
        own image, which the judge has seen, is never the smallest.

        Args:
            attack: What asked for the images.
            images: One a sample, [B, C, H, W].
            wrong: Which of them are adversarial on the searched model, bool [B].
        """
        rows = wrong.nonzero()[:, 0]
        sizes = attack.ball.size(images[rows].double() - self.images[rows].double())
        most = torch.full_like(sizes, torch.inf if attack.eps is None else limit(attack.eps))
        keep = sizes <= most
        if attack.minimum_norm:
            keep &= (sizes < self.norm[rows]) & (sizes > 0)
        rows = rows[keep]
        self.norm[rows], self.found[rows] = sizes[keep], images[rows]


@dataclass(frozen=True)
class Verdict:
    """What became of some samples.

    Attributes:
        samples: The samples.
        stage: Stage in which each fell, int64 [B]; -1: wrong from the start; S, the number of
            stages: stands.
        images: The adversarial image, or the sample's own where it stands, [B, C, H, W].
        logits: Of these images, by the judge, [B, K].
        norm: Size of the perturbation, float64 [B]; 0 where wrong from the start; NaN where it
            stands.
    """

    samples: Samples
    stage: Tensor
    images: Tensor
    logits: Tensor
    norm: Tensor


def fresh_samples(
    batch: Batch, targets: Tensor, logits: Tensor, *, stages: int, keep_found: bool
) -> Samples:
    """Samples that no attack has seen.

    Args:
        batch: Images, labels and ids, on one device.
        targets: int64 [B].
        logits: Of the images, [B, K]; this pass is counted.
        stages: Number of stages.
        keep_found: Whether the smallest image found is kept.
    """
    zeros = torch.zeros(len(batch), stages + 1, dtype=torch.int64, device=logits.device)
    forward = zeros.clone()
    forward[:, -1] = 1
    return Samples(
        ids=batch.ids,
        labels=batch.labels,
        targets=targets,
        images=batch.images,
        logits=logits,
        lane=torch.zeros_like(batch.ids),
        forward=forward,
        gradient=zeros,
        norm=torch.full_like(batch.ids, torch.inf, dtype=torch.float64),
        found=torch.zeros_like(batch.images) if keep_found else zeros[:, :0],
        found_by=torch.full_like(batch.ids, CLEAN),
        fresh=torch.ones_like(batch.ids, dtype=torch.bool),
    )


def is_adversarial(logits: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    """Whether the class given is wrong, or the wanted one, bool [B].

    Args:
        logits: float32 [B, K].
        labels: int64 [B].
        targets: int64 [B], -1 where any wrong class will do; None: everywhere.
    """
    given = logits.argmax(1)
    if targets is None:
        return given != labels
    return torch.where(targets == UNTARGETED, given != labels, given == targets)


def choose_targets(rule: str | int | None, logits: Tensor, labels: Tensor, keys: Keys) -> Tensor:
    """Class that each sample shall be given, int64 [B]; -1 for any wrong one.

    `second` is the most likely wrong class of the clean logits, `least_likely` the least likely
    one, `random` any wrong one. A sample of the wanted class itself takes the second.
    """
    if rule is None:
        return torch.full_like(labels, UNTARGETED)
    own = torch.nn.functional.one_hot(labels, logits.shape[1]).bool()
    second = logits.masked_fill(own, -torch.inf).argmax(1)
    if rule == "second":
        return second
    if rule == "least_likely":
        return logits.masked_fill(own, torch.inf).argmin(1)
    if rule == "random":
        return (labels + keys.integers(1, logits.shape[1], 1)[:, 0]) % logits.shape[1]
    return torch.where(labels == int(rule), second, torch.full_like(labels, int(rule)))
