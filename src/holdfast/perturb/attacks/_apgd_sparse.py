"""AutoPGD's ascent in L1: sparse steps, as sparse as the best point, in shrinking balls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from holdfast.perturb.attacks._apgd_best import BestState, keep_best
from holdfast.perturb.attacks._lanes import Lanes
from holdfast.perturb.attacks._steps import REGIONS, sparse_signs
from holdfast.perturb.attacks.balls import per_lane
from holdfast.perturb.attacks.base import Task

_KEPT = 0.2  # part of the entries that the first steps change
_SPARSER = 1.5  # a step changes the best point's number of changed entries over this
_SHRINK = 1.5  # of a step whose best point did not become sparser
_SHORTEST = 10  # the shortest step is the longest over this
_MUCH_SPARSER = 0.95  # of the count at the checkpoint before
_STAGES = (3, 0.3), (2, 0.3), (1, 0.4)  # radius over eps; part of the steps


@dataclass
class SparseState(BestState):
    """Where a lane stands and what it remembers besides its best point.

    Attributes:
        images: The own images, float32 [L, C, H, W].
        kept: Part of the entries that a step changes, float32 [L].
        changed: Entries in which the best point differed at the last checkpoint, int64 [L].
        lengths: Of a step, float32 [L].
    """

    images: Tensor
    kept: Tensor
    changed: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class SparseAscent:
    """Steps along the signs of the largest gradient entries, projected on ball and box.

    At a checkpoint, every 4 % of a stage's steps, the number of entries to change becomes the
    number in which the best point differs from the image, over 1.5. A lane whose best point has
    become sparser by more than 5 % takes steps of length eps again and goes on from there; the
    others shorten theirs by 1.5, down to eps / 10.

    With `large_eps` the ball has the radius 3 eps, then 2 eps, then eps; each stage starts at
    the best point of the one before, projected, and evaluates it again.

    Source: Croce and Hein 2021, arXiv:2103.01208, section 4, algorithm 1; fra31/auto-attack.
    Differs: entries that the projection brings back are equal to the image exactly (theirs may
    differ by rounding, and are then counted as changed: most of those of the start). A best point
    with 2 changed entries is followed by steps in 1; theirs, rounded up, stay at 2 for good.

    Attributes:
        eps: Radius.
        steps: Number of steps of all stages.
        large_eps: Whether there are three stages.
        random_start: False: stand at the images.
    """

    eps: float
    steps: int
    large_eps: bool
    random_start: bool = True

    @property
    def budget(self) -> int:
        """Evaluations a lane: the start of each stage and every step."""
        return len(plan(self.steps, self.large_eps).radius)

    def start(self, task: Task, aims: Tensor) -> SparseState:
        """Stand at normal noise, projected on ball and box, or at the own images."""
        images, count = task.images, len(task.labels)
        region = REGIONS["l1"]
        radius = self.eps * float(plan(self.steps, self.large_eps).radius[0])
        points = images.clone()
        if self.random_start:
            points = region.noise(task.keys, images.shape[1:]).add_(images)
            points = region.inside(images[:, None], points, radius)
        return SparseState(
            labels=task.labels,
            aims=aims,
            points=points,
            best=points.clone(),
            best_gradients=torch.zeros_like(points),
            best_losses=images.new_full((count,), -torch.inf),
            evals=torch.zeros_like(task.labels),
            images=images,
            kept=images.new_full((count,), _KEPT),
            changed=torch.full_like(task.labels, images[0].numel()),
            lengths=images.new_full((count,), radius),
        )

    def wants(self, state: SparseState) -> Tensor:
        """Lanes that have a step of their stage ahead, bool [L]."""
        return self._plan(state).steps_left[state.evals] > 0

    def climb(self, state: SparseState, losses: Tensor, gradients: Tensor | None) -> None:
        """Take the losses [L] and gradients [L, C, H, W] at the points; move the points."""
        here = self._plan(state).take(state.evals)
        # A stage forgets the points of the larger ball before.
        state.best_losses = state.best_losses.masked_fill(here.first, -torch.inf)
        keep_best(state, losses, gradients)
        radius = here.radius * self.eps
        sparser = self._measure(state, here, radius)
        points = state.points
        if gradients is not None:
            if len(sparser):
                points.index_copy_(0, sparser, state.best[sparser])
                gradients = gradients.index_copy(0, sparser, state.best_gradients[sparser])
            count = points[0].numel()
            rank = ((1 - state.kept) * count).clamp_(0, count - 1).long()
            rank = rank.maximum(count - (state.changed - 1).clamp_(min=1))
            steps = sparse_signs(gradients, rank).mul_(per_lane(state.lengths, points))
            points = REGIONS["l1"].inside(state.images[:, None], steps.add_(points), radius)
        state.evals = state.evals + 1
        state.points = self._entered(state, points, here)

    def _plan(self, state: SparseState) -> Plan:
        return plan(self.steps, self.large_eps, state.evals.device)

    def _measure(self, state: SparseState, here: Plan, radius: Tensor) -> Tensor:
        """See to the starts of stages and to checkpoints; lanes that go back to their best, [M]."""
        seen = here.checkpoint | here.first if self.large_eps else here.checkpoint
        rows = seen.nonzero().view(-1)
        if not len(rows):
            return rows
        best, images = state.best[rows], state.images[rows]
        changed = (best != images).flatten(1).sum(1)
        fresh, longest = here.first[rows], radius[rows]
        sparser = changed / state.changed[rows] < _MUCH_SPARSER
        shorter = torch.maximum(state.lengths[rows] / _SHRINK, longest / _SHORTEST)
        state.lengths[rows] = torch.where(sparser | fresh, longest, shorter)
        state.kept[rows] = changed / images[0].numel() / _SPARSER
        state.changed[rows] = changed
        return rows[sparser]

    def _entered(self, state: SparseState, points: Tensor, here: Plan) -> Tensor:
        """Points, of which those at the end of a stage but the last go to their best, projected."""
        rows = ((here.steps_left == 0) & (state.evals < self.budget)).nonzero().view(-1)
        if not len(rows):
            return points
        radius = self._plan(state).radius[state.evals[rows]] * self.eps
        starts = REGIONS["l1"].inside(state.images[rows, None], state.best[rows], radius)
        return points.index_copy(0, rows, starts)


@dataclass
class Plan(Lanes):
    """What is due at each evaluation of a lane, [budget].

    Attributes:
        radius: Of the stage's ball, times eps, float32.
        first: Whether this is the start of a stage, bool.
        steps_left: Steps that the stage still has, int64.
        checkpoint: Whether the step size is looked at, bool.
    """

    radius: Tensor
    first: Tensor
    steps_left: Tensor
    checkpoint: Tensor


@cache
def plan(steps: int, large_eps: bool, device: torch.device | str = "cpu") -> Plan:  # noqa: FBT001 - cached by value
    """Plan of a lane's evaluations: 30, 30 and 40 % of the steps, the first two rounded up."""
    rows = []
    for factor, length in _stages(steps, large_eps=large_eps):
        interval = max(int(0.04 * length), 1)
        for step in range(length + 1):
            checkpoint = step > 0 and step % interval == 0
            rows.append((float(factor), step == 0, length - step, checkpoint))
    columns = zip(*rows, strict=True)
    return Plan(*(torch.tensor(column, device=device) for column in columns))


def _stages(steps: int, *, large_eps: bool) -> list[tuple[int, int]]:
    """Radius over eps, and number of steps, of each stage."""
    if not large_eps:
        return [(1, steps)]
    left, stages = steps, []
    for factor, part in _STAGES[:-1]:
        length = min(math.ceil(part * steps), left)
        stages.append((factor, length))
        left -= length
    return [*stages, (1, left)]
