"""Claim: at equal settings our attacks agree with the peers', or find smaller perturbations.

Peers: torchattacks 3.5.1, foolbox 3.3.4 and pyautoattack 0.2, on the same images and the same
classifier. Ours through `holdfast.craft`, on the search copy of the classifier, every success
confirmed by the classifier itself.

Robust accuracy: ours counts a sample as fallen where any point that the attack looks at is
wrong, the peers give back the last point; so both are told of the peers, "last" as they give it
back and "any" of all points that they look at. Both difference columns are ours minus theirs, in
points; "any" is like with like. Cross-entropy in float32 rounds to zero where a network is sure,
and its gradient with it; ours is computed in float64. `--exact` hands the peers' losses logits in
float64 too. Minimum norms: means over correctly classified images for which both sides found
something.

    python benchmarks/attack_parity.py --model FILE.py:FUNCTION --weights FILE --data npz:FILE
        [--n 200] [--minimum-n 50] [--eps 8/255] [--l2 1/2] [--steps 40] [--exact] [--peer PATH]

`--peer` names a folder to import the peers from, where they are not installed beside the project.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import holdfast
from holdfast.data import Sample, open_dataset
from holdfast.measuring import Options
from holdfast.measuring.seeing import Seeing
from holdfast.models import Classifier, load_model
from holdfast.perturb.attacks.run import AttackRun
from holdfast.perturb.base import Batch
from holdfast.perturb.conditions import parse_conditions

_BATCH = 250  # images that a peer is given at a time
_MOST = 1.05  # of a peer's mean norm
_SQUARE_QUERIES = 300
_FGSM_PARTS = Fraction(1, 8), Fraction(1, 2), Fraction(1)  # of eps
_NOT_NEEDED = {"git": "Repo", "requests": "get"}  # imported by peers for their downloads alone
_WHOLE = 1e3  # a radius that no image reaches
Attacked = Callable[[Tensor, Tensor], Tensor]


class Watched(nn.Module):
    """The classifier as peers see it; remembers which rows of a batch were ever wrong."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self._call = classifier
        self.device_of = nn.Parameter(torch.zeros(()))  # where torchattacks reads the device
        self._labels = torch.empty(0, dtype=torch.int64)
        self.fallen = torch.empty(0, dtype=torch.bool)
        self.exact = False
        self.eval()

    def watch(self, labels: Tensor) -> None:
        """Begin with a new batch."""
        self._labels, self.fallen = labels, torch.zeros(len(labels), dtype=torch.bool)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]; notes what is wrong."""
        logits: Tensor = self._call(images)
        if len(images) == len(self._labels):
            self.fallen |= logits.detach().argmax(1) != self._labels
        return logits.double() if self.exact else logits


class Peers:
    """Both sides' attacks on one classifier."""

    def __init__(self, classifier: Classifier, path: Path | None) -> None:
        if path is not None:
            sys.path.insert(0, str(path))
        for name, attribute in _NOT_NEEDED.items():
            if importlib.util.find_spec(name) is None:
                stand_in = types.ModuleType(name)
                setattr(stand_in, attribute, None)
                sys.modules[name] = stand_in
        warnings.filterwarnings("ignore")  # theirs, of their imports
        self.torchattacks: Any = importlib.import_module("torchattacks")
        self.foolbox: Any = importlib.import_module("foolbox")
        self.fab: Any = importlib.import_module("pyautoattack.fab_pt").FABAttack_PT
        self.model = Watched(classifier)
        self.wrapped = self.foolbox.PyTorchModel(self.model, bounds=(0, 1), device="cpu")

    def of_foolbox(self, attack: Any, eps: float | None) -> Attacked:
        """One of foolbox's attacks as a function of images and labels."""

        def attacked(images: Tensor, labels: Tensor) -> Tensor:
            found: Tensor = attack(self.wrapped, images, labels, epsilons=eps)[0]
            return found

        return attacked

    def of_fab(self, norm: str, targets: int) -> Attacked:
        """The reference's FAB: the smallest over the run to any class, or to each of some."""
        attack = self.fab(self.model, norm=norm, n_iter=100, eps=_WHOLE, device=torch.device("cpu"))
        size = _SIZES[norm]

        def attacked(images: Tensor, labels: Tensor) -> Tensor:
            torch.manual_seed(0)
            if not targets:
                found: Tensor = attack.attack_single_run(images, labels)
                return found
            best, least = images.clone(), torch.full((len(images),), torch.inf, dtype=torch.float64)
            for place in range(2, targets + 2):
                attack.target_class = place
                some = attack.attack_single_run(images, labels, is_targeted=True)
                sizes = size(some - images)
                better = (sizes > 0) & (sizes < least)
                best[better], least[better] = some[better], sizes[better]
            return best

        return attacked

    def standing(self, attack: Attacked, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Which samples are right at the last point, and at all points, bool [N] each."""
        last, every = [], []
        torch.manual_seed(0)
        for some, theirs in zip(images.split(_BATCH), labels.split(_BATCH), strict=True):
            self.model.watch(theirs)
            points = attack(some, theirs)
            with torch.no_grad():
                last.append(self.model(points.detach()).argmax(1) == theirs)
            every.append(~self.model.fallen)
        return torch.cat(last), torch.cat(every)


def _linf(deltas: Tensor) -> Tensor:
    return deltas.flatten(1).abs().amax(1).double()


def _l2(deltas: Tensor) -> Tensor:
    return deltas.flatten(1).double().norm(dim=1)


_SIZES = {"Linf": _linf, "L2": _l2}


def main() -> None:
    """Print both tables, and the queries of Square."""
    options = _options()
    torch.set_num_threads(options.threads)
    classifier = load_model(options.model, weights=options.weights)
    for parameter in classifier.net.parameters():
        parameter.requires_grad_(False)
    images, labels = _images(options)
    peers, see = Peers(classifier, options.peer), Seeing(classifier, Options())
    name = options.model.rpartition(":")[2]
    peers.model.exact = options.exact
    _print_accuracies(f"{name}, {len(labels)} images", peers, see, (images, labels), options)
    peers.model.exact = False
    with torch.no_grad():
        right = torch.cat([classifier(some) for some in images.split(_BATCH)]).argmax(1) == labels
    rows = right.nonzero()[: options.minimum_n, 0]
    if not len(rows):
        return
    print(f"\n{name}, {len(rows)} correctly classified images")
    _print_norms(peers, see, images[rows], labels[rows])
    _print_queries(see, images[rows], labels[rows], Fraction(options.eps) / 4)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--n", type=int, default=200, help="the first N images")
    parser.add_argument("--minimum-n", type=int, default=50, help="images for minimum norms")
    parser.add_argument("--eps", default="8/255", help="Linf radius")
    parser.add_argument("--l2", default="1/2", help="L2 radius")
    parser.add_argument("--steps", type=int, default=40, help="of PGD")
    parser.add_argument("--exact", action="store_true", help="logits in float64 for the peers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer", type=Path)
    return parser.parse_args()


def _images(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    dataset = open_dataset(options.data, split="test")
    samples = dataset.read(list(range(min(options.n, len(dataset)))))
    whole = [sample for sample in samples if isinstance(sample, Sample)]
    pixels = torch.stack([torch.tensor(sample.image) for sample in whole])
    labels = torch.tensor([sample.label for sample in whole])
    return pixels.permute(0, 3, 1, 2).contiguous().float() / 255, labels


def _print_accuracies(
    title: str,
    peers: Peers,
    see: Seeing,
    data: tuple[Tensor, Tensor],
    options: argparse.Namespace,
) -> None:
    print(title)
    print("robust accuracy | ours | torchattacks last, any | foolbox last, any | ", end="")
    print("ours - last | ours - any")
    print("--- | ---: | ---: | ---: | ---: | ---:")
    for spec, *theirs in _pairs(peers, options):
        mine = 100 * holdfast.craft(spec, see, *data).robust_accuracy
        cells, gaps = [], []
        for attack in theirs:
            if attack is None:
                cells.append("-")
                continue
            figures = [100 * float(s.double().mean()) for s in peers.standing(attack, *data)]
            cells.append(", ".join(f"{figure:.1f}" for figure in figures))
            gaps.append([mine - figure for figure in figures])
        told = [max((gap[place] for gap in gaps), key=abs) for place in (0, 1)]
        differences = " | ".join(f"{gap + 0.0:+.1f}" for gap in told)
        print(f"`{spec}` | {mine:.1f} | {' | '.join(cells)} | {differences}", flush=True)


def _pairs(
    peers: Peers, options: argparse.Namespace
) -> Iterator[tuple[str, Attacked | None, Attacked | None]]:
    """Our text, and the peers' attacks at the same settings."""
    theirs, attacks, steps = peers.torchattacks, peers.foolbox.attacks, options.steps
    linf, l2 = Fraction(options.eps), Fraction(options.l2)
    for part in _FGSM_PARTS:
        eps = float(part * linf)
        yield (
            f"fgsm(eps={_text(part * linf)})",
            theirs.FGSM(peers.model, eps=eps),
            peers.of_foolbox(attacks.LinfFastGradientAttack(), eps),
        )
    fast = peers.of_foolbox(attacks.L2FastGradientAttack(), float(l2))
    yield f"fgsm(norm=l2, eps={_text(l2)})", None, fast
    for norm, eps, step in (("linf", linf, linf / 4), ("l2", l2, l2 / 8)):
        names = ("PGD", "Linf") if norm == "linf" else ("PGDL2", "L2")
        for start in (False, True):
            spec = f"pgd(norm={norm}, eps={_text(eps)}, steps={steps}, step_size={_text(step)}"
            settings = {"steps": steps, "random_start": start}
            projected = getattr(attacks, f"{names[1]}ProjectedGradientDescentAttack")
            yield (
                f"{spec}, random_start={start})",
                getattr(theirs, names[0])(
                    peers.model, eps=float(eps), alpha=float(step), **settings
                ),
                peers.of_foolbox(projected(abs_stepsize=float(step), **settings), float(eps)),
            )


def _text(number: Fraction) -> str:
    """Write a number as specs have it: in 255ths where it is a whole number of them."""
    levels = 255 * number
    return f"{levels}/255" if levels.denominator == 1 else f"{float(number):.6g}"


def _print_norms(peers: Peers, see: Seeing, images: Tensor, labels: Tensor) -> None:
    print("mean minimum norm | ours | peer | ratio | found by ours, peer | peer is")
    print("--- | ---: | ---: | ---: | ---: | ---")
    for spec, norm, name, attack in _minimum_pairs(peers):
        found = holdfast.craft(spec, see, images, labels)
        points = torch.cat(
            [
                attack(some, theirs)
                for some, theirs in zip(images.split(_BATCH), labels.split(_BATCH), strict=True)
            ]
        )
        with torch.no_grad():
            fallen = torch.cat([peers.model(p).argmax(1) for p in points.split(_BATCH)]) != labels
        both = fallen & found.fallen
        mine = float(found.norm[both].mean())
        peer = float(_SIZES[norm](points - images)[both].mean())
        mark = "" if mine <= _MOST * peer else " above 1.05"
        print(f"`{spec}` | {mine:.5f} | {peer:.5f} | {mine / peer:.3f}{mark} | ", end="")
        print(f"{int(found.fallen.sum())}, {int(fallen.sum())} | {name}", flush=True)


def _minimum_pairs(peers: Peers) -> Iterator[tuple[str, str, str, Attacked]]:
    """Our text, the norm, the peer's name and its attack."""
    attacks = peers.foolbox.attacks
    for norm in _SIZES:
        low = norm.lower()
        yield f"fab(norm={low}, steps=100)", norm, "pyautoattack", peers.of_fab(norm, 0)
        targeted = peers.of_fab(norm, 9)
        yield f"fab(norm={low}, steps=100, targets=9)", norm, "pyautoattack", targeted
    ddn = peers.of_foolbox(attacks.DDNAttack(steps=100), None)
    yield "ddn(steps=100)", "L2", "foolbox", ddn
    for norm, kind in (("Linf", attacks.LInfFMNAttack), ("L2", attacks.L2FMNAttack)):
        attack = peers.of_foolbox(kind(steps=100), None)
        yield f"fmn(norm={norm.lower()}, steps=100)", norm, "foolbox", attack


def _print_queries(see: Seeing, images: Tensor, labels: Tensor, eps: Fraction) -> None:
    """Say how many queries Square made on samples that it did not break."""
    spec = f"square(eps={_text(eps)}, queries={_SQUARE_QUERIES})"
    (run,) = [part for part in parse_conditions(spec) if isinstance(part, AttackRun)]
    queries: set[int] = set()
    count = 0
    for outcome in run.run([Batch(images, labels, torch.arange(len(labels)))], see, seed=0):
        if len(outcome.ids):
            stands = outcome.extra["broken_by"] == len(run.members)
            queries |= set(outcome.extra["evals_square"][stands].tolist())
            count += int(stands.sum())
    told = ", ".join(map(str, sorted(queries))) or "none stands"
    print(f"\nqueries of the {count} samples that stand `{spec}`: {told}")


if __name__ == "__main__":
    main()
