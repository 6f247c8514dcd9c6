"""A runner whose best settings are known, and which counts its work."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from dataclasses import dataclass

from holdfast.core.errors import BadValueError
from holdfast.training.reading import recipe_of
from holdfast.training.tuning import space_of

BEST = 1e-3  # learning rate of the best trial


def recipe(epochs=8, seed=0, **sections):
    """No attack, so that the score is validation_accuracy."""
    return recipe_of(
        {
            "data": {"name": "cifar10"},
            "model": {"name": "cnn_a"},
            "train": {"epochs": epochs},
            "seed": seed,
            **sections,
        }
    )


SPACE = space_of(
    {"optimizer.lr": {"log": [1e-6, 1.0]}, "optimizer.weight_decay": {"log": [1e-6, 1e-2]}}
)


def accuracy(one, epoch):
    """Of a recipe after some epochs: order of trials is the same at every epoch."""
    lr, decay = one.optimizer.lr, one.optimizer.weight_decay
    quality = 1 - (math.log10(lr / BEST) / 4) ** 2 - (math.log10(decay / 1e-4) / 20) ** 2
    return 0.9 * quality * (1 - math.exp(-epoch / 3))


@dataclass(frozen=True)
class Toy:
    """Keeps its rows in its folder and goes on after them, as a real run does.

    Attributes:
        seconds: Of an epoch.
        fails_above: Learning rate from which training diverges in the second epoch.
        kill_at: Kill the process with SIGKILL where the folder of all trials has seen so many
            epochs: before the row is handed over.
    """

    seconds: float = 0.0
    fails_above: float = math.inf
    kill_at: int = 0

    def __call__(self, one, folder):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "rows.jsonl"
        rows = [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []
        yield {"epoch": 0.0, "validation_accuracy": 0.1, "loss": None}
        yield from rows
        for epoch in range(len(rows) + 1, one.train.epochs + 1):
            time.sleep(self.seconds)
            if epoch == 2 and one.optimizer.lr >= self.fails_above:
                raise BadValueError("loss is no number any more")
            found = accuracy(one, epoch)
            row = {"epoch": float(epoch), "validation_accuracy": found, "loss": 1 - found}
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            if self.kill_at and work(folder.parents[1]) == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield row


def work(folder):
    """Epochs that all trials have taken."""
    return sum(len(p.read_text().splitlines()) for p in folder.glob("trials/*/rows.jsonl"))
