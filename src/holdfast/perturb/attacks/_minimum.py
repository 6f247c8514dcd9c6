"""What the minimum-norm attacks DDN and FMN share: probes, then a walk to the boundary.

Both published attacks walk from the image along the gradient of a loss and let a radius close in
on the boundary. The loss decides at the image towards which class the walk goes, and that need
not be the nearest: on a linear model, where the distances are known, they often end a quarter
beyond the smallest perturbation. So a few evaluations are spent first on the distances to the
likeliest classes by linearization, the rule of DeepFool (Moosavi-Dezfooli et al. 2016,
arXiv:1511.04599), and the walk sets out for the nearest.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from holdfast.core.checks import check_whole
from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.core.randomness import Keys
from holdfast.perturb.attacks.balls import BALLS, per_lane
from holdfast.perturb.attacks.base import UNTARGETED, Answer, Attack, Query, State, Task
from holdfast.perturb.attacks.losses import margin_to_aim

TINY = 1e-12  # keeps a quotient of sizes finite
_FAINT = 1e-15  # L2 size of a gradient below which squares of its entries may underflow
_L2 = BALLS["l2"]


@dataclass
class Approach(State):
    """Where a lane stands on its way to the boundary; `aims` changes with what it probes.

    Attributes:
        images: The samples' own images, float32 [L, C, H, W].
        points: What is asked for next, float32 [L, C, H, W] in [0, 1].
        eps: Radius that the lane allows itself, float32 [L].
        limit: Size of the largest perturbation that the box leaves room for, float32 [L].
        best: Smallest adversarial size so far, float32 [L]; infinite before the first.
        step: Answers taken so far, int64 [L].
        probed: Classes whose distance is asked for first, int64 [L, M].
        nearest: The nearest of those seen, int64 [L].
        reach: Its distance by linearization, float32 [L]; infinite before the first.
        words: Keys of directions for lanes whose gradient is zero, int64 [L].
    """

    images: Tensor
    points: Tensor
    eps: Tensor
    limit: Tensor
    best: Tensor
    step: Tensor
    probed: Tensor
    nearest: Tensor
    reach: Tensor
    words: Tensor


class MinimumNorm(Attack):
    """Base of DDN and FMN: `steps` evaluations with gradients, then one of the last point.

    The published codes leave the point of the last step unseen; here it is asked for, without
    a gradient. No image is kept: the engine keeps the smallest adversarial one asked for.
    """

    minimum_norm: ClassVar[bool] = True
    steps: Any
    probes: Any
    gamma: Any

    def check(self) -> None:
        """Refuse a wrong number of steps or probes and a wrong gamma as well.

        Raises:
            BadTypeError: A number was expected.
            BadValueError: A value out of range.
        """
        super().check()
        check_whole("steps", self.steps)
        if type(self.probes) is not int or self.probes < 0:
            error = BadValueError if type(self.probes) is int else BadTypeError
            raise error(f"probes must be a whole number from 0, got {self.probes!r}")
        check_positive("gamma", self.gamma)
        if self.gamma >= 1:
            raise BadValueError(
                f"gamma is the part by which the radius shrinks: it must be below 1, "
                f"as in gamma=0.05, got {self.gamma}"
            )

    def start(self, task: Task) -> Approach:
        """Stand at the own images, with a class to probe where there is a choice."""
        images = task.images
        probed = self._probed(task)
        unknown = images.new_full((len(images),), math.inf)
        return Approach(
            labels=task.labels,
            aims=probed[:, 0] if probed.shape[1] else task.targets,
            images=images,
            points=images.clone(),
            eps=torch.full_like(unknown, self.first_eps),
            limit=self.ball.size(torch.maximum(images, 1 - images)),
            best=unknown,
            step=torch.zeros_like(task.labels),
            probed=probed,
            nearest=task.targets,
            reach=unknown,
            words=task.keys.words,
        )

    def ask(self, state: Approach) -> Query:
        """Ask for the points; the last one without its gradient."""
        return Query(images=state.points, gradient=state.step < self.steps)

    def scores(self, logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
        """Lead over the label of all or of the aim; targeted: of the aim over all, [L, 1]."""
        if self.target is not None:
            return -self.lead(logits, aims)[:, None]
        free = aims == UNTARGETED
        towards = margin_to_aim(logits, labels, torch.where(free, labels, aims))
        return torch.where(free, self.lead(logits, labels), towards)[:, None]

    def tell(self, state: Approach, answer: Answer) -> Approach:
        """Take the distance to a probed class, or move the points."""
        if answer.scores.shape[1]:
            probing = state.step < state.probed.shape[1]
            if not probing.all():
                self.move(state, answer)
            if probing.any():
                self._probe(state, answer, probing)
        state.step = state.step + 1
        return state

    def finished(self, state: Approach) -> Tensor:
        """Whether the last point has been seen, bool [L]."""
        return state.step > self.steps

    @property
    @abstractmethod
    def first_eps(self) -> float:
        """Radius before the first step."""

    @abstractmethod
    def lead(self, logits: Tensor, classes: Tensor) -> Tensor:
        """How far the other classes together lead over these, [L]."""

    @abstractmethod
    def move(self, state: Approach, answer: Answer) -> None:
        """Change radius and points; what becomes of lanes that still probe does not matter."""

    def fallen(self, state: Approach, logits: Tensor) -> Tensor:
        """Whether a wrong class came out, or in a targeted run the wanted one, bool [L]."""
        predicted = logits.argmax(1)
        return predicted != state.labels if self.target is None else predicted == state.aims

    def schedule(self, state: Approach, first: float, last: float) -> Tensor:
        """Number of the lane's step, falling from `first` to `last` along a cosine, [L]."""
        probes = state.probed.shape[1]
        numbers = _cosine(self.steps - probes, first, last).to(state.eps.device)
        return numbers[(state.step - probes).clamp_min(0)]

    def reach(self, answer: Answer, drops: Tensor) -> Tensor:
        """Smallest perturbation that lowers the linearized score so much, [L]; inf where none."""
        slopes = self.ball.dual_size(answer.gradients[:, 0])
        return torch.where(slopes > 0, drops / slopes, math.inf)

    def _probed(self, task: Task) -> Tensor:
        """The likeliest wrong classes, at most a tenth as many as steps, int64 [L, M]."""
        count = min(self.probes, task.classes - 1, self.steps // 10)
        if self.target is not None or count < 2:
            count = 0
        others = task.logits.scatter(1, task.labels[:, None], -math.inf)
        return others.argsort(dim=1, descending=True, stable=True)[:, :count]

    def _probe(self, state: Approach, answer: Answer, rows: Tensor) -> None:
        """Compare a distance, aim at the next class or at last at the nearest; stay fresh."""
        reach = self.reach(answer, -answer.scores[:, 0])
        last = state.probed.shape[1] - 1
        seen = state.probed.gather(1, state.step.clamp_max(last)[:, None])[:, 0]
        nearer = rows & (reach < state.reach)
        state.nearest = torch.where(nearer, seen, state.nearest)
        state.reach = torch.where(nearer, reach, state.reach)
        following = state.probed.gather(1, (state.step + 1).clamp_max(last)[:, None])[:, 0]
        aims = torch.where(state.step < last, following, state.nearest)
        state.aims = torch.where(rows, aims, state.aims)
        state.points[rows] = state.images[rows]
        state.eps = torch.where(rows, self.first_eps, state.eps)


def steps_along(gradients: Tensor, lengths: Tensor, state: Approach) -> Tensor:
    """Steps [L, C, H, W] of these L2 lengths [L] along gradients that may be faint or zero.

    Where a gradient is exactly zero, a random direction takes its place, another one each step.
    """
    sizes = _L2.size(gradients)
    steps = gradients * per_lane(lengths / sizes.clamp_min(_FAINT), gradients)
    faint = sizes < _FAINT
    if faint.any():
        rows = gradients[faint]
        units = _L2.steepest(rows)
        lost = (rows == 0).flatten(1).all(1)
        keys = Keys(state.words[faint][lost]).at(state.step[faint][lost])
        units[lost] = _L2.steepest(keys.normal(*rows.shape[1:]))
        steps[faint] = units * per_lane(lengths[faint], units)
    return steps


@cache
def _cosine(steps: int, first: float, last: float) -> Tensor:
    """Numbers of each step and of none, float32 [steps + 1].

    Made once with Python's cosine: that of a tensor may differ in the last bit with its length.
    """
    half = (first - last) / 2
    turns = (math.pi * place / steps for place in range(steps + 1))
    return torch.tensor([last + half * (1 + math.cos(turn)) for turn in turns])


def check_positive(name: str, value: Any) -> None:
    """Refuse what is no finite number above 0.

    Raises:
        BadTypeError: No number.
        BadValueError: Not positive or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadTypeError(f"{name} must be a number, got {value!r}")
    if not 0 < value < math.inf:
        raise BadValueError(f"{name} must be above 0 and finite, got {value}")
