"""Where a run's batches come from: parts of a set, each read, prepared and batched in turn.

A part is the unit of resuming: 1,024 consecutive images of those chosen. Batches never cross a
part, so that a resumed run sees the same batches as an undisturbed one.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from holdfast.core.errors import BadTypeError, BadValueError, ChangedInputError
from holdfast.core.identity import digest_json
from holdfast.data import Broken, Dataset, Sample
from holdfast.perturb.base import Batch

PART = 1024
_CACHE_BYTES = 128 << 20  # prepared images of a set kept between conditions; more is read anew
_AHEAD = 2  # batches read while the model works
Prepare = Callable[[np.ndarray], np.ndarray]  # uint8 [H, W, 3] -> uint8 [h, w, 3]
T = TypeVar("T")


@dataclass
class Part:
    """Batches of one part; `broken` is complete once they are exhausted."""

    index: int
    batches: Iterator[Batch]
    broken: list[Broken] = field(default_factory=list)


class Stream(Protocol):
    """Images of one measurement, in the same order for each condition."""

    @property
    def name(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names; None where only the labels are known."""
        ...

    @property
    def label_range(self) -> tuple[int, int] | None:
        """Smallest and largest label; None where they are known to be classes."""
        ...

    @property
    def ids(self) -> Sequence[int]: ...

    @property
    def cut(self) -> str:
        """How parts are cut; parts of another cut do not fit."""
        ...

    def digest(self) -> str:
        """Digest of the images that are measured, and only those."""
        ...

    def parts(self, batch_size: int, done: Collection[int]) -> Iterator[Part]:
        """Parts that are not done, ascending; the batches of one are used up before the next."""
        ...


class DatasetStream:
    """Images of a data set, prepared as the view asks."""

    def __init__(
        self,
        dataset: Dataset,
        prepare: Prepare,
        ids: Sequence[int] | None = None,
        *,
        part: int | None = None,
    ) -> None:
        self.name, self.split, self.classes = dataset.name, dataset.split, dataset.classes
        self.label_range = None
        self.ids: Sequence[int] = range(len(dataset)) if ids is None else ids
        self._part = part or PART
        self.cut = str(self._part)
        self._dataset = dataset
        self._prepare = prepare
        self._cache: dict[int, Sample | Broken] | None = {}

    def digest(self) -> str:
        whole = self._dataset.fingerprint()
        if list(self.ids) == list(range(len(self._dataset))):
            return whole
        return digest_json([whole, list(self.ids)])

    def parts(self, batch_size: int, done: Collection[int]) -> Iterator[Part]:
        part_of = {id_: place // self._part for place, id_ in enumerate(self.ids)}
        wanted = [id_ for id_, part in part_of.items() if part not in done]
        samples = self._read_by_part(wanted, part_of)
        for index, group in itertools.groupby(samples, key=lambda sample: part_of[sample.id]):
            broken: list[Broken] = []
            yield Part(index, ahead(batched(group, batch_size, broken), _AHEAD), broken)

    def _read_by_part(
        self, ids: list[int], part_of: Mapping[int, int]
    ) -> Iterator[Sample | Broken]:
        if all(before < after for before, after in itertools.pairwise(ids)):
            yield from self._read(ids)
            return
        # Drawn in a random order: data sets read ascending ids only, so within a part they rise.
        for _, group in itertools.groupby(ids, key=part_of.__getitem__):
            yield from self._read(sorted(group))

    def _read(self, ids: list[int]) -> Iterator[Sample | Broken]:
        if self._cache is not None and len(self._cache) == len(self.ids):
            yield from (self._cache[id_] for id_ in ids)
            return
        for sample in self._dataset.read(ids):
            ready: Sample | Broken = sample
            if isinstance(sample, Sample):
                ready = self._prepared(sample)
            self._keep(ready)
            yield ready

    def _prepared(self, sample: Sample) -> Sample | Broken:
        try:
            image = self._prepare(sample.image)
        except (ValueError, MemoryError, OSError) as error:
            return Broken(sample.id, sample.name, str(error) or type(error).__name__)
        return Sample(sample.id, sample.name, image, sample.label)

    def _keep(self, sample: Sample | Broken) -> None:
        if self._cache is None:
            return
        # Taken to be as large as the rest, so that a large set is not kept halfway.
        size = sample.image.nbytes if isinstance(sample, Sample) else 0
        if size * len(self.ids) > _CACHE_BYTES:
            self._cache = None
        else:
            self._cache[sample.id] = sample


class TensorStream:
    """Images and labels already in memory."""

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, *, name: str, split: str
    ) -> None:
        if images.ndim != 4 or images.shape[1] not in (1, 3) or labels.shape != images.shape[:1]:
            last = images.ndim == 4 and images.shape[-1] in (1, 3)
            raise BadValueError(
                "expected images [N, C, H, W] with 1 or 3 channels and labels [N], got "
                f"{tuple(images.shape)} and {tuple(labels.shape)}"
                + ("; put the channels first" if last else "")
            )
        self.name, self.split, self.classes = name, split, None
        self.ids: Sequence[int] = range(len(images))
        self.cut = str(PART)
        self._images, self._labels = images.detach(), class_labels(labels)
        if images.numel() == 0:
            raise BadValueError(f"expected at least one image, got {tuple(images.shape)}")
        for low in range(0, len(images), PART):
            unit_images(self._images[low : low + PART])  # before anything is measured
        self.label_range = _range(self._labels)

    def digest(self) -> str:
        pixels = hashlib.sha256(f"{self._images.dtype}{tuple(self._images.shape)}".encode())
        _update(pixels, self._images)
        return digest_json([pixels.hexdigest(), self._labels.tolist()])

    def parts(self, batch_size: int, done: Collection[int]) -> Iterator[Part]:
        for index, start in enumerate(range(0, len(self.ids), PART)):
            if index not in done:
                stop = min(start + PART, len(self.ids))
                yield Part(index, self._batches(start, stop, batch_size))

    def _batches(self, start: int, stop: int, batch_size: int) -> Iterator[Batch]:
        for low in range(start, stop, batch_size):
            high = min(low + batch_size, stop)
            images = unit_images(self._images[low:high])
            yield Batch(images, self._labels[low:high], torch.arange(low, high))


