"""What the gradient attacks inside a ball share: where a lane may be, and which way is up.

FGSM, PGD and APGD differ in how far they step and what they remember, not in this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import Keys
from holdfast.perturb.attacks.balls import BALLS, Ball, per_lane
from holdfast.perturb.attacks.losses import (
    Loss,
    aimed_dlr,
    cross_entropy,
    margin,
    plain_cross_entropy,
    targeted_cross_entropy,
    targeted_margin,
    targeted_plain_cross_entropy,
    untargeted_dlr,
)

_TINY = 1e-12  # in the quotients of a random start, as in AutoAttack's code


class Region(ABC):
    """Ball and box around each lane's image, in the order of operations of the published codes.

    `Ball.confine` gives the nearest point of both; here a point beyond an L2 ball is scaled back
    first and clipped second, as every published PGD does. A lane's `frame` is what it needs for
    that: lowest and highest pixels, float32 [L, 2, C, H, W], for Linf; the own image,
    [L, 1, C, H, W], for the others.
    """

    def __init__(self, ball: Ball) -> None:
        self.ball = ball

    def frame(self, images: Tensor, eps: float) -> Tensor:
        """What confines lanes around their images [L, C, H, W]."""
        return images[:, None]

    @abstractmethod
    def inside(self, frame: Tensor, points: Tensor, eps: Tensor | float) -> Tensor:
        """Bring points back; may do so in place. `eps`: one radius, or one a lane [L]."""

    def uphill(self, gradients: Tensor) -> Tensor:
        """Fresh tensor: step of size 1 that raises a linear score most."""
        return self.ball.steepest(gradients)

    @abstractmethod
    def noise(self, keys: Keys, shape: torch.Size) -> Tensor:
        """Where AutoPGD starts, relative to the image in units of eps (L1: of 1), [L, *shape]."""


class _Linf(Region):
    def frame(self, images: Tensor, eps: float) -> Tensor:
        lowest = self.ball.confine(images, torch.zeros_like(images), eps)
        highest = self.ball.confine(images, torch.ones_like(images), eps)
        return torch.stack([lowest, highest], 1)

    def inside(self, frame: Tensor, points: Tensor, eps: Tensor | float) -> Tensor:
        return points.clamp_(frame[:, 0], frame[:, 1])

    def noise(self, keys: Keys, shape: torch.Size) -> Tensor:
        return _unit(self.ball, keys.uniform(*shape, low=-1.0, high=1.0).float())


class _L2(Region):
    def inside(self, frame: Tensor, points: Tensor, eps: Tensor | float) -> Tensor:
        images = frame[:, 0]
        return self.ball.project(points.sub_(images), eps).add_(images).clamp_(0, 1)

    def noise(self, keys: Keys, shape: torch.Size) -> Tensor:
        return _unit(self.ball, keys.normal(*shape))


class _L1(Region):
    def inside(self, frame: Tensor, points: Tensor, eps: Tensor | float) -> Tensor:
        return self.ball.confine(frame[:, 0], points, eps)

    def noise(self, keys: Keys, shape: torch.Size) -> Tensor:
        # Projected to the radius afterwards, not scaled: that leaves it sparse.
        return keys.normal(*shape)


REGIONS: Mapping[str, Region] = MappingProxyType(
    {"linf": _Linf(BALLS["linf"]), "l2": _L2(BALLS["l2"]), "l1": _L1(BALLS["l1"])}
)


def _unit(ball: Ball, noise: Tensor) -> Tensor:
    return noise.div_(per_lane(ball.size(noise) + _TINY, noise))


def sparse_signs(gradients: Tensor, rank: Tensor) -> Tensor:
    """Signs of the largest entries over how many there are: a step of L1 size 1, [L, C, H, W].

    Kept is what is no smaller in magnitude than the entry of this rank; entries that are exactly
    zero are not, so a zero gradient gives a zero step.

    Args:
        gradients: [L, C, H, W].
        rank: In ascending order of magnitude, from 0, int64 [L].

    Source: Tramer and Boneh 2019, arXiv:1904.13000, the sparse L1 descent attack (SLIDE).
    """
    sizes = gradients.abs()
    least = per_lane(_ascending(sizes.flatten(1)).gather(1, rank[:, None]), sizes)
    torch.ge(sizes, least, out=sizes)  # as 0 and 1
    signs = gradients.sign().mul_(sizes)
    count = BALLS["l1"].size(signs)
    return signs.div_(per_lane(count.clamp_(min=1), signs))


def _ascending(rows: Tensor) -> Tensor:
    """Each row sorted; numpy's vectorised sort is worth a factor of 30 on a CPU."""
    if rows.device.type == "cpu":
        return torch.from_numpy(np.sort(rows.numpy(), axis=1))
    return rows.sort(dim=1).values


def loss_for(name: str, classes: int, *, aimed: bool, plain: bool = False) -> Loss:
    """Loss of this name, away from the label or towards the aim, for K classes.

    A `plain` cross-entropy is the one that other libraries compute, in float32.

    Where DLR is not defined (fewer than 3 classes, 4 with an aim), its numerator takes its place.
    """
    if name == "cross_entropy" and plain:
        return targeted_plain_cross_entropy if aimed else plain_cross_entropy
    if name == "cross_entropy":
        return targeted_cross_entropy if aimed else cross_entropy
    if name == "margin":
        return targeted_margin if aimed else margin
    return aimed_dlr(classes) if aimed else untargeted_dlr(classes)


def check_loss(name: str, known: tuple[str, ...]) -> None:
    """Refuse a loss that an attack does not climb.

    Raises:
        BadValueError: It is not among the known.
    """
    if name not in known:
        raise BadValueError(f"loss must be one of {', '.join(known)}, got {name!r}")
