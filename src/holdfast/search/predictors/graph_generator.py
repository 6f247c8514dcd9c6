"""A generator of cell graphs: from a latent vector to a distribution over nodes and edges.

AG-Net's generator (Lukasik, Jung and Keuper 2022, ECCV, "Learning where to look - generative NAS
is surprisingly efficient", supplement A): a graph is built node by node. Each step passes
messages over the graph so far, along its edges and against them, reads it out, predicts the label
of the next node from the readout and the latent, gives the node a state, and scores an edge from
every node to it. Nothing is encoded: the latent is noise.

All graphs of a batch are built at once with dense adjacency matrices; both directions of message
passing are one batched product, and what an affine map does to the latent is computed once a
graph. This is worth a factor of ten on a CPU and changes no number but by rounding.

Differs from the public description in two points. The edge into the second node is scored like
every other, where the authors fix it by hand a space; data that always have it teach it in a few
steps. Biases that are repeated in a row (two of a GRU gate) are one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from holdfast.search.spaces.base import Graph, Space

FIXED = 20.0  # logit of a label that is known: the first node's is not predicted
EDGE_AT = 0.5  # logit above which messages are passed over an edge
BETAS = (0.5, 0.999)  # of Adam, in pretraining and in search


@dataclass(frozen=True)
class Layout:
    """How the graphs of a space are laid out as numbers.

    Attributes:
        vocabulary: Labels of nodes; the first is the input's, the last the output's.
        most: Nodes of the largest graph, N.
    """

    vocabulary: tuple[str, ...]
    most: int

    @classmethod
    def of(cls, space: Space) -> Layout:
        """Layout of one cell of `space`."""
        return cls(space.vocabulary, space.most_nodes)

    @property
    def labels(self) -> int:
        """Labels a node can have, L."""
        return len(self.vocabulary)

    @property
    def pairs(self) -> int:
        """Edges that a graph can have, P = N (N - 1) / 2, ordered by end, then start."""
        return self.most * (self.most - 1) // 2

    @property
    def width(self) -> int:
        """Logits of a graph, N L + P."""
        return self.most * self.labels + self.pairs

    def encode(self, graphs: Sequence[Graph]) -> tuple[Tensor, Tensor]:
        """Labels int64 [B, N] and edges float32 [B, P]; missing nodes are outputs without edges."""
        places = {label: place for place, label in enumerate(self.vocabulary)}
        labels = torch.full((len(graphs), self.most), self.labels - 1)
        edges = torch.zeros(len(graphs), self.pairs)
        for row, graph in enumerate(graphs):
            labels[row, : len(graph.nodes)] = torch.tensor([places[node] for node in graph.nodes])
            edges[row, [_pair(start, end) for start, end in graph.edges]] = 1.0
        return labels, edges

    def decode(self, labels: Sequence[int], edges: Sequence[int]) -> Graph:
        """Graph up to the first output among `labels` [N], with the edges that are not 0 of [P]."""
        count = next(
            (place + 1 for place, label in enumerate(labels) if label == self.labels - 1), self.most
        )
        nodes = tuple(self.vocabulary[label] for label in labels[:count])
        pairs = ((start, end) for start in range(count) for end in range(start + 1, count))
        return Graph(nodes, tuple(pair for pair in pairs if edges[_pair(*pair)]))


def _by_end(edges: Tensor, most: int) -> list[Tensor]:
    """Edges [B, P] as one matrix [B, place] for each place they end at."""
    return [edges[:, _pair(0, end) : _pair(0, end + 1)] for end in range(most)]


def _pair(start: int, end: int) -> int:
    return end * (end - 1) // 2 + start


@dataclass(frozen=True)
class Support:
    """Nodes that the cells of a space have: for each place, labels with sets of incoming edges.

    Attributes:
        labels: For each place, labels, int64 [K].
        columns: For each place, edges from the places before it, float32 [K, place].
    """

    labels: tuple[Tensor, ...]
    columns: tuple[Tensor, ...]

    @classmethod
    def of(cls, labels: Tensor, edges: Tensor, layout: Layout) -> Support:
        """Support of cells, labels int64 [M, N] and edges float32 [M, P]."""
        columns = _by_end(edges, layout.most)
        pairs = [
            torch.unique(torch.cat((labels[:, place : place + 1], column), dim=1), dim=0)
            for place, column in enumerate(columns)
        ]
        return cls(tuple(pair[:, 0].long() for pair in pairs), tuple(pair[:, 1:] for pair in pairs))


@dataclass(frozen=True)
class Logits:
    """What the generator says of a batch: labels [B, N, L] and edges [B, P]."""

    nodes: Tensor
    edges: Tensor

    def flat(self) -> Tensor:
        """One row a graph, [B, N L + P]."""
        return torch.cat((self.nodes.flatten(1), self.edges), dim=1)

    def sample(
        self, random: torch.Generator, support: Support | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw labels int64 [B, N] and edges float32 [B, P]; the last node is the output.

        Labels are categorical and edges Bernoulli, all independent. With `support` each node, with
        its incoming edges, is one that the space has: what is drawn is the same distribution,
        given that. Without it a cell whose nodes have a fixed number of inputs is almost
        never hit, as in DARTS (the authors repair such samples by rules of that space).
        """
        if support is not None:
            return self._within(random, support)
        batch, most, count = self.nodes.shape
        chances = self.nodes.softmax(dim=2).flatten(0, 1)
        labels = torch.multinomial(chances, 1, generator=random).view(batch, most)
        labels[:, -1] = count - 1
        drawn = torch.rand(self.edges.shape, generator=random)
        return labels, (drawn < self.edges.sigmoid()).float()

    def _within(self, random: torch.Generator, support: Support) -> tuple[Tensor, Tensor]:
        odds = _by_end(self.edges, self.nodes.shape[1])
        labels, edges = [], []
        for place, (known, columns) in enumerate(zip(support.labels, support.columns, strict=True)):
            # The log-odds of a set of edges are the sum of those of its members.
            scores = self.nodes[:, place, known] + odds[place] @ columns.T
            picked = torch.multinomial(scores.softmax(dim=1), 1, generator=random)[:, 0]
            labels.append(known[picked])
            edges.append(columns[picked])
        return torch.stack(labels, dim=1), torch.cat(edges, dim=1)


