"""When enough images have been drawn: anytime evaluation.

Images come in a random order that is fixed in advance. Only a prefix of that order counts, since
samples that fall finish before those that stand, and the interval is a confidence sequence,
which holds whenever one stops. It is about the accuracy on the whole set, from which the images
are drawn without replacement: it says what measuring all of them would give. Runs that are
measured together are each cut at their own prefix, as they would be alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.metrics import Interval, bernoulli_sequence
from holdfast.records import RunBuilder


class Stopping:
    """Looks at the whole parts of some runs; without a half-width nothing is ever enough.

    Args:
        builders: The runs; images are drawn until all are narrow.
        cut: How their parts are cut.
        population: Images of the set.
        halfwidth: Of the 95 % interval of the accuracy.
    """

    def __init__(
        self, builders: Sequence[RunBuilder], cut: str, population: int, halfwidth: float | None
    ) -> None:
        self._builders = builders
        self._population = population
        self._cut = cut
        self._halfwidth = halfwidth
        self._seen = [_Seen() for _ in builders]

    @property
    def prefixes(self) -> list[int | None]:
        """How many parts count of each run; None: all."""
        return [None if self._halfwidth is None else seen.parts for seen in self._seen]

    def enough(self) -> bool:
        """Whether each interval is narrow after a prefix of the parts; the shortest such counts."""
        if self._halfwidth is None:
            return False
        for builder, seen in zip(self._builders, self._seen, strict=True):
            whole = builder.parts(self._cut)
            while not seen.narrow and seen.parts in whole:
                self._look(builder, seen)
        return all(seen.narrow for seen in self._seen)

    def _look(self, builder: RunBuilder, seen: _Seen) -> None:
        """Add the next part of a run."""
        for arrays in builder.all_arrays(self._cut, only=seen.parts):
            right = arrays.get("sample_correct", np.zeros(0))
            seen.right += int(right.sum())
            seen.count += len(right)
        seen.parts += 1
        low, high = bernoulli_sequence(seen.right, seen.count, population=self._population)
        seen.narrow = (high - low) / 2 <= float(self._halfwidth or 0)


@dataclass
class _Seen:
    """What was seen of a run: its first parts, up to the first that makes it narrow."""

    parts: int = 0
    right: int = 0
    count: int = 0
    narrow: bool = False


def sequence_of(correct: NDArray[np.bool_], population: int) -> Interval:
    """Interval of the accuracy on the whole set that holds whenever one stopped."""
    return bernoulli_sequence(int(correct.sum()), len(correct), population=population)
