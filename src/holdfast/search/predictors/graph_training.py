"""Pretraining of AG-Net's generator on a space, without any label.

`python -m holdfast.search.predictors.graph_training --space nb201 --out FILE` makes the weights
that ship with the package, and prints how good they are.

Each latent, drawn anew, is asked for an architecture that has nothing to do with it (Lukasik, Jung
and Keuper 2022): what can be learned is the mean of the space, that is how often each label and
each edge occurs at each place. The loss ends at the entropy of these, for NAS-Bench-201 at
3/4 log 5 = 1.2071. The authors draw 2.5 million architectures for it; the floor is reached within
1 % after 50,000, and the shipped weights saw 400,000.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from holdfast.core.errors import BadValueError, MissingError, StoreError
from holdfast.search.predictors.graph_generator import (
    BETAS,
    GraphGenerator,
    Layout,
    Support,
    reconstruction,
)
from holdfast.search.spaces import Space, space_of

SHIPPED = "agnet_*.safetensors"
_LISTED = 20_000  # architectures of a space that is shown whole
_DRAWN = 10_000  # architectures of a larger one


@dataclass(frozen=True)
class Recipe:
    """How a generator is pretrained.

    Attributes:
        instances: Architectures shown in all.
        batch: Architectures a step; 32 in the paper.
        rate: Of Adam; 2e-4 in the paper.
        seed: Decides the weights, the order and the latents.
    """

    instances: int = 400_000
    batch: int = 32
    rate: float = 2e-4
    seed: int = 0


# Half a minute to two on one core: for a search in a space that has no weights on file.
SHORT = Recipe(instances=100_000, batch=100, rate=1e-3)


@lru_cache(maxsize=4)
def cells_of(space: Space) -> tuple[Tensor, Tensor]:
    """Labels int64 [M, N] and edges float32 [M, P] of the cells of a space.

    All of a space of up to 20,000 architectures; of a larger one 10,000 draws, always the same.
    """
    if space.size is not None and space.size <= _LISTED:
        archs = list(space.everything())
    else:
        rng = np.random.default_rng(0)
        archs = [space.sample(rng) for _ in range(_DRAWN)]
    return Layout.of(space).encode([graph for arch in archs for graph in space.graphs(arch)])


@lru_cache(maxsize=4)
def support_of(space: Space) -> Support:
    """Labels and sets of incoming edges that the cells of a space have."""
    return Support.of(*cells_of(space), Layout.of(space))


def pretrain(
    space: Space, recipe: Recipe, tell: Callable[[int, float], None] | None = None
) -> GraphGenerator:
    """Teach a fresh generator what the cells of `space` look like.

    Args:
        space: Where the architectures come from.
        recipe: How.
        tell: Called now and then with instances so far and the mean loss since the last call.
    """
    labels, edges = cells_of(space)
    random = torch.Generator().manual_seed(recipe.seed)
    model = GraphGenerator(Layout.of(space), seed=recipe.seed)
    adam = torch.optim.Adam(model.parameters(), lr=recipe.rate, betas=BETAS, fused=True)
    steps, sums = max(1, recipe.instances // recipe.batch), []
    for step in range(1, steps + 1):
        rows = torch.randint(len(labels), (recipe.batch,), generator=random)
        latents = torch.randn(recipe.batch, model.latent, generator=random)
        loss = reconstruction(model(latents), labels[rows], edges[rows]).mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        sums.append(loss.detach())
        if tell is not None and (step % 500 == 0 or step == steps):
            tell(step * recipe.batch, float(torch.stack(sums).mean()))
            sums.clear()
    return model


@dataclass(frozen=True)
class Quality:
    """How good samples of a generator are.

    Attributes:
        valid: Share that are architectures.
        distinct: Different architectures among them, as a share of all samples.
        covered: Share of the space among them; None for a space of unknown size.
    """

    valid: float
    distinct: float
    covered: float | None


def quality(
    model: GraphGenerator, space: Space, count: int = 10_000, support: Support | None = None
) -> Quality:
    """Draw `count` samples with latents of a normal distribution, and look."""
    random = torch.Generator().manual_seed(1)
    shape = (count, space.graphs_each)
    with torch.no_grad():
        logits = model(torch.randn(shape[0] * shape[1], model.latent, generator=random))
        labels, edges = logits.sample(random, support)
    archs = decode(space, labels.unflatten(0, shape), edges.unflatten(0, shape))
    found = [arch for arch in archs if arch is not None]
    different = len(set(found))
    covered = None if space.size is None else different / space.size
    return Quality(len(found) / count, different / count, covered)


def decode(space: Space, labels: Tensor, edges: Tensor) -> list[str | None]:
    """Architectures of sampled cells, labels [M, C, N] and edges [M, C, P]; None where none is."""
    layout = Layout.of(space)
    known: dict[bytes, str | None] = {}
    rows = torch.cat((labels.flatten(1), edges.flatten(1)), dim=1).to(torch.uint8).numpy()
    both = zip(rows, labels.tolist(), edges.tolist(), strict=True)
    found = []
    for row, some_labels, some_edges in both:
        key = row.tobytes()
        if key not in known:
            cells = zip(some_labels, some_edges, strict=True)
            known[key] = space.from_graphs(tuple(layout.decode(*cell) for cell in cells))
        found.append(known[key])
    return found


def save(model: GraphGenerator, path: Path | str) -> None:
    """Write weights (float32) with what they were made for.

    Raises:
        StoreError: The file cannot be written.
    """
    layout = model.layout
    about = {"vocabulary": ",".join(layout.vocabulary), "most_nodes": str(layout.most)}
    try:
        save_file(
            {name: value.contiguous() for name, value in model.state_dict().items()},
            path,
            metadata=about,
        )
    except (OSError, SafetensorError) as error:
        raise StoreError(f"cannot write {path}: {error}") from None


def load(path: Path | str, layout: Layout) -> GraphGenerator:
    """Read weights that `save` wrote.

    Raises:
        MissingError: No such file.
        BadValueError: No weights of a generator, or of one for other graphs.
    """
    if not Path(path).is_file():
        raise MissingError(
            f"no weights file {path}; make one with "
            "python -m holdfast.search.predictors.graph_training --space SPACE --out FILE"
        )
    try:
        if layout_of_file(path) != layout:
            raise BadValueError(
                f"the weights {path} are for other graphs than those of this space, whose nodes "
                f"are up to {layout.most} of {', '.join(layout.vocabulary)}"
            )
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model = GraphGenerator(layout)
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        raise BadValueError(f"{path} holds no weights of a graph generator: {error}") from None
    return model


def layout_of_file(path: Path | str) -> Layout | None:
    """For which graphs the weights of a file were made; None where it does not say."""
    with safe_open(path, framework="pt") as file:
        about = file.metadata() or {}
    if not about.get("most_nodes", "").isdigit() or "vocabulary" not in about:
        return None
    return Layout(tuple(about["vocabulary"].split(",")), int(about["most_nodes"]))


def pretrained(
    space: Space, weights: str | None = None, instances: int | None = None
) -> GraphGenerator:
    """A fresh copy of a pretrained generator for the cells of `space`.

    From the file `weights`; else after `SHORT` with so many `instances`; else from a file that
    ships with the package and is for the same graphs (`nb201` and what shares its cells, such as
    `nb201_hw`); else after `SHORT`. What is trained is trained once a space and process.

    Raises:
        MissingError: No file `weights`.
        BadValueError: A file that does not fit.
    """
    layout = Layout.of(space)
    if weights is not None:
        return load(weights, layout)
    if instances is None:
        for path in sorted(Path(__file__).parent.glob(SHIPPED)):
            if layout_of_file(path) == layout:
                return load(path, layout)
    model = GraphGenerator(layout)
    model.load_state_dict(_quickly(space, instances or SHORT.instances).state_dict())
    return model


@lru_cache(maxsize=4)
def _quickly(space: Space, instances: int) -> GraphGenerator:
    return pretrain(space, replace(SHORT, instances=instances))


def main(arguments: Sequence[str] | None = None) -> None:
    """Make weights; see `--help`."""
    parser = argparse.ArgumentParser(description="Pretrain AG-Net's generator on a search space.")
    parser.add_argument("--space", required=True, help="such as nb201")
    parser.add_argument("--out", required=True, help="file to write, .safetensors")
    parser.add_argument("--instances", type=int, default=Recipe.instances)
    parser.add_argument("--batch", type=int, default=Recipe.batch)
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--samples", type=int, default=10_000, help="to judge the weights by")
    given = parser.parse_args(arguments)
    space = space_of(given.space)
    recipe = Recipe(given.instances, given.batch, given.rate, given.seed)
    began = time.monotonic()

    def tell(instances: int, loss: float) -> None:
        sys.stdout.write(f"{instances:9,d} instances, loss {loss:.4f}\n")

    model = pretrain(space, recipe, tell)
    took = time.monotonic() - began
    save(model, given.out)
    for name, support in (("free", None), ("within the space's columns", support_of(space))):
        found = quality(model, space, given.samples, support)
        space_share = "" if found.covered is None else f", {found.covered:.4f} of the space"
        sys.stdout.write(
            f"{given.samples:,} samples, {name}: {found.valid:.4f} valid, "
            f"{found.distinct:.4f} distinct{space_share}\n"
        )
    sys.stdout.write(f"{took:.0f} s, written to {given.out}\n")


if __name__ == "__main__":
    main()
