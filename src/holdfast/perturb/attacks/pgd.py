"""Projected gradient descent: steps of one length inside the ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from holdfast.core.checks import check_number, check_whole
from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.core.randomness import Keys
from holdfast.perturb.attacks._minimum import check_positive
from holdfast.perturb.attacks._steps import REGIONS, check_loss, loss_for, sparse_signs
from holdfast.perturb.attacks.balls import BALLS, per_lane
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
    canonical_eps,
)
from holdfast.perturb.attacks.losses import divergence

_LOSSES = "cross_entropy", "margin", "dlr", "kl"
_RELATIVE_STEP = 2.5  # times eps / steps, Madry et al. 2018, section 5: any point can be reached
_QUANTILE = 0.99  # of gradient magnitudes that an L1 step leaves out, as in cleverhans
_TINY = 1e-12


@dataclass
class PgdState(State):
    """Where a lane stands.

    Attributes:
        frame: What confines it, see `Region`.
        points: Asked for next, float32 [L, C, H, W] in ball and box.
        velocity: Decayed sum of gradients of L1 size 1, [L, C, H, W]; [L, 0] without momentum.
        evals: Answers taken, int64 [L].
        reference: Log-probabilities at the own images, [L, K]; [L, 0] where the loss is not kl.
    """

    frame: Tensor
    points: Tensor
    velocity: Tensor
    evals: Tensor
    reference: Tensor


@attack("pgd")
@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Steps of one length along the steepest direction, each brought back into ball and box.

    Linf steps along the sign, L2 along the gradient over its length, L1 along the signs of the
    1 % largest gradient entries (SLIDE) among the pixels that the box lets move. A lane is a
    restart; it makes `steps` gradient evaluations and one last forward pass, so that the point
    of the last step is seen too.

    Source: Madry et al. 2018, arXiv:1706.06083; momentum: Dong et al. 2018, arXiv:1710.06081;
    L1: Tramer and Boneh 2019, arXiv:1904.13000; loss kl and Gaussian start, as in
    `pgd(loss=kl, noise=0.001)`: Zhang et al. 2019 (TRADES), arXiv:1901.08573.
    Differs: the random start is uniform in the volume of the ball for all norms (torchattacks'
    L2: uniform radius); L1 points are projected on ball and box at once (theirs: clipped, then
    scaled), and gradients at pixels which the box holds are left out (theirs: an option). TRADES'
    start is brought into ball and box at once (theirs: after the first step).

    Attributes:
        norm: Of the ball.
        eps: Radius, in pixels of [0, 1]; Linf 8/255, L2 0.5, L1 12 if not given.
        steps: Gradient evaluations.
        step_size: Length of a step in the norm; None: 2.5 eps / steps.
        random_start: Start at a uniform point of the ball instead of the image.
        restarts: Lanes a sample; more than one needs the random start.
        momentum: Decay of the gradients' sum, 0 to 1; 0: each step forgets the ones before.
        loss: What is climbed: cross_entropy, margin, dlr or kl, the divergence from what the
            model says of the image itself. At the image that is flat: kl needs a random start.
        target: Class, or rule for one, to reach; None: any wrong class. Not for kl.
        noise: Standard deviation of a Gaussian random start around the image, in pixels of
            [0, 1]; None: uniform in the ball.
    """

    last_pass_counts: ClassVar[bool] = False

    norm: Norm = "linf"
    eps: Eps = CUSTOMARY
    steps: int = 40
    step_size: Eps | None = None
    random_start: bool = True
    restarts: int = 1
    momentum: float = 0.0
    loss: str = "cross_entropy"
    target: Target | None = None
    noise: float | None = None

    def __post_init__(self) -> None:
        self.check()
        check_whole("steps", self.steps)
        check_whole("restarts", self.restarts)
        check_number("momentum", self.momentum, most=1)
        check_loss(self.loss, _LOSSES)
        if self.step_size is not None:
            object.__setattr__(self, "step_size", _checked_step(self.step_size))
        if self.restarts > 1 and not self.random_start:
            raise BadValueError(
                f"restarts={self.restarts} without a random start would walk the same path again: "
                "set random_start=True or restarts=1"
            )
        self._check_divergence()
        self._check_noise()

    def lanes(self, classes: int) -> int:
        """One a restart."""
        return self.restarts

    @property
    def reads_logits(self) -> bool:
        """For the divergence from them."""
        return self.loss == "kl"

    def start(self, task: Task) -> PgdState:
        """Stand at the own images, or at a point of the ball."""
        images, eps, region = task.images, float(self.eps), REGIONS[self.norm]
        frame = region.frame(images, eps)
        points = images.clone()
        if self.random_start:
            points += self._moved(task.keys, images.shape[1:])
            points = region.inside(frame, points, eps)
        velocity = torch.zeros_like(images) if self.momentum else images.new_zeros(len(images), 0)
        evals = torch.zeros_like(task.labels)
        reference = task.logits.log_softmax(1) if self.reads_logits else task.logits[:, :0]
        return PgdState(task.labels, task.targets, frame, points, velocity, evals, reference)

    def ask(self, state: PgdState) -> Query:
        """Ask for the points; the last ones without a gradient."""
        return Query(state.points, state.evals < self.steps)

    def known(self, state: PgdState) -> tuple[Tensor, ...]:
        """Labels and aims; for the divergence also what it is taken from."""
        kept = (state.labels, state.aims)
        return (*kept, state.reference) if self.reads_logits else kept

    def scores(
        self, logits: Tensor, labels: Tensor, aims: Tensor, reference: Tensor | None = None
    ) -> Tensor:
        """The loss, [L, 1]; kl needs the log-probabilities at the images, see `known`."""
        if reference is not None:
            return divergence(logits, reference)[:, None]
        loss = loss_for(self.loss, logits.shape[1], aimed=self.target is not None, plain=True)
        return loss(logits, labels, aims)[:, None]

    def tell(self, state: PgdState, answer: Answer) -> PgdState:
        """Step; where no gradient was wanted, the lane is done and its point does not matter."""
        state.evals = state.evals + 1
        if answer.scores.shape[1] == 0:
            return state
        gradients = answer.gradients[:, 0]
        if self.momentum:
            gradients = self._accelerated(state, gradients)
        length = (
            _RELATIVE_STEP * float(self.eps) / self.steps
            if self.step_size is None
            else self.step_size
        )
        points = self._uphill(state, gradients).mul_(float(length)).add_(state.points)
        state.points = REGIONS[self.norm].inside(state.frame, points, float(self.eps))
        return state

    def finished(self, state: PgdState) -> Tensor:
        """Whether the point of the last step has been seen, bool [L]."""
        return state.evals > self.steps

    def _moved(self, keys: Keys, shape: torch.Size) -> Tensor:
        """Random start relative to the images, [L, C, H, W]."""
        if self.noise is None:
            return self.ball.sample(keys, shape).mul_(float(self.eps))
        return keys.normal(*shape).mul_(self.noise)

    def _check_divergence(self) -> None:
        if self.loss != "kl":
            return
        if self.target is not None:
            raise BadValueError(
                f"loss=kl moves away from what the model says of the image and reaches for no "
                f"class: leave target={self.target} out, or take loss=cross_entropy"
            )
        if not self.random_start:
            raise BadValueError(
                "loss=kl has no gradient at the image itself: set random_start=True, "
                "as in pgd(loss=kl, noise=0.001)"
            )

    def _check_noise(self) -> None:
        if self.noise is None:
            return
        check_positive("noise", self.noise)
        object.__setattr__(self, "noise", float(self.noise))
        if not self.random_start:
            raise BadValueError(
                f"noise={self.noise} is a random start: set random_start=True or leave noise out"
            )

    def _accelerated(self, state: PgdState, gradients: Tensor) -> Tensor:
        """Velocity after this gradient, of which each has L1 size 1."""
        sizes = BALLS["l1"].size(gradients).clamp_(min=_TINY)
        state.velocity.mul_(self.momentum).add_(gradients / per_lane(sizes, gradients))
        return state.velocity

    def _uphill(self, state: PgdState, gradients: Tensor) -> Tensor:
        if self.norm != "l1":
            return REGIONS[self.norm].uphill(gradients)
        held = torch.where(gradients > 0, state.points >= 1, state.points <= 0)
        free = gradients.masked_fill(held, 0.0)
        rank = int(_QUANTILE * free[0].numel())
        return sparse_signs(free, torch.full_like(state.evals, rank))


def _checked_step(step_size: Any) -> Eps:
    if isinstance(step_size, bool) or not isinstance(step_size, int | Eps):
        raise BadTypeError(f"step_size must be a number such as 2/255, got {step_size!r}")
    if not 0 < step_size < float("inf"):
        raise BadValueError(f"step_size must be above 0 and finite, got {step_size}")
    return canonical_eps(step_size, "l2")
