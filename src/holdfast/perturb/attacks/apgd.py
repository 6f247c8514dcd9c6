"""AutoPGD: no step size to choose; AutoAttack's gradient attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.core.checks import check_number, check_whole
from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.perturb.attacks._apgd_momentum import MomentumAscent
from holdfast.perturb.attacks._apgd_sparse import SparseAscent
from holdfast.perturb.attacks._steps import check_loss, loss_for
from holdfast.perturb.attacks.base import (
    CUSTOMARY,
    Answer,
    Attack,
    Eps,
    Norm,
    Query,
    Target,
    Task,
    attack,
)

_LOSSES = "cross_entropy", "dlr", "targeted_dlr"
_TARGETS = 9  # classes aimed at in AutoAttack's standard version


@attack("apgd")
@dataclass(frozen=True, kw_only=True)
class APGD(Attack):
    """Momentum steps whose length is halved, and restarted from the best point, when they stall.

    Linf and L2: `MomentumAscent`. L1: `SparseAscent`. A lane makes `steps` gradient evaluations
    and one last forward pass; with `large_eps` each of the three stages evaluates its start
    again: `steps` gradients and three forward passes.

    With the loss targeted_dlr a sample has a lane for each restart of each of its `targets` most
    likely wrong classes, in that order: min(targets, K - 1) * restarts. Where DLR is not defined
    (fewer than 3 classes; targeted: 4) its numerator takes its place.

    Source: Croce and Hein 2020, arXiv:2003.01690, algorithm 1; L1: Croce and Hein 2021,
    arXiv:2103.01208; fra31/auto-attack. Differs: the last point's gradient, which nothing uses,
    is not asked for; so is that of a stage's last point.

    Attributes:
        norm: Of the ball.
        eps: Radius, in pixels of [0, 1]; Linf 8/255, L2 0.5, L1 12 if not given.
        steps: Gradient evaluations.
        restarts: Random starts a sample, and a class aimed at.
        loss: What is climbed: cross_entropy, dlr or targeted_dlr.
        targets: How many classes targeted_dlr aims at, 9 if not given; None for the other losses
            and where `target` names the class.
        large_eps: L1 alone: 3 eps and 2 eps for 30 % of the steps each, then eps; True if not
            given. None for the other norms.
        rho: Part of the steps since the last checkpoint that must have raised the loss; without
            effect in L1, whose steps follow the sparsity of the perturbation.
        target: Class, or rule for one, to reach; None: any wrong class.
        random_start: False: begin at the image; True if not given.
    """

    norm: Norm = "linf"
    eps: Eps = CUSTOMARY
    steps: int = 100
    restarts: int = 1
    loss: str = "cross_entropy"
    targets: int | None = None
    large_eps: bool | None = None
    rho: float = 0.75
    target: Target | None = None
    random_start: bool | None = None

    def __post_init__(self) -> None:
        self.check()
        check_whole("steps", self.steps)
        check_whole("restarts", self.restarts)
        check_number("rho", self.rho, most=1)
        check_loss(self.loss, _LOSSES)
        object.__setattr__(self, "targets", self._checked_targets())
        object.__setattr__(self, "large_eps", self._checked_large_eps())
        object.__setattr__(self, "random_start", self._checked_random_start())

    @property
    def short(self) -> str:
        """`apgd-ce`, `apgd-dlr` or `apgd-t`, as AutoAttack calls them."""
        return {"cross_entropy": "apgd-ce", "dlr": "apgd-dlr"}.get(self.loss, "apgd-t")

    def short_of_classes(self, classes: int) -> bool:
        """Whether DLR gives way to the margin, or there are fewer wrong classes than targets."""
        if self.loss == "cross_entropy":
            return False
        aimed = self.target is not None or self.loss == "targeted_dlr"
        return classes < (4 if aimed else 3) or (self.targets or 1) > classes - 1

    @property
    def lane_passes(self) -> int:
        """The start and every step; with larger eps first, the start of each of three stages."""
        return self.steps + (3 if self.large_eps else 1)

    def lanes(self, classes: int) -> int:
        """Restarts, times the classes aimed at."""
        return self.restarts * min(self.targets or 1, classes - 1)

    def side_by_side(self, classes: int) -> int:
        """As many as classes are aimed at."""
        return min(self.targets or 1, classes - 1)

    @property
    def reads_logits(self) -> bool:
        """To choose the classes to aim at."""
        return self.targets is not None

    def start(self, task: Task) -> Any:
        """Stand at a random point of the ball, or at the image; choose the classes to aim at."""
        return self._ascent.start(task, self._aims(task))

    def ask(self, state: Any) -> Query:
        """Ask for the points; the last ones, also of a stage, without a gradient."""
        return Query(state.points, self._ascent.wants(state))

    def scores(self, logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
        """The loss, [L, 1]."""
        aimed = self.target is not None or self.loss == "targeted_dlr"
        name = self.loss.removeprefix("targeted_")
        return loss_for(name, logits.shape[1], aimed=aimed)(logits, labels, aims)[:, None]

    def tell(self, state: Any, answer: Answer) -> Any:
        """Keep the best point, see to checkpoints, step."""
        losses = self._losses(state, answer)
        self._ascent.climb(
            state, losses, answer.gradients[:, 0] if answer.scores.shape[1] else None
        )
        return state

    def finished(self, state: Any) -> Tensor:
        """Whether the point of the last step has been seen, bool [L]."""
        return state.evals == self._ascent.budget

    def result(self, state: Any) -> Tensor:
        """The point of the largest loss of all that were seen, the last one among them."""
        best: Tensor = state.best
        return best

    @property
    def _ascent(self) -> MomentumAscent | SparseAscent:
        eps, begins = float(self.eps), self.random_start is None
        if self.norm == "l1":
            return SparseAscent(eps, self.steps, bool(self.large_eps), begins)
        return MomentumAscent(self.norm, eps, self.steps, self.rho, begins)

    def _losses(self, state: Any, answer: Answer) -> Tensor:
        """Loss of each lane, [L], also where no gradient was wanted: a stage's last point."""
        blind = (~self._ascent.wants(state)).nonzero().view(-1)
        if not len(blind):
            return answer.scores[:, 0]
        losses = torch.zeros_like(answer.logits[:, 0])
        if answer.scores.shape[1]:
            losses.copy_(answer.scores[:, 0])
        logits = answer.logits[blind]
        losses[blind] = self.scores(logits, state.labels[blind], state.aims[blind])[:, 0]
        return losses

    def _aims(self, task: Task) -> Tensor:
        """The user's target, or the wrong class that is the lane's turn, int64 [L]."""
        if self.targets is None:
            return task.targets
        # The label first, also where it is not the most likely class: then none aims at it.
        own = torch.nn.functional.one_hot(task.labels, task.classes).bool()
        ranked = task.logits.masked_fill(own, torch.inf).argsort(
            dim=1, descending=True, stable=True
        )
        return ranked.gather(1, task.lane[:, None] // self.restarts + 1)[:, 0]

    def _checked_targets(self) -> int | None:
        wanted = self.loss == "targeted_dlr" and self.target is None
        if self.targets is None:
            return _TARGETS if wanted else None
        check_whole("targets", self.targets)
        if not wanted:
            raise BadValueError(
                "targets is the number of classes that loss=targeted_dlr aims at, where no target "
                f"names one: leave it out, got targets={self.targets}, loss={self.loss}, "
                f"target={self.target}"
            )
        return self.targets

    def _checked_random_start(self) -> bool | None:
        if self.random_start is not None and type(self.random_start) is not bool:
            raise BadTypeError(f"random_start must be True or False, got {self.random_start!r}")
        if self.random_start is not False:
            return None  # one text for one attack
        if self.restarts > 1:
            raise BadValueError(
                f"restarts={self.restarts} without a random start would walk the same path again: "
                "leave random_start=False out or set restarts=1"
            )
        return False

    def _checked_large_eps(self) -> bool | None:
        if self.large_eps is not None and type(self.large_eps) is not bool:
            raise BadTypeError(f"large_eps must be True or False, got {self.large_eps!r}")
        if self.norm == "l1":
            return True if self.large_eps is None else self.large_eps
        if self.large_eps:
            raise BadValueError(f"large_eps=True is for norm=l1, got norm={self.norm}")
        return None


@dataclass(frozen=True, kw_only=True)
class AveragedAPGD(APGD):
    """APGD whose gradients are averaged over some draws of a randomized model (EoT).

    Source: Athalye et al. 2018, arXiv:1707.07397.

    Attributes:
        repeats: How many draws.
    """

    repeats: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("repeats (eot_iter)", self.repeats)
