"""`holdfast craft`: the adversarial images themselves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.console import guarded, out, say
from holdfast.cli.measure import BatchSize, Count, Data, LabelMap, Seed, Split
from holdfast.core.errors import BadValueError, StoreError

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.measuring import Options, Subject
    from holdfast.perturb.attacks.adversarial_set import AdversarialSet
    from holdfast.perturb.attacks.craft import Crafting

_SPARE = 1 << 20  # bytes beside the images: labels, logits, headers

Model = Annotated[str, typer.Option(help="timm:NAME, torchvision:NAME or FILE.py:FUNCTION.")]
AttackText = Annotated[
    str,
    typer.Option(
        "--attack",
        help="At one eps: 'autoattack(eps=8/255)', 'pgd(norm=l2, eps=1/2, steps=40)', or several "
        "joined by plus signs. `holdfast list attacks` shows all.",
    ),
]
Target = Annotated[Path, typer.Option("--out", "-o", help="File to write, .npz or .safetensors.")]
Weights = Annotated[
    Path | None, typer.Option(help="Weights file: .safetensors, .pth, .pt, .th, .model.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Round = Annotated[
    bool,
    typer.Option(
        "--round",
        help="Bring images to 8 bits within the ball and count again: x becomes uint8 NHWC, which "
        "--data npz:FILE takes.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")]


@guarded
def craft(
    model: Model,
    data: Data,
    attack: AttackText,
    target: Target,
    weights: Weights = None,
    split: Split = "test",
    labels: LabelMap = None,
    n: Count = None,
    seed: Seed = 0,
    batch_size: BatchSize = None,
    device: Device = "auto",
    round_pixels: Round = False,
    force: Force = False,
) -> None:
    """Write the adversarial images of a model as a file, for training, galleries or other tools.

    The file holds x (adversarial images where the attack succeeded, clean ones elsewhere; float32
    NCHW in [0, 1]), clean (uint8), y, id, prediction, fallen, norm, broken_by and, as JSON text,
    metadata. Storing x as 8-bit pictures rounds the perturbation, which may undo it: --round does
    that within the ball and says what is left. All images are held in memory. The file is written
    at the end, whole or not at all.

    Example: holdfast craft --model net.py:build --weights net.pth --data cifar10 --n 1000
    --attack 'autoattack(eps=8/255)' --out adversarial.npz
    """
    from holdfast.data import choose, open_dataset
    from holdfast.measuring import Options, open_subject
    from holdfast.models import load_model
    from holdfast.perturb.attacks.adversarial_set import check_target
    from holdfast.perturb.attacks.craft import attack as parse_attack

    run = parse_attack(attack).sized(batch_size)
    if len(run.conditions) > 1:
        raise BadValueError(f"a file holds the images of one eps, got {attack!r}: craft each alone")
    check_target(target, force=force)
    options = Options(seed=seed, batch_size=batch_size)
    dataset = open_dataset(data, split=split, labels=labels)
    if n is not None and len(choose(len(dataset), n)) < n:
        say(f"{data} has only {len(dataset)} images; attacking all of them")
    classifier = load_model(model, weights=weights, device=device)
    subject = open_subject(classifier, dataset, options, n=n)
    subject.check()
    images = _Images.read(subject, data)
    _check_room(target, images.pixels, pictures=round_pixels)
    try:
        found = _crafted(run, subject, options, images)
        if round_pixels:
            found = found.as_pictures(run, classifier)
    except KeyboardInterrupt:
        say("stopped; nothing was written")
        raise typer.Exit(130) from None
    found.save(target, force=force)
    _tell(found, target)


class _Images:
    """All images of a set, in memory, in the order of their ids."""

    def __init__(self, pixels: Tensor, labels: Tensor, ids: Tensor, broken: int) -> None:
        self.pixels = pixels  # uint8 [N, C, H, W]
        self.labels = labels
        self.ids = ids
        self.broken = broken

    @classmethod
    def read(cls, subject: Subject, name: str) -> _Images:
        import torch

        pixels, labels, ids, broken = [], [], [], 0
        for part in subject.stream.parts(64, ()):
            for batch in part.batches:
                pixels.append(batch.images.mul(255).round().to(torch.uint8))
                labels.append(batch.labels)
                ids.append(batch.ids)
            broken += len(part.broken)
        if broken:
            say(f"{broken} images could not be read and are left out")
        sizes = sorted({tuple(part.shape[2:]) for part in pixels})
        if len(sizes) != 1:
            raise BadValueError(
                f"{name}: expected images of one size, got {_told(sizes)}; give the model an "
                "attribute input_size = (H, W), to which they are then cut"
                if sizes
                else f"{name}: no image could be read"
            )
        order = torch.cat(ids).argsort()
        return cls(
            torch.cat(pixels)[order], torch.cat(labels)[order], torch.cat(ids)[order], broken
        )


def _told(sizes: list[tuple[int, ...]]) -> str:
    shown = ", ".join(f"{height} x {width}" for height, width in sizes[:3])
    return shown if len(sizes) <= 3 else f"{shown} and {len(sizes) - 3} more"


def _check_room(target: Path, pixels: Tensor, *, pictures: bool) -> None:
    """Refuse a disk that is too small, before hours go into the attack."""
    needed = pixels.numel() * (2 if pictures else 5) + _SPARE
    free = shutil.disk_usage(target.absolute().parent).free
    if needed > free:
        raise StoreError(
            f"{target} needs {needed / 1e6:,.0f} MB and its disk has {free / 1e6:,.0f} MB left: "
            "give another place, or fewer images with --n"
        )


def _crafted(run: Any, subject: Subject, options: Options, images: _Images) -> AdversarialSet:
    from holdfast.measuring.seeing import Seeing
    from holdfast.perturb.attacks.adversarial_set import AdversarialSet
    from holdfast.perturb.attacks.craft import Crafting

    classifier = subject.classifier
    see = Seeing(classifier, options)
    crafting = Crafting(run, images.pixels.float() / 255, images.labels, ids=images.ids)
    _watch(crafting, see, classifier.device, options)
    crafting.flags |= classifier.flags | see.flags
    return AdversarialSet(
        crafting.results()[0],
        images.pixels,
        images.labels,
        images.ids,
        {
            "model": subject.model,
            "weights_digest": classifier.digest,
            "data": subject.stream.name,
            "split": subject.stream.split,
            "data_digest": subject.stream.digest(),
            "seed": options.seed,
            "broken_images": images.broken,
        },
    )


def _watch(crafting: Crafting, see: Any, device: Any, options: Options) -> None:
    from holdfast.cli.progress import kind_of, watching
    from holdfast.measuring import Progress

    total = len(crafting.done)
    with watching([kind_of(crafting.specs[0], "attack")]) as watcher:
        for done in crafting.steps(see, seed=options.seed, device=device):
            watcher.step(Progress(crafting.specs[0], done, total))


def _tell(found: AdversarialSet, target: Path) -> None:
    crafted = found.crafted
    counts = {name: crafted.broken_by.count(name) for name in ("clean", *crafted.members)}
    wrong = counts.pop("clean")
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    fallen = int(crafted.fallen.sum())
    out.print(
        f"{fallen} of {len(crafted)} images fool the model: {wrong} from the start, {told}",
        markup=False,
    )
    lost = found.metadata.get("lost_by_rounding")
    if lost:
        out.print(f"{lost} more did before they were rounded to 8 bits", markup=False)
    if crafted.flags:
        out.print(f"flags: {', '.join(sorted(crafted.flags))}", markup=False)
    out.print(f"written: {target}", markup=False)
