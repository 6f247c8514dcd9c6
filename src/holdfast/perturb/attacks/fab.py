"""Fast adaptive boundary: project onto the linearized decision boundary, biased to the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.core.checks import check_whole
from holdfast.perturb.attacks.balls import per_lane
from holdfast.perturb.attacks.base import (
    UNTARGETED,
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
from holdfast.perturb.attacks.halfspace import NEAREST, Normals
from holdfast.perturb.attacks.losses import margin_to_aim, targeted_margin

# Values of the authors' code, fra31/auto-attack.
_ALPHA_MAX = 0.1  # largest weight of the step from the image
_ETA = 1.05  # overshoot beyond the boundary
_BETA = 0.9  # part of the way back to the image that is kept after a success
_SMALLEST = 1e-8  # size of a move, in the weights
_RANDOM_RADIUS = {"linf": 0.3, "l2": 1.0, "l1": 5.0}  # where no eps is given
_MOST_RIVALS = 10  # classes whose boundaries are linearized at once, as in DeepFool
_TINY = 1e-12


@dataclass
class Boundary(State):
    """Where a lane stands near the decision boundary.

    Attributes:
        images: The samples' own images, float32 [L, C, H, W].
        points: What is asked for next, float32 [L, C, H, W] in [0, 1].
        step: Answers taken so far, int64 [L]: after an even number a gradient is wanted.
    """

    images: Tensor
    points: Tensor
    step: Tensor


@attack("fab")
@dataclass(frozen=True)
class FAB(Attack):
    """Seek the smallest perturbation in Linf, L2 or L1 along linearized decision boundaries.

    An iteration linearizes the classifier at the point (one evaluation with gradients), moves to
    a mean of the projections of the point and of the own image onto the nearest boundary's
    hyperplane within the box, a little beyond it, and looks whether that is adversarial (one
    evaluation without); if so, it goes a tenth of the way back to the image. So a lane spends
    `steps` evaluations of each kind. The engine keeps the smallest adversarial image asked for.

    Without `targets` the boundaries to all other classes are linearized, a backward pass each;
    with more than 11 classes, those to the 10 that have the largest logits at the point. With
    `targets` a lane linearizes the boundary of the label and one class alone; any wrong class is
    a success. Such lanes take the most likely wrong classes of the clean logits in turn; all
    classes come before the next restart. The first restart begins at the image, later ones at a
    random distance-half-eps point (Linf 0.3, L2 1 and L1 5 stand in where there is no eps).

    With a `target` of the user, that class is the success, the boundary is that between it and
    the largest other logit, and `targets` is not used.

    Source: Croce and Hein 2020, arXiv:1907.02044, algorithm 1; fra31/auto-attack.
    Differs: the final search on the line to the image is left out, as in the authors' code;
    points asked for a gradient count as candidates too; gradients below 1e-8 are not cut off.
    The restriction to 10 classes is that of DeepFool, Moosavi-Dezfooli et al. 2016,
    arXiv:1511.04599, and the user's target is an addition.

    Attributes:
        norm: What is measured.
        eps: Radius at which a sample counts as broken; None: run on for the smallest norm.
        steps: Iterations of a lane.
        restarts: How often each class, or the untargeted run, is tried.
        targets: How many classes to aim at, one lane each, at most K - 1; None: all at once.
        target: Class, or rule for one, to reach; None: any wrong class.
    """

    minimum_norm: ClassVar[bool] = True

    norm: Norm = "linf"
    eps: Eps | None = None
    steps: int = 100
    restarts: int = 1
    targets: int | None = None
    target: Target | None = None

    def __post_init__(self) -> None:
        self.check()
        check_whole("steps", self.steps)
        check_whole("restarts", self.restarts)
        if self.targets is not None:
            check_whole("targets", self.targets)

    @property
    def short(self) -> str:
        """`fab-t` where it aims at one class after the other, as AutoAttack calls it."""
        return "fab" if self.targets is None or self.target is not None else "fab-t"

    def short_of_classes(self, classes: int) -> bool:
        """Whether there are fewer wrong classes than it would aim at."""
        return self.targets is not None and self.target is None and self.targets > classes - 1

    @property
    def lane_passes(self) -> int:
        """A gradient and a look at the stepped image, each step."""
        return 2 * self.steps

    def lanes(self, classes: int) -> int:
        """Restarts times classes aimed at."""
        return self._aimed(classes) * self.restarts

    def side_by_side(self, classes: int) -> int:
        """All classes aimed at."""
        return self._aimed(classes)

    def start(self, task: Task) -> Boundary:
        """Stand at the own images, or at a random point of a later restart."""
        aimed = self._aimed(task.classes)
        aims = task.targets
        if self.targets is not None:
            ranked = _wrong_classes(task.logits, task.labels, aimed)
            own = ranked.gather(1, (task.lane % aimed)[:, None])[:, 0]
            aims = torch.where(aims == UNTARGETED, own, aims)
        images = task.images.contiguous()
        points = images.clone()
        later = (task.lane >= aimed).nonzero()[:, 0]
        if len(later):
            points[later] = self._random(task, images, later)
        return Boundary(task.labels, aims, images, points, torch.zeros_like(task.labels))

    def ask(self, state: Boundary) -> Query:
        """Ask for the points, with and without gradients in turn."""
        return Query(images=state.points, gradient=state.step % 2 == 0)

    def scores(self, logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
        """Signed heights over the boundaries, [L, G]; positive on their far side."""
        if self.target is not None:
            return targeted_margin(logits, labels, aims)[:, None]
        if self.targets is not None:
            return margin_to_aim(logits, labels, aims)[:, None]
        rivals = _rivals(logits.detach(), labels)
        return logits.gather(1, rivals) - logits.gather(1, labels[:, None])

    def tell(self, state: Boundary, answer: Answer) -> Boundary:
        """Step lanes that asked for a gradient; bring the others back where they succeeded."""
        stepping = state.step % 2 == 0
        if bool(stepping.all()):
            self._step(state.images, state.points, answer.scores, answer.gradients)
        else:
            self._retreat(state, answer.logits, ~stepping)
            if bool(stepping.any()):
                rows = stepping.nonzero()[:, 0]
                points = state.points[rows]
                images, gradients = state.images[rows], answer.gradients[rows]
                self._step(images, points, answer.scores[rows], gradients)
                state.points[rows] = points
        state.step = state.step + 1
        return state

    def finished(self, state: Boundary) -> Tensor:
        """Whether both evaluations of every iteration are spent, bool [L]."""
        return state.step >= 2 * self.steps

    def _aimed(self, classes: int) -> int:
        if self.targets is None or self.target is not None:
            return 1
        return min(self.targets, classes - 1)

    def _random(self, task: Task, images: Tensor, rows: Tensor) -> Tensor:
        """Images half a radius away in a random direction, clipped to the box."""
        keys, shape = task.keys.take(rows), images.shape[1:]
        if self.norm == "linf":
            noise = keys.uniform(*shape, low=-1.0, high=1.0).float()
        else:
            noise = keys.normal(*shape)
        radius = _RANDOM_RADIUS[self.norm] if self.eps is None else float(self.eps)
        lengths = 0.5 * radius / self.ball.size(noise).clamp_min(_TINY)
        return noise.mul_(per_lane(lengths, noise)).add_(images[rows]).clamp_(0, 1)

    def _step(self, images: Tensor, points: Tensor, scores: Tensor, gradients: Tensor) -> None:
        """Move `points` [M, C, H, W] in place to the mean of the two projections."""
        nearest = NEAREST[self.norm]
        heights, slopes = self._closest(scores, gradients)
        normals = Normals(slopes)
        at, home = points.view(len(points), -1), images.view(len(images), -1)
        back = home - at
        from_point = nearest(normals, at, -heights)
        from_image = nearest(normals, home, -(heights + normals.along(back)))
        near, far = from_point.sizes.clamp_(min=_SMALLEST), from_image.sizes.clamp_(min=_SMALLEST)
        alpha = (near / (near + far)).clamp_(max=_ALPHA_MAX)[:, None]
        # Each product is rounded by itself: see `balls` on fused operations.
        at.add_(back.mul_(alpha))
        at.add_(from_point.deltas.mul_((1 - alpha).mul_(_ETA)))
        at.add_(from_image.deltas.mul_(alpha * _ETA)).clamp_(0, 1)

    def _closest(self, scores: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Score [M] and gradient [M, n] of the boundary nearest to first order."""
        rows, count = scores.shape
        if count == 1:
            return scores[:, 0], gradients.reshape(rows, -1)
        flat = gradients.reshape(rows * count, -1)
        slopes = self.ball.dual_size(flat).view(rows, count)
        nearest = (scores.abs() / (slopes + _TINY)).argmin(1)
        lane = torch.arange(rows, device=scores.device)
        return scores[lane, nearest], flat[lane * count + nearest]

    def _retreat(self, state: Boundary, logits: Tensor, looking: Tensor) -> None:
        """Bring points that are adversarial a part of the way back to the image, in place."""
        predicted = logits.argmax(1)
        succeeded = predicted != state.labels if self.target is None else predicted == state.aims
        weight = (succeeded & looking).to(state.points.dtype).mul_(1 - _BETA)
        # A weight of 0 leaves a point as it is, bit by bit.
        back = (state.images - state.points).mul_(per_lane(weight, state.points))
        state.points.add_(back)


def _wrong_classes(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """The most likely classes but the label, in descending order, int64 [L, count]."""
    return logits.scatter(1, labels[:, None], -float("inf")).topk(count, dim=1).indices


def _rivals(logits: Tensor, labels: Tensor) -> Tensor:
    """Classes whose boundaries with the label are looked at, int64 [L, G]."""
    classes = logits.shape[1]
    if classes - 1 > _MOST_RIVALS:
        return _wrong_classes(logits, labels, _MOST_RIVALS)
    others = torch.arange(1, classes, device=labels.device)
    return (labels[:, None] + others) % classes
