"""`holdfast explain theory`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from holdfast.cli.console import err, guarded, out, say
from holdfast.cli.explain.keeping import OutFolder, columns, keep, note, signed
from holdfast.core.errors import BadValueError

if TYPE_CHECKING:
    from torch import Tensor

    from holdfast.models import Classifier
    from holdfast.records.explanations import Layer, Theory

_MODEL = typer.Argument(
    help="timm:NAME, torchvision:NAME, small:NAME or FILE.py:FUNCTION.", show_default=False
)
_DATA = (
    "Images that noise is added to (`holdfast list data`, folder:DIR, npz:FILE); random fields "
    "with the spectrum of photographs if left out."
)
_NTK = (
    "Also bounds by tangent kernels (Wu et al. 2024) from the first images of --data; minutes for "
    "a large network."
)
_KERNEL_IMAGES = 16  # that tangent kernels are taken of; their cost grows with the square
_BATCH = 32
_LAYERS = 8


@guarded
def theory(
    model: Annotated[str, _MODEL],
    weights: Annotated[
        Path | None, typer.Option(help="Weights file: .safetensors, .pth, .pt, .th, .model.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help=_DATA)] = None,
    split: Annotated[str, typer.Option(help="Split of --data.")] = "test",
    labels: Annotated[str | None, typer.Option(help="Names of the classes, as in measure.")] = None,
    n: Annotated[int, typer.Option("--n", min=2, help="Images.")] = 32,
    sigma: Annotated[
        float, typer.Option(help="Standard deviation of the noise, pixels of [0, 1]; not clipped.")
    ] = 0.12,
    seed: Annotated[int, typer.Option(help="Keys the noise.")] = 0,
    ntk: Annotated[bool, typer.Option("--ntk", help=_NTK)] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
    top: Annotated[int, typer.Option(min=1, help="Layers to print; the page has all.")] = _LAYERS,
    out_folder: OutFolder = None,
) -> None:
    """Where does a model amplify noise, and what does theory say of its first layers?

    Prints the exact noise gain of the stem (sum of squared weights in pixel units) and what it
    measures, by how much the normalization stretches pixels, and the layers after which noise has
    grown most relative to the signal. The page adds kernels with their frequency responses, and
    the general tables: ideal kernels, downsampling, pooling, normalization.

    Example: holdfast explain theory timm:resnet50 --data folder:photos --out why
    """
    from holdfast.core.checks import check_number
    from holdfast.core.randomness import checked_seed
    from holdfast.models import load_model

    check_number("--sigma", sigma, least=1e-6, most=10.0)
    checked_seed(seed)
    if ntk and data is None:
        raise BadValueError("--ntk needs labeled images: give --data")
    classifier = load_model(model, weights=weights, device=device)
    with err.status(f"sending noise through {escape(model)}"):
        found = _theory(classifier, data, split, labels, n=n, sigma=sigma, seed=seed, ntk=ntk)
    found = signed(found)
    _print(found, top)
    note(found.flags)
    keep(out_folder, found)


def _theory(
    classifier: Classifier,
    data: str | None,
    split: str,
    labels: str | None,
    *,
    n: int,
    sigma: float,
    seed: int,
    ntk: bool,
) -> Theory:
    import torch

    from holdfast.core.randomness import keys_for
    from holdfast.explain.theory import ntk_bounds, theory_of

    if data is None:
        keys = keys_for(torch.arange(n), seed=seed, stream="theory")
        found = theory_of(classifier, None, sigma, keys)
        return found.model_copy(update={"source": f"{classifier.name} on {n} random fields"})
    images, truths, ids = _images(classifier, data, split, labels, n)
    found = theory_of(classifier, images, sigma, keys_for(ids, seed=seed, stream="theory"))
    source = f"{classifier.name} on {len(images)} images of {data}, split {split}"
    bounds = None
    if ntk:
        say("tangent kernels, clean and attacked")
        first = slice(_KERNEL_IMAGES)
        place = classifier.device
        bounds = ntk_bounds(classifier, images[first].to(place), truths[first].to(place))
    return found.model_copy(update={"source": source, "ntk": bounds})


def _images(
    classifier: Classifier, data: str, split: str, labels: str | None, n: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Images [N, C, H, W] of the model's size, their labels and their ids."""
    import torch

    from holdfast.data import choose, open_dataset
    from holdfast.measuring import DatasetStream

    dataset = open_dataset(data, split=split, labels=labels)
    stream = DatasetStream(dataset, classifier.prepare, choose(len(dataset), n))
    batches, broken = [], 0
    for part in stream.parts(_BATCH, ()):
        batches += list(part.batches)
        broken += len(part.broken)
    if broken:
        say(f"{broken} images of {data} cannot be read and are left out")
    if sum(len(batch.ids) for batch in batches) < 2:
        raise BadValueError(f"{data} has fewer than two images that can be read; give another")
    sizes = {tuple(batch.images.shape[1:]) for batch in batches}
    if len(sizes) > 1:
        raise BadValueError(
            f"{classifier.name} takes any size, and the images of {data} have {len(sizes)} "
            "different ones; give images of one size"
        )
    return (
        torch.cat([batch.images for batch in batches]),
        torch.cat([batch.labels for batch in batches]),
        torch.cat([batch.ids for batch in batches]),
    )


