"""AutoPGD's ascent in Linf and L2: momentum, and steps halved at checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from holdfast.perturb.attacks._apgd_best import BestState, keep_best
from holdfast.perturb.attacks._steps import REGIONS
from holdfast.perturb.attacks.balls import per_lane
from holdfast.perturb.attacks.base import Task


@dataclass
class MomentumState(BestState):
    """Where a lane stands and what it remembers besides its best point.

    Attributes:
        frame: What confines it, see `Region`.
        before: The points one step earlier; at the start the same.
        last_losses: Of the last step, 0 before the first one, float32 [L].
        checked_losses: `best_losses` at the last checkpoint, 0 before the first, float32 [L].
        halved: Whether the step was halved there; true at first, bool [L].
        rises: Steps since the last checkpoint that raised the loss, int64 [L].
        lengths: Of a step, float32 [L].
    """

    frame: Tensor
    before: Tensor
    last_losses: Tensor
    checked_losses: Tensor
    halved: Tensor
    rises: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class MomentumAscent:
    """Steps of 2 eps at first, three quarters of each, and a quarter of the step before.

    At a checkpoint a lane whose loss rose in at most the part `rho` of the steps since the last
    one, or whose step was not halved there and whose best loss has not grown since, halves its
    step and goes on from its best point. Every step, and its mixture with the one before, is
    brought back into ball and box.

    The authors' code compares the loss after the first step with 0, not with the loss at the
    start; so do we, because that decides the first checkpoint.

    Source: Croce and Hein 2020, arXiv:2003.01690, algorithm 1, section 3.

    Attributes:
        norm: Linf or L2.
        eps: Radius.
        steps: Number of steps.
        rho: Part of steps that must rise.
        random_start: False: stand at the images.
    """

    norm: str
    eps: float
    steps: int
    rho: float
    random_start: bool = True

    @property
    def budget(self) -> int:
        """Evaluations a lane: the start and every step."""
        return self.steps + 1

    def start(self, task: Task, aims: Tensor) -> MomentumState:
        """Stand on the sphere, clipped to the box, or at the own images."""
        images, count = task.images, len(task.labels)
        region = REGIONS[self.norm]
        frame = region.frame(images, self.eps)
        points = images.clone()
        if self.random_start:
            points = region.noise(task.keys, images.shape[1:]).mul_(self.eps).add_(images)
            points = region.inside(frame, points, self.eps)
        return MomentumState(
            labels=task.labels,
            aims=aims,
            frame=frame,
            points=points,
            before=points.clone(),
            best=points.clone(),
            best_gradients=torch.zeros_like(points),
            best_losses=images.new_full((count,), -torch.inf),
            last_losses=images.new_zeros(count),
            checked_losses=images.new_zeros(count),
            halved=torch.ones_like(task.labels, dtype=torch.bool),
            rises=torch.zeros_like(task.labels),
            lengths=images.new_full((count,), 2 * self.eps),
            evals=torch.zeros_like(task.labels),
        )

    def wants(self, state: MomentumState) -> Tensor:
        """Lanes that have a step ahead, bool [L]."""
        return state.evals < self.steps

    def climb(self, state: MomentumState, losses: Tensor, gradients: Tensor | None) -> None:
        """Take the losses [L] and gradients [L, C, H, W] at the points; move the points."""
        if gradients is not None:
            keep_best(state, losses, gradients)
            stalled = self._stalled(state, losses)
            directions = REGIONS[self.norm].uphill(gradients)
            if len(stalled):
                again = REGIONS[self.norm].uphill(state.best_gradients[stalled])
                directions.index_copy_(0, stalled, again)
                state.points.index_copy_(0, stalled, state.best[stalled])
            self._step(state, directions)
        else:
            keep_best(state, losses, None)
        state.evals = state.evals + 1

    def _stalled(self, state: MomentumState, losses: Tensor) -> Tensor:
        """Count rises; at checkpoints halve the steps of lanes that stall, and name them [M]."""
        moved = state.evals > 0
        state.rises += moved & (losses > state.last_losses)
        state.last_losses = torch.where(moved, losses, state.last_losses)
        needed = checkpoints(self.steps, self.rho).to(losses.device)[state.evals]
        due = (needed >= 0).nonzero().view(-1)
        if not len(due):
            return due
        best = state.best_losses[due]
        idle = ~state.halved[due] & (state.checked_losses[due] >= best)
        halve = idle | (state.rises[due] <= needed[due])
        state.halved[due], state.checked_losses[due] = halve, best
        state.rises[due] = 0
        stalled = due[halve]
        state.lengths[stalled] /= 2
        return stalled

    def _step(self, state: MomentumState, directions: Tensor) -> None:
        """Move the points, and reuse the buffer of the points before."""
        region = REGIONS[self.norm]
        target = directions.mul_(per_lane(state.lengths, directions)).add_(state.points)
        target = region.inside(state.frame, target, self.eps)
        first = (state.evals == 0).nonzero().view(-1)
        plain = target[first]  # the first step has no momentum
        mixed = target.sub_(state.points).mul_(0.75).add_(state.points)
        mixed.add_(state.before.sub_(state.points), alpha=-0.25)
        mixed = region.inside(state.frame, mixed, self.eps).index_copy_(0, first, plain)
        state.before, state.points = state.points, mixed


@cache
def checkpoints(steps: int, rho: float) -> Tensor:
    """Rises that a lane needs more than, by its number of steps, float32 [steps + 1].

    -1 where there is no checkpoint. The first comes after 22 % of the steps; the intervals
    shrink by 3 % of the steps down to 6 %, each rounded down but at least 1.
    """
    interval, shrink, least = (max(int(part * steps), 1) for part in (0.22, 0.03, 0.06))
    needed = torch.full((steps + 1,), -1.0)
    place = interval
    while place <= steps:
        needed[place] = interval * rho
        interval = max(interval - shrink, least)
        place += interval
    return needed
