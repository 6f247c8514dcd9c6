"""Where a step is computed: devices and precision, their memory, and their random generators."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import nn
from torch.optim import Optimizer

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.models import Classifier
from holdfast.training.recipe import Recipe

_PATIENCE = timedelta(hours=12)
_FULL = ("out of memory", "can't allocate memory")  # what torch says on devices that say no more


def accelerator_for(recipe: Recipe, classifier: Classifier) -> Accelerator:
    """One process, or this one of several that `accelerate launch` has started."""
    kinds = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
    if recipe.train.precision == "float16" and classifier.device.type != "cuda":
        raise BadValueError(
            f"train.precision=float16 needs a CUDA device, and this one is {classifier.device}; "
            "take bfloat16 or float32"
        )
    precision = kinds[recipe.train.precision]
    _forget(precision, classifier.device.type)
    # Some objectives pass the network twice before they go back, which broadcasts would disturb.
    parallel = DistributedDataParallelKwargs(broadcast_buffers=False)
    # The others wait while the first one measures.
    patient = InitProcessGroupKwargs(timeout=_PATIENCE)
    return Accelerator(
        mixed_precision=precision,
        cpu=classifier.device.type == "cpu",
        # One process leaves the network where it is: on the second GPU, perhaps.
        device_placement=int(os.environ.get("WORLD_SIZE", "1")) > 1,
        kwargs_handlers=[parallel, patient],
    )


def _forget(precision: str, device: str) -> None:
    """Let one process train at several precisions and on several devices, one after another."""
    if not AcceleratorState._shared_state:  # noqa: SLF001
        return
    state = AcceleratorState()
    moves = state.device.type != device and state.num_processes == 1
    if moves or state.mixed_precision != precision:
        AcceleratorState._reset_state(reset_partial_state=moves)  # noqa: SLF001


def own_device(device: str) -> str:
    """Of this process: where several are started on one machine, each has a GPU of its own."""
    place = os.environ.get("LOCAL_RANK")
    if place is None or device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{int(place) % torch.cuda.device_count()}"


def wrapped(accelerator: Accelerator, module: nn.Module, optimizer: Optimizer) -> Any:
    """Module and optimizer as accelerate prepares them."""
    with warnings.catch_warnings():
        # Accelerate does not know torch's newer name of this setting.
        warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
        return accelerator.prepare(module, optimizer)


def summed(accelerator: Accelerator, value: float) -> float:
    """A number, added up over all processes, which must all call this."""
    if accelerator.num_processes == 1:
        return value
    mine = torch.tensor(value, dtype=torch.float32, device=accelerator.device)
    return float(accelerator.reduce(mine, reduction="sum"))


def check_shares(images: int, size: int, processes: int) -> None:
    """Refuse batches of which a process would get nothing.

    Raises:
        BadValueError: The smallest batch of an epoch has fewer images than there are processes.
    """
    rest = images % size
    least = rest if rest > 1 else min(size, images)  # a single one joins the batch before it
    if least < processes:
        raise BadValueError(
            f"{processes} processes cannot share a batch of {least}, which {images} images in "
            f"batches of {size} leave; take another train.batch_size, or fewer processes"
        )


def machine(device: torch.device, processes: int) -> dict[str, str | int]:
    """What the record says of where a run was computed."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": str(device),
        "processor": name,
        "processes": processes,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def smaller_portion(before: int, recipe: Recipe, error: RuntimeError) -> int:
    """Half of the images that memory did not hold.

    Raises:
        BadValueError: There is no half, or the objective needs its batch whole.
    """
    if getattr(recipe.objective, "couples", False):
        raise BadValueError(
            f"memory does not hold a batch of {before} images with their views, and "
            f"{recipe.objective.name} needs it whole; lower train.batch_size"
        ) from error
    if before <= 1:
        raise BadValueError(
            "memory does not hold even one image of this size with its gradients; take a "
            "larger device, smaller images (data.size) or a smaller model"
        ) from error
    return (before + 1) // 2


def is_full(error: RuntimeError) -> bool:
    """Whether an error says that memory is full."""
    return isinstance(error, torch.OutOfMemoryError) or any(s in str(error) for s in _FULL)


@contextmanager
def said_when_full() -> Iterator[None]:
    """Say what helps where memory is full and no smaller portion would do.

    Raises:
        BadValueError: Memory is full.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not is_full(error):
            raise
        raise BadValueError(
            "memory does not hold the network with its images; take fewer images (data.n, "
            "validate.n), smaller ones (data.size), a smaller model or a larger device"
        ) from error


@contextmanager
def keyed(seed: int, step: int, replay: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators, which dropout draws from, and put them back afterwards."""
    place = torch.tensor([step * 1000 + replay])
    rank = int(os.environ.get("RANK", "0"))  # each process has images of its own
    stream = f"training step {rank}" if rank else "training step"
    word = int(keys_for(place, seed=seed, stream=stream).bits(1).item())
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(
            word
        )  # `torch.manual_seed` takes a hundred times longer
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(word)
        yield
