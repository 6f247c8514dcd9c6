"""The generator against a plain version of it, and its samples against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from holdfast.search.predictors.graph_generator import (
    EDGE_AT,
    GraphGenerator,
    Layout,
    Logits,
    Support,
    reconstruction,
)
from holdfast.search.spaces import space_of
from holdfast.search.spaces.base import Graph

SMALL = Layout(("input", "a", "b", "output"), 5)


def drawn(space, count, seed=0):
    rng = np.random.default_rng(seed)
    return [graph for _ in range(count) for graph in space.graphs(space.sample(rng))]


@pytest.mark.parametrize("name", ["nb201", "nb101", "macro", "darts"])
def test_a_cell_comes_back_from_its_numbers(name):
    space = space_of(name)
    layout = Layout.of(space)
    graphs = drawn(space, 20)
    labels, edges = layout.encode(graphs)

    assert labels.shape == (len(graphs), layout.most)
    assert edges.shape == (len(graphs), layout.pairs)
    assert [
        layout.decode(*row) for row in zip(labels.tolist(), edges.tolist(), strict=True)
    ] == graphs


def test_a_cell_ends_at_its_first_output():
    edges = torch.ones(SMALL.pairs).tolist()

    assert SMALL.decode([0, 1, 3, 2, 3], edges) == Graph(
        ("input", "a", "output"), ((0, 1), (0, 2), (1, 2))
    )


class Plain:
    """One graph at a time, node by node, with torch's own GRU cell; parameters are `model`'s."""

    def __init__(self, model):
        self.model = model
        self.cells = [[self.cell(layer, way) for way in (0, 1)] for layer in range(model.layers)]

    def cell(self, layer, way):
        model, half = self.model, self.model.nodes // 2
        cell = nn.GRUCell(model.nodes, half)
        bias = model.update_bias[layer, way, 0]
        with torch.no_grad():
            cell.weight_ih.copy_(model.update_in[layer, way].T)
            cell.weight_hh.copy_(model.update_state[layer, way].T)
            cell.bias_ih.copy_(bias[: 3 * half])
            cell.bias_hh.zero_()[2 * half :] = bias[3 * half :]
        return cell

    def passed(self, states, edges):
        half = self.model.nodes // 2
        ways = [[state[:half] for state in states], [state[half:] for state in states]]
        for layer in range(self.model.layers):
            for way in (0, 1):
                sums = [torch.zeros(self.model.nodes) for _ in states]
                for start, end in edges:
                    giver, taker = (start, end) if way == 0 else (end, start)
                    pair = torch.cat((ways[way][giver], ways[way][taker]))
                    weight = self.model.message[layer, way]
                    sums[taker] = (
                        sums[taker] + pair @ weight + self.model.message_bias[layer, way, 0]
                    )
                ways[way] = [
                    self.cells[layer][way](total[None], state[None])[0]
                    for total, state in zip(sums, ways[way], strict=True)
                ]
        return [torch.cat(both) for both in zip(*ways, strict=True)]

    def affine(self, name, known, weight, latent):
        return (known @ weight + self.model.from_latent[name](latent)).relu()

    def read(self, states):
        model = self.model
        both = [model.read(state).view(2, -1) for state in states]
        if len(states) == 1:
            return both[0]
        return sum(r * model.gate(s).sigmoid()[:, None] for r, s in zip(both, states, strict=True))

    def __call__(self, latent):
        model = self.model
        hot = torch.eye(model.layout.labels)[0]
        embed = lambda label: model.embed_out(model.embed(label).relu())  # noqa: E731
        states = [model.start_out(self.affine("start", embed(hot), model.start, latent))]
        nodes, scores, edges = [20 * hot], [], []
        for count in range(1, model.layout.most):
            if count > 1:
                states = self.passed(states, edges)
            one, two = self.read(states)
            label = model.add_out(self.affine("add", one, model.add, latent))
            known = torch.cat((embed(label), two))
            new = model.init_out(self.affine("init", known, model.init, latent))
            for start, state in enumerate(states):
                told = torch.cat((new, one)) @ model.edge_new + model.from_latent["edge"](latent)
                score = model.edge_out((state @ model.edge_old + told).relu())
                scores.append(score)
                edges += [(start, count)] * bool(score > EDGE_AT)
            nodes.append(label)
            states = [*states, new]
        return torch.stack(nodes), torch.cat(scores)


def test_all_graphs_at_once_are_what_each_is_alone():
    model = GraphGenerator(SMALL, nodes=8, latent=6, seed=3)
    with torch.no_grad():
        model.edge_out.bias.fill_(EDGE_AT)  # so that some edges are there and some are not
        latents = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
        logits = model(latents)
        alone = [Plain(model)(latent) for latent in latents]
    share = (logits.edges > EDGE_AT).float().mean()

    assert 0.2 < share < 0.8
    torch.testing.assert_close(logits.nodes, torch.stack([nodes for nodes, _ in alone]))
    torch.testing.assert_close(logits.edges, torch.stack([edges for _, edges in alone]))


def test_the_seed_alone_decides_fresh_weights():
    before = torch.get_rng_state()
    one, same, other = (GraphGenerator(SMALL, seed=seed) for seed in (1, 1, 2))

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.message, same.message)
    assert not torch.equal(one.message, other.message)


def test_every_weight_learns():
    model = GraphGenerator(SMALL, seed=0)
    with torch.no_grad():
        model.edge_out.bias.fill_(2.0)  # messages pass
    logits = model(torch.randn(16, 32, generator=torch.Generator().manual_seed(0)))
    labels, edges = torch.ones(16, 5, dtype=torch.int64), torch.ones(16, SMALL.pairs)
    reconstruction(logits, labels, edges).mean().backward()
    idle = [name for name, value in model.named_parameters() if not value.grad.abs().sum() > 0]

    assert idle == []


def test_the_loss_of_a_guess_is_its_entropy():
    logits = Logits(torch.zeros(3, 5, 4), torch.zeros(3, 10))
    loss = reconstruction(logits, torch.zeros(3, 5, dtype=torch.int64), torch.ones(3, 10))

    torch.testing.assert_close(loss, torch.full((3,), math.log(4) + math.log(2)))


def spread(model_logits, count):
    nodes, edges = model_logits
    return Logits(nodes.expand(count, -1, -1), edges.expand(count, -1))


LOGITS = (torch.tensor([[9.0, -9, -9, -9], [-9, 0.0, 1.0, 0.5], [-9, -9, -9, 0]]),
          torch.tensor([0.3, -1.0, 0.8]))  # fmt: skip


def test_samples_have_the_odds_of_the_logits():
    labels, edges = spread(LOGITS, 40_000).sample(torch.Generator().manual_seed(0))
    found = torch.bincount(labels[:, 1], minlength=4) / len(labels)

    torch.testing.assert_close(found, LOGITS[0][1].softmax(0), atol=0.01, rtol=0)
    torch.testing.assert_close(edges.mean(0), LOGITS[1].sigmoid(), atol=0.01, rtol=0)
    assert set(labels[:, 2].tolist()) == {3}


def test_samples_within_a_support_are_those_that_happen_to_be_in_it():
    """Free samples that the support does not have are thrown away; the rest is alike."""
    layout = Layout(SMALL.vocabulary, 3)
    labels = torch.tensor([[0, 1, 3], [0, 2, 3], [0, 2, 3]])
    edges = torch.tensor([[1.0, 1, 0], [1, 0, 1], [0, 1, 1]])
    support = Support.of(labels, edges, layout)
    known = {(1, 1.0), (2, 1.0), (2, 0.0)}, {(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)}
    logits, random = spread(LOGITS, 60_000), torch.Generator().manual_seed(0)

    def shares(sample):
        nodes, pairs = (part.tolist() for part in sample)
        cells = [((n[1], p[0]), (p[1], p[2])) for n, p in zip(nodes, pairs, strict=True)]
        kept = [cell for cell in cells if cell[0] in known[0] and cell[1] in known[1]]
        return {cell: kept.count(cell) / len(kept) for cell in set(kept)}, len(kept)

    free, kept = shares(logits.sample(random))
    within, all_of_them = shares(logits.sample(random, support))

    assert all_of_them == 60_000
    assert kept < 50_000
    assert within == pytest.approx(free, abs=0.012)
