"""Weights, ranks and what the joint training of generator and surrogate moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from holdfast.search.predictors.graph_generator import GraphGenerator, Layout
from holdfast.search.predictors.graph_past import Past, condition
from holdfast.search.predictors.graph_surrogate import (
    Learner,
    Retraining,
    Surrogate,
    as_logits,
    encode_cells,
    rank_weights,
    ranks,
)
from holdfast.search.spaces import space_of
from holdfast.search.trials import Score, Trial

NB201 = space_of("nb201")
LAYOUT = Layout.of(NB201)


def trials(scores, space=NB201, seed=0):
    rng = np.random.default_rng(seed)
    return [Trial(step, 0, space.sample(rng), score) for step, score in enumerate(scores)]


def plain(count=20):
    return Past.of(trials([Score(0.1 * step, (0.1 * step,)) for step in range(count)]))


def learner(*, heads=1, **settings):
    surrogate = Surrogate(LAYOUT.width, 0, heads, seed=1)
    return Learner(GraphGenerator(LAYOUT, seed=2), surrogate, Retraining(**settings))


def test_ranks_count_the_better_ones():
    assert ranks(np.array([0.2, 0.9, 0.2, -np.inf])).tolist() == [1, 0, 2, 3]


def test_weights_are_those_of_the_paper():
    """K N = 0.01 x 4 = 0.04."""
    found = rank_weights(np.array([1, 0, 2, 3]), 0.01)

    assert found == pytest.approx([1 / 1.04, 1 / 0.04, 1 / 2.04, 1 / 3.04])


def test_examples_are_the_history():
    past = plain(5)
    examples = past.examples(NB201, 0.01)
    labels, edges = encode_cells(LAYOUT, [NB201.graphs(arch) for arch in past.archs])

    assert torch.equal(examples.labels, labels)
    assert torch.equal(examples.edges, edges)
    assert examples.targets[:, 0].tolist() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert examples.weights.argmax() == 4
    assert examples.condition.shape == (5, 0)


def test_a_graph_reads_as_ones_and_zeros():
    read = as_logits(*encode_cells(LAYOUT, [NB201.graphs(NB201.from_id(0))]), LAYOUT)

    assert read.shape == (1, LAYOUT.width)
    assert read.sum() == 8 + 10  # nodes and edges


@pytest.mark.parametrize(("judged", "flows"), [("latent", True), ("graph", False)])
def test_the_surrogate_moves_the_generator_only_as_published(judged, flows):
    one = learner(alpha=1.0, judged=judged)
    one.loss(plain().examples(NB201, 0.01), torch.Generator().manual_seed(0)).backward()
    moved = sum(float(value.grad.abs().sum()) for value in one.generator.parameters()
                if value.grad is not None)  # fmt: skip

    assert (moved > 0) == flows


def test_the_loss_is_the_weighted_sum_of_both():
    examples = plain().examples(NB201, 0.01)

    def loss(alpha):
        one = learner(alpha=alpha).loss(examples, torch.Generator().manual_seed(0))
        return float(one.detach())

    assert loss(0.3) == pytest.approx(0.7 * loss(0.0) + 0.3 * loss(1.0), rel=1e-5)


def test_bounded_losses_are_one_at_most():
    one = learner(alpha=0.0, bounded=True)
    examples = plain().examples(NB201, 0.01)
    losses = examples.take(torch.arange(4))

    loss = one.loss(losses, torch.Generator().manual_seed(0)).detach()

    assert float(loss) == pytest.approx(float(losses.weights.mean()))


def test_training_on_the_best_brings_samples_near_it():
    past = plain()
    one = learner(rate=3e-3)
    one.train(past.examples(NB201, 1e-4), 30, torch.Generator().manual_seed(0))
    labels, _ = encode_cells(LAYOUT, [NB201.graphs(past.archs[-1])])
    with torch.no_grad():
        logits = one.draw(200, 1, torch.Generator().manual_seed(1))

    assert (logits.nodes.argmax(2) == labels[0]).float().mean() > 0.9


def test_a_surrogate_of_graphs_learns_the_order():
    past = plain()
    one = learner(judged="graph", rate=3e-3)
    examples = past.examples(NB201, 10.0)
    one.train(examples, 40, torch.Generator().manual_seed(0))
    with torch.no_grad():
        read = as_logits(examples.labels, examples.edges, LAYOUT)
        said = one.surrogate(read, examples.condition)[:, 0].numpy()

    assert np.corrcoef(said, past.values)[0, 1] > 0.9


def test_what_is_kept_goes_on_as_the_original_does():
    examples = plain().examples(NB201, 0.01)
    one, other = learner(), learner()
    one.train(examples, 2, torch.Generator().manual_seed(0))
    other.restore(one.arrays())
    for each in (one, other):
        each.train(examples, 2, torch.Generator().manual_seed(1))
    kept = one.arrays()

    assert all(np.array_equal(kept[name], value) for name, value in other.arrays().items())
    assert len(kept) == 4 * len(list(one.net.parameters()))


def limited(value, latency, most=3.0):
    """Score under an upper bound."""
    over = (latency - most) / most
    merit = value if over <= 0 else -5.0
    return Score(merit, (value,), (latency,), feasible=over <= 0, excess=(over,))


BOUNDED = [limited(0.9, 2.0), limited(0.5, 1.0), limited(0.95, 9.0), limited(0.7, 3.0)]


def test_ranks_of_both_objectives_are_added_and_a_missed_bound_counts_a_thousand():
    """By value 2 4 1 3 and by latency 2 1 4 3, from 1; sums 4 5 5 (x 1000) 6."""
    past = Past.of(trials(BOUNDED))

    assert past.places().tolist() == [0, 1, 3, 2]
    assert Past.of(trials(BOUNDED), joint=False).places().tolist() == [0, 2, 3, 1]
    assert past.heads == 2


def test_a_bound_from_below_needs_no_guess():
    """By value, all equal, 1 2 3; by 6, 8 and 7 of at least 5, the larger the better, 3 1 2."""
    kept = [Score(0.7, (0.7,), (limit,), excess=((5 - limit) / 5,)) for limit in (6.0, 8.0, 7.0)]

    assert Past.of(trials(kept)).places().tolist() == [1, 0, 2]


def test_where_nothing_keeps_the_bounds_all_are_ranked_alike():
    missed = [limited(0.1 * n, 9.0 - n) for n in range(4)]

    assert Past.of(trials(missed)).places().tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("centred", [True, False])
def test_what_is_said_of_the_known_is_judged_as_they_were(centred):
    past = Past.of(trials(BOUNDED), centred=centred)

    assert ranks(-past.judge(past.learned())).tolist() == past.places().tolist()


def test_the_device_is_told():
    space = space_of("nb201_hw(device=fpga)")
    rng = np.random.default_rng(0)

    assert condition(space, [space.sample(rng)]).tolist() == [[0, 0, 0, 0, 0, 1]]
    assert condition(NB201, [NB201.from_id(0)]).shape == (1, 0)
