"""Train and measure every cell of a design; what is finished is never done again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from holdfast.core.checks import check_whole
from holdfast.core.errors import BadValueError, StoreError
from holdfast.core.processes import cores, workers
from holdfast.data import Dataset, open_dataset
from holdfast.explain.causal.design import Cell, Design
from holdfast.measuring import Options, measure_runs, open_subject, plan
from holdfast.metrics.slope import robustness_slope
from holdfast.models import Classifier, load_model
from holdfast.models.small import StemCNN
from holdfast.models.sources import best_device, named_device
from holdfast.perturb.conditions import parse_conditions
from holdfast.records import Store
from holdfast.records.explanations import Trained
from holdfast.records.trainings import TRAINING_FILE, read_training
from holdfast.training import DivergedError, Stepped
from holdfast.training import Options as TrainingOptions
from holdfast.training.run import train

_TRAININGS, _STORE = "trainings", "store"
Told = Callable[[str], None]


@dataclass(frozen=True)
class Done:
    """A cell that is trained and measured.

    Attributes:
        cell: Which.
        trained: What came of it.
        seconds: It took, here and now.
        known: Whether its training was finished before.
        images: Test images that were measured; 0 where it failed.
        train_images: It was trained on.
    """

    cell: Cell
    trained: Trained
    seconds: float
    known: bool
    images: int
    train_images: int


def experiment(
    design: Design,
    folder: str | Path | None = None,
    *,
    device: str = "auto",
    jobs: int = 0,
    told: Told = lambda _: None,
) -> Iterator[Done]:
    """Yield each cell as it is trained and measured, in any order.

    Every training has a folder of its own below `folder/trainings`, which is a model for
    `holdfast measure --model`, and all measurements are in `folder/store`. The same call goes on
    with what is there. A training that diverges is a failed cell, and the others go on.

    Args:
        design: What to do.
        folder: Where it is kept; None keeps nothing.
        device: auto, cpu, cuda, cuda:1 or mps.
        jobs: Processes, each with one thread, so that numbers do not depend on their count; 0 is
            as many as there are cores on a CPU, and one on an accelerator.
        told: Called with the epoch that a cell is at, where there is one process.

    Raises:
        HoldfastError: Input that cannot be used; the cells finished before are kept.
    """
    check_whole("jobs", jobs, least=0, about="; 0 chooses")
    place = best_device() if device == "auto" else named_device(device)
    chosen = jobs or (cores() if place.type == "cpu" else 1)
    _check_data(design)
    with _folder(folder) as where:
        Store(where / _STORE)  # made once, before several processes look for it
        chosen = min(chosen, len(design.cells))
        if chosen > 1:
            yield from _together(design, where, device, chosen)
            return
        for cell in design.cells:
            with _one_thread():
                done = run_cell(design, cell, where, device, told)
            yield done


def _check_data(design: Design) -> None:
    """Open both sets, so that one that is not there ends it before any process starts."""
    trained = open_dataset(design.data, split=design.split, labels=design.labels)
    measured = _test_set(design)
    if len(measured.classes) > len(trained.classes):
        raise BadValueError(
            f"{design.data} has {len(trained.classes)} classes, and {measured.name}, which is "
            f"measured, has {len(measured.classes)}; give --test-data of the same classes"
        )


def _test_set(design: Design) -> Dataset:
    return open_dataset(
        design.test_data or design.data, split=design.test_split, labels=design.labels
    )


def run_cell(
    design: Design, cell: Cell, folder: Path, device: str, told: Told = lambda _: None
) -> Done:
    """Train and measure one cell, as far as that is not done.

    Raises:
        HoldfastError: Input that cannot be used.
    """
    began = time.monotonic()
    home = training_folder(folder, design, cell)
    known = (home / TRAINING_FILE).is_file() and read_training(home).status == "finished"
    try:
        _train(design, cell, home, device, told)
    except DivergedError as error:
        return _failed(cell, str(error), began)
    told(f"{cell.name}: measuring")
    classifier = load_model(str(home), device=device)
    curve, images, reason = _measure(design, cell, classifier, folder)
    if reason:
        return _failed(cell, reason, began)
    line = robustness_slope(list(curve), list(curve.values()))
    net = classifier.net
    gain, ratio = (
        (float(net.stem_gain().mean()), float(net.stem_ratio().mean()))
        if isinstance(net, StemCNN)
        else (float("nan"), float("nan"))
    )
    trained = Trained(
        stem=cell.stem,
        pool=cell.pool,
        seed=cell.seed,
        accuracies=tuple(curve.items()),
        slope=line.value,
        stem_gain=gain,
        stem_ratio=ratio,
    )
    count = read_training(home).images
    return Done(cell, trained, time.monotonic() - began, known, images, count)


def training_folder(folder: Path, design: Design, cell: Cell) -> Path:
    """Folder of a training; another recipe has another one."""
    digest = design.recipe(cell).digest[:8]
    return folder / _TRAININGS / f"stem{cell.stem}-{cell.pool}-seed{cell.seed}-{digest}"


def _train(design: Design, cell: Cell, home: Path, device: str, told: Told) -> None:
    recipe = design.recipe(cell)
    losses: list[float] = []
    for event in train(recipe, home, TrainingOptions(device=device)):
        if not isinstance(event, Stepped):
            continue
        losses.append(event.loss)
        if event.ends_epoch:
            mean = sum(losses[-event.batches :]) / len(losses[-event.batches :])
            told(f"{cell.name}: epoch {event.epoch}/{recipe.train.epochs}, loss {mean:.3f}")


def _measure(
    design: Design, cell: Cell, classifier: Classifier, folder: Path
) -> tuple[dict[float, float], int, str]:
    """Accuracy by sigma, over how many images, and why there is none."""
    dataset = _test_set(design)
    options = Options(study="causal")
    subject = open_subject(classifier, dataset, options, n=design.test_count, name=cell.name)
    sigmas = {"clean": 0.0} | {
        condition.spec: sigma
        for sigma in sorted(design.sigmas)
        for condition in parse_conditions(f"gaussian_noise(sigma={sigma!r})")
        if condition.spec != "clean"
    }
    runs = plan(subject, parse_conditions(list(sigmas)), options)
    rows = pl.concat(measure_runs(subject, runs, Store(folder / _STORE), options))
    failed = rows.filter(pl.col("status") != "ok")
    if len(failed):
        return {}, 0, str(failed["error"][0])
    accuracies = rows.filter(metric="accuracy")
    curve = {
        sigmas[row["condition"]]: float(row["value"]) for row in accuracies.iter_rows(named=True)
    }
    return dict(sorted(curve.items())), min(accuracies["count"].to_list(), default=0), ""


def _failed(cell: Cell, error: str, began: float) -> Done:
    trained = Trained(
        stem=cell.stem,
        pool=cell.pool,
        seed=cell.seed,
        accuracies=(),
        status="failed",
        error=error,
    )
    return Done(cell, trained, time.monotonic() - began, False, 0, 0)


@contextmanager
def _folder(folder: str | Path | None) -> Iterator[Path]:
    if folder is not None:
        yield Path(folder).expanduser()
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in one order, whatever the machine; the networks are too small for more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _together(design: Design, folder: Path, device: str, jobs: int) -> Iterator[Done]:
    """Cells in processes of their own."""
    try:
        with workers(jobs, _begin, design, folder, device) as pool:
            for future in as_completed([pool.submit(_work, cell) for cell in design.cells]):
                yield future.result()
    except BrokenProcessPool as error:
        raise StoreError(
            "a process that trained was killed, perhaps for its memory; finished trainings are "
            f"kept: the same command goes on in {folder}, with fewer --jobs if it was memory"
        ) from error


_WORKER: list[tuple[Design, Path, str]] = []  # of a worker process: what it was begun with


def _begin(design: Design, folder: Path, device: str) -> None:
    torch.set_num_threads(1)
    _WORKER[:] = [(design, folder, device)]


def _work(cell: Cell) -> Done:
    design, folder, device = _WORKER[0]
    return run_cell(design, cell, folder, device)
