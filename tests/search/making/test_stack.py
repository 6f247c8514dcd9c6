import pytest
import torch
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.models.nb201 import build_nb201, format_cell
from holdfast.search.making.stack import CONV, SKIP, Size, Stack

CELLS = [
    (CONV,) * 6,
    ("none", SKIP, CONV, CONV, SKIP, CONV),
    (SKIP, CONV, "none", "none", CONV, SKIP),
    (CONV, "none", SKIP, CONV, CONV, SKIP),
]
SIZE = Size(channels=4)
IMAGES = torch.rand(10, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(10)


def reference(stack, place):
    """The plain network of a cell with the stack's weights."""
    cell = format_cell(stack.cells[place])
    net = build_nb201(cell, channels=SIZE.channels, cells=1, in_channels=1)
    missing = net.load_state_dict(stack.state(place), strict=False)
    assert not missing.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    return net


def loss(logits):
    return F.cross_entropy(logits.flatten(0, -2), LABELS.repeat(logits.numel() // 100))


def trained_once(cells):
    """A stack after a step of plain gradient descent, its statistics moved too."""
    stack = Stack(cells, SIZE, seed=5)
    for logits in stack.prepared(training=True)(IMAGES[None]):
        loss(logits).backward(retain_graph=True)
    with torch.no_grad():
        for value in stack.parameters.values():
            value.sub_(0.5 * value.grad)
    return stack


@pytest.mark.parametrize("place", range(len(CELLS)))
def test_a_network_in_training_is_the_plain_one(place):
    stack = Stack(CELLS, SIZE, seed=0)
    net = reference(stack, place).train()
    logits = stack.prepared(training=True)(IMAGES[None])
    (loss(logits) * len(CELLS)).backward()
    plain = net(IMAGES[:, None])
    loss(plain).backward()

    torch.testing.assert_close(plain, logits[place], atol=1e-5, rtol=0)
    for name, value in net.named_parameters():
        found = stack.parameters[name].grad[stack.owners(name).index(place)]
        torch.testing.assert_close(value.grad, found, atol=1e-5, rtol=1e-4)
    after = stack.state(place)
    for name, value in net.named_buffers():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, after[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("place", range(len(CELLS)))
def test_a_network_in_evaluation_is_the_plain_one(place):
    stack = trained_once(CELLS)
    net = reference(stack, place).eval()
    own = IMAGES.repeat(len(CELLS), 1, 1, 1).requires_grad_()
    logits = stack.prepared(training=False)(own)
    loss(logits).backward()
    images = IMAGES[:, None].clone().requires_grad_()
    plain = net(images)
    (loss(plain) / len(CELLS)).backward()

    torch.testing.assert_close(plain, logits[place], atol=1e-5, rtol=0)
    torch.testing.assert_close(images.grad[:, 0], own.grad[place], atol=1e-7, rtol=1e-4)
    assert all(value.grad is None for value in trained_once(CELLS[:1]).statistics.values())


def test_a_networks_bits_do_not_depend_on_its_neighbours():
    together, alone = trained_once(CELLS), trained_once([CELLS[1]])
    others = trained_once([CELLS[3], CELLS[1], CELLS[2]])

    for name, value in alone.state(0).items():
        assert torch.equal(value, together.state(1)[name]), name
        assert torch.equal(value, others.state(1)[name]), name


def test_initial_weights_are_keyed_by_seed_and_name_and_spread_as_torchs():
    first, again = Stack(CELLS, SIZE, seed=0), Stack(CELLS[:1], SIZE, seed=0)
    other = Stack(CELLS, SIZE, seed=1)
    name, twin = "cells.2.layers.0.op.1.weight", "cells.2.layers.1.op.1.weight"
    state = first.state(0)

    assert torch.equal(state[name], again.state(0)[name])
    assert not torch.equal(state[name], other.state(0)[name])
    assert not torch.equal(state[name], state[twin])
    limit = (8 * 9) ** -0.5  # inputs of a 3 x 3 convolution from 8 channels
    assert 0.9 * limit < state[name].abs().max() <= limit


def test_other_operations_are_refused():
    with pytest.raises(BadValueError, match="avg_pool_3x3"):
        Stack([(CONV,) * 5 + ("avg_pool_3x3",)], SIZE, seed=0)
