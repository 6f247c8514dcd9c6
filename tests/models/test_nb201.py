import pytest
import torch
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.models.cost import count_multiply_adds, count_parameters
from holdfast.models.nb201 import EDGES, Cell, Reduction, build_nb201, format_cell, parse_cell

DENSE = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
    "|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)


def cell_of(**operations):
    """Cell text with the given operations, such as e03="skip_connect", and none elsewhere."""
    return format_cell(tuple(operations.get(f"e{i}{j}", "none") for i, j in EDGES))


# Dong and Yang 2020, and the authors' own counts of the emptiest and the fullest network.
@pytest.mark.parametrize(
    ("operation", "parameters", "millions"),
    [("nor_conv_3x3", 1_531_546, "220.12"), ("none", 73_306, "7.78")],
)
def test_costs_are_the_published_ones(operation, parameters, millions):
    net = build_nb201(format_cell((operation,) * 6))

    assert parameters == count_parameters(net)
    assert millions == f"{count_multiply_adds(net) / 1e6:.2f}"


def test_costs_of_a_small_network_are_those_counted_by_hand():
    # One 1 x 1 convolution a cell; widths 2, 4, 8 at sides 8, 4, 2; one cell a stage.
    arch = cell_of(e03="nor_conv_1x1")
    net = build_nb201(arch, channels=2, cells=1, classes=3, in_channels=1)
    cells = sum(w * w + 2 * w for w in (2, 4, 8))
    stem, head = 1 * 2 * 9 + 4, 16 + 8 * 3 + 3
    reductions = sum(9 * w * 2 * w + 4 * w + 9 * 4 * w * w + 4 * w + w * 2 * w for w in (2, 4))

    assert stem + cells + reductions + head == count_parameters(net)

    pixels = 2 * 2 * 64 + 4 * 4 * 16 + 8 * 8 * 4
    halving = sum(
        (9 * w * 2 * w + 9 * 4 * w * w + w * 2 * w) * side**2 for w, side in ((2, 4), (4, 2))
    )
    assert 1 * 2 * 9 * 64 + pixels + halving + 8 * 3 == count_multiply_adds(net, (1, 8, 8))


def test_counting_leaves_a_network_as_it_was():
    net = build_nb201(DENSE, channels=2, cells=1).train()
    net.stem.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    count_multiply_adds(net)

    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net.training
    assert not net.stem.training
    assert not any(module._forward_hooks for module in net.modules())


def test_a_node_is_the_sum_of_its_edges():
    features = torch.randn(2, 4, 6, 6)
    paths = {  # operations without weights: what arrives at the last node is known
        cell_of(e03="skip_connect"): features,
        cell_of(e01="skip_connect", e13="skip_connect", e03="skip_connect"): 2 * features,
        cell_of(**{f"e{i}{j}": "skip_connect" for i, j in EDGES}): 4 * features,
        cell_of(e01="skip_connect", e12="skip_connect"): 0 * features,
    }
    for arch, expected in paths.items():
        torch.testing.assert_close(expected, Cell(parse_cell(arch), 4)(features))


def test_the_order_of_edges_is_that_of_the_string():
    arch = "|nor_conv_1x1~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"

    assert (
        "nor_conv_1x1",
        "none",
        "nor_conv_3x3",
        "skip_connect",
        "avg_pool_3x3",
        "none",
    ) == parse_cell(arch)
    assert arch == format_cell(parse_cell(f" {arch}\n"))


def test_a_border_pixel_gets_the_mean_of_the_neighbours_it_has():
    pool = Cell(parse_cell(cell_of(e03="avg_pool_3x3")), 1)

    torch.testing.assert_close(torch.ones(1, 1, 5, 5), pool(torch.ones(1, 1, 5, 5)))


def test_a_reduction_without_its_convolutions_is_the_mean_of_four_pixels():
    block = Reduction(1, 2).eval()
    for part in (block.conv_a, block.conv_b):
        nn.init.zeros_(part.op[1].weight)
    nn.init.ones_(block.downsample[1].weight)
    image = torch.arange(16.0).view(1, 1, 4, 4)

    expected = torch.tensor([[2.5, 4.5], [10.5, 12.5]]).expand(1, 2, 2, 2)
    torch.testing.assert_close(expected, block(image))


def test_nothing_is_normalised_and_logits_have_the_asked_shape():
    net = build_nb201(DENSE, channels=2, cells=1, classes=7, in_channels=1).eval()
    seen = []
    net.stem[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    images = torch.rand(3, 1, 8, 8)

    assert (3, 7) == net(images).shape
    assert torch.equal(images, seen[0])


# The names in files of published weights, as far as one layer of each kind.
def test_parameters_have_the_names_of_published_weights():
    names = set(build_nb201(DENSE, channels=2, cells=5).state_dict())

    assert {
        "stem.0.weight",
        "stem.1.running_mean",
        "cells.0.layers.0.op.1.weight",
        "cells.5.conv_a.op.1.weight",
        "cells.5.downsample.1.weight",
        "cells.16.layers.5.op.2.bias",
        "lastact.0.weight",
        "classifier.bias",
    } <= names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            DENSE.replace("3x3~2", "3x4~2"),
            "no operation named 'nor_conv_3x4'; did you",
        ),
        (DENSE.replace("nor_conv_3x3~2", "x~2"), "known: avg_pool_3x3, none, nor_conv_1x1"),
        ("|none~0|+|none~0|none~1|", "it has 2 nodes"),
        ("", "it has 1 nodes"),
        ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "node 2 must be |OP~0|OP~1|"),
        ("|none~0|+none~0|none~1+|none~0|none~1|none~2|", "node 2 does not stand between bars"),
        ("|none|+|none|none|+|none|none|none|", "node 1 must be |OP~0|"),
    ],
)
def test_what_is_no_cell_is_refused_with_the_reason(text, message):
    with pytest.raises(BadValueError) as error:
        parse_cell(text)

    assert message in str(error.value)
    assert "expected |OP~0|+|OP~0|OP~1|+" in str(error.value)


@pytest.mark.parametrize(
    ("name", "least"), [("channels", 1), ("cells", 1), ("classes", 2), ("in_channels", 1)]
)
def test_sizes_that_no_network_has_are_refused(name, least):
    with pytest.raises(BadValueError, match=f"needs {name} >= {least}, got {least - 1}"):
        build_nb201(DENSE, **{name: least - 1})
