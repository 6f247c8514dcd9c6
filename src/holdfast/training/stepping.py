"""What one step of training says, and in which portions it sees its batch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from holdfast.core.errors import BadValueError


class DivergedError(BadValueError):
    """The loss or its gradient is no number any more; the weights are those before the step."""


@dataclass(frozen=True)
class Stepped:
    """One step.

    Attributes:
        step: Steps taken so far.
        epoch: In which, from 1.
        batch: Steps taken of this epoch.
        batches: Steps of an epoch.
        loss: Mean over the batch.
    """

    step: int
    epoch: int
    batch: int
    batches: int
    loss: float

    @property
    def ends_epoch(self) -> bool:
        """Whether it is the last one of its epoch."""
        return self.batch == self.batches


@dataclass
class Sums:
    """What has added up since the last look at it."""

    loss: float = 0.0
    norm: float = 0.0
    images: int = 0
    steps: int = 0

    def add(self, loss: float, norm: float, images: int) -> None:
        """Count one step."""
        self.loss += loss * images
        self.norm += norm
        self.images += images
        self.steps += 1


def portions_of(count: int, most: int | None) -> list[slice]:
    """Cut `count` images into portions of about one size, `most` at least 2 of them at a time.

    None is a single image, whose statistics batch normalization could not use: where two at a
    time leave one over, one portion has three.
    """
    parts = -(-count // (most or max(count, 1))) or 1
    if most is not None and most > 1 and count // parts < 2:
        parts = max(1, count // 2)
    each, more = divmod(count, parts)
    ends = [place * each + min(place, more) for place in range(parts + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(ends)]
