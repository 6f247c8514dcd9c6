"""Random squares: the state of the Square attack, and the sizes and places of its squares.

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
    """Uniform top left pixels of squares that lie inside, int64 [...].

    Args:
        draws: Uniform in [0, 1), float64 [..., 2]: down and across.
        side: Of the squares, int64 [...].
        height: Of the image.
        width: Of the image.
    """
    top = (draws[..., 0] * (height + 1 - side)).long()
    return top.mul_(width).add_((draws[..., 1] * (width + 1 - side)).long())
