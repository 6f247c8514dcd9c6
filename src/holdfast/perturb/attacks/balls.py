"""Geometry of what an attacker may do: balls of the norms Linf, L2 and L1 in pixel units.

All functions are row-wise over the first axis and take float tensors [L, ...]; on a CPU the
result for a row has the same bits whatever the other rows. So that this holds there is no fused
multiply-add (`addcmul`, or `add` with a factor that is no power of two), which the compiler may
round once or twice, depending on the place of a number in memory.

A pixel near 1 is stored to 3e-8 only, so the nearest float to `image + eps` may lie outside the
ball. `confine` rounds such pixels towards the image: the size of its result, evaluated in
float64, is at most eps (1 + 1e-6).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from holdfast.core.randomness import Keys

_TINY = 1e-30
_LINF_SLACK = 9.6e-7  # relative; so that 8/255 need not care for rounding
_SLACK = 4  # in units of the last place: what the sum over a row may be wrong by, and more
_NEWTON_STEPS = 100  # never reached; 3 to 10 are usual
_PLAIN_STEPS = 20  # from then on every second step halves the bracket
_SPLIT = 1 << 15  # torch divides the sum of a lone row of this many numbers among threads


def per_lane(values: Tensor, like: Tensor) -> Tensor:
    """Shape values [L] so that they broadcast over `like` [L, ...]."""
    return values.view(-1, *[1] * (like.ndim - 1))


class Ball(ABC):
    """Ball of one norm around an image."""

    name: ClassVar[str]

    @abstractmethod
    def size(self, deltas: Tensor) -> Tensor:
        """Norm of each perturbation, [L]."""

    @abstractmethod
    def dual_size(self, gradients: Tensor) -> Tensor:
        """Dual norm, [L]: the most that a perturbation of size 1 changes a linear score by."""

    @abstractmethod
    def project(self, deltas: Tensor, eps: Tensor | float) -> Tensor:
        """Nearest point (Euclidean) of the ball of radius eps: a number, or one a lane [L]."""

    @abstractmethod
    def confine(self, images: Tensor, points: Tensor, eps: Tensor | float) -> Tensor:
        """Nearest point (Euclidean) that is in the ball around `images` and in the box [0, 1].

        `images` are in the box; so is the result, and its size is at most eps up to rounding.
        """

    @abstractmethod
    def steepest(self, gradients: Tensor) -> Tensor:
        """Perturbation of size 1 that raises a linear score most; zero for a zero gradient."""

    @abstractmethod
    def sample(self, keys: Keys, shape: tuple[int, ...]) -> Tensor:
        """Uniform point of the unit ball, float32 [L, *shape]."""


class Linf(Ball):
    """Largest change of any pixel."""

    name: ClassVar[str] = "linf"

    def size(self, deltas: Tensor) -> Tensor:
        """Largest absolute entry, [L]."""
        return deltas.abs().flatten(1).amax(1)

    def dual_size(self, gradients: Tensor) -> Tensor:
        """Sum of absolute entries, [L]."""
        return row_sums(gradients.abs())

    def project(self, deltas: Tensor, eps: Tensor | float) -> Tensor:
        """Clip each entry to [-eps, eps]."""
        radii = per_lane(_radii(eps, deltas), deltas)
        return torch.minimum(deltas, radii).maximum(-radii)

    def confine(self, images: Tensor, points: Tensor, eps: Tensor | float) -> Tensor:
        """Clip each pixel to [image - eps, image + eps], then to [0, 1]."""
        radii = per_lane(_radii(eps, images), images)
        moved = points.clamp(images - radii, images + radii).clamp_(0, 1)
        rounding = torch.finfo(images.dtype).eps / 4  # of a pixel, at most
        small = radii * _LINF_SLACK < rounding
        if not small.any():
            return moved
        # What rounding carried out of a small ball goes back by the spacing of pixels below 1.
        # In the rows of large balls nothing does, so that leaving early changes no result.
        limits = torch.where(small, radii.clamp(min=_TINY), 1 / _TINY)
        beyond = F.hardshrink((moved - images).div_(limits), 1.0).mul_(limits)
        return moved.sub_(beyond.clamp_(-2 * rounding, 2 * rounding))

    def steepest(self, gradients: Tensor) -> Tensor:
        """Sign of each entry."""
        return gradients.sign()

    def sample(self, keys: Keys, shape: tuple[int, ...]) -> Tensor:
        """Each entry uniform in [-1, 1]."""
        return keys.uniform(*shape, low=-1.0, high=1.0).float()


class _ShrinkingBall(Ball):
    """What the projections on ball and box have in common where they are not a plain clip."""

    @abstractmethod
    def _pull(self, images: Tensor, points: Tensor, radii: Tensor) -> Tensor:
        """`confine` for rows that lie outside the ball also once they are clipped to the box."""

    def confine(self, images: Tensor, points: Tensor, eps: Tensor | float) -> Tensor:
        """Nearest point (Euclidean) that is in the ball around `images` and in the box [0, 1].

        A point whose nearest point of the box is in the ball goes there: inside stays inside,
        bit by bit.
        """
        radii = _radii(eps, images)
        nearest = points.clamp(0, 1)
        rows = self._outside(nearest - images, radii)
        if len(rows) == 0:
            return nearest
        if len(rows) == len(images):
            return self._moved(images, points, radii)
        moved = self._moved(images[rows], points[rows], radii[rows])
        return nearest.index_copy_(0, rows, moved)

    def _moved(self, images: Tensor, points: Tensor, radii: Tensor) -> Tensor:
        moved = self._pull(images, points, radii)
        rows = self._off(moved - images, radii)
        if len(rows):
            # All pixels were rounded the same way, or the point is so far that float32 cannot
            # tell: once more in float64, and rounded towards the image.
            exact = images[rows].double()
            result = self._pull(exact, points[rows].double(), radii[rows].double())
            rounded = result.to(moved.dtype)
            beyond = (rounded.double() - exact).abs() > (result - exact).abs()
            moved[rows] = torch.where(beyond, torch.nextafter(rounded, images[rows]), rounded)
        return moved

    def _outside(self, deltas: Tensor, radii: Tensor) -> Tensor:
        """Rows larger than the radius by more than the rounding of a sum, int64."""
        return (self.size(deltas) > radii * (1 + _slack(radii))).nonzero().view(-1)

    def _off(self, deltas: Tensor, radii: Tensor) -> Tensor:
        """Rows that are larger, or smaller by more than a rounding of every entry, int64."""
        sizes, slack = self.size(deltas), radii * _slack(radii)
        rounding = deltas[0].numel() * torch.finfo(radii.dtype).eps
        return ((sizes > radii + slack) | (sizes < radii - slack - rounding)).nonzero().view(-1)


class L2(_ShrinkingBall):
    """Euclidean length of the change."""

    name: ClassVar[str] = "l2"

    def size(self, deltas: Tensor) -> Tensor:
        """Square root of the sum of squares, [L]."""
        return row_sums(deltas.square()).sqrt_()

    def dual_size(self, gradients: Tensor) -> Tensor:
        """Square root of the sum of squares, [L]; exact also where squares would underflow."""
        peaks = _peaks(gradients)
        return self.size(gradients / per_lane(peaks, gradients)) * peaks

    def project(self, deltas: Tensor, eps: Tensor | float) -> Tensor:
        """Scale what is longer than eps."""
        radii = _radii(eps, deltas)
        sizes = self.size(deltas)
        scale = torch.where(sizes > radii, radii / sizes, 1.0)
        return deltas * per_lane(scale, deltas)

    def steepest(self, gradients: Tensor) -> Tensor:
        """Gradient over its length."""
        scaled = gradients / per_lane(_peaks(gradients), gradients)
        return scaled.div_(per_lane(self.size(scaled).clamp_(min=_TINY), scaled))

    def sample(self, keys: Keys, shape: tuple[int, ...]) -> Tensor:
        """Uniform point of the unit ball, float32 [L, *shape].

        The first d of d + 2 coordinates of a uniform point of the sphere are uniform in the ball,
        which needs no power of a uniform number.

        Source: Harman and Lacko 2010, Journal of Multivariate Analysis 101(10), "On decompositional
        algorithms for uniform sampling from n-spheres and n-balls".
        """
        count = math.prod(shape)
        normal = keys.normal(count + 2)
        inner = normal[:, :count] / self.size(normal)[:, None]
        return inner.view(len(keys), *shape)

    def _pull(self, images: Tensor, points: Tensor, radii: Tensor) -> Tensor:
        """Clip image + s (point - image) to the box, with the s in (0, 1] that meets the radius.

        As a function of s^2 the squared size is concave, piecewise linear and increasing, so
        Newton's steps from below never overshoot and end at the root.
        """
        deltas = points - images
        squares = deltas.square().flatten(1)
        rooms = _rooms(images, deltas).square_()
        goal = radii.square()
        enough = goal * (1 - _slack(radii) / 2)
        scale = goal / row_sums(squares)
        going = torch.ones_like(radii, dtype=torch.bool)
        for _ in range(_NEWTON_STEPS):
            free = squares * scale[:, None]
            total = row_sums(torch.minimum(free, rooms))
            going &= total < enough
            if not going.any():
                break
            slope = row_sums(free.lt_(rooms).mul_(squares))
            better = scale + (goal - total) / slope.clamp_(min=_TINY)
            going &= better > scale
            scale = torch.where(going, better, scale)
        return (deltas * per_lane(scale.sqrt_(), deltas)).add_(images).clamp_(0, 1)


class L1(_ShrinkingBall):
    """Sum of absolute changes."""

    name: ClassVar[str] = "l1"

    def size(self, deltas: Tensor) -> Tensor:
        """Sum of absolute entries, [L]."""
        return row_sums(deltas.abs())

    def dual_size(self, gradients: Tensor) -> Tensor:
        """Largest absolute entry, [L]."""
        return gradients.abs().flatten(1).amax(1)

    def project(self, deltas: Tensor, eps: Tensor | float) -> Tensor:
        """Shrink all entries by one amount, those smaller than it to zero.

        Source: Duchi, Shalev-Shwartz, Singer and Chandra 2008, ICML, "Efficient projections onto
        the l1-ball". Differs: the amount is found by Newton's method instead of sorting.
        """
        radii = _radii(eps, deltas)
        rows = self._outside(deltas, radii)
        if len(rows) == 0:
            return deltas.clone()
        outer, radii = deltas[rows], radii[rows]
        shrunk = _soft(outer, radii)
        off = self._off(shrunk, radii)
        if len(off):  # entries so large that float32 cannot tell
            shrunk[off] = _soft(outer[off].double(), radii[off].double()).to(shrunk.dtype)
        return deltas.index_copy(0, rows, shrunk)

    def steepest(self, gradients: Tensor) -> Tensor:
        """All in the entry of largest magnitude, the first of equals."""
        rows = gradients.flatten(1)
        peak = rows.abs().argmax(1, keepdim=True)
        steps = torch.zeros_like(rows).scatter_(1, peak, rows.gather(1, peak).sign_())
        return steps.view(gradients.shape)

    def sample(self, keys: Keys, shape: tuple[int, ...]) -> Tensor:
        """Uniform point of the unit ball, float32 [L, *shape].

        Signed exponential numbers over the sum of their sizes and of one more.

        Source: Barthe, Guedon, Mendelson and Naor 2005, Annals of Probability 33(2), "A
        probabilistic approach to the geometry of the l_p^n-ball", theorem 1.
        """
        count = math.prod(shape)
        # In float64, where the last bit of a logarithm cannot reach the float32 result.
        signed = keys.uniform(count + 1, low=-1.0, high=1.0)
        sizes = signed.abs().neg_().add_(1).clamp_(min=2.0**-60).log_().neg_()
        sizes.div_(row_sums(sizes)[:, None]).copysign_(signed)
        return sizes[:, :count].float().view(len(keys), *shape)

    def _pull(self, images: Tensor, points: Tensor, radii: Tensor) -> Tensor:
        """Clip image + sign(u) max(|u| - t, 0), where u = point - image, with the t that meets eps.

        Source: Croce and Hein 2021, arXiv:2103.01208, "Mind the box", proposition 2.1. Differs:
        t is found by Newton's method instead of sorting.
        """
        deltas = points - images
        threshold = _threshold(deltas.abs().flatten(1), _rooms(images, deltas), radii)
        # Pixels lie on a grid, and moving them by a part of its spacing would round most of them
        # the same way, out of the ball: the threshold goes up to the next whole spacing.
        spacing = torch.finfo(radii.dtype).eps / 2
        threshold = threshold.div_(spacing).ceil_().mul_(spacing)
        return _shrink(deltas, threshold).add_(images).clamp_(0, 1)


BALLS: Mapping[str, Ball] = MappingProxyType({ball.name: ball for ball in (Linf(), L2(), L1())})


def _rooms(images: Tensor, deltas: Tensor) -> Tensor:
    """How far each pixel may go in the direction of its delta before it leaves the box, [L, D]."""
    return deltas.clone().gt_(0).sub_(images).abs_().flatten(1)


def _soft(deltas: Tensor, radii: Tensor) -> Tensor:
    sizes = deltas.abs().flatten(1)
    return _shrink(deltas, _threshold(sizes, sizes, radii))


def _shrink(deltas: Tensor, threshold: Tensor) -> Tensor:
    """Each entry nearer to zero by its row's threshold [L], not past it."""
    limit = per_lane(threshold, deltas)
    return deltas - torch.minimum(deltas, limit).maximum(-limit)


