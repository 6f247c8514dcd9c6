"""Random squares: the state of the Square attack, the sizes of its squares, and its Linf moves.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049, algorithms 1 and 2;
fra31/auto-attack, square.py.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from holdfast.core.randomness import Keys
from holdfast.perturb.attacks.base import State, Task

# Squares tried before p halves: the published schedule for 10,000 queries.
_HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_BLOCK = 32  # queries whose draws are made at once: a draw has a fixed cost beside its numbers
_LARGE = 0.12  # share of the images from which whole images are the cheaper way
_FIRST_OF_LEVEL = (0, *(tried + 1 for tried in _HALVED_AFTER))  # less one: the start is a query


@dataclass
class SquareState(State):
    """The best image so far, and the one that is asked for.

    Attributes:
        images: The samples' own images, float32 [L, C, H, W].
        best: Image of the largest loss so far, float32 [L, C, H, W].
        asked: Image to evaluate, float32 [L, C, H, W]. For Linf it equals `best` outside the
            square asked for, so that only the square need be written and undone.
        loss: Of `best`, float32 [L]; minus infinity before the first answer.
        corner: Where the square asked for begins, as a pixel of its plane, int64 [L].
        query: Answers taken so far, int64 [L].
        keys: Words of the lane's random stream, int64 [L].
        drawn: Draws of a block of queries ahead, float64 [L, block, D]; [L, 0] where none are.
        block: Which block that is, int64 [L]; -1: none.
    """

    images: Tensor
    best: Tensor
    asked: Tensor
    loss: Tensor
    corner: Tensor
    query: Tensor
    keys: Tensor
    drawn: Tensor
    block: Tensor


class Moves(ABC):
    """How one norm's random search starts, proposes and keeps."""

    @abstractmethod
    def first(self, images: Tensor, keys: Keys) -> Tensor:
        """Image of the first query, [L, C, H, W]."""

    @abstractmethod
    def propose(self, state: SquareState) -> None:
        """Write into `asked` the image of a later query; lanes at their first keep theirs.

        A function of `best`, the lane's stream and its number of queries alone, so that asking
        twice gives the same image.
        """

    @abstractmethod
    def settle(self, state: SquareState, improved: Tensor) -> None:
        """Make `asked` the best of the lanes that improved, bool [L]."""

    def start(self, task: Task) -> SquareState:
        """State of fresh lanes."""
        images = task.images.contiguous()
        asked = self.first(images, task.keys.at(torch.zeros_like(task.lane)))
        return SquareState(
            labels=task.labels,
            aims=task.targets,
            images=images,
            best=asked.clone(),
            asked=asked,
            loss=torch.full_like(task.logits[:, 0], -torch.inf),
            corner=torch.zeros_like(task.lane),
            query=torch.zeros_like(task.lane),
            keys=task.keys.words,
            drawn=torch.zeros(len(images), *self.ahead(images), dtype=torch.float64).to(
                images.device
            ),
            block=torch.full_like(task.lane, -1),
        )

    def ahead(self, images: Tensor) -> tuple[int, ...]:
        """Shape of a lane's draws that are made ahead, for a block of queries."""
        return (0,)


def sides_of_squares(p_init: float, height: int, width: int, *, odd: bool) -> tuple[int, ...]:
    """Side of the squares in pixels, for the share p_init of the image and each halving of it.

    Windows, which are `odd`, have at least 3 pixels; nothing exceeds the image.
    """
    area = p_init * height * width
    sides = [round(math.sqrt(area / 2**halved)) for halved in range(len(_HALVED_AFTER) + 1)]
    if odd:
        sides = [max(side, 3) | 1 for side in sides]
    return tuple(min(max(side, 1), height, width) for side in sides)


def level_of(query: Tensor) -> Tensor:
    """Row of a table over sides, int64 [L]: 0 for the start, then 1 + halvings of p."""
    return torch.bucketize(query, _first_of_level(query.device))


@lru_cache(maxsize=8)
def _first_of_level(device: torch.device) -> Tensor:
    return torch.tensor(_FIRST_OF_LEVEL, device=device)


def corners(draws: Tensor, side: Tensor, height: int, width: int) -> Tensor:
    """Uniform top left pixels of squares that lie inside, int64 [L].

    Args:
        draws: Uniform in [0, 1), float64 [L, 2]: down and across.
        side: Of the squares, int64 [L].
        height: Of the image.
        width: Of the image.
    """
    top = (draws[:, 0] * (height + 1 - side)).long()
    return top.mul_(width).add_((draws[:, 1] * (width + 1 - side)).long())


@dataclass(frozen=True)
class Template:
    """Pixels of a square in the corner of a plane, for each level, one after the other.

    Attributes:
        pixels: Offsets from the corner, int64.
        begin: Where a level begins in `pixels`, int64 [levels].
        count: How many pixels a level has, int64 [levels].
        side: Of the square, int64 [levels].
    """

    pixels: Tensor
    begin: Tensor
    count: Tensor
    side: Tensor


@lru_cache(maxsize=8)
def template(p_init: float, height: int, width: int, device: torch.device) -> Template:
    """Squares of the schedule; level 0, the start, has none."""
    sides = (0, *sides_of_squares(p_init, height, width, odd=False))
    squares = [torch.arange(side)[:, None] * width + torch.arange(side) for side in sides]
    side = torch.tensor(sides, device=device)
    count = side.square()
    pixels = torch.cat([square.view(-1) for square in squares]).to(device)
    return Template(pixels, count.cumsum(0) - count, count, side)


