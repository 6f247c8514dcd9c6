"""The stream of training batches: which images, in which order, augmented by which draws.

What a batch holds depends on the seed, the epoch and its number alone: not on how many processes
read, nor on how many devices share it, nor on whether training was interrupted before.
"""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from holdfast.core.checks import check_whole
from holdfast.core.errors import BadValueError, ChangedInputError, HoldfastError
from holdfast.core.randomness import checked_seed, keys_for
from holdfast.data import Broken, Dataset, OpenClasses, Sample
from holdfast.models.preprocessing import Preprocessing
from holdfast.training._kept import Kept, channels_first
from holdfast.training.augment.pipeline import Epoch, Pipeline
from holdfast.training.batch import TrainingBatch

_SHOWN = 3  # names in an error


@dataclass(frozen=True)
class _Piece:
    """What one process needs of one batch.

    Attributes:
        rows: Images in order, int64 [n]; the first `reach` are there to be mixed into others.
        reach: How many are dropped at the end.
        first: First image of the whole batch, int64 [1].
    """

    rows: Tensor
    reach: int
    first: Tensor


@dataclass(eq=False)
class TrainingData:
    """Training images of a data set, in memory where they fit.

    All images are read once when this is built: to find the unreadable ones and the labels.

    Attributes:
        dataset: Where they come from.
        ids: Positions in the data set, strictly increasing; None takes all.
        pipeline: Augmentations.
        preprocessing: Of the network; without an input size all images must have one shape.
        seed: Keys order and augmentation.
        workers: Processes that read and augment; 0 does it here. No number depends on it.
        memory: Bytes that images may take. Beyond, they are decoded anew in every epoch.
        views: Makes views uint8 [V, 3, h, w] of a picture uint8 [3, h, w] by torch's global
            generator, for self-supervised training; None makes none.
        classes: Class names.
        size: Height and width of the images.
        samples: Position in the data set of each image that can be read, int64 [N].
        labels: Class of each, int64 [N].
        broken: Images that cannot be read; they are left out.

    Raises:
        BadValueError: Fewer than two images can be read, a class has none (unless the data set's
            classes are open), shapes differ, or a value is out of range.
    """

    dataset: Dataset
    ids: Sequence[int] | None
    pipeline: Pipeline
    preprocessing: Preprocessing
    _: KW_ONLY
    seed: int
    workers: int = 0
    memory: int = 4 << 30
    views: Callable[[Tensor], Tensor] | None = None
    classes: tuple[str, ...] = field(init=False)
    size: tuple[int, int] = field(init=False)
    samples: Tensor = field(init=False, repr=False)
    labels: Tensor = field(init=False, repr=False)
    broken: list[Broken] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        check_whole("workers", self.workers, least=0)
        check_whole("memory", self.memory, least=0)
        self.classes = self.dataset.classes
        self.broken = []
        count = len(self.dataset if self.ids is None else self.ids)
        kept = Kept(self.memory, count, whole=self.pipeline.needs_source)
        samples, labels = [], []
        for sample in self._readable():
            self._set_size(sample.image)
            kept.add(sample.image, self._prepared)
            samples.append(sample.id)
            labels.append(sample.label)
        self.samples = torch.tensor(samples, dtype=torch.int64)
        self.labels = torch.tensor(labels, dtype=torch.int64)
        self._check()
        self._kept = kept.finished()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def in_memory(self) -> bool:
        """Whether all images are held decoded."""
        return self._kept is not None

    def order(self, epoch: int) -> Tensor:
        """Rows 0..N-1 in the order in which an epoch takes them, int64 [N]."""
        check_whole("epoch", epoch)
        key = keys_for(torch.tensor([epoch]), seed=self.seed, stream="training").bits(1)
        return torch.randperm(len(self), generator=torch.Generator().manual_seed(int(key.item())))

    def steps(self, batch_size: int) -> int:
        """Batches an epoch."""
        return len(_split(torch.empty(len(self)), batch_size))

    def batches(
        self, epoch: int, *, batch_size: int, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[TrainingBatch]:
        """Batches of an epoch; the global generator is left as it was.

        A single image that is left over at the end joins the batch before it.

        Args:
            epoch: Counts from 1.
            batch_size: Images a batch, of all parts together; the last batch may be smaller.
            start: Batches to skip; they are not decoded.
            rank: Which part of each batch, 0..world-1. Parts are consecutive, and together they
                are the batch that one process would get, mixed images included. A part is empty
                where a batch has fewer images than parts.
            world: How many parts.

        Raises:
            BadValueError: A value is out of range.
            ChangedInputError: An image can no longer be read.
        """
        check_whole("world", world)
        if not 0 <= rank < world:
            raise BadValueError(f"rank must be in 0..{world - 1} (world - 1), got {rank}")
        whole = _split(self.order(epoch), batch_size)
        if not 0 <= start <= len(whole):
            raise BadValueError(
                f"start must be in 0..{len(whole)}, the batches of an epoch, got {start}"
            )
        pieces = [self._piece(rows, rank, world) for rows in whole[start:]]
        return self._stream(pieces, Epoch(self.seed, epoch))

    def plain(self, rows: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
        """Images as they are: float [n, 3, h, w] in [0, 1], and their labels int64 [n]."""
        chosen = torch.as_tensor(rows, dtype=torch.int64)
        return self._pictures(chosen).float().div_(255), self.labels[chosen]

    def _piece(self, rows: Tensor, rank: int, world: int) -> _Piece:
        each, more = divmod(len(rows), world)
        begin = rank * each + min(rank, more)
        end = begin + each + (rank < more)
        # A part needs its forerunners, so that mixing it is mixing the whole.
        reach = self.pipeline.reach if world > 1 and end > begin else 0
        return _Piece(rows[torch.arange(begin - reach, end) % len(rows)], reach, rows[:1])

    def _stream(self, pieces: list[_Piece], moment: Epoch) -> Iterator[TrainingBatch]:
        work = _Work(pieces, partial(self._changed, moment=moment))
        changed = (
            _loaded(work, min(self.workers, len(pieces))) if self.workers and pieces else work.all()
        )
        with closing(changed):  # at once: processes that the garbage collector ends take 5 s
            for piece, images in zip(pieces, changed, strict=True):
                if isinstance(images, HoldfastError):
                    raise images
                yield self._finished(piece, images, moment)

    def _changed(self, piece: _Piece, moment: Epoch) -> Tensor:
        """Pictures with all but the changes of a batch, uint8 [n, 3, h, w]."""
        ids = self.samples[piece.rows]
        if not len(ids):
            return torch.empty(0, 3, *self.size, dtype=torch.uint8)
        with torch.random.fork_rng(devices=[]):
            if self.pipeline.needs_source:
                images = self.pipeline.cut(self._stored(piece.rows), ids, self.size, moment)
            else:
                images = self._pictures(piece.rows)
            images = self.pipeline.change(images, ids, moment)
            return images if self.views is None else self._views(images, ids, moment)

    def _views(self, images: Tensor, ids: Tensor, moment: Epoch) -> Tensor:
        """The pictures themselves and their views, uint8 [n, 1 + V, 3, h, w]."""
        assert self.views is not None  # noqa: S101 - the caller's condition
        rows = []
        seeds = moment.keys(ids, "views").bits().tolist()
        for image, seed in zip(images, seeds, strict=True):
            torch.default_generator.manual_seed(seed)
            rows.append(torch.cat([image[None], self.views(image)]))
        return torch.stack(rows)

    def _finished(self, piece: _Piece, images: Tensor, moment: Epoch) -> TrainingBatch:
        pixels, views = images.float().div_(255), None
        if self.views is not None and len(images):
            pixels, views = pixels[:, 0], pixels[:, 1:].transpose(0, 1).contiguous()
        batch = TrainingBatch.of(
            pixels,
            self.labels[piece.rows],
            self.samples[piece.rows],
            classes=len(self.classes),
        )
        batch = replace(batch, views=views)
        if not len(batch):
            return batch
        with torch.random.fork_rng(devices=[]):
            batch = self.pipeline.mix(batch, self.samples[piece.first], moment)
        return batch.take(slice(piece.reach, None)) if piece.reach else batch

    def _pictures(self, rows: Tensor) -> Tensor:
        """Prepared pictures, uint8 [n, 3, h, w]."""
        if isinstance(self._kept, Tensor):
            return self._kept[rows]
        images = [channels_first(self._prepared(image)) for image in self._stored(rows)]
        return torch.stack(images) if images else torch.empty(0, 3, *self.size, dtype=torch.uint8)

    def _stored(self, rows: Tensor) -> list[np.ndarray]:
        """Pictures as they were stored, uint8 [H, W, 3] each."""
        if isinstance(self._kept, list):
            return [self._kept[row] for row in rows.tolist()]
        wanted = self.samples[rows].tolist()
        found = {item.id: item for item in self.dataset.read(sorted(set(wanted)))}
        return [_still_readable(found.get(place), place) for place in wanted]

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        return self.preprocessing.prepare(image)

    def _readable(self) -> Iterator[Sample]:
        for item in self.dataset.read(self.ids):
            if isinstance(item, Broken):
                self.broken.append(item)
            else:
                yield item

    def _set_size(self, image: np.ndarray) -> None:
        height, width = self.preprocessing.input_size or image.shape[:2]
        known = getattr(self, "size", None)
        self.size = (height, width)
        if known not in (None, self.size):
            raise BadValueError(
                f"{self.dataset.name} has images of {known[0]}x{known[1]} and of "
                f"{height}x{width} pixels, and the network takes any size; give data.size, so that "
                "all get one"
            )

    def _check(self) -> None:
        if len(self) < 2:
            bad = "".join(f"; {one.name}: {one.reason}" for one in self.broken[:1])
            raise BadValueError(
                f"training needs at least 2 images, and {self.dataset.name} has {len(self)} that "
                f"can be read and {len(self.broken)} that cannot{bad}"
            )
        counts = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        empty = [name for name, count in zip(self.classes, counts, strict=True) if not count]
        labelled = self.views is None and not isinstance(self.classes, OpenClasses)
        if empty and labelled:
            rest = f" and {len(empty) - _SHOWN:,} more" if len(empty) > _SHOWN else ""
            raise BadValueError(
                f"{self.dataset.name} has no training image of the class "
                f"{', '.join(map(repr, empty[:_SHOWN]))}{rest}; add some, take more images, or "
                "leave the class out of the data set"
            )


@dataclass(frozen=True)
class _Work(TorchDataset[Any]):
    """Pictures of one piece after the other; an error of ours is handed over, not raised."""

    pieces: Sequence[_Piece]
    make: Callable[[_Piece], Tensor]

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> Tensor | HoldfastError:
        try:
            return self.make(self.pieces[index])
        except HoldfastError as error:
            return error

    def all(self) -> Generator[Tensor | HoldfastError, None, None]:
        """One after the other, here."""
        return (self[index] for index in range(len(self)))


def _split(order: Tensor, batch_size: int) -> list[Tensor]:
    check_whole("batch_size", batch_size)
    batches = list(torch.split(order, batch_size))
    if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]  # batch normalization cannot train on one image
    return batches


def _loaded(work: _Work, workers: int) -> Generator[Any, None, None]:
    """The same in other processes, reading ahead."""
    # Forked workers share the pictures in memory; elsewhere than on Linux forking is unsafe.
    context = multiprocessing.get_context("fork") if sys.platform == "linux" else None
    with warnings.catch_warnings():
        # They touch neither threads nor devices of this process, and their number is the user's.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        warnings.filterwarnings("ignore", ".*multi-?threaded", DeprecationWarning)
        loader = DataLoader(
            work,
            batch_size=None,
            num_workers=workers,
            multiprocessing_context=context,
            generator=torch.Generator(),  # else a number is drawn from the global one
        )
        images = iter(loader)
    yield from images


def _still_readable(item: Sample | Broken | None, place: int) -> np.ndarray:
    if isinstance(item, Sample):
        return item.image
    name, reason = (item.name, item.reason) if item else (f"image {place}", "it is gone")
    raise ChangedInputError(
        f"{name} could be read when training began and now cannot: {reason}; put it back and resume"
    )
