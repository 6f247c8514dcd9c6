"""NAS-Bench-NLP: published recipes, names of nodes, steps, encodings, graphs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from holdfast.core.errors import BadValueError
from holdfast.search.spaces import space_of
from holdfast.search.spaces.nlp import NLP

SPACE = NLP()


def recipe(**nodes):
    """Recipe of nodes, each given as operation and inputs."""
    return json.dumps({name: {"op": op, "input": read} for name, (op, *read) in nodes.items()})


RNN = recipe(f=("linear", "x", "h_prev_0"), h_new_0=("activation_tanh", "f"))
LSTM = recipe(
    i=("linear", "x", "h_prev_0"),
    i_act=("activation_tanh", "i"),
    j=("linear", "x", "h_prev_0"),
    j_act=("activation_sigm", "j"),
    f=("linear", "x", "h_prev_0"),
    f_act=("activation_sigm", "f"),
    o=("linear", "x", "h_prev_0"),
    o_act=("activation_tanh", "o"),
    h_new_1_part1=("elementwise_prod", "f_act", "h_prev_1"),
    h_new_1_part2=("elementwise_prod", "i_act", "j_act"),
    h_new_1=("elementwise_sum", "h_new_1_part1", "h_new_1_part2"),
    h_new_1_act=("activation_tanh", "h_new_1"),
    h_new_0=("elementwise_prod", "h_new_1_act", "o_act"),
)
GRU = recipe(
    r=("linear", "x", "h_prev_0"),
    r_act=("activation_sigm", "r"),
    z=("linear", "x", "h_prev_0"),
    z_act=("activation_sigm", "z"),
    rh=("elementwise_prod", "r_act", "h_prev_0"),
    h_tilde=("linear", "x", "rh"),
    h_tilde_act=("activation_tanh", "h_tilde"),
    h_new_0=("blend", "z_act", "h_prev_0", "h_tilde_act"),
)
KNOWN = [RNN, LSTM, GRU]


def samples(count, seed=0):
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


def renamed(arch, rng):
    """The same recipe with other names of inner nodes and inputs in another order."""
    nodes = json.loads(arch)
    inner = [name for name in nodes if not name.startswith("h_new_") or len(name) > 7]
    names = dict(zip(inner, (f"n{k}" for k in rng.permutation(len(inner))), strict=True))
    changed = {}
    for name in rng.permutation(list(nodes)):
        read = [names.get(source, source) for source in nodes[name]["input"]]
        if nodes[name]["op"] != "blend":
            read = [str(source) for source in rng.permutation(read)]
        changed[names.get(name, str(name))] = {"input": read, "op": nodes[name]["op"]}
    return json.dumps(changed)


def value(arch, x, states, weight):
    """What a cell computes on numbers, each linear node multiplying a source by its weight."""
    nodes, known = json.loads(arch), {"x": x}
    known |= {f"h_prev_{k}": state for k, state in enumerate(states)}

    def get(name):
        if name not in known:
            op, read = nodes[name]["op"], [get(source) for source in nodes[name]["input"]]
            known[name] = {
                "linear": lambda *given: weight * sum(given),
                "blend": lambda g, a, b: g * a + (1 - g) * b,
                "elementwise_prod": lambda a, b: a * b,
                "elementwise_sum": lambda a, b: a + b,
                "activation_tanh": np.tanh,
                "activation_sigm": lambda a: 1 / (1 + np.exp(-a)),
                "activation_leaky_relu": lambda a: max(a, 0.01 * a),
            }[op](*read)
        return known[name]

    return [get(f"h_new_{k}") for k in range(len(states))]


def states_of(arch):
    return sum(f"h_new_{k}" in json.loads(arch) for k in range(3))


@pytest.mark.parametrize("arch", KNOWN)
def test_a_published_recipe_is_printed_with_sorted_keys(arch):
    printed = json.loads(SPACE.check(arch))
    assert set(json.loads(arch)) == set(printed)
    assert {k: v["op"] for k, v in json.loads(arch).items()} == {
        k: v["op"] for k, v in printed.items()
    }
    assert SPACE.check(arch) == json.dumps(printed, sort_keys=True, separators=(",", ":"))


def test_printing_and_renaming_change_nothing_that_a_cell_computes():
    for arch in [*KNOWN, *samples(40)]:
        given = (0.3, [0.5, -0.4, 0.9][: states_of(arch)], 0.7)
        expected = value(arch, *given)
        assert np.allclose(expected, value(SPACE.check(arch), *given), rtol=0, atol=1e-12)
        assert np.allclose(expected, value(SPACE.canonical(arch), *given), rtol=0, atol=1e-12)


def test_names_and_orders_change_no_representative():
    rng = np.random.default_rng(1)
    for arch in [*KNOWN, *samples(60)]:
        other = renamed(arch, rng)
        assert SPACE.canonical(arch) == SPACE.canonical(other)
        assert SPACE.canonical(arch) == SPACE.canonical(SPACE.check(other))
        assert SPACE.check(other) == SPACE.check(SPACE.check(other))


def test_the_order_of_a_blend_and_the_number_of_a_state_are_kept_apart():
    swapped = json.loads(GRU)
    gate, first, second = swapped["h_new_0"]["input"]
    swapped["h_new_0"]["input"] = [gate, second, first]
    assert SPACE.canonical(GRU) != SPACE.canonical(json.dumps(swapped))
    exchanged = LSTM.replace("h_new_0", "?").replace('h_new_1"', 'h_new_0"').replace("?", "h_new_1")
    assert SPACE.canonical(LSTM) != SPACE.canonical(exchanged)


def test_many_equal_nodes_have_one_representative():
    wide = {f"a{k}": ("linear", "x", "h_prev_0") for k in range(9)}
    wide |= {f"b{k}": ("linear", *(f"a{3 * k + j}" for j in range(3))) for k in range(3)}
    arch = recipe(**wide, h_new_0=("linear", "b0", "b1", "b2"))
    other = renamed(arch, np.random.default_rng(0))
    assert SPACE.canonical(arch) == SPACE.canonical(other)


def test_unused_nodes_are_dropped():
    more = json.loads(RNN) | {"g": {"op": "activation_sigm", "input": ["f"]}}
    assert SPACE.check(RNN) == SPACE.check(json.dumps(more))


def test_draws_keep_to_the_published_rules():
    for arch in samples(100):
        nodes = json.loads(arch)
        old = {f"h_prev_{k}" for k in range(states_of(arch))}
        read = {source for node in nodes.values() for source in node["input"]}
        assert {"x"} | old <= read
        for name, node in nodes.items():
            assert len(set(node["input"])) == len(node["input"]) <= 3
            assert not (name.startswith("h_new_") and old & set(node["input"]))
            assert node["op"] == "linear" or "x" not in node["input"]


def test_draws_have_one_to_three_states_and_no_more_nodes_than_allowed():
    rng = np.random.default_rng(0)
    space = space_of("nlp(nodes=8)")
    assert {1, 2, 3} == {states_of(arch) for arch in samples(60)}
    assert max(len(json.loads(space.sample(rng))) for _ in range(60)) <= 8


def test_steps_go_both_ways():
    for arch in [SPACE.canonical(GRU), *samples(2, seed=2)]:
        near = SPACE.neighbours(arch)
        assert len(set(near)) == len(near) and arch not in near
        for other in near[::23]:
            assert SPACE.check(other) == SPACE.canonical(other) == other
            assert arch in SPACE.neighbours(other), (arch, other)


def test_steps_change_operations_sources_and_sizes():
    arch = SPACE.canonical(RNN)
    near = SPACE.neighbours(arch)
    sizes = {len(json.loads(other)) for other in near}
    assert {1, 2, 3} == sizes  # the linear node alone, a change, a node more on an edge
    assert arch.replace("tanh", "sigm") in near


def test_a_mutation_is_a_neighbour():
    rng = np.random.default_rng(0)
    for arch in samples(10):
        assert SPACE.mutate(arch, rng) in SPACE.neighbours(arch)


def test_a_cell_at_the_bound_does_not_grow():
    space = space_of("nlp(nodes=8)")
    assert 8 == len(json.loads(GRU))
    assert max(len(json.loads(other)) for other in space.neighbours(GRU)) <= 8
    assert max(len(json.loads(other)) for other in SPACE.neighbours(GRU)) == 9


def test_an_encoding_counts_edges_nodes_and_states():
    encoded = SPACE.encode(LSTM)
    edges, operations, states = np.split(encoded, [378, 378 + 7 * 24])
    inputs = sum(len(node["input"]) for node in json.loads(LSTM).values())
    assert [inputs, 13, 2] == [edges.sum(), operations.sum(), states.sum()]
    shorter = SPACE.encode(LSTM, "adjacency")
    assert (378 + 48, 3) == (len(shorter), shorter[-24:].sum())
    assert edges.tolist() == shorter[:378].tolist()


def test_names_are_not_encoded():
    other = renamed(LSTM, np.random.default_rng(0))
    assert SPACE.encode(LSTM).tolist() == SPACE.encode(other).tolist()


def test_graphs_lead_back_to_the_cell():
    for arch in [*KNOWN, *samples(60)]:
        graph = SPACE.graphs(arch)[0]
        found = SPACE.from_graphs((graph,))
        assert SPACE.canonical(arch) == SPACE.canonical(found)
        assert set(graph.nodes) <= set(SPACE.vocabulary)
        assert len(graph.nodes) <= SPACE.most_nodes


def test_no_other_graph_has_a_cell():
    graph = SPACE.graphs(LSTM)[0]
    for start in range(len(graph.nodes)):
        for end in range(start + 1, len(graph.nodes)):
            other = replace(graph, edges=tuple(sorted(set(graph.edges) ^ {(start, end)})))
            found = SPACE.from_graphs((other,))
            assert found is None or SPACE.graphs(found) == (other,)
    for place in range(len(graph.nodes)):
        labels = (*graph.nodes[:place], "state", *graph.nodes[place + 1 :])
        found = SPACE.from_graphs((replace(graph, nodes=labels),))
        assert found is None or SPACE.graphs(found)[0].nodes == labels
    assert SPACE.from_graphs(()) is None


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("", "no JSON"),
        ("[" * 9000, "no JSON"),
        ("[]", "an object of nodes, got list"),
        ('{"a":1,"a":2}', "'a' stands twice"),
        ("{}", "needs the new states"),
        (RNN.replace("h_new_0", "h_new_1"), "needs the new states"),
        (RNN.replace("linear", "lin"), "no operation named 'lin'"),
        (RNN.replace('"x"', '"y"'), "f reads 'y', which is nowhere"),
        (RNN.replace('"x", ', ""), "it never reads x"),
        (RNN.replace('["f"]', '["f", "x"]'), "activation_tanh takes 1 different inputs, got 2"),
        (RNN.replace('["f"]', '["x"]'), "x may only enter linear nodes"),
        (RNN.replace('["x", "h', '["x", "x", "h'), "linear takes 1 or 2 or 3 different"),
        (RNN.replace('["x", "h', '["x", "h_new_0", "h'), "form a circle"),
        (RNN.replace('"f"', '"h_prev_0"'), "the name of an input"),
        (RNN.replace('"op"', '"operation"'), "needs an op and a list input"),
        (RNN.replace('["f"]', '"f"'), "needs an op and a list input"),
        (RNN + " " * 10_000, "at most 10000 characters"),
        (3, "a text is expected"),
    ],
)
def test_what_is_no_recipe_is_refused(arch, why):
    with pytest.raises(BadValueError, match=why):
        SPACE.check(arch)


def test_a_recipe_beyond_the_bound_is_refused():
    with pytest.raises(BadValueError, match="13 nodes, 8 at most"):
        space_of("nlp(nodes=8)").check(LSTM)


@pytest.mark.parametrize("nodes", [7, 25])
def test_a_bound_that_hardly_fits_or_exceeds_the_benchmarks_is_refused(nodes):
    with pytest.raises(BadValueError, match="nodes must be 8 to 24"):
        NLP(nodes=nodes)


def test_recurrent_cells_have_no_image_network():
    with pytest.raises(BadValueError, match="no networks"):
        SPACE.build(RNN)


def test_paths_are_refused():
    with pytest.raises(BadValueError, match="known: one_hot, adjacency"):
        SPACE.encode(RNN, "path")
