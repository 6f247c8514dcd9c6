"""Small trainings, written by hand through the real writers."""

from __future__ import annotations

import math

import numpy as np

from holdfast.records import Store
from holdfast.records.trainings import AFTER, BEFORE, Training, add_curve, write_training
from report.make_store import add_run, samples_of

ATTACK = "pgd(norm=linf, eps=4/255, steps=10)"
CONDITIONS = ("clean", "gaussian_noise(sigma=0.1)", "fog(severity=3)", "contrast(severity=5)")
RECIPE = {
    "data": {"name": "digits", "split": "train", "validation": 0.1, "size": None},
    "model": {"name": "cnn_a", "pretrained": False, "mean": [0.5], "std": [0.25]},
    "protocol": {"kind": "full", "probe_epochs": None},
    "augment": ["flip", "crop(padding=4)"],
    "train": {"objective": "trades(attack=pgd(eps=4/255), beta=6)", "epochs": 10, "ema": None},
    "optimizer": {"kind": "adamw", "lr": 0.001},
    "seed": 0,
}


def make_training(**changes):
    """A training for robustness that went as planned."""
    settings = {
        "digest": "d1" * 32,
        "recipe": RECIPE,
        "changed": ("train.objective", "augment", "model.name"),
        "status": "finished",
        "model": "cnn_a",
        "data": "digits",
        "classes": 10,
        "images": 9000,
        "validation_images": 1000,
        "steps": 710,
        "epochs": 10.0,
        "seconds": 355.0,
        "best_epoch": 8.0,
        "best_score": 0.4,
        "score": f"robust accuracy under {ATTACK}",
        "command": "holdfast train run recipe.yaml --out here",
        "version": "0.3.0",
        "started": "2026-11-27T02:58:42+00:00",
        "versions": {"torch": "2.15.0", "python": "3.12.1"},
        "machine": {"system": "Linux", "cores": 2},
        "weights_digest": "aa" * 32,
        "data_fingerprint": "fe" * 32,
        "start_digest": "5d" * 32,
    }
    return Training(**{**settings, **changes})


def make_rows(epochs=10, *, best=8, height=0.0):
    """Rows of curves: robust validation accuracy is highest at `best`."""
    rows = []
    for epoch in range(epochs + 1):
        grown = 1 - math.exp(-epoch / 3)
        robust = 0.05 + 0.35 * grown - (0.02 * (epoch - best) if epoch > best else 0)
        clean = 0.1 + (0.6 + height) * grown
        row = {"epoch": float(epoch), "step": 71 * epoch, "seconds": 35.5 * epoch}
        row |= {"train_accuracy": round(256 * min(1, clean + 0.05)) / 256, "train_n": 256}
        row |= {"train_robust": round(256 * (robust + 0.05)) / 256}
        row |= {"validation_accuracy": round(500 * clean) / 500, "validation_n": 500}
        row |= {"validation_robust": round(500 * robust) / 500}
        if epoch:
            row |= {"loss": 2.3 - 1.2 * grown, "gradient_norm": 1.5 - 0.1 * epoch}
            row |= {"learning_rate": 5e-4 * (1 + math.cos(math.pi * epoch / epochs))}
            row |= {"radius_factor": min(1.0, epoch / 5)}
        rows.append(row)
    return rows


def flipped(samples, share, seed):
    """The samples with some of the wrong ones put right, as a training does."""
    correct = samples["correct"].to_numpy() | (
        np.random.default_rng(seed).random(len(samples)) < share
    )
    return samples.with_columns(correct=correct)


def make_folder(folder, *, training=None, rows=None, shares=(0.3, 0.3, 0.0, 0.4)):
    """Folder of a training with four conditions measured; `shares` of wrong ones are put right."""
    write_training(folder, training or make_training())
    for row in make_rows() if rows is None else rows:
        add_curve(folder, row)
    store = Store(folder / "store")
    for place, (condition, share) in enumerate(zip(CONDITIONS, shares, strict=True)):
        before = samples_of(2, condition, 200)
        add_run(store, BEFORE, condition, before)
        after = flipped(before, share, place)
        add_run(store, AFTER, condition, after, weights_digest="aa" * 32)
    return folder