def _threshold(sizes: Tensor, rooms: Tensor, radii: Tensor) -> Tensor:
    """The t >= 0 at which sum(clip(sizes - t, 0, rooms)) is the radius, [L].

    Newton's method within a bracket, which is halved where a step would leave it. A row that has
    arrived stays, so how long the others take does not matter to it.

    Args:
        sizes: At least 0, [L, D]; the clipped sum at t = 0 is above the radius.
        rooms: At least 0, [L, D].
        radii: At least 0, [L].
    """
    low, high = torch.zeros_like(radii), sizes.amax(1)
    guess = low
    going = torch.ones_like(radii, dtype=torch.bool)
    enough = radii * (_slack(radii) / 2)
    for step in range(_NEWTON_STEPS):
        rest = sizes - guess[:, None]
        kept = rest.clamp(min=0).minimum(rooms)
        excess = row_sums(kept) - radii
        low = torch.where(excess > 0, guess, low)
        high = torch.where(excess < 0, guess, high)
        middle = low + (high - low) / 2
        stuck = (middle <= low) | (middle >= high)  # neighboring floats: the safe one
        guess = torch.where(going & stuck & (excess > enough), high, guess)
        going &= (excess.abs() > enough) & ~stuck
        if not going.any():
            break
        newton = guess + excess / row_sums(rest.eq_(kept)).clamp_(min=1)
        going &= newton != guess
        halve = (newton <= low) | (newton >= high) | (step > _PLAIN_STEPS and step % 2 == 0)
        guess = torch.where(going, torch.where(halve, middle, newton), guess)
    return guess


