"""Linf moves of the Square attack: stripes, then squares of one corner of the ball a channel.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049, algorithms 1 and 2;
fra31/auto-attack, square.py.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

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

_BLOCK = 32  # queries whose draws are made at once: a draw has a fixed cost beside its numbers
_MOST_AHEAD = 1 << 20  # pixels of squares that are worked out ahead
_LARGE = 0.12  # share of the images from which whole images are the cheaper way


@dataclass(frozen=True)
class Template:
    """Pixels of a square in the corner of a plane, for each level, one after the other.

    Attributes:
        pixels: Offsets from the corner, int64.
        begin: Where a level begins in `pixels`, int64 [levels].
        count: How many pixels a level has, int64 [levels].
        side: Of the square, int64 [levels].
        places: Of each level in `pixels`.
    """

    pixels: Tensor
    begin: Tensor
    count: Tensor
    side: Tensor
    places: tuple[slice, ...]


@lru_cache(maxsize=8)
def template(p_init: float, height: int, width: int, device: torch.device) -> Template:
    """Squares of the schedule; level 0, the start, has none."""
    sides = (0, *sides_of_squares(p_init, height, width, odd=False))
    squares = [torch.arange(side)[:, None] * width + torch.arange(side) for side in sides]
    side = torch.tensor(sides, device=device)
    count = side.square()
    pixels = torch.cat([square.view(-1) for square in squares]).to(device)
    ends = list(itertools.accumulate(side * side for side in sides))
    places = tuple(slice(end - side * side, end) for end, side in zip(ends, sides, strict=True))
    return Template(pixels, count.cumsum(0) - count, count, side, places)


@dataclass(frozen=True)
class Place:
    """The pixels of all lanes' squares.

    Attributes:
        pixels: Counted through [L, C, H, W], int64 [P], or [L * C, S] where all squares have one
            side.
        planes: The lane and channel of each, counted through [L, C], int64 [P]; None where
            `pixels` has them as rows.
    """

    pixels: Tensor
    planes: Tensor | None = None

    def spread(self, values: Tensor) -> Tensor:
        """One value a plane, [L * C], beside each pixel."""
        return values[:, None] if self.planes is None else values.index_select(0, self.planes)

    def write(self, images: Tensor, values: Tensor) -> None:
        """Set these pixels of images [L, C, H, W], in place."""
        images.view(-1).scatter_(0, self.pixels.view(-1), values.view(-1))


@dataclass(frozen=True)
class Patch:
    """What a proposal changes.

    Attributes:
        place: Where.
        before: What `best` has there, float32.
        moved: What is asked for there, float32.
    """

    place: Place
    before: Tensor
    moved: Tensor


@dataclass(frozen=True)
class Ahead:
    """Squares of some queries to come, of lanes that are all at the same query.

    Attributes:
        images: The very tensor of the state: it is another one once lanes leave or join.
        queries: int64 [n, L]; squares of all of them have one side.
        side: That side.
        corner: Where the squares begin, as a pixel of their plane, int64 [n, L].
        steps: What a square adds to a channel, float32 [n, L, C].
        pixels: Of the squares, counted through [L, C, H, W], int64 [n, L * C, S]; None where
            whole images are the cheaper way.
        moved: What is proposed there, float32.
    """

    images: Tensor
    queries: Tensor
    side: Tensor
    corner: Tensor
    steps: Tensor
    pixels: Tensor | None
    moved: Tensor | None

    def row(self, state: SquareState) -> int | None:
        """Which of the queries the state stands at, if any."""
        if state.images is not self.images:
            return None
        row = int(state.query[0]) - int(self.queries[0, 0])
        if not 0 <= row < len(self.queries):
            return None
        return row if torch.equal(state.query, self.queries[row]) else None


@dataclass(frozen=True)
class Squares(Moves):
    """Vertical stripes, then squares of one corner of the ball a channel.

    Once the squares are small only their pixels are touched, of all lanes in one list.

    Remembers its last proposal, and the squares to come of lanes in step, by the very tensors of
    the state that they are about; for any other state it works them out again.

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
        ahead = self._squares_ahead(state)
        if ahead is None:
            patch = self._propose_apart(state)
        else:
            patch = self._propose_in_step(state, *ahead)
        # What `settle` needs again; nobody else's state has this very tensor.
        self._remember("_last", (state.corner, patch))

    def settle(self, state: SquareState, improved: Tensor) -> None:
        """Copy the square of lanes that improved to `best`, and from it in the others."""
        corner, patch = getattr(self, "_last", (None, None))
        if corner is not state.corner:  # the state was cut or joined since, or is not the last one
            level = level_of(state.query)
            patch = None if self._large(state, level) else self._asked(state, level)
        if patch is None:
            rows = improved.nonzero().view(-1)
            state.best.index_copy_(0, rows, state.asked.index_select(0, rows))
            state.asked.copy_(state.best)
        elif bool(improved.any()):
            keeps = patch.place.spread(improved.repeat_interleave(state.images.shape[1]))
            kept = torch.where(keeps, patch.moved, patch.before)
            patch.place.write(state.best, kept)
            patch.place.write(state.asked, kept)
        else:
            patch.place.write(state.asked, patch.before)

    def _remember(self, name: str, what: object) -> None:
        object.__setattr__(self, name, what)

    def _propose_apart(self, state: SquareState) -> Patch | None:
        """Of lanes that are at different queries; None: whole images were written."""
        height, width = state.images.shape[2:]
        lane = torch.arange(len(state), device=state.query.device)
        draws = _drawn(state)[lane, state.query % _BLOCK]
        level = level_of(state.query)
        side = self._template(state).side.index_select(0, level)
        state.corner = corners(draws[:, :2], side, height, width)
        steps = self._signed(draws[:, 2:])
        if self._large(state, level):
            self._write_whole(state, steps, side)
            return None
        place = self._listed(state, level)
        moved = state.images.take(place.pixels).add_(place.spread(steps.view(-1))).clamp_(0, 1)
        return self._write(state, place, moved)

    def _propose_in_step(self, state: SquareState, ahead: Ahead, row: int) -> Patch | None:
        """Of lanes that are all at one query, whose squares have one side."""
        state.corner = ahead.corner[row]
        if ahead.pixels is None or ahead.moved is None:
            self._write_whole(state, ahead.steps[row], ahead.side)
            return None
        return self._write(state, Place(ahead.pixels[row]), ahead.moved[row])

    def _squares_ahead(self, state: SquareState) -> tuple[Ahead, int] | None:
        """Squares of the block of queries, and the row of the present one; None: not in step."""
        ahead: Ahead | None = getattr(self, "_next", None)
        row = None if ahead is None else ahead.row(state)
        if ahead is not None and row is not None:
            return ahead, row
        if not bool((state.query == state.query[0]).all()):
            return None
        ahead = self._worked_out(state)
        self._remember("_next", ahead)
        return ahead, 0

    def _worked_out(self, state: SquareState) -> Ahead:
        """Squares of lanes in step, to the end of their block of draws or of the squares' side."""
        count, channels, height, width = state.images.shape
        device, query = state.query.device, int(state.query[0])
        squares, planes = self._template(state), count * channels
        later = torch.arange(_BLOCK - query % _BLOCK, device=device)
        levels = level_of(query + later)
        offsets = squares.pixels[squares.places[int(levels[0])]]
        small = len(offsets) <= _LARGE * height * width
        most = max(1, _MOST_AHEAD // (planes * len(offsets) + 1)) if small else _BLOCK
        later = later[levels == levels[0]][:most]
        draws = _drawn(state)[:, query % _BLOCK :][:, : len(later)].transpose(0, 1)
        side = squares.side[levels[0]].expand(count)
        corner = corners(draws[..., :2], side, height, width)
        steps = self._signed(draws[..., 2:])
        pixels = moved = None
        if small:
            origin = torch.arange(planes, device=device).mul_(height * width)
            origin = origin + corner.repeat_interleave(channels, 1)
            pixels = origin[..., None] + offsets
            moved = state.images.take(pixels).add_(steps.flatten(1)[..., None]).clamp_(0, 1)
        return Ahead(
            images=state.images,
            queries=state.query + later[:, None],
            side=side,
            corner=corner,
            steps=steps,
            pixels=pixels,
            moved=moved,
        )

    def _write(self, state: SquareState, place: Place, moved: Tensor) -> Patch:
        """Write what is proposed into `asked`."""
        before = state.best.take(place.pixels)
        place.write(state.asked, moved)
        return Patch(place, before, moved)

    def _asked(self, state: SquareState, level: Tensor) -> Patch:
        """What was asked for, read off the state."""
        place = self._listed(state, level)
        return Patch(place, state.best.take(place.pixels), state.asked.take(place.pixels))

    def _write_whole(self, state: SquareState, steps: Tensor, side: Tensor) -> None:
        """Write whole images into `asked`: steps [L, C], sides [L]."""
        height, width = state.images.shape[2:]
        moved = state.images + steps[..., None, None]
        inside = _inside(state.corner, side, height, width)
        torch.where(inside, moved.clamp_(0, 1), state.best, out=state.asked)

    def _large(self, state: SquareState, level: Tensor) -> bool:
        """Whether a list of all pixels is dearer than whole images; the numbers are the same."""
        covered = int(self._template(state).count.index_select(0, level).sum())
        return covered > _LARGE * state.best[:, 0].numel()

    def _signed(self, draws: Tensor) -> Tensor:
        return (draws < 0.5).float().mul_(2 * self.eps).sub_(self.eps)

    def _template(self, state: SquareState) -> Template:
        height, width = state.images.shape[2:]
        return template(self.p_init, height, width, state.images.device)

    def _listed(self, state: SquareState, level: Tensor) -> Place:
        """Pixels of all squares, of which each has a level, int64 [L]."""
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
        return Place(pixels.add_(origin.index_select(0, planes)), planes)


def _drawn(state: SquareState) -> Tensor:
    """Draws of each lane's present block of queries, float64 [L, block, D]."""
    block = state.query // _BLOCK
    stale = state.block != block
    if stale.any():
        rows = stale.nonzero().view(-1)
        # Counters of blocks lie apart from those of single queries, such as that of the start.
        keys = Keys(state.keys[rows]).at(-1 - block[rows])
        state.drawn[rows] = keys.uniform(*state.drawn.shape[1:])
        state.block = block
    return state.drawn


def _inside(corner: Tensor, side: Tensor, height: int, width: int) -> Tensor:
    """Pixels of squares, bool [L, 1, H, W]."""
    down = torch.arange(height, device=corner.device) - (corner // width)[:, None]
    across = torch.arange(width, device=corner.device) - (corner % width)[:, None]
    rows = (down >= 0) & (down < side[:, None])
    columns = (across >= 0) & (across < side[:, None])
    return (rows[:, :, None] & columns[:, None]).unsqueeze(1)
