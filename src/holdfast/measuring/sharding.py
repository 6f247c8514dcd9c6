"""One measurement on several devices: each takes the next batch when it has room for it.

Every device runs the perturbation over its own share of the stream, in a thread of its own. The
caller's thread alone touches the stream and the outcomes, so neither needs a lock.
"""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.models import Classifier
from holdfast.models.classifier import FOREIGN_ERRORS
from holdfast.models.sources import named_device
from holdfast.perturb.base import Batch, Outcome, Perturbation


@dataclass(frozen=True)
class Replica:
    """The measured model on one device."""

    classifier: Callable[[torch.Tensor], torch.Tensor]
    device: torch.device


def split_devices(text: str) -> list[str]:
    """Devices of a text such as `cuda:0,cuda:1`, in order.

    Raises:
        BadValueError: None at all.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise BadValueError("device must be auto, cpu, cuda, mps or several such as cuda:0,cuda:1")
    return names


def replicate(classifier: Classifier, device: str) -> Classifier:
    """Copy a model onto another device.

    Raises:
        BadTypeError: The model cannot be copied.
        BadValueError: No such device.
    """
    place = named_device(device)
    try:
        net = copy.deepcopy(classifier.net)
    except FOREIGN_ERRORS as error:
        raise BadTypeError(
            f"{classifier.name} cannot be copied to {device} ({error}); measure it on one device"
        ) from error
    return Classifier(net, classifier.card, place)


def run_sharded(
    perturbation: Perturbation, batches: Iterator[Batch], replicas: Sequence[Replica], seed: int
) -> Generator[Outcome, None, None]:
    """Yield the outcomes of all batches, whichever replica they came from.

    Raises:
        BaseException: The first that a replica raises; the others are told to stop.
    """
    if len(replicas) == 1:
        yield from perturbation.run(batches, replicas[0].classifier, seed)
        return
    inbox: queue.Queue[tuple[_Shard, str, Any]] = queue.Queue()
    shards = [_Shard(perturbation, replica, seed, inbox) for replica in replicas]
    for shard in shards:
        shard.start()
    try:
        yield from _served(inbox, batches, len(shards))
    finally:
        for shard in shards:
            shard.stop()
        for shard in shards:
            shard.join()


def _served(
    inbox: queue.Queue[tuple[_Shard, str, Any]], batches: Iterator[Batch], working: int
) -> Iterator[Outcome]:
    """Give batches to those who ask, until all shards have ended."""
    while working:
        shard, kind, item = inbox.get()
        if kind == "ask":
            shard.given.put(next(batches, None))
        elif kind == "outcome":
            yield item
        elif kind == "error":
            raise item
        else:
            working -= 1


class _Stopped(Exception):  # noqa: N818 - no error: how a shard's stream ends early
    pass


class _Watched:
    """A model, or the twin that attacks search, which ends its thread when that is to stop."""

    def __init__(
        self, model: Callable[[torch.Tensor], torch.Tensor], stop: threading.Event
    ) -> None:
        self._model = model
        self._stop = stop

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        if self._stop.is_set():
            raise _Stopped
        return self._model(images)

    @cached_property
    def search(self) -> _Watched:
        """The twin; absent where the model has none."""
        model: Any = self._model
        return _Watched(model.search, self._stop)


class _Shard(threading.Thread):
    """Runs the perturbation on one replica, asking the caller's thread for batches."""

    def __init__(
        self,
        perturbation: Perturbation,
        replica: Replica,
        seed: int,
        inbox: queue.Queue[tuple[_Shard, str, Any]],
    ) -> None:
        super().__init__(daemon=True)
        self.given: queue.Queue[Batch | type[_Stopped] | None] = queue.Queue()
        self._perturbation = perturbation
        self._replica = replica
        self._seed = seed
        self._inbox = inbox
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End at the next batch, outcome or call of the model, whichever comes first."""
        self._stopped.set()
        self.given.put(_Stopped)

    def run(self) -> None:
        watched = _Watched(self._replica.classifier, self._stopped)
        run = self._perturbation.run(self._batches(), watched, self._seed)
        try:
            for outcome in run:
                if self._stopped.is_set():
                    break
                self._inbox.put((self, "outcome", outcome))
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            self._inbox.put((self, "error", error))
        self._inbox.put((self, "end", None))

    def _batches(self) -> Iterator[Batch]:
        while True:
            self._inbox.put((self, "ask", None))
            batch = self.given.get()
            if not isinstance(batch, Batch):
                if batch is None:
                    return
                raise _Stopped
            yield replace(batch, images=batch.images.to(self._replica.device))
