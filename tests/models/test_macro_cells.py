"""Networks of NAS-Bench-Macro: parameters and products by hand, what a block computes."""

from __future__ import annotations

import pytest
import torch

from holdfast.core.errors import BadValueError
from holdfast.models.cost import count_multiply_adds, count_parameters
from holdfast.models.macro_cells import MACRO_STAGES, InvertedResidual, macro_network

CHAINS = ["00000000", "22222222", "12120211", "01020120"]


def layers_by_hand(arch):
    """Products of weights a pixel, normalized channels and side of each convolution."""
    yield 3 * 32 * 9, 32, 32
    width, side, rest = 32, 32, iter(arch)
    for blocks in MACRO_STAGES:
        for place in range(blocks):
            choice = next(rest)
            after, out = (2 * width, side // 2) if place == 0 else (width, side)
            if choice == "0" and place == 0:
                yield width * after, after, out
            elif choice != "0":
                wide, kernel = (3 * width, 3) if choice == "1" else (6 * width, 5)
                yield width * wide, wide, side
                yield wide * kernel**2, wide, out
                yield wide * after, after, out
            width, side = after, out
    yield width * 1280, 1280, side


@pytest.mark.parametrize("arch", CHAINS)
def test_parameters_are_those_of_the_described_layers(arch):
    expected = sum(weights + 2 * channels for weights, channels, _ in layers_by_hand(arch))
    net = macro_network([int(choice) for choice in arch])
    assert expected + 1280 * 10 + 10 == count_parameters(net)


@pytest.mark.parametrize("arch", CHAINS)
def test_multiply_adds_are_those_of_the_described_layers(arch):
    expected = sum(weights * side**2 for weights, _, side in layers_by_hand(arch))
    net = macro_network([int(choice) for choice in arch])
    assert expected + 1280 * 10 == count_multiply_adds(net)


def test_a_block_adds_its_input_where_shapes_allow():
    torch.manual_seed(0)
    images = torch.randn(2, 4, 6, 6)
    same = InvertedResidual(4, 4, 1, expansion=3, kernel=3).eval()
    assert torch.equal(same.layers(images) + images, same(images))
    other = InvertedResidual(4, 8, 2, expansion=6, kernel=5).eval()
    assert torch.equal(other.layers(images), other(images))
    assert (2, 8, 3, 3) == tuple(other(images).shape)


def test_logits_have_the_asked_classes():
    net = macro_network([0, 1, 2, 0, 1, 2, 0, 0], channels=4, classes=7).eval()
    assert (2, 7) == tuple(net(torch.rand(2, 3, 16, 16)).shape)


@pytest.mark.parametrize("choices", [[0] * 7, [0] * 9, [0] * 7 + [3]])
def test_other_choices_are_refused(choices):
    with pytest.raises(BadValueError, match="8 choices of 0, 1 and 2"):
        macro_network(choices)
