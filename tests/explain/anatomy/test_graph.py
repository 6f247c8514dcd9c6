"""The graph of a network: what runs, in which order, and what of it depends on the image."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from holdfast.explain.anatomy.graph import trace

IMAGE = (3, 8, 8)


class Branches(nn.Module):
    """A fork, an activation in place, a split into a tuple, and a product in functional form."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3, padding=1)
        self.right = nn.Conv2d(3, 4, 1)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        both = functional.relu_(self.left(x)) + self.right(x)
        one, two = both.flatten(2).split(2, dim=1)
        unused = self.scale.exp()  # of weights alone: no step
        return torch.einsum("bcn,bdn->bcd", one, two) * unused[:1]


def traced():
    return trace(Branches().eval(), IMAGE)


def kinds(graph):
    return [step.operation.kind for step in graph.steps]


def test_both_branches_take_the_image_and_meet_in_a_sum():
    graph = traced()
    makers = graph.makers()
    met = next(step for step in graph.steps if step.operation.kind == "sum")

    assert [step.module for step in graph.users()[0]] == ["left", "right"]
    assert [makers[number].operation.kind for number in met.inputs] == ["activation", "conv"]


def test_an_einsum_is_a_product_with_its_multiply_adds():
    products = [step.operation for step in traced().steps if step.operation.kind == "product"]

    assert [operation.products for operation in products] == [2 * 2 * 64]
    assert [operation.contracted for operation in products] == [64]


def test_what_comes_of_weights_alone_is_no_step():
    graph = traced()

    assert "exp" not in {step.operation.name for step in graph.steps}
    assert kinds(graph).count("gate") == 1
    assert graph.makers()[graph.output].operation.kind == "gate"


def test_a_fixed_kernel_is_not_learned():
    class Blur(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("kernel", torch.full((3, 1, 2, 2), 0.25))

        def forward(self, x):
            return functional.conv2d(x, self.kernel, stride=2, groups=3)

    (step,) = [step for step in trace(Blur(), IMAGE).steps if step.operation.kind == "conv"]

    assert not step.operation.learned
    assert not step.operation.weighted
    assert (step.operation.kernel, step.operation.stride, step.operation.groups) == (
        (2, 2),
        (2, 2),
        3,
    )


def test_each_tensor_has_one_maker():
    graph = traced()
    numbers = [number for step in graph.steps for number in step.outputs]

    assert len(numbers) == len(set(numbers))
    assert [step.place for step in graph.steps] == list(range(len(graph.steps)))