class GraphGenerator(nn.Module):
    """Latents to logits over graphs.

    Args:
        layout: Of the space's cells.
        nodes: Numbers of a node's state, n (even); 32 in the paper.
        latent: Numbers of a latent and of a readout, g; 32 in the paper.
        layers: Rounds of message passing a step; 2 in the paper.
        seed: Of the fresh weights.
    """

    def __init__(
        self, layout: Layout, *, nodes: int = 32, latent: int = 32, layers: int = 2, seed: int = 0
    ) -> None:
        super().__init__()
        self.layout, self.nodes, self.latent, self.layers = layout, nodes, latent, layers
        half, both, n, g = nodes // 2, nodes + latent, nodes, latent
        draw = Drawn(torch.Generator().manual_seed(seed))
        # Axis 1 is the direction: along the edges, against them.
        self.message = draw(layers, 2, n, n, fan=n)
        self.message_bias = draw(layers, 2, 1, n, fan=n)
        self.update_in = draw(layers, 2, n, 3 * half, fan=half)
        self.update_state = draw(layers, 2, half, 3 * half, fan=half)
        self.update_bias = draw(layers, 2, 1, 4 * half, fan=half)
        self.read = draw.linear(n, 2 * g)
        self.gate = draw.linear(n, 2)
        # What follows from the latent in the first layers of the three heads and of the start.
        widths = {"add": g, "init": both, "edge": both, "start": both}
        self.from_latent = nn.ModuleDict(
            {name: draw.linear(g, width, fan=g + width) for name, width in widths.items()}
        )
        self.add = draw.matrix(g, g, fan=2 * g)
        self.add_out = draw.linear(g, layout.labels)
        self.embed = draw.linear(layout.labels, n)
        self.embed_out = draw.linear(n, n)
        self.start = draw.matrix(n, both, fan=both)
        self.start_out = draw.linear(both, n)
        self.init = draw.matrix(both, both, fan=n + 2 * g)
        self.init_out = draw.linear(both, n)
        self.edge_old = draw.matrix(n, both, fan=2 * both)
        self.edge_new = draw.matrix(both, both, fan=2 * both)
        self.edge_out = draw.linear(both, 1)

    def forward(self, latents: Tensor) -> Logits:
        """Logits of the graphs that `latents`, float32 [B, g], stand for."""
        most, labels = self.layout.most, self.layout.labels
        given = {name: layer(latents) for name, layer in self.from_latent.items()}
        first = latents.new_zeros(len(latents), labels)
        first[:, 0] = 1.0
        states = self._start(first, given["start"]).unsqueeze(1)
        adjacency = latents.new_zeros(len(latents), most, most)
        steps = self._composed()
        nodes, edges = [FIXED * first], []
        for count in range(1, most):
            if count > 1:
                states = self._pass(states, adjacency[:, :count, :count], steps)
            readout, readout_init = self._read(states)
            label = self.add_out(torch.addmm(given["add"], readout, self.add).relu())
            new = self._new_state(label, readout_init, given["init"])
            edge = self._edges(states, new, readout, given["edge"])
            adjacency[:, :count, count] = (edge.detach() > EDGE_AT).float()
            states = torch.cat((states, new.unsqueeze(1)), dim=1)
            nodes.append(label)
            edges.append(edge)
        return Logits(torch.stack(nodes, dim=1), torch.cat(edges, dim=1))

    def _start(self, label: Tensor, given: Tensor) -> Tensor:
        embedded = self.embed_out(self.embed(label).relu())
        return self.start_out(torch.addmm(given, embedded, self.start).relu())

    def _new_state(self, label: Tensor, readout: Tensor, given: Tensor) -> Tensor:
        embedded = self.embed_out(self.embed(label).relu())
        known = torch.cat((embedded, readout), dim=1)
        return self.init_out(torch.addmm(given, known, self.init).relu())

    def _edges(self, states: Tensor, new: Tensor, readout: Tensor, given: Tensor) -> Tensor:
        """Logits [B, T] of edges from T nodes to a new one."""
        shared = torch.addmm(given, torch.cat((new, readout), dim=1), self.edge_new)
        hidden = (states @ self.edge_old + shared.unsqueeze(1)).relu()
        return self.edge_out(hidden).squeeze(2)

    def _read(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Two readouts [B, g] of states [B, T, n]: for the next label, and for its state.

        Sum of gated nodes; a graph of one node is read without the gate.
        """
        read = self.read(states)
        if states.shape[1] > 1:
            gates = self.gate(states).sigmoid().repeat_interleave(self.latent, dim=2)
            read = read * gates
        both = read.sum(dim=1)
        return both[:, : self.latent], both[:, self.latent :]

    def _composed(self) -> list[Tensor]:
        """Matrix [2, 1.5 n + 2, 2 n] a layer that takes a node's surroundings to its GRU gates.

        A message is affine in the two nodes' states, their sum is affine in the sums, and so are
        the gates' arguments; the rows stand for: neighbours' states, degree times own state, own
        state, degree, one. The columns: reset, update, candidate from the messages, candidate
        from the state.
        """
        half = self.nodes // 2
        gates = self.message @ self.update_in
        degree = self.message_bias @ self.update_in
        own = self.update_state
        zero_in = gates.new_zeros(self.layers, 2, self.nodes, half)
        zero_own, zero_one = zero_in[:, :, :half], zero_in[:, :, :1]
        rows = (
            torch.cat((gates, zero_in), dim=3),
            torch.cat((own[..., : 2 * half], zero_own, own[..., 2 * half :]), dim=3),
            torch.cat((degree, zero_one), dim=3),
            self.update_bias,
        )
        return list(torch.cat(rows, dim=2).unbind(0))

    def _pass(self, states: Tensor, adjacency: Tensor, steps: list[Tensor]) -> Tensor:
        """States [B, T, n] after messages over `adjacency` [B, T, T] (start, end)."""
        batch, count, half = len(states), states.shape[1], self.nodes // 2
        hidden = torch.stack((states[..., :half], states[..., half:]))
        neighbours = torch.stack((adjacency.transpose(1, 2), adjacency))
        degree = neighbours.sum(dim=3, keepdim=True)
        tail = torch.cat((degree, torch.ones_like(degree)), dim=3)
        for matrix in steps:
            around = torch.cat((neighbours @ hidden, degree * hidden, hidden, tail), dim=3)
            gates = torch.bmm(around.view(2, batch * count, -1), matrix).view(2, batch, count, -1)
            keep = gates[..., : 2 * half].sigmoid()
            reset, update = keep[..., :half], keep[..., half:]
            fresh = torch.addcmul(gates[..., 2 * half : 3 * half], reset, gates[..., 3 * half :])
            hidden = torch.lerp(fresh.tanh(), hidden, update)
        return torch.cat((hidden[0], hidden[1]), dim=2)


class Drawn:
    """Fresh parameters, uniform within one over the root of the fan-in, from one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def __call__(self, *shape: int, fan: int) -> nn.Parameter:
        unit = torch.rand(*shape, generator=self.generator)
        return nn.Parameter((2.0 * unit - 1.0) / math.sqrt(fan))

    def matrix(self, inputs: int, outputs: int, *, fan: int) -> nn.Parameter:
        return self(inputs, outputs, fan=fan)

    def linear(self, inputs: int, outputs: int, *, fan: int | None = None) -> nn.Linear:
        layer = nn.Linear(inputs, outputs, device="meta")  # draws nothing
        layer.weight = self(outputs, inputs, fan=fan or inputs)
        layer.bias = self(outputs, fan=fan or inputs)
        return layer


def reconstruction(logits: Logits, labels: Tensor, edges: Tensor) -> Tensor:
    """Loss a graph [B]: mean cross-entropy of its nodes plus that of its edges."""
    nodes = F.cross_entropy(logits.nodes.transpose(1, 2), labels, reduction="none").mean(dim=1)
    pairs = F.binary_cross_entropy_with_logits(logits.edges, edges, reduction="none").mean(dim=1)
    return nodes + pairs
