"""Square attack: random search over squares, which sees nothing but logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.core.checks import check_number, check_whole
from holdfast.core.errors import BadValueError
from holdfast.perturb.attacks import losses
from holdfast.perturb.attacks._linf_squares import Squares
from holdfast.perturb.attacks._squares import Moves, SquareState
from holdfast.perturb.attacks._steps import check_loss
from holdfast.perturb.attacks._windows import L1Windows, L2Windows
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

_LOSSES = {"margin": losses.margin, "cross_entropy": losses.cross_entropy}
_MOVES: dict[str, Callable[[float, float], Moves]] = {
    "linf": Squares,
    "l2": L2Windows,
    "l1": L1Windows,
}


@attack("square")
@dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Change a random square at a time, and keep what raises the loss.

    A lane asks for exactly `queries` images, of which the start is the first. The share p of the
    image that a square covers halves after 10, 50, 200, 500, 1,000, 2,000, 4,000, 6,000 and
    8,000 squares, whatever the budget, as in AutoAttack. In targeted mode the loss is the
    log-probability of the target, as published.

    Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049; L1 version: Croce
    and Hein 2021, arXiv:2103.01208; fra31/auto-attack, square.py.
    Differs: AutoAttack's copy makes one query more, for it does not count the start, as the
    authors' first code did. Position, signs and orientation are drawn for each sample; there
    they are partly shared by the batch. Squares reach the last row and column, as the paper has
    it; in both codes they stop short of them. The starts of L2 and L1 tile images of any size,
    and take at least one pixel a tile. A wrong class is the engine's business: it does not
    replace the best image unless the loss has grown.

    Attributes:
        norm: linf, l2 or l1.
        eps: Radius; Linf 8/255, L2 0.5, L1 12 if not given.
        queries: Forward evaluations of a lane.
        p_init: Share of the image that the first squares cover.
        restarts: Lanes of a sample.
        loss: What grows in untargeted mode.
        target: Class, or rule for one, to reach; None: any wrong class.
    """

    gradients: ClassVar[bool] = False

    norm: Norm = "linf"
    eps: Eps = CUSTOMARY
    queries: int = 5000
    p_init: float = 0.8
    restarts: int = 1
    loss: Literal["margin", "cross_entropy"] = "margin"
    target: Target | None = None

    def __post_init__(self) -> None:
        self.check()
        check_whole("queries", self.queries)
        check_whole("restarts", self.restarts)
        check_number("p_init", self.p_init, most=1)
        if self.p_init == 0:
            raise BadValueError(
                "p_init is the share of the image that the first squares cover: it must be above "
                "0, as in p_init=0.8"
            )
        check_loss(self.loss, tuple(_LOSSES))

    @cached_property
    def moves(self) -> Moves:
        """How the norm's search moves; this attack's own, for it remembers its last proposal."""
        return _MOVES[self.norm](float(self.eps), float(self.p_init))

    @property
    def lane_passes(self) -> int:
        """Every query is a forward pass."""
        return self.queries

    def lanes(self, classes: int) -> int:
        """One a restart."""
        return self.restarts

    def start(self, task: Task) -> SquareState:
        """Ask for stripes (Linf), or for tiles of bumps (L2, L1)."""
        return self.moves.start(task)

    def ask(self, state: SquareState) -> Query:
        """Propose a square a lane; no gradients."""
        self.moves.propose(state)
        return Query(state.asked, torch.zeros_like(state.labels, dtype=torch.bool))

    def tell(self, state: SquareState, answer: Answer) -> SquareState:
        """Keep the squares that raised the loss, undo the others."""
        loss = self._loss(answer.logits, state)
        improved = loss > state.loss
        self.moves.settle(state, improved)
        state.loss = torch.where(improved, loss, state.loss)
        state.query = state.query + 1
        return state

    def finished(self, state: SquareState) -> Tensor:
        """Lanes that have asked for `queries` images."""
        return state.query >= self.queries

    def result(self, state: SquareState) -> Tensor:
        """The image of the largest loss."""
        return state.best

    def _loss(self, logits: Tensor, state: SquareState) -> Tensor:
        away = _LOSSES[self.loss]
        lowest, highest = state.aims.aminmax()
        if int(highest) < 0:
            return away(logits, state.labels, state.aims)
        if int(lowest) >= 0:
            return losses.targeted_cross_entropy(logits, state.labels, state.aims)
        aims = state.aims.clamp(min=0)
        towards = losses.targeted_cross_entropy(logits, state.labels, aims)
        return torch.where(state.aims >= 0, towards, away(logits, state.labels, state.aims))