def _slack(values: Tensor) -> float:
    """Relative error that a sum over a row may have, and more."""
    return _SLACK * torch.finfo(values.dtype).eps


def _radii(eps: Tensor | float, like: Tensor) -> Tensor:
    """One radius a lane, [L], of the dtype of `like`; rounded down, never up."""
    if isinstance(eps, Tensor):
        radii = eps.to(like)
        beyond = radii.double() > eps
        radii = torch.where(beyond, torch.nextafter(radii, torch.zeros_like(radii)), radii)
    else:
        radii = torch.tensor(eps, dtype=like.dtype)
        if radii.item() > eps:
            radii = torch.nextafter(radii, torch.zeros_like(radii))
        radii = radii.to(like.device)
    return radii.expand(len(like))


def row_sums(values: Tensor) -> Tensor:
    """Sum over all but the first axis, [L]; the same bits whatever the other rows."""
    rows = values.flatten(1)
    if len(rows) == 1 and rows.shape[1] >= _SPLIT:
        return rows.expand(2, -1).sum(1)[:1]
    return rows.sum(1)


def _peaks(gradients: Tensor) -> Tensor:
    """Largest absolute entry, [L]; 1 where all are zero."""
    peaks = gradients.abs().flatten(1).amax(1)
    return torch.where(peaks > 0, peaks, 1.0)
