"""Pairs of windows: the L2 and L1 moves of the Square attack.

A window takes over what another one spends, bends its own perturbation towards a bump (one half
up, one half down), and fills up what the ball has left.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049, algorithm 3; L1
version: Croce and Hein 2021, arXiv:2103.01208; fra31/auto-attack, square.py.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.perturb.attacks._squares import (
    Moves,
    SquareState,
    corners,
    level_of,
    sides_of_squares,
)
from holdfast.perturb.attacks.balls import BALLS, Ball, per_lane

_TINY = 1e-12  # added to denominators, as in the authors' code
_POWERS = {1: 4, 2: 2}  # by which the rings of a bump fall off, for the order of the norm
_TILES = 5  # of the start, along the shorter side


@dataclass(frozen=True)
class Pair:
    """Windows of one side, for the lanes that have it.

    Attributes:
        first: Pixels that receive, counted through [L, C, H, W], int64 [G, C, side * side].
        second: Pixels that give, likewise.
        bumps: What the first is bent towards, of unit norm a channel, [G, C, side * side].
        room: What the ball has left for a channel, as `Windows.spent` counts, [G, 1].
    """

    first: Tensor
    second: Tensor
    bumps: Tensor
    room: Tensor


@dataclass(frozen=True)
class Windows(Moves):
    """Tiles of bumps, then perturbation moved from one window to another.

    Attributes:
        eps: Radius.
        p_init: Share of the image that the first windows cover.
    """

    ball: ClassVar[Ball]
    order: ClassVar[int]
    eps: float
    p_init: float

    @property
    @abstractmethod
    def budget(self) -> float:
        """What `spent` may count to."""

    @abstractmethod
    def spent(self, deltas: Tensor) -> Tensor:
        """Sum over the last axis of what adds up to the norm: squares, or absolute values."""

    @abstractmethod
    def norm(self, spent: Tensor) -> Tensor:
        """Norm of what `spent` counted; may change it in place."""

    @abstractmethod
    def fill(self, images: Tensor, deltas: Tensor) -> Tensor:
        """First image, from tiles of bumps of unit norm, [L, C, H, W]."""

    @abstractmethod
    def raised(self, deltas: Tensor, norms: Tensor, images: Tensor) -> Tensor:
        """Pixels of the receiving windows, given perturbations of unit norm a channel."""

    def first(self, images: Tensor, keys: Keys) -> Tensor:
        """Tiles of bumps of random signs and orientations, as large as the ball allows."""
        count, channels, height, width = images.shape
        side = max(1, min(height, width) // _TILES)
        down, across = height // side, width // side
        draws = keys.uniform(1 + channels, down, across, 1)
        tiles = bumps(side, self.order, images.device)[_halves(draws[:, 0, :, :, 0])]
        tiles = tiles[:, None] * _signs(draws[:, 1:])
        tiles = tiles.view(count, channels, down, across, side, side).transpose(3, 4)
        deltas = torch.zeros_like(images)
        top, left = (height - down * side) // 2, (width - across * side) // 2
        inner = deltas[:, :, top : top + down * side, left : left + across * side]
        inner.copy_(tiles.reshape(inner.shape))
        return self.fill(images, deltas)

    def propose(self, state: SquareState) -> None:
        """Move the perturbation of one window to another; windows of one side go together."""
        count, channels, height, width = state.images.shape
        draws = Keys(state.keys).at(state.query).uniform(5 + channels)
        side = _sides(self.p_init, height, width, draws.device)
        side = side.index_select(0, level_of(state.query))
        planes = torch.arange(count * channels, device=draws.device).mul_(height * width)
        planes = planes.view(count, channels)
        first = planes + corners(draws[:, :2], side, height, width)[:, None]
        second = planes + corners(draws[:, 2:4], side, height, width)[:, None]
        upright, signs = _halves(draws[:, 4]), _signs(draws[:, 5:, None])
        spent = self.spent((state.best - state.images).flatten(1))
        room = spent.neg_().add_(self.budget).div_(channels)[:, None]
        state.asked.copy_(state.best)
        for length in sorted(set(side.tolist())):
            if length == 0:
                continue
            rows = (side == length).nonzero().view(-1)
            offsets = window(length, width, rows.device)
            shapes = bumps(length, self.order, rows.device)[upright[rows], None]
            pair = Pair(
                first=first[rows, :, None] + offsets,
                second=second[rows, :, None] + offsets,
                bumps=shapes * signs[rows],
                room=room[rows],
            )
            self._move(state, pair)
        self.finish(state)

    def finish(self, state: SquareState) -> None:
        """Bring all of `asked` into ball and box, where moving has led out of them."""

    def settle(self, state: SquareState, improved: Tensor) -> None:
        """Copy lanes that improved."""
        rows = improved.nonzero().view(-1)
        state.best.index_copy_(0, rows, state.asked.index_select(0, rows))

    def _move(self, state: SquareState, pair: Pair) -> None:
        own, given = _pick(state.images, pair.first), _pick(state.images, pair.second)
        old = _pick(state.best, pair.first).sub_(own)
        spent = self.spent(_pick(state.best, pair.second).sub_(given))
        _put(state.asked, pair.second, given)
        # Where the windows overlap, the pixels have been counted and are the images' own now.
        spent += self.spent(_pick(state.asked, pair.first).sub_(own))
        spent += pair.room
        new = old.div_(self._norms(old)).add_(pair.bumps)
        new = new.div_(self._norms(new))
        _put(state.asked, pair.first, self.raised(new, self.norm(spent.clamp_(min=0)), own))

    def _norms(self, deltas: Tensor) -> Tensor:
        return self.norm(self.spent(deltas)).add_(_TINY)[..., None]


@dataclass(frozen=True)
class L2Windows(Windows):
    """Squares add up: what the second window gives, the first one has more."""

    ball: ClassVar[Ball] = BALLS["l2"]
    order: ClassVar[int] = 2

    @property
    def budget(self) -> float:
        """Square of the radius."""
        return self.eps**2

    def spent(self, deltas: Tensor) -> Tensor:
        """Sum of squares."""
        return deltas.square().sum(-1)

    def norm(self, spent: Tensor) -> Tensor:
        """Square root."""
        return spent.sqrt_()

    def fill(self, images: Tensor, deltas: Tensor) -> Tensor:
        """Scale to the radius, then clip to the box."""
        deltas *= per_lane(self.eps / (self.ball.size(deltas) + _TINY), deltas)
        return deltas.add_(images).clamp_(0, 1)

    def raised(self, deltas: Tensor, norms: Tensor, images: Tensor) -> Tensor:
        """All of what is left and given; clipping to the box only makes it smaller."""
        return deltas.mul_(norms[..., None]).add_(images).clamp_(0, 1)


@dataclass(frozen=True)
class L1Windows(Windows):
    """Absolute values add up; each channel is filled for all, and the projection thins it out."""

    ball: ClassVar[Ball] = BALLS["l1"]
    order: ClassVar[int] = 1

    @property
    def budget(self) -> float:
        """The radius."""
        return self.eps

    def spent(self, deltas: Tensor) -> Tensor:
        """Sum of absolute values."""
        return deltas.abs().sum(-1)

    def norm(self, spent: Tensor) -> Tensor:
        """Itself."""
        return spent

    def fill(self, images: Tensor, deltas: Tensor) -> Tensor:
        """Project on ball and box."""
        return self.ball.confine(images, deltas.add_(images), self.eps)

    def raised(self, deltas: Tensor, norms: Tensor, images: Tensor) -> Tensor:
        """As many times what is left and given as there are channels, as in the authors' code."""
        return deltas.mul_(norms[..., None] * deltas.shape[1]).add_(images)

    def finish(self, state: SquareState) -> None:
        """Project on ball and box."""
        state.asked = self.ball.confine(state.images, state.asked, self.eps)


