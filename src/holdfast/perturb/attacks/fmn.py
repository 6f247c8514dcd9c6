"""Fast minimum norm: logit-difference steps in a ball whose radius estimates the boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.perturb.attacks._minimum import (
    Approach,
    MinimumNorm,
    check_positive,
    steps_along,
)
from holdfast.perturb.attacks.base import UNTARGETED, Answer, Eps, Norm, Target, attack
from holdfast.perturb.attacks.losses import margin

_LAST_GAMMA = 0.001  # Pintor et al. section 3.1
_LAST_STEP_SIZE = 0.01  # as a part of the first


@attack("fmn")
@dataclass(frozen=True, kw_only=True)
class FMN(MinimumNorm):
    """Seek the smallest perturbation in Linf, L2 or L1.

    Until a lane first succeeds, its radius is where the linearized boundary lies; from then on
    it shrinks by the factor 1 - gamma where the point is adversarial, and is at most the best
    size, and grows by 1 + gamma where it is not. Steps go along the gradient of the difference
    of two logits, have length `step_size` in L2 for every norm, and are projected on the ball,
    then clipped to the box. Length and gamma fall along a cosine, to 1/100 and to 0.001.

    Source: Pintor et al. 2021, arXiv:2102.12827, algorithm 1, without its search from a given
    adversarial start.
    Differs: part of the steps are probes, after which the difference is to the nearest class
    until the first success, then, as published, to the largest wrong logit; `probes=0` leaves
    that out. Where the box cuts the steps, the published radius creeps towards the boundary or
    stops before it: until the first success it is 1 + gamma times as large, and a step is brought
    into ball and box at once. The point of the last step is seen too. Where the gradient is
    exactly zero, a random direction takes its place. The L2 projection is the paper's: in foolbox
    3.3.4 its factor is always 1, and adv-lib clips pixels at 1 instead of the factor.

    Attributes:
        norm: What is measured.
        eps: Radius at which a sample counts as broken; None: run on for the smallest norm.
        steps: Gradient evaluations, probes included.
        probes: Likeliest wrong classes whose distance is measured first; at most a tenth of the
            steps, none for 2 classes or with a `target`.
        step_size: L2 length of the first step, in pixels of [0, 1].
        gamma: Part by which the radius changes in the first step.
        target: Class, or rule for one, to reach; None: any wrong class.
    """

    norm: Norm = "linf"
    eps: Eps | None = None
    steps: int = 100
    probes: int = 9
    step_size: float = 1.0
    gamma: float = 0.05
    target: Target | None = None

    def __post_init__(self) -> None:
        self.check()
        check_positive("step_size", self.step_size)

    @property
    def first_eps(self) -> float:
        """None yet."""
        return math.inf

    def lead(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Largest other logit minus that of a class, [L]."""
        return margin(logits, classes, classes)

    def move(self, state: Approach, answer: Answer) -> None:
        """Change the radius, step along the gradient, project, clip."""
        deltas = state.points.sub_(state.images)
        self._resize(state, deltas, answer)
        lengths = self.schedule(state, self.step_size, self.step_size * _LAST_STEP_SIZE)
        deltas.add_(steps_along(answer.gradients[:, 0], lengths, state))
        torch.add(self._within(state, deltas), state.images, out=state.points).clamp_(0, 1)

    def _resize(self, state: Approach, deltas: Tensor, answer: Answer) -> None:
        gamma = self.schedule(state, self.gamma, _LAST_GAMMA)
        sizes = self.ball.size(deltas)
        fallen = self.fallen(state, answer.logits)
        state.best = torch.where(fallen, torch.minimum(state.best, sizes), state.best)
        first = sizes + self.reach(answer, answer.scores[:, 0].abs())
        outside = torch.where(state.best.isinf(), first, state.eps) * (1 + gamma)
        inside = torch.minimum(state.eps * (1 - gamma), state.best)
        state.eps = torch.where(fallen, inside, outside).minimum(state.limit)
        if self.target is None:
            state.aims = torch.where(fallen, UNTARGETED, state.aims)

    def _within(self, state: Approach, deltas: Tensor) -> Tensor:
        """Project on the ball; before the first success on the ball within the box."""
        projected = self.ball.project(deltas, state.eps)
        rows = state.best.isinf().nonzero()[:, 0]
        if len(rows):
            images = state.images[rows]
            points = self.ball.confine(images, images + deltas[rows], state.eps[rows])
            projected[rows] = points - images
        return projected
