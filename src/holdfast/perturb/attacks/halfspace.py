"""Nearest point of a hyperplane inside the box [0, 1]^n, in the norms Linf, L2 and L1.

For points x, normals w and gaps g: the smallest perturbation d with <w, d> = g and x + d in the
box. It moves every coordinate towards sign(g) sign(w_i), at most by the room to that side of the
box, so the size of each move is all that is left to find:

* Linf: move_i = min(m, room_i),
* L2: move_i = min(m |w_i|, room_i),
* L1: the room of the coordinates with |w_i| above a threshold, part of it at the threshold.

What is gained, sum |w_i| move_i, is in the first two cases a concave, piecewise-linear function
of the multiplier m, and a decreasing one of the threshold in the third. A plane that the box does
not meet is approached as far as the box allows.

Source: Croce and Hein 2020, arXiv:1907.02044, the projections that each step of FAB needs.
Differs: the paper sorts all coordinates; here the multiplier is found by secant steps from below,
which on a concave function never pass the root, and the threshold by bisection, each row until it
is exact to a few units of rounding. A pass over the pixels costs a thousandth of the sort.
Everything is row-wise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.perturb.attacks.balls import row_sums

_EXACT = 8.0  # units of rounding, relative to the gap, that a sum over the pixels may be off by
_MOST_PASSES = 100  # steps or halvings; weights spread over 12 decades have needed 61


@dataclass(frozen=True)
class Move:
    """Perturbations that lead to a hyperplane, or as near to it as the box allows.

    Attributes:
        deltas: [R, n].
        sizes: Their norms, [R].
    """

    deltas: Tensor
    sizes: Tensor


class Normals:
    """Normals of hyperplanes, [R, n], with what all projections onto such planes share.

    A normal that is not finite counts as zero, so that its points stay where they are.
    """

    def __init__(self, normals: Tensor) -> None:
        weights = normals.abs()
        peaks = weights.amax(1)
        broken = ~torch.isfinite(peaks)
        if bool(broken.any()):
            normals = normals.masked_fill(broken[:, None], 0.0)
            weights, peaks = normals.abs(), peaks.masked_fill(broken, 0.0)
        self.normals = normals
        self.peaks = torch.where(peaks > 0, peaks, 1.0)
        self.weights = weights.div_(self.peaks[:, None])  # [R, n] in [0, 1]
        self.signs = normals.sign()
        # Buffers that every projection overwrites: fresh memory costs more than what is done to it.
        self.room, self.moves = torch.empty_like(weights), torch.empty_like(weights)

    def along(self, vectors: Tensor) -> Tensor:
        """Inner product of each normal with its vector, [R]."""
        return row_sums(torch.mul(self.normals, vectors, out=self.moves))

    def directions(self, points: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor]:
        """Sign of each coordinate's move, [R, n], and what the weights must gain, [R].

        Fills `room` with the distance to the side of the box that a coordinate moves towards.
        """
        signs = self.signs * gaps.sign()[:, None]
        torch.clamp(signs, min=0.0, out=self.room).addcmul_(signs, points, value=-1.0)
        # With weights of at most 1, nothing beyond n can be gained anyway.
        return signs, (gaps.abs() / self.peaks).clamp_(max=2.0 * points.shape[1])


class _Reach:
    """How far coordinates move and what that gains, by a multiplier a row [R].

    Args:
        normals: Of the planes; `room` and `moves` are its buffers.
        speeds: What a multiplier of 1 moves each coordinate by, [R, n]; None: 1.
    """

    def __init__(self, normals: Normals, speeds: Tensor | None) -> None:
        self._weights, self._speeds = normals.weights, speeds
        self._room, self._moves = normals.room, normals.moves
        speeds = self._weights if speeds is None else torch.mul(speeds, speeds, out=self._moves)
        self._steepest = row_sums(speeds)  # slope at 0, had all coordinates room

    def moves(self, multipliers: Tensor) -> Tensor:
        """Sizes of the moves, [R, n]; the buffer."""
        far: Tensor = multipliers[:, None]
        if self._speeds is not None:
            far = torch.mul(self._speeds, far, out=self._moves)
        return torch.minimum(self._room, far, out=self._moves)

    def gained(self, multipliers: Tensor) -> Tensor:
        """Sum of weights times moves, [R]: concave, piecewise linear, 0 at 0."""
        return row_sums(self.moves(multipliers).mul_(self._weights))

    def slope(self, multipliers: Tensor) -> Tensor:
        """Derivative of `gained` to the right, [R]: of the coordinates that have room left."""
        free = self.moves(multipliers).lt_(self._room).mul_(self._weights)
        return row_sums(free if self._speeds is None else free.mul_(self._speeds))

    def find(self, wanted: Tensor) -> Tensor:
        """Smallest multiplier that gains what is wanted, [R]; the largest number where none does.

        Secant steps from below; where the last one gained less than is still missing, so that
        rounding would be magnified, a step by the slope.
        """
        most = torch.finfo(wanted.dtype).max
        tolerance = _EXACT * torch.finfo(wanted.dtype).eps * wanted
        before = value_before = torch.zeros_like(wanted)
        slope = self._steepest
        at = torch.where(slope > 0, wanted / slope, 0.0).clamp_(max=most)
        open_ = wanted > 0
        for _ in range(_MOST_PASSES):
            value = self.gained(at)
            missing, rise = wanted - value, value - value_before
            far, slow = missing > tolerance, rise < missing
            steps = torch.where(slow | (missing <= 0), 0.0, (at - before) * (missing / rise))
            lost = open_ & far & slow
            if bool(lost.any()):
                steps = torch.where(lost, missing / self.slope(at), steps)
            ahead = (at + steps).clamp_(max=most)
            ahead = torch.where(open_, ahead, at)
            open_ = open_ & far & (ahead > at)
            before, value_before, at = at, value, ahead
            if not bool(open_.any()):
                break
        return at


def nearest_linf(normals: Normals, points: Tensor, gaps: Tensor) -> Move:
    """Smallest moves in Linf; `points` [R, n] in the box, `gaps` [R] = what <w, x> must rise by."""
    signs, wanted = normals.directions(points, gaps)
    reach = _Reach(normals, None)
    moves = reach.moves(reach.find(wanted))
    return Move(signs.mul_(moves), moves.amax(1))


def nearest_l2(normals: Normals, points: Tensor, gaps: Tensor) -> Move:
    """Smallest moves in L2; `points` [R, n] in the box, `gaps` [R] = what <w, x> must rise by."""
    signs, wanted = normals.directions(points, gaps)
    reach = _Reach(normals, normals.weights)
    moves = reach.moves(reach.find(wanted))
    return Move(signs.mul_(moves), row_sums(moves.square()).sqrt_())


def nearest_l1(normals: Normals, points: Tensor, gaps: Tensor) -> Move:
    """Smallest moves in L1; `points` [R, n] in the box, `gaps` [R] = what <w, x> must rise by.

    Coordinates whose weights are equal, or so close that it makes no difference, and stand at the
    threshold all go the same part of their room; any other split would be as small.
    """
    signs, wanted = normals.directions(points, gaps)
    weights, room, moves = normals.weights, normals.room, normals.moves
    capacity = weights * room

    def above(thresholds: Tensor) -> Tensor:
        return torch.sub(weights, thresholds[:, None], out=moves).sign_().clamp_(min=0.0)

    found = _thresholds(lambda at: row_sums(above(at).mul_(capacity)), row_sums(capacity), wanted)
    all_of = above(found.high).mul(1.0 - found.part[:, None])
    above(found.low).mul_(found.part[:, None]).add_(all_of).mul_(room)
    return Move(signs.mul_(moves), row_sums(moves))


@dataclass
class _Bracket:
    """Weights above `high` [R] move fully, those above `low` [R] by `part` [R] of their room."""

    low: Tensor
    high: Tensor
    part: Tensor


def _thresholds(gained: Callable[[Tensor], Tensor], everything: Tensor, wanted: Tensor) -> _Bracket:
    """Halve [0, 1] until what is left between the two thresholds cannot matter.

    Args:
        gained: Of thresholds [R], what the full moves above them gain, [R].
        everything: What all coordinates together can gain, [R].
        wanted: At least 0, [R].
    """
    low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
    most, least = everything, torch.zeros_like(wanted)  # gained at low and at high
    rounding = _EXACT * torch.finfo(wanted.dtype).eps
    open_ = everything > wanted
    for _ in range(_MOST_PASSES):
        # The order within the bracket changes the size by at most between (1 / low - 1 / high). The
        # size is at least what is wanted, as no weight is above 1, and at least between / high.
        between, width = torch.minimum(wanted - least, most - wanted), high - low
        matters = between * width > rounding * wanted * low * high
        open_ = open_ & matters & (width > rounding * low)
        if not bool(open_.any()):
            break
        middle = (low + high).mul_(0.5)
        value = gained(middle)
        enough = value >= wanted
        raised, lowered = open_ & enough, open_ & ~enough
        low, most = torch.where(raised, middle, low), torch.where(raised, value, most)
        high, least = torch.where(lowered, middle, high), torch.where(lowered, value, least)
    group = most - least
    part = torch.where(group > 0, (wanted - least) / group, 1.0).clamp_(0.0, 1.0)
    return _Bracket(low, high, part)


NEAREST: Mapping[str, Callable[[Normals, Tensor, Tensor], Move]] = {
    "linf": nearest_linf,
    "l2": nearest_l2,
    "l1": nearest_l1,
}
