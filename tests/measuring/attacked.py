"""Small attacked measurements that the tests of this folder share."""

from __future__ import annotations

import torch

import holdfast
from helpers import Textured, pictures
from holdfast.records import Store

COUNT = 24
MODEL = Textured()
IMAGES = torch.from_numpy(pictures(COUNT)).permute(0, 3, 1, 2).float() / 255
with torch.no_grad():
    LABELS = MODEL(IMAGES).argmax(1)
LABELS[5] = (LABELS[5] + 1) % 5  # one is wrong from the start
DATA = (IMAGES, LABELS)
CURVE = "pgd(eps=[0.002, 0.004, 0.02], steps=4)"  # breaks half, most and all of them
WEAK = "pgd(eps=0.002, steps=4)"


def measure(perturb, *, model=MODEL, data=DATA, **options):
    """Measure the small data on one CPU."""
    return holdfast.measure(model, data, perturb, **{"device": "cpu", **options})


def row(results, place=-1):
    """The accuracy of a condition, by place: 0 is clean."""
    return results.measurements.filter(metric="accuracy").row(place, named=True)


def attacked(results, place=-1):
    """Samples of a condition, by place."""
    return list(results.samples.values())[place]


def stored(path):
    """Samples of all runs of a store, by condition."""
    store = Store.existing(path)
    frame = store.measurements().filter(metric="accuracy")
    return {one["condition"]: store.samples(one["run_id"]) for one in frame.iter_rows(named=True)}
