"""When enough images have been drawn: anytime evaluation.

Images come in a random order that is fixed in advance. Only a prefix of that order counts, since
samples that fall finish before those that stand, and the interval is a confidence sequence,
which holds whenever one stops. It is about the accuracy on the whole set, from which the images
are drawn without replacement: it says what measuring all of them would give.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from holdfast.metrics import Interval, bernoulli_sequence
from holdfast.records import RunBuilder


class Stopping:
    """Looks at the whole parts of some runs; without a half-width nothing is ever enough.

    Args:
        builders: The runs; all must be narrow.
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
        self._seen: list[list[tuple[int, int]]] = [[] for _ in builders]  # right and count a part

    @property
    def prefix(self) -> int | None:
        """How many parts count; None: all."""
        return None if self._halfwidth is None else min(len(seen) for seen in self._seen)

    def enough(self) -> bool:
        """Whether the interval is narrow after a prefix of the parts; the shortest such counts."""
        if self._halfwidth is None:
            return False
        if self._narrow():
            return True
        whole = set.intersection(*(builder.parts(self._cut) for builder in self._builders))
        while len(self._seen[0]) in whole:
            place = len(self._seen[0])
            for builder, seen in zip(self._builders, self._seen, strict=True):
                arrays = builder.all_arrays(self._cut, only=place)
                columns = [array.get("sample_correct", np.zeros(0)) for array in arrays]
                right = np.concatenate(columns)
                seen.append((int(right.sum()), len(right)))
            if self._narrow():
                return True
        return False

    def _narrow(self) -> bool:
        for seen in self._seen:
            right, count = (sum(column) for column in zip(*seen, strict=True)) if seen else (0, 0)
            low, high = bernoulli_sequence(right, count, population=self._population)
            if not (high - low) / 2 <= float(self._halfwidth or 0):
                return False
        return True


def sequence_of(correct: NDArray[np.bool_], population: int) -> Interval:
    """Interval of the accuracy on the whole set that holds whenever one stopped."""
    return bernoulli_sequence(int(correct.sum()), len(correct), population=population)