def _drawn(state: SquareState) -> Tensor:
    """Draws of the present query of each lane, float64 [L, D]."""
    block = state.query // _BLOCK
    stale = state.block != block
    if stale.any():
        rows = stale.nonzero().view(-1)
        # Counters of blocks lie apart from those of single queries, such as that of the start.
        keys = Keys(state.keys[rows]).at(-1 - block[rows])
        state.drawn[rows] = keys.uniform(*state.drawn.shape[1:])
        state.block = block
    return state.drawn[torch.arange(block.shape[0], device=block.device), state.query % _BLOCK]


def _inside(corner: Tensor, side: Tensor, height: int, width: int) -> Tensor:
    """Pixels of squares, bool [L, 1, H, W]."""
    down = torch.arange(height, device=corner.device) - (corner // width)[:, None]
    across = torch.arange(width, device=corner.device) - (corner % width)[:, None]
    rows = (down >= 0) & (down < side[:, None])
    columns = (across >= 0) & (across < side[:, None])
    return (rows[:, :, None] & columns[:, None]).unsqueeze(1)


@dataclass(frozen=True)
class Squares(Moves):
    """Linf: vertical stripes, then squares of one corner of the ball a channel.

    Once the squares are small only their pixels are touched, of all lanes in one list: the
    squares of different lanes have different sizes.

    Attributes:
        eps: Radius.
        p_init: Share of the image that the first squares cover.
    """

    eps: float
    p_init: float

    def ahead(self, images: Tensor) -> tuple[int, ...]:
        """Place and signs of a block of squares."""
        return (_BLOCK, 2 + images.shape[1])

    def first(self, images: Tensor, keys: Keys) -> Tensor:
        """Stripes one pixel wide, of one sign a channel and column."""
        _, channels, _, width = images.shape
        steps = self._signed(keys.uniform(channels, 1, width))
        return images.add(steps).clamp_(0, 1)

    def propose(self, state: SquareState) -> None:
        """Move a square to the border of the ball, by one sign a channel."""
        height, width = state.images.shape[2:]
        draws = _drawn(state)
        level = level_of(state.query)
        side = self._template(state).side.index_select(0, level)
        state.corner = corners(draws[:, :2], side, height, width)
        steps = self._signed(draws[:, 2:])
        touched = None if self._large(state, level) else self._touched(state, level)
        # What `settle` needs again; nobody else's state has this very tensor.
        object.__setattr__(self, "_held", (state.corner, touched))
        if touched is None:
            moved = state.images + steps[..., None, None]
            inside = _inside(state.corner, side, height, width)
            torch.where(inside, moved.clamp_(0, 1), state.best, out=state.asked)
            return
        planes, pixels = touched
        moved = state.images.view(-1).index_select(0, pixels)
        moved += steps.view(-1).index_select(0, planes)
        state.asked.view(-1).scatter_(0, pixels, moved.clamp_(0, 1))

    def settle(self, state: SquareState, improved: Tensor) -> None:
        """Copy the square of lanes that improved to `best`, and from it in the others."""
        corner, touched = getattr(self, "_held", (None, None))
        if corner is not state.corner:  # the state was cut or joined since, or is not the last one
            level = level_of(state.query)
            touched = None if self._large(state, level) else self._touched(state, level)
        if touched is None:
            rows = improved.nonzero().view(-1)
            state.best.index_copy_(0, rows, state.asked.index_select(0, rows))
            state.asked.copy_(state.best)
            return
        planes, pixels = touched
        asked, best = state.asked.view(-1), state.best.view(-1)
        keeps = improved.repeat_interleave(state.images.shape[1]).index_select(0, planes)
        kept = torch.where(keeps, asked.index_select(0, pixels), best.index_select(0, pixels))
        asked.scatter_(0, pixels, kept)
        best.scatter_(0, pixels, kept)

    def _large(self, state: SquareState, level: Tensor) -> bool:
        """Whether a list of all pixels is dearer than whole images; the numbers are the same."""
        covered = int(self._template(state).count.index_select(0, level).sum())
        return covered > _LARGE * state.best[:, 0].numel()

    def _signed(self, draws: Tensor) -> Tensor:
        return (draws < 0.5).float().mul_(2 * self.eps).sub_(self.eps)

    def _template(self, state: SquareState) -> Template:
        height, width = state.images.shape[2:]
        return template(self.p_init, height, width, state.images.device)

    def _touched(self, state: SquareState, level: Tensor) -> tuple[Tensor, Tensor]:
        """Planes (a lane's channels) and pixels of all squares, int64 [pixels of all squares].

        Pixels count through [L, C, H, W], planes through [L, C].
        """
        count, channels, height, width = state.images.shape
        squares = self._template(state)
        level = level.repeat_interleave(channels)
        counts = squares.count.index_select(0, level)
        ends = counts.cumsum(0)
        planes = torch.arange(count * channels, device=level.device).repeat_interleave(counts)
        # From a place in the list to a place in the template, and from there to a pixel.
        shift = squares.begin.index_select(0, level).add_(counts).sub_(ends)
        places = shift.index_select(0, planes)
        places += torch.arange(places.shape[0], device=level.device)
        origin = torch.arange(count * channels, device=level.device).mul_(height * width)
        origin += state.corner.repeat_interleave(channels)
        pixels = squares.pixels.index_select(0, places)
        return planes, pixels.add_(origin.index_select(0, planes))
