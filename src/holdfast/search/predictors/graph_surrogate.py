"""What AG-Net learns from its history: a generator and a surrogate, trained as one.

Weighted retraining (Tripp et al. 2020, "Sample-efficient optimization in the latent space of deep
generative models via weighted retraining") as AG-Net uses it (Lukasik, Jung and Keuper 2022,
ECCV, algorithm 3): the better an architecture, the more often it is drawn and the more it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.search.predictors.graph_generator import (
    BETAS,
    Drawn,
    GraphGenerator,
    Layout,
    Logits,
    reconstruction,
)
from holdfast.search.spaces.base import Graph

Judged = Literal["graph", "latent"]
_LAYERS = 4  # hidden, of the surrogate


def ranks(values: np.ndarray) -> np.ndarray:
    """Place of each value, 0 for the largest; of equal ones the first comes first. int64 [N]."""
    order = np.argsort(-values, kind="stable")
    places = np.empty(len(values), dtype=np.int64)
    places[order] = np.arange(len(values))
    return places


def rank_weights(places: np.ndarray, k: float) -> np.ndarray:
    """Weights 1 / (k N + rank) of ranks [N], the best being 0 (Tripp et al. 2020, equation 2)."""
    weights: np.ndarray = 1.0 / (k * len(places) + places)
    return weights


@dataclass(frozen=True)
class Examples:
    """Architectures whose values are known, C cells each.

    Attributes:
        labels: Of the nodes, int64 [M, C, N].
        edges: Whether each is there, float32 [M, C, P].
        targets: What the surrogate's heads learn, float32 [M, H].
        condition: What else the surrogate is told, such as the device, float32 [M, D].
        weights: How much each counts, float32 [M].
    """

    labels: Tensor
    edges: Tensor
    targets: Tensor
    condition: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Examples:
        """Some of them."""
        return Examples(
            self.labels[rows],
            self.edges[rows],
            self.targets[rows],
            self.condition[rows],
            self.weights[rows],
        )


def encode_cells(layout: Layout, cells: Sequence[tuple[Graph, ...]]) -> tuple[Tensor, Tensor]:
    """Labels int64 [M, C, N] and edges float32 [M, C, P] of architectures of C cells each."""
    labels, edges = layout.encode([graph for graphs in cells for graph in graphs])
    each = len(cells[0])
    return labels.view(len(cells), each, -1), edges.view(len(cells), each, -1)


def as_logits(labels: Tensor, edges: Tensor, layout: Layout) -> Tensor:
    """The graphs themselves as what a surrogate reads: ones and zeros, [M, C (N L + P)]."""
    hot = F.one_hot(labels, layout.labels).flatten(2).to(torch.float32)
    return torch.cat((hot, edges.to(torch.float32)), dim=2).flatten(1)


class Surrogate(nn.Module):
    """Perceptron from logits [M, W] and a condition [M, D] to H values [M, H].

    Four hidden layers as wide as the input with rectifiers; the condition is given to each layer
    anew.
    """

    def __init__(self, width: int, condition: int, heads: int, seed: int) -> None:
        super().__init__()
        draw = Drawn(torch.Generator().manual_seed(seed))
        widths = [width] * _LAYERS
        self.layers = nn.ModuleList(draw.linear(before + condition, width) for before in widths)
        self.last = draw.linear(width + condition, heads)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Values [M, H] of what is described by x [M, W] and condition [M, D]."""
        for layer in self.layers:
            x = layer(torch.cat((x, condition), dim=1)).relu()
        return self.last(torch.cat((x, condition), dim=1))


@dataclass(frozen=True)
class Retraining:
    """How a round is learned.

    Attributes:
        alpha: Share of the surrogate's squared error in the loss, the rest being the generator's.
        rate: Of Adam.
        decay: Weight decay of Adam.
        batch: Architectures a step.
        judged: What the surrogate reads: `latent`, the generator's logits for fresh noise, with
            gradients into the generator; `graph`, the architecture itself.
        bounded: Divide each loss by itself where it is above 1, as the hardware search does.
    """

    alpha: float = 0.9
    rate: float = 1e-3
    decay: float = 0.0
    batch: int = 16
    judged: Judged = "graph"
    bounded: bool = False


class Learner:
    """Generator, surrogate and optimiser, which all carry over from round to round."""

    def __init__(
        self, generator: GraphGenerator, surrogate: Surrogate | None, retraining: Retraining
    ) -> None:
        self.generator, self.surrogate, self.retraining = generator, surrogate, retraining
        parts = {"generator": generator, "surrogate": surrogate}
        self.net = nn.ModuleDict({name: part for name, part in parts.items() if part is not None})
        self.adam = torch.optim.Adam(
            self.net.parameters(),
            lr=retraining.rate,
            betas=BETAS,
            weight_decay=retraining.decay,
            fused=True,
        )

    def train(self, examples: Examples, epochs: int, random: torch.Generator) -> None:
        """Pass `epochs` times over as many draws as there are examples, by their weights."""
        for _ in range(epochs):
            order = torch.multinomial(
                examples.weights, len(examples), replacement=True, generator=random
            )
            for rows in torch.split(order, self.retraining.batch):
                loss = self.loss(examples.take(rows), random)
                self.adam.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self.adam.step()

    def loss(self, examples: Examples, random: torch.Generator) -> Tensor:
        """Weighted mean of what generator and surrogate miss on a batch."""
        settings = self.retraining
        logits = self.draw(len(examples), examples.labels.shape[1], random)
        missed = reconstruction(logits, examples.labels.flatten(0, 1), examples.edges.flatten(0, 1))
        loss = (1.0 - settings.alpha) * self._bound(missed.view(len(examples), -1).mean(dim=1))
        if self.surrogate is not None:
            said = self.surrogate(self._read(logits, examples), examples.condition)
            errors = self._bound((said - examples.targets).square())
            loss = loss + settings.alpha * errors.mean(dim=1)
        return (loss * examples.weights).mean()

    def draw(self, count: int, cells: int, random: torch.Generator) -> Logits:
        """Logits for latents of a normal distribution, a row a cell."""
        latents = torch.randn(count * cells, self.generator.latent, generator=random)
        logits: Logits = self.generator(latents)
        return logits

    def _read(self, logits: Logits, examples: Examples) -> Tensor:
        if self.retraining.judged == "latent":
            return logits.flat().view(len(examples), -1)
        return as_logits(examples.labels, examples.edges, self.generator.layout)

    def _bound(self, losses: Tensor) -> Tensor:
        return losses / losses.detach().clamp(min=1.0) if self.retraining.bounded else losses

    def arrays(self) -> dict[str, np.ndarray]:
        """All that training changes, by name; copies."""
        kept = {name: value.numpy().copy() for name, value in self.net.state_dict().items()}
        for name, parameter in self.net.named_parameters():
            for moment, value in self.adam.state.get(parameter, {}).items():
                kept[f"adam.{moment}.{name}"] = value.numpy().copy()
        return kept

    def restore(self, kept: dict[str, np.ndarray]) -> None:
        """Take up what `arrays` gave."""
        self.net.load_state_dict({name: torch.tensor(kept[name]) for name in self.net.state_dict()})
        for name, parameter in self.net.named_parameters():
            moments = ("step", "exp_avg", "exp_avg_sq")
            if f"adam.step.{name}" in kept:
                self.adam.state[parameter] = {
                    moment: torch.tensor(kept[f"adam.{moment}.{name}"]) for moment in moments
                }
