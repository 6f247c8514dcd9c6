"""Decoupled direction and norm: cross-entropy steps on a sphere that shrinks or grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.perturb.attacks._minimum import (
    TINY,
    Approach,
    MinimumNorm,
    check_positive,
    steps_along,
)
from holdfast.perturb.attacks.balls import per_lane
from holdfast.perturb.attacks.base import Answer, Eps, Target, attack

_STEP_SIZES = 1.0, 0.01  # L2 lengths of the first and the last step, Rony et al. section 4


@attack("ddn")
@dataclass(frozen=True, kw_only=True)
class DDN(MinimumNorm):
    """Seek the smallest L2 perturbation: step along the gradient, then rescale to the radius.

    The radius shrinks by the factor 1 - gamma where the point is adversarial and grows by
    1 + gamma where it is not; the length of the step falls from 1 to 0.01 along a cosine. Where
    the gradient is exactly zero, a random direction takes its place.

    Source: Rony et al. 2019, arXiv:1811.09600, algorithm 1; jeromerony/fast_adversarial.
    Differs: part of the steps are probes, after which the softmax is that of the label and the
    nearest class alone; `probes=0` keeps all classes. The loss is log((1 - p) / p) instead of
    -log p, of the same probability p: its gradient has the same direction and does not vanish
    where p rounds to 1. Pixels are not rounded to 256 levels (nor are they in foolbox). The point
    of the last step is seen too.

    Attributes:
        norm: L2 alone.
        eps: Radius at which a sample counts as broken; None: run on for the smallest norm.
        steps: Gradient evaluations, probes included.
        probes: Likeliest wrong classes whose distance is measured first; at most a tenth of the
            steps, none for 2 classes or with a `target`.
        init_norm: First radius, in pixels of [0, 1].
        gamma: Part by which the radius changes in a step.
        target: Class, or rule for one, to reach; None: any wrong class.
    """

    norm: Literal["l2"] = "l2"
    eps: Eps | None = None
    steps: int = 100
    probes: int = 9
    init_norm: float = 1.0
    gamma: float = 0.05
    target: Target | None = None

    def __post_init__(self) -> None:
        self.check()
        if self.norm != "l2":
            raise BadValueError(
                f"ddn measures perturbations in L2: write norm=l2, or take fmn, which knows "
                f"linf, l2 and l1; got norm={self.norm}"
            )
        check_positive("init_norm", self.init_norm)

    @property
    def first_eps(self) -> float:
        """As given."""
        return self.init_norm

    def lead(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Log of the odds against a class, [L].

        In float64, as `losses.cross_entropy`: the last bit of an exponential may depend on the
        shape of the batch.
        """
        exact, place = logits.double(), classes[:, None]
        others = exact.scatter(1, place, -torch.inf).logsumexp(1)
        return (others - exact.gather(1, place)[:, 0]).to(logits.dtype)

    def move(self, state: Approach, answer: Answer) -> None:
        """Step along the gradient, rescale to the new radius, clip to the box."""
        fallen = self.fallen(state, answer.logits)
        factor = torch.where(fallen, 1 - self.gamma, 1 + self.gamma)
        state.eps = torch.minimum(state.eps * factor, state.limit)
        lengths = self.schedule(state, *_STEP_SIZES)
        deltas = state.points.sub_(state.images)
        deltas.add_(steps_along(answer.gradients[:, 0], lengths, state))
        factor = state.eps / self.ball.size(deltas).clamp_min(TINY)
        deltas.mul_(per_lane(factor, deltas)).add_(state.images).clamp_(0, 1)
