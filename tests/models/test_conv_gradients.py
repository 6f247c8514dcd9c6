"""The cheaper input gradients are those of torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from holdfast.models._conv_gradients import adopt

# Input channels, kernel, stride, padding, height, width.
IMAGE_LAYERS = [
    (3, 3, 1, 1, 9, 12),
    (3, 3, 1, 0, 8, 8),
    (3, 1, 1, 0, 5, 6),
    (3, 4, 2, 1, 16, 16),
    (3, 3, 2, 1, 16, 15),
    (3, 7, 2, 3, 20, 21),
    (3, 1, 2, 0, 8, 7),
    (3, 8, 8, 0, 24, 27),
    (3, 11, 4, 2, 31, 34),
    (3, 2, 3, 1, 10, 11),
    (3, (5, 2), (1, 3), (2, 0), 11, 13),
    (3, (4, 3), 2, 1, 12, 13),
    (1, 5, 1, 2, 28, 27),
    (1, 3, 2, 1, 14, 13),
    (4, 3, 1, 2, 6, 5),
]


def plain(layer, channels, height, width):
    """Images, the output's gradient, and torch's input gradient in float64."""
    images = torch.rand(3, channels, height, width)
    exact = nn.Conv2d(
        channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        groups=layer.groups,
    ).double()
    exact.load_state_dict({name: value.double() for name, value in layer.state_dict().items()})
    inputs = images.double().requires_grad_(True)
    output = exact(inputs)
    weights = torch.rand_like(output) - 0.5
    (truth,) = torch.autograd.grad(output, inputs, weights)
    return images, weights.float(), output.float().detach(), truth.float()


def assert_adopted(layer, channels, height, width, *, channels_last):
    images, weights, truth, gradient = plain(layer, channels, height, width)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    layer.requires_grad_(False).to(memory_format=layout)

    assert 1 == adopt(layer, channels_last=channels_last)
    inputs = images.requires_grad_(True)
    output = layer(inputs)
    torch.testing.assert_close(truth, output.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(output, inputs, weights)[0])
    assert output.is_contiguous(memory_format=layout)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        yield


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", IMAGE_LAYERS, ids=str)
def test_an_image_layer_gives_the_gradient_of_torch(shape, channels_last):
    channels, kernel, stride, padding, height, width = shape
    layer = nn.Conv2d(channels, 5, kernel, stride, padding)

    assert_adopted(layer, channels, height, width, channels_last=channels_last)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (7, 3), (5, 0), ((3, 5), (2, 1))])
def test_a_depthwise_layer_gives_the_gradient_of_torch(kernel, padding, channels_last):
    layer = nn.Conv2d(8, 8, kernel, padding=padding, groups=8)

    assert_adopted(layer, 8, 9, 12, channels_last=channels_last)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(5, 5, 3),
        nn.Conv2d(3, 6, 3, groups=3),
        nn.Conv2d(6, 6, 3, 2, groups=6),
        nn.Conv2d(3, 5, 3, dilation=2),
        nn.Conv2d(3, 5, 3, padding="same"),
        nn.Conv2d(3, 5, 3, padding=3),
        nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 5, 3).double(),
        nn.ConvTranspose2d(3, 5, 3),
    ],
    ids=str,
)
def test_other_layers_stay_torchs(layer):
    kind = type(layer)

    assert 0 == adopt(layer, channels_last=False)
    assert kind is type(layer)


def test_images_of_another_dtype_keep_the_gradient_of_torch():
    layer = nn.Conv2d(3, 5, 3).requires_grad_(False)
    adopt(layer, channels_last=False)
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    layer.weight.data, layer.bias.data = layer.weight.double(), layer.bias.double()

    assert torch.autograd.gradcheck(layer, images)