class LoaderStream:
    """Batches of a `DataLoader` or any re-iterable of (images, labels); ids count in its order."""

    def __init__(self, loader: Iterable[Sequence[torch.Tensor]], *, name: str, split: str) -> None:
        self.name, self.split, self.classes = name, split, None
        self._loader = loader
        grouped = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
        samplers = (getattr(loader, "sampler", None), grouped)
        if any(isinstance(sampler, torch.utils.data.RandomSampler) for sampler in samplers):
            raise BadValueError(
                "the DataLoader shuffles, so that no two conditions would see the same images in "
                "the same order; build it with shuffle=False"
            )
        if isinstance(loader, Iterator):
            raise BadValueError(
                "expected a DataLoader or a list of batches, got an iterator that can be read "
                "only once; each condition reads the images anew"
            )

    @property
    def ids(self) -> Sequence[int]:
        return range(len(self._first.labels))

    @property
    def cut(self) -> str:
        return f"batches {digest_json(self._first.sizes)}"

    @property
    def label_range(self) -> tuple[int, int] | None:
        return min(self._first.labels), max(self._first.labels)

    def digest(self) -> str:
        first = self._first
        return digest_json([first.pixels, first.shapes, first.labels])

    @cached_property
    def _first(self) -> _FirstPass:
        """What one pass over the loader gave, against which later ones are held."""
        pixels, seen = hashlib.sha256(), _FirstPass()
        for batch in self._loader:
            if not isinstance(batch, list | tuple) or len(batch) < 2:
                raise BadValueError(
                    "expected batches (images, labels), got "
                    f"{type(batch).__name__}: give a loader of such pairs"
                )
            images, labels = unit_images(batch[0]), class_labels(batch[1])
            _update(pixels, images)
            shape = list(images.shape[1:])
            if seen.shapes[-1:] != [shape]:
                seen.shapes.append(shape)
            seen.batches.append(_digest_of(images))
            seen.sizes.append(len(labels))
            seen.labels += labels.tolist()
        if not seen.labels:
            raise BadValueError("expected at least one batch of images, got none")
        seen.pixels = pixels.hexdigest()
        return seen

    def parts(self, batch_size: int, done: Collection[int]) -> Iterator[Part]:
        # One part a batch of the loader: its own size is kept, whatever `batch_size` says.
        start, known = 0, self._first.batches
        for index, (images, labels, *_) in enumerate(self._loader):
            ids = torch.arange(start, start + len(labels))
            start += len(labels)
            if index not in done:
                ready = unit_images(images)
                if known[index : index + 1] != [_digest_of(ready)]:
                    raise ChangedInputError(
                        "the loader gave other images than when it was read before: it shuffles "
                        "or augments, so that no two conditions would see the same; build one "
                        "that does neither"
                    )
                yield Part(index, iter([Batch(ready, class_labels(labels), ids)]))


