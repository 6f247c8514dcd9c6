"""Which architectures and which images untrained networks are looked at with."""

from __future__ import annotations

import numpy as np
import torch

from holdfast.core.errors import BadValueError
from holdfast.data import Broken, open_dataset
from holdfast.models.sources import named_device
from holdfast.search.proxies.base import Batch
from holdfast.search.proxies.run import batch_of
from holdfast.search.spaces.base import Space
from holdfast.search.tables.table import BenchmarkTable


def draw_architectures(
    space: Space, count: int, *, seed: int = 0, table: BenchmarkTable | None = None
) -> list[str]:
    """Draw different classes of architectures, recorded ones where there is a table.

    Fewer come back where there are no more.
    """
    rng = np.random.default_rng(seed % 2**64)
    if table is not None:
        known = dict.fromkeys(map(space.canonical, table.frame["arch"].unique(maintain_order=True)))
        listed = sorted(known)
        places = rng.permutation(len(listed))[:count]
        return [listed[place] for place in places]
    drawn: dict[str, None] = {}
    for _ in range(100 * count):
        if len(drawn) == count:
            break
        drawn[space.canonical(space.sample(rng))] = None
    return list(drawn)


def open_batch(
    data: str, *, split: str = "train", count: int, seed: int = 0, device: str = "auto"
) -> tuple[Batch, int]:
    """First `count` images of a permutation of a data set, and its number of classes.

    Args:
        data: As `open_dataset` takes it.
        split: Of the data set.
        count: Images.
        seed: Decides which images, and weights and draws later.
        device: auto, cpu, cuda, ...

    Raises:
        UnknownNameError: No such data set.
        BadValueError: Fewer images than asked for, one that cannot be read, or several sizes.
    """
    dataset = open_dataset(data, split=split)
    if len(dataset) < count:
        raise BadValueError(
            f"{data} has {len(dataset)} images in its {split} split, {count} are wanted: look at "
            "fewer, as in nwot(batch=16) or te_nas(images=64)"
        )
    rng = np.random.default_rng(seed % 2**64)
    places = sorted(int(place) for place in rng.permutation(len(dataset))[:count])
    pixels, labels = [], []
    for sample in dataset.read(places):
        if isinstance(sample, Broken):
            raise BadValueError(f"{sample.name} cannot be read: {sample.reason}")
        pixels.append(torch.from_numpy(np.ascontiguousarray(sample.image)).permute(2, 0, 1))
        labels.append(sample.label)
    if len({one.shape for one in pixels}) > 1:
        raise BadValueError(f"{data} has images of several sizes; give one with a single size")
    found = "cuda" if torch.cuda.is_available() else "cpu"
    where = named_device(found if device == "auto" else device)
    images = torch.stack(pixels).to(where)
    return batch_of(images, torch.tensor(labels, device=where), seed=seed), len(dataset.classes)
