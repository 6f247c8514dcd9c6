"""Fast gradient sign method: one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.perturb.attacks._steps import check_loss, loss_for
from holdfast.perturb.attacks.base import (
    CUSTOMARY,
    Answer,
    Attack,
    Eps,
    Norm,
    Query,
    State,
    Target,
    Task,
    attack,
)

_LOSSES = "cross_entropy", "margin", "dlr"


@dataclass
class FgsmState(State):
    """The own images until the step, what it led to afterwards.

    Attributes:
        points: float32 [L, C, H, W] in [0, 1].
        evals: Answers taken, int64 [L].
    """

    points: Tensor
    evals: Tensor


@attack("fgsm")
@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """One step from the image, as long as the ball allows: one gradient, then one forward pass.

    Linf: image + eps sign(gradient), clipped to the box. L2: image + eps gradient / |gradient|,
    clipped. L1: the exact maximiser of the linear score in ball and box: pixels are filled up to
    the box in descending order of gradient magnitude until eps is spent. (All of eps in one
    pixel, the steepest step without a box, would be cut to a change of at most 1.)

    Source: Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572, section 4; L2 and DLR: as in
    foolbox. L1 is ours.

    Attributes:
        norm: Of the ball.
        eps: Radius, in pixels of [0, 1]; Linf 8/255, L2 0.5, L1 12 if not given.
        loss: What is climbed: cross_entropy, margin or dlr.
        target: Class, or rule for one, to reach; None: any wrong class.
    """

    last_pass_counts: ClassVar[bool] = False

    norm: Norm = "linf"
    eps: Eps = CUSTOMARY
    loss: str = "cross_entropy"
    target: Target | None = None

    def __post_init__(self) -> None:
        self.check()
        check_loss(self.loss, _LOSSES)

    @property
    def lane_passes(self) -> int:
        """The gradient, and a look at the stepped image."""
        return 2

    @property
    def reads_logits(self) -> bool:
        """It does not."""
        return False

    def start(self, task: Task) -> FgsmState:
        """Stand at the own images."""
        return FgsmState(task.labels, task.targets, task.images, torch.zeros_like(task.labels))

    def ask(self, state: FgsmState) -> Query:
        """Ask for the image with its gradient, then for the stepped image without."""
        return Query(state.points, state.evals == 0)

    def scores(self, logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
        """The loss, [L, 1]."""
        loss = loss_for(self.loss, logits.shape[1], aimed=self.target is not None, plain=True)
        return loss(logits, labels, aims)[:, None]

    def tell(self, state: FgsmState, answer: Answer) -> FgsmState:
        """Step, unless that is done."""
        rows = (state.evals == 0).nonzero().view(-1)
        if len(rows):
            images, gradients = state.points[rows], answer.gradients[rows, 0]
            # The task's own images are not ours to change.
            state.points = state.points.index_copy(0, rows, self._stepped(images, gradients))
        state.evals = state.evals + 1
        return state

    def finished(self, state: FgsmState) -> Tensor:
        """Whether the stepped image has been seen, bool [L]."""
        return state.evals == 2

    def _stepped(self, images: Tensor, gradients: Tensor) -> Tensor:
        eps = float(self.eps)
        if self.norm == "l1":
            step = _filled(images, gradients, eps)
        else:
            step = self.ball.steepest(gradients).mul_(eps)
        return self.ball.confine(images, step.add_(images), eps)


def _filled(images: Tensor, gradients: Tensor, eps: float) -> Tensor:
    """Step of L1 size eps at most that raises a linear score most within the box, [L, C, H, W]."""
    flat = gradients.flatten(1)
    rooms = torch.where(gradients > 0, 1 - images, images).flatten(1).mul_(flat != 0)
    order = flat.abs().argsort(dim=1, descending=True, stable=True)
    rooms = rooms.gather(1, order)
    spent_before = rooms.cumsum(1).sub_(rooms)
    sizes = torch.minimum((eps - spent_before).clamp_(min=0), rooms)
    return torch.zeros_like(flat).scatter_(1, order, sizes).mul_(flat.sign()).view_as(images)