@dataclass
class _FirstPass:
    """What a loader gave when it was first read; no tensors, which would split the heap."""

    pixels: str = ""  # digest of all
    shapes: list[list[int]] = field(default_factory=list)  # [C, H, W], where it changes
    batches: list[str] = field(default_factory=list)  # digest of each
    sizes: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def class_labels(labels: torch.Tensor) -> torch.Tensor:
    """Check and convert to int64 [N]."""
    truth = torch.as_tensor(labels)
    whole = not (truth.is_floating_point() or truth.is_complex() or truth.dtype == torch.bool)
    if truth.ndim != 1 or not whole:
        raise BadValueError(
            "expected labels as whole numbers [N], the index of each image's class, got "
            f"{truth.dtype} {tuple(truth.shape)}"
        )
    return truth.to(torch.int64)


def unit_images(images: torch.Tensor) -> torch.Tensor:
    """Check and convert to float32 in [0, 1]; uint8 is divided by 255.

    Rounding slack of 1e-6 is clamped; more is refused.
    """
    if not isinstance(images, torch.Tensor):
        raise BadTypeError(f"expected images as a tensor, got {type(images).__name__}")
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.dtype.is_floating_point:
        raise BadValueError(f"expected float images in [0, 1] or uint8, got {images.dtype}")
    if images.numel() == 0:
        raise BadValueError(f"expected images with pixels, got {tuple(images.shape)}")
    images = images.detach()
    low, high = float(images.min()), float(images.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        hint = "divide by 255?" if high > 2 else "is the normalization applied already?"
        if math.isnan(low):
            hint = "some pixels are NaN"
        raise BadValueError(f"images must be in [0, 1], got [{low:.4g}, {high:.4g}]; {hint}")
    return images.float().clamp(0, 1)


def batched(
    samples: Iterable[Sample | Broken], batch_size: int, broken: list[Broken]
) -> Iterator[Batch]:
    """Group samples of one shape into batches; unreadable ones are put into `broken`."""
    buckets: dict[tuple[int, ...], list[Sample]] = {}
    for sample in samples:
        if isinstance(sample, Broken):
            broken.append(sample)
            continue
        bucket = buckets.setdefault(sample.image.shape, [])
        bucket.append(sample)
        if len(bucket) == batch_size:
            yield _collate(buckets.pop(sample.image.shape))
    for bucket in buckets.values():
        yield _collate(bucket)


def _collate(samples: list[Sample]) -> Batch:
    pixels = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return Batch(
        images=pixels.permute(0, 3, 1, 2).contiguous().float() / 255,
        labels=torch.tensor([sample.label for sample in samples]),
        ids=torch.tensor([sample.id for sample in samples]),
    )


def ahead(items: Iterator[T], count: int) -> Iterator[T]:
    """Iterate `items` in a thread, at most `count` ahead; an error there is raised here."""
    reader = _Reader(items, count)
    reader.start()
    try:
        while True:
            kind, item = reader.line.get()
            if kind == "error":
                raise item
            if kind == "end":
                return
            yield item
    finally:
        reader.stop.set()
        reader.join()


class _Reader(threading.Thread):
    """Reads ahead until the items end or its owner sets `stop`."""

    def __init__(self, items: Iterator[Any], count: int) -> None:
        super().__init__(daemon=True)
        self._items = items
        self.line: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=count)
        self.stop = threading.Event()

    def run(self) -> None:
        try:
            for item in self._items:
                if not self._put("item", item):
                    return
        except BaseException as error:  # noqa: BLE001 - carried over to the owner's thread
            self._put("error", error)
        else:
            self._put("end", None)

    def _put(self, kind: str, item: Any) -> bool:
        while not self.stop.is_set():
            try:
                self.line.put((kind, item), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def _range(labels: torch.Tensor) -> tuple[int, int] | None:
    return (int(labels.min()), int(labels.max())) if len(labels) else None


def _digest_of(images: torch.Tensor) -> str:
    digest = hashlib.sha256()
    _update(digest, images)
    return digest.hexdigest()


def _update(digest: Any, array: torch.Tensor) -> None:
    digest.update(array.detach().cpu().contiguous().numpy().data)
