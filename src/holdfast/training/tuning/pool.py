"""Processes, or tasks of Ray, that each take a trial after the other."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

import torch

from holdfast.core.errors import MissingError, StoreError
from holdfast.core.processes import workers
from holdfast.training.tuning.journal import Trial

if TYPE_CHECKING:
    from holdfast.training.tuning.tuning import Start, Tuning


def finished(tuning: Tuning, start: Start) -> Iterator[Trial]:
    """Trials as they end, until there are no more.

    Raises:
        StoreError: A process was killed.
        MissingError: Ray is wanted and not installed.
    """
    if tuning.options.ray:
        yield from _with_ray(tuning, start)
    elif tuning.options.jobs > 1:
        yield from _with_processes(tuning, start)
    else:
        yield from iter(lambda: tuning.run_one(start), None)


def _with_processes(tuning: Tuning, start: Start) -> Iterator[Trial]:
    try:
        # Counts those that have begun: each takes the next accelerator.
        begun = multiprocessing.get_context("spawn").Value("i", 0)
        with workers(tuning.options.jobs, _begin, tuning, begun) as pool:
            waiting = {pool.submit(_work, start) for _ in range(tuning.options.jobs)}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for one in done:
                    trial = one.result()
                    if trial is not None:
                        waiting.add(pool.submit(_work, start))
                        yield trial
    except BrokenProcessPool as error:
        raise StoreError(
            f"a process that trained was killed, perhaps for its memory; nothing is lost: run the "
            f"same command again to go on in {tuning.folder}, with fewer --jobs if it was memory"
        ) from error


_WORKER: list[Tuning] = []  # of a worker process: what it was begun with


def _begin(tuning: Tuning, begun: Any) -> None:
    torch.set_num_threads(1)
    with begun.get_lock():
        place, begun.value = begun.value, begun.value + 1
    if torch.cuda.is_available():
        torch.cuda.set_device(place % torch.cuda.device_count())
    _WORKER[:] = [tuning]


def _work(start: Start) -> Trial | None:
    return _WORKER[0].run_one(start)


def _with_ray(tuning: Tuning, start: Start) -> Iterator[Trial]:
    """Each trial is a task; the cluster decides where it runs."""
    try:
        ray: Any = importlib.import_module("ray")  # large, and an extra
    except ImportError as error:
        raise MissingError(
            "running trials on a cluster needs Ray: pip install 'ray[default]'; without it, "
            "--jobs runs them in processes of this machine"
        ) from error
    if not ray.is_initialized():
        ray.init()
    task: Any = ray.remote(max_calls=1, num_gpus=1 if torch.cuda.is_available() else 0)(_one)
    waiting = [task.remote(tuning, start) for _ in range(tuning.options.jobs)]
    while waiting:
        (done, *_), waiting = ray.wait(waiting)
        trial = ray.get(done)
        if trial is not None:
            waiting.append(task.remote(tuning, start))
            yield trial


def _one(tuning: Tuning, start: Start) -> Trial | None:
    return tuning.run_one(start)