@lru_cache(maxsize=64)
def bumps(side: int, order: int, device: torch.device) -> Tensor:
    """A bump of halves of opposite signs and equal norms, lying and upright, [2, side * side].

    Each half is made of rings around its middle that fall off towards its border; the norm of
    `order` is 1.
    """
    halves = [_half(height, side, order) for height in (side // 2, side - side // 2)]
    lying = torch.cat([halves[0], -halves[1]])
    lying /= torch.linalg.vector_norm(lying, order)
    return torch.stack([lying, lying.T]).view(2, side * side).float().to(device)


def _half(height: int, width: int, order: int) -> Tensor:
    """Rectangle of rings of norm 1, float64: the k-th from the middle sums 1 / i^power, i >= k."""
    down = (torch.arange(height) - height // 2).abs()
    across = (torch.arange(width) - width // 2).abs()
    rings = torch.arange(1, max(height, width) // 2 + 2, dtype=torch.float64) ** -_POWERS[order]
    sums = rings.flip(0).cumsum(0).flip(0)
    half = sums[torch.maximum(down[:, None], across)]
    return half / torch.linalg.vector_norm(half, order)


@lru_cache(maxsize=64)
def window(side: int, width: int, device: torch.device) -> Tensor:
    """Pixels of a window, counted from its corner in a plane of that width, [side * side]."""
    places = torch.arange(side, device=device)
    return (places[:, None] * width + places).view(-1)


@lru_cache(maxsize=8)
def _sides(p_init: float, height: int, width: int, device: torch.device) -> Tensor:
    sides = sides_of_squares(p_init, height, width, odd=True)
    return torch.tensor((0, *sides), device=device)


def _halves(draws: Tensor) -> Tensor:
    return (draws < 0.5).long()


def _signs(draws: Tensor) -> Tensor:
    return (draws < 0.5).float().mul_(2).sub_(1)


def _pick(images: Tensor, pixels: Tensor) -> Tensor:
    return images.view(-1).index_select(0, pixels.view(-1)).view(pixels.shape)


def _put(images: Tensor, pixels: Tensor, values: Tensor) -> None:
    images.view(-1).scatter_(0, pixels.view(-1), values.view(-1))
