"""What both ascents of AutoPGD remember: the best point, to go back to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.perturb.attacks.base import State


@dataclass
class BestState(State):
    """Where a lane stands and where it was best.

    Attributes:
        points: Asked for next, float32 [L, C, H, W] in ball and box.
        best: Point of the largest loss, the first of equals, float32 [L, C, H, W].
        best_gradients: The gradient there.
        best_losses: float32 [L]; minus infinity before the first answer.
        evals: Answers taken, int64 [L].
    """

    points: Tensor
    best: Tensor
    best_gradients: Tensor
    best_losses: Tensor
    evals: Tensor


def keep_best(state: BestState, losses: Tensor, gradients: Tensor | None) -> None:
    """Take the points of larger loss, [L], with their gradients where there are any."""
    better = losses > state.best_losses
    rows = better.nonzero().view(-1)
    if not len(rows):
        return
    # Rows are copied by index: a masked pass over all of them takes longer.
    state.best.index_copy_(0, rows, state.points.index_select(0, rows))
    if gradients is not None:
        state.best_gradients.index_copy_(0, rows, gradients.index_select(0, rows))
    state.best_losses = torch.where(better, losses, state.best_losses)