def _print(found: Theory, top: int) -> None:
    from holdfast.explain.theory import amplifying

    _print_stem(found)
    own = found.preprocessing[0]
    out.print(
        f"normalization stretches pixels up to {own.factor:.2f} times (1 / min std), "
        f"{own.against_inception:.2f} times as much as std 0.5 does",
        markup=False,
    )
    out.print(f"\nnoise of sigma {found.sigma:g} on {found.images} images", style="bold")
    last = found.layers[-1:]
    if last:
        out.print(
            f"at the last of {len(found.layers)} layers, {last[0].name}, noise is "
            f"{_ratio(last[0])} of the signal",
            markup=False,
        )
    grown = amplifying(found, top)
    if grown:
        table = columns("noise grows most at", "kind", "noise / signal", "times the layer before")
        for layer in grown:
            cells = (layer.name, layer.kind, _ratio(layer), f"{layer.gain:.2f}")
            table.add_row(*map(escape, cells))
        out.print(table)
    if found.ntk is not None:
        _print_bounds(found)


def _print_stem(found: Theory) -> None:
    if not found.stem:
        return
    out.print(f"stem: {found.stem}", markup=False)
    measured = found.stem_measured
    bounds = f"[{measured.low:.6g}, {measured.high:.6g}]"
    off = f", {measured.value / found.stem_exact - 1:+.2%}" if found.stem_exact else ""
    out.print(
        f"noise gain (variance, mean over filters): exact {found.stem_exact:.6g}, measured "
        f"{measured.value:.6g} {bounds} on {measured.count} images{off}",
        markup=False,
    )


def _print_bounds(found: Theory) -> None:
    bounds = found.ntk
    if bounds is None:
        return
    out.print(
        f"\ntangent kernels of {bounds.images} images, beta {bounds.beta:g}, attack of "
        f"{255 * bounds.eps:g}/255 in {bounds.steps} steps",
        markup=False,
    )
    table = columns("kernel", "smallest eigenvalue", "condition", "bound", "looser bound")
    for one in bounds.kernels:
        cells = [one.smallest, one.condition, one.bound, one.looser]
        told = ("no data" if math.isnan(value) else f"{value:.4g}" for value in cells)
        table.add_row(one.name, *told)
    out.print(table)


def _ratio(layer: Layer) -> str:
    from holdfast.report import numbers

    found = layer.ratio
    return f"{numbers.decimal(found.value)} {numbers.interval(found.low, found.high)}".strip()
