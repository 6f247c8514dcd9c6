"""Random search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from holdfast.core.errors import BadValueError
from holdfast.search.searchers.base import SEARCHERS, unseen
from holdfast.search.spaces.base import Space
from holdfast.search.trials import Trial


@SEARCHERS.register("random")
@dataclass(frozen=True)
class RandomSearch:
    """Draw architectures that were not asked yet.

    Attributes:
        round: Architectures drawn at a time; changes which are drawn, not how well it searches.
    """

    about: ClassVar[str] = "draws architectures that were not asked yet"
    round: int = 32

    def __post_init__(self) -> None:
        if self.round < 1:
            raise BadValueError(f"random round must be 1 or more, got {self.round}")

    def propose(
        self, space: Space, history: Sequence[Trial], rng: np.random.Generator
    ) -> list[str]:
        """See `Searcher`."""
        return unseen(space, history, rng, self.round)
