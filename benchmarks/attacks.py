"""Claim: AutoAttack's verdict at a fraction of the evaluations and of the time.

Peer: pyautoattack (the fork of fra31/auto-attack on the package index), `standard`, in the same
process settings, on the same images and the same classifier. Ours: the same attacks through the
engine, on the search copy of the classifier, every success confirmed by the classifier itself.
An evaluation is one image through the network; a forward pass with its gradient counts once.
Padding, confirmations, checks and the clean pass are in our count.

    python benchmarks/attacks.py --model FILE.py:FUNCTION --weights FILE --data npz:FILE
        [--n 1000] [--norm linf] [--eps 8/255] [--threads 1] [--peer PATH] [--no-peer]

`--peer` names a folder to import pyautoattack from, where it is not installed beside the project.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import sys
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.data import Sample, open_dataset
from holdfast.measuring import Options
from holdfast.measuring.seeing import Seeing
from holdfast.models import Classifier, load_model
from holdfast.perturb.attacks.run import AttackRun
from holdfast.perturb.base import Batch
from holdfast.perturb.conditions import parse_conditions

_PEER_BATCH = 250  # its default
_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


@dataclass
class Counted:
    """A classifier that counts the images it is shown."""

    call: Any
    rows: int = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.rows += len(images)
        return self.call(images)


@dataclass
class Figures:
    """What one side did."""

    rows: int = 0
    seconds: float = 0.0
    robust: set[int] = field(default_factory=set)
    budgets: dict[str, set[int]] = field(default_factory=dict)  # passes of standing samples


def main() -> None:
    """Print evaluations, seconds and verdicts of both sides, the floor, and the ratios."""
    options = _options()
    torch.set_num_threads(options.threads)
    classifier = load_model(options.model, weights=options.weights)
    images, labels = _images(options)
    spec = f"autoattack(norm={options.norm}, eps={options.eps})"
    ours = _ours(classifier, images, labels, spec)
    peer = Figures() if options.no_peer else _peer(classifier, images, labels, options)
    _check_budgets(ours, spec)
    count = len(labels)
    print(f"{options.model} {spec}, {count} images, {options.threads} thread(s)")
    print("side | evaluations | per image | seconds | robust accuracy")
    print("--- | ---: | ---: | ---: | ---:")
    for name, side in (("ours", ours), ("pyautoattack", peer)):
        if side.rows:
            print(
                f"{name} | {side.rows:,} | {side.rows / count:.1f} | {side.seconds:.2f} | "
                f"{100 * len(side.robust) / count:.1f} %"
            )
    floor = _floor(classifier, images, labels, ours)
    print(f"floor: {floor:,} evaluations; ours / floor {ours.rows / floor:.2f}")
    if peer.rows:
        print(f"ours / peer: evaluations 1/{peer.rows / ours.rows:.1f}, ", end="")
        print(f"time {ours.seconds / peer.seconds:.3f} (1/{peer.seconds / ours.seconds:.1f})")
        print(f"robust for ours alone: {sorted(ours.robust - peer.robust)}, ", end="")
        print(f"for the peer alone: {sorted(peer.robust - ours.robust)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--n", type=int, default=1000, help="the first N images")
    parser.add_argument("--norm", default="linf", choices=_NORMS)
    parser.add_argument("--eps", default="8/255")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--no-peer", action="store_true")
    return parser.parse_args()


def _images(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    dataset = open_dataset(options.data, split="test")
    samples = dataset.read(list(range(min(options.n, len(dataset)))))
    whole = [sample for sample in samples if isinstance(sample, Sample)]
    pixels = torch.stack([torch.tensor(sample.image) for sample in whole])
    labels = torch.tensor([sample.label for sample in whole])
    return pixels.permute(0, 3, 1, 2).contiguous().float() / 255, labels


def _ours(classifier: Classifier, images: Tensor, labels: Tensor, spec: str) -> Figures:
    run = parse_conditions(spec)[1]
    started = time.perf_counter()
    seeing = Seeing(classifier, Options())
    judge, search = Counted(seeing), Counted(seeing.search)
    judge.search = search  # type: ignore[attr-defined]  # what attacks look for
    found = Figures()
    batches = [Batch(images, labels, torch.arange(len(labels)))]
    for outcome in run.run(batches, judge, seed=0):
        if not len(outcome.ids):
            continue
        stands = outcome.logits.argmax(1) == outcome.labels
        found.robust |= set(outcome.ids[stands].tolist())
        for name, column in outcome.extra.items():
            if name.startswith("evals_"):
                known = found.budgets.setdefault(name.removeprefix("evals_"), set())
                known |= set(column[stands].tolist())
    found.seconds = time.perf_counter() - started
    found.rows = judge.rows + search.rows
    return found


def _check_budgets(ours: Figures, spec: str) -> None:
    """A standing sample has had every attack's whole published budget."""
    (run,) = [part for part in parse_conditions(spec) if isinstance(part, AttackRun)]
    expected = dict(zip(run.members, run.budgets(classes=10), strict=True))
    for name, passes in ours.budgets.items():
        assert passes <= {expected[name]}, f"{name}: {passes}, published {expected[name]}"
    told = ", ".join(f"{name} {passes:,}" for name, passes in expected.items())
    print(f"passes of a standing sample: {told}")


def _peer(
    classifier: Classifier, images: Tensor, labels: Tensor, options: argparse.Namespace
) -> Figures:
    if options.peer is not None:
        sys.path.insert(0, str(options.peer))
    module = importlib.import_module("pyautoattack")
    counted = Counted(classifier)
    eps = float(Fraction(options.eps))
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        attack = module.AutoAttack(
            counted, norm=_NORMS[options.norm], eps=eps, version="standard", seed=0, device="cpu"
        )
        adversarial, _ = attack.run_standard_evaluation(images, labels, batch_size=_PEER_BATCH)
    seconds, rows = time.perf_counter() - started, counted.rows
    with torch.no_grad():
        right = torch.cat([classifier(some).argmax(1) for some in adversarial.split(_PEER_BATCH)])
    robust = set((right == labels).nonzero()[:, 0].tolist())
    return Figures(rows, seconds, robust)


def _floor(classifier: Classifier, images: Tensor, labels: Tensor, ours: Figures) -> int:
    """One clean pass, one gradient for each that fell, the whole budget for each that stands."""
    with torch.no_grad():
        clean = torch.cat([classifier(some).argmax(1) for some in images.split(_PEER_BATCH)])
    right = int((clean == labels).sum())
    budget = sum(max(passes, default=0) for passes in ours.budgets.values())
    return len(labels) + (right - len(ours.robust)) + budget * len(ours.robust)


if __name__ == "__main__":
    main()
