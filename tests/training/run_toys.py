"""Small runs in folders: images without much to learn, so that scores go up and down."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import load_file

from holdfast.training.events import Options
from holdfast.training.reading import recipe_of
from holdfast.training.run import train

NET_FILE = '''
import os
import signal

import torch
from torch import nn


def made(*layers):
    found = nn.Sequential(*layers)
    found.input_size = 8
    return found


class Signals(nn.Module):
    """Sends signals to its own process while it trains: TEST_SIGNALS="SIGINT@3,SIGINT@3"."""

    passes = 0

    def forward(self, images):
        self.passes += self.training
        for text in filter(None, os.environ.get("TEST_SIGNALS", "").split(",")):
            name, _, place = text.partition("@")
            place, _, rank = place.partition("#")
            if rank and rank != os.environ.get("RANK"):
                continue
            if self.training and self.passes == int(place):
                os.kill(os.getpid(), getattr(signal, name))
        return images


def net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return made(Signals(), nn.Flatten(), nn.Linear(192, 6), nn.ReLU(), nn.Linear(6, 2))


def norms():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return made(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
            nn.Linear(144, 2),
        )
'''

ROBUST = "adversarial(attack=pgd(eps=0.02, steps=2))"


def write_files(folder, count=40, seed=0):
    """Write `net.py` and `a.npz`: 8 x 8 pixels of noise, one class a little brighter."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = rng.integers(0, 240, (count, 8, 8, 3)) + 15 * labels[:, None, None, None]
    np.savez(folder / "a.npz", x=pixels.astype(np.uint8), y=labels)
    (folder / "net.py").write_text(NET_FILE)


def body(folder, **sections):
    """Sections of a recipe for what `write_files` has written; 30 images, 4 steps an epoch."""
    found = {
        "data": {"name": f"npz:{folder / 'a.npz'}", "validation": 0.25},
        "model": {"name": f"{folder / 'net.py'}:net", "part": "all"},
        "train": {"epochs": 3, "batch_size": 8, "objective": "cross_entropy"},
        "validate": {"train_n": 0},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "schedule": {"kind": "constant"},
    }
    for name, value in sections.items():
        found[name] = {**found.get(name, {}), **value} if isinstance(value, dict) else value
    return found


def recipe_in(folder, **sections):
    """The same as a recipe; a model is named by its function in `net.py`."""
    found = body(folder, **sections)
    name = found["model"]["name"]
    if ":" not in name:
        found["model"]["name"] = f"{folder / 'net.py'}:{name}"
    return recipe_of(found)


def run(recipe, folder, **options):
    """All events of a run."""
    return list(train(recipe, folder, Options(device="cpu", **options)))


def after(steps, reason="interrupted by a test"):
    """For `Options.stopping`: a reason after so many steps of one session."""
    asked = []

    def stopping():
        asked.append(1)
        return reason if len(asked) >= steps else ""

    return stopping


def left(folder):
    """All that must not depend on whether a run was interrupted."""
    rows = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
    told = json.loads((folder / "run.json").read_text())
    kept = "status", "reason", "steps", "epochs", "best_epoch", "best_score", "flags", "notes"
    files = {
        name: {key: value.tobytes() for key, value in load_file(folder / name).items()}
        for name in ("best.safetensors", "last.safetensors")
        if (folder / name).exists()
    }
    return {
        "curves": [{**row, "seconds": None} for row in rows],
        "model": (folder / "model.json").read_text() if (folder / "model.json").exists() else "",
        **{name: told[name] for name in (*kept, "weights_digest")},
        **files,
    }
