"""From parts to one flow of batches, and from outcomes in any order back to parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holdfast.data import Broken
from holdfast.measuring.scores import PartScores
from holdfast.measuring.stream import Part
from holdfast.models import Classifier
from holdfast.perturb.base import Batch, Outcome
from holdfast.records import RunBuilder

_KEEP_SECONDS = 5.0  # between keepings of finished samples of a part that is not whole


@dataclass(frozen=True)
class Earlier:
    """What interrupted processes have left of some runs that are measured together.

    Those processes may have measured the runs apart. A part that is whole in all runs stays, each
    run with its own pieces of it; of the other parts, a piece stays where it has the same samples
    in all runs, so that what is open is open in all.

    Attributes:
        parts: Parts that are whole in all of them.
        ids: Samples that are finished in all of them, of the other parts.
        count: Samples that are finished, of all parts.
        pieces: Pieces of the other parts: part and number.
        next_piece: Number that no piece has in any of them.
    """

    parts: frozenset[int]
    ids: frozenset[int]
    count: int
    pieces: frozenset[tuple[int, int]]
    next_piece: int

    @classmethod
    def of(cls, builders: Sequence[RunBuilder], cut: str) -> Earlier:
        """Look at the partial runs, and drop what is not in all of them."""
        own = [_whole(builder, cut) for builder in builders]
        parts = frozenset(set.intersection(*(set(one) for one in own)))
        kept = [builder.pieces() for builder in builders]
        ids: set[int] = set()
        common = set()
        for part, piece in set.intersection(*kept):
            first, *others = (
                builder.load_piece(part, piece)["sample_id"].tolist() for builder in builders
            )
            if part not in parts and all(other == first for other in others):
                common.add((part, piece))
                ids |= set(first)
        for builder, one in zip(builders, own, strict=True):
            builder.retain(parts, common.union(*(one[part] for part in parts)))
        arrays = (found for part in parts for found in builders[0].all_arrays(cut, only=part))
        count = sum(int(found["count"]) for found in arrays) + len(ids)
        following = max((piece for one in kept for _, piece in one), default=-1) + 1
        return cls(parts, frozenset(ids), count, frozenset(common), following)


def _whole(builder: RunBuilder, cut: str) -> dict[int, set[tuple[int, int]]]:
    """Whole parts of a run, each with the pieces it had before; one that lost such is not whole."""
    listed = {
        part: {(part, int(piece)) for piece in builder.load(part)["pieces"]}
        for part in builder.parts(cut)
    }
    kept = builder.pieces()
    return {part: pieces for part, pieces in listed.items() if pieces <= kept}


@dataclass
class _Open:
    """A part of which outcomes are still awaited; scores are one a condition."""

    scores: list[PartScores]
    broken: list[Broken] = field(default_factory=list)
    awaited: int = 0
    read: bool = False  # all its batches have been given


class PartFlow:
    """Gives a perturbation the batches of all parts, and flushes each part when it is whole.

    A perturbation may hold samples back and mix those of several parts, as continuous batching
    does. When the process dies, the parts that are not whole are lost; of a slow perturbation
    finished samples are kept in pieces.

    Args:
        parts: What to measure.
        builders: One a condition of the perturbation, in its order.
        classifier: Whose device the batches go to.
        earlier: What need not be measured again.
        keeping: Keep finished samples of parts that are not whole.
        enough: Asked whenever a part is whole; True ends the flow.
    """

    def __init__(
        self,
        parts: Iterator[Part],
        builders: Sequence[RunBuilder],
        classifier: Classifier,
        earlier: Earlier,
        *,
        keeping: bool = False,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        self._parts = parts
        self._builders = builders
        self._classifier = classifier
        self._earlier = earlier
        self._keeping = keeping
        self._enough = enough
        self._open: dict[int, _Open] = {}
        self._awaited: dict[int, tuple[int, int]] = {}  # id -> part, outcomes still to come
        self._piece = earlier.next_piece
        self._pieces = set(earlier.pieces)
        self._since = self._kept = time.perf_counter()
        self.flags: set[str] = set()
        self.ended = False  # because there was enough

    @property
    def finished(self) -> int:
        """Samples that earlier processes finished."""
        return self._earlier.count

    def batches(self) -> Iterator[Batch]:
        """Batches of all parts, on the classifier's device."""
        for part in self._parts:
            if self.ended:
                return
            entry = _Open(self._fresh(), part.broken)
            self._open[part.index] = entry
            for whole in part.batches:
                batch = self._unfinished(whole)
                count = len(self._builders)
                self._awaited |= dict.fromkeys(batch.ids.tolist(), (part.index, count))
                entry.awaited += len(batch) * count
                if len(batch):
                    yield replace(batch, images=batch.images.to(self._classifier.device))
            entry.read = True
            self._flush(part.index)

    def add(self, outcome: Outcome) -> None:
        """Take what became of some samples."""
        if not len(outcome.ids):
            self.flags |= outcome.flags
            return
        owners = torch.tensor([self._owner(id_) for id_ in outcome.ids.tolist()])
        for index in sorted(set(owners.tolist())):
            mine = (owners == index).nonzero()[:, 0]
            whole = len(mine) == len(owners)
            entry = self._open[index]
            entry.scores[outcome.condition].add(outcome if whole else _take(outcome, mine))
            entry.awaited -= len(mine)
            self._flush(index)
        last = outcome.condition == len(self._builders) - 1  # before, the conditions differ
        if self._keeping and last and time.perf_counter() - self._kept >= _KEEP_SECONDS:
            self._keep()

    def check(self) -> None:
        """Refuse to end while samples are missing.

        Raises:
            RuntimeError: The perturbation did not give back all samples.
        """
        if self._awaited and not self.ended:
            few = sorted(self._awaited)[:3]
            raise RuntimeError(
                f"{len(self._awaited)} samples were given to the perturbation and never came "
                f"back, such as {few}"
            )

    def _fresh(self) -> list[PartScores]:
        return [PartScores(self._classifier.classes) for _ in self._builders]

    def _unfinished(self, batch: Batch) -> Batch:
        if not self._earlier.ids:
            return batch
        mask = torch.tensor([id_ not in self._earlier.ids for id_ in batch.ids.tolist()])
        return Batch(batch.images[mask], batch.labels[mask], batch.ids[mask])

    def _owner(self, id_: int) -> int:
        if id_ not in self._awaited:
            raise RuntimeError(f"the perturbation gave back sample {id_}, which it does not hold")
        part, count = self._awaited.pop(id_)
        if count > 1:
            self._awaited[id_] = (part, count - 1)
        return part

    def _keep(self) -> None:
        """Keep the finished samples of all open parts.

        A sample is finished when it has an outcome for each condition; those of one come
        together, so that all conditions hold the same samples here.
        """
        for index, entry in self._open.items():
            if entry.scores[0].count == 0 or len({s.count for s in entry.scores}) > 1:
                continue
            spent = self._spent()
            for builder, scores in zip(self._builders, entry.scores, strict=True):
                builder.keep(index, self._piece, self._arrays(scores, [], spent))
            entry.scores = self._fresh()
            self._pieces.add((index, self._piece))
            self._piece += 1
            self._kept = time.perf_counter()

    def _flush(self, index: int) -> None:
        entry = self._open[index]
        if not entry.read or entry.awaited:
            return
        spent = self._spent()
        for builder, scores in zip(self._builders, entry.scores, strict=True):
            arrays = self._arrays(scores, entry.broken, spent)
            pieces = [piece for part, piece in self._pieces if part == index]
            builder.flush(index, arrays | {"pieces": np.array(pieces, dtype=np.int64)})
        del self._open[index]
        self.ended = self.ended or self._enough()

    def _arrays(
        self, scores: PartScores, broken: list[Broken], spent: float
    ) -> dict[str, np.ndarray]:
        """What is kept of some outcomes, with the flags so far: the process may die next."""
        arrays = scores.arrays(broken, spent)
        flags = self.flags.union(arrays["flags"].tolist())
        return arrays | {"flags": np.array(sorted(flags), dtype=np.str_)}

    def _spent(self) -> float:
        """Seconds since this was asked last, shared evenly by the conditions measured at once."""
        now = time.perf_counter()
        spent, self._since = now - self._since, now
        return spent / len(self._builders)


def _take(outcome: Outcome, index: Tensor) -> Outcome:
    """Some samples of an outcome."""
    parts: dict[str, Any] = {f.name: getattr(outcome, f.name) for f in fields(outcome)}
    for name, part in parts.items():
        if isinstance(part, Tensor):
            parts[name] = part[index.to(part.device)]
    extra = {name: column[index.to(column.device)] for name, column in outcome.extra.items()}
    return Outcome(**{**parts, "extra": extra})
