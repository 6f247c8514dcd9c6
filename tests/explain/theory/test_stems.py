"""The first linear layer: what is found, its exact gain, and what noise really does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.explain.theory import averaged, noise_gains, propagate, stem_of
from holdfast.models import Card, Classifier, Preprocessing, load_model

FAR = 4.0
STD = (0.2, 0.25, 0.5)


def normal(count, *shape, stream="stems"):
    return keys_for(torch.arange(count), seed=5, stream=stream).normal(*shape)


def fixed(net):
    for place, weight in enumerate(net.parameters()):
        weight.data = normal(1, *weight.shape, stream=f"weight {place}")[0] / 3
    return net.eval()


def classifier(stem, size=(24, 24), std=STD, channels=3):
    """A stem, and a head that needs no weights of its own."""
    net = nn.Sequential(stem, Head())
    mean = (0.4,) * len(std)
    ready = Preprocessing(input_size=size, mean=mean, std=std, channels=channels)
    return Classifier(fixed(net), Card(name="net", preprocessing=ready, identity="net"))


class Head(nn.Module):
    def forward(self, features):
        return features.flatten(1)[:, :2]


class Unfold(nn.Module):
    """Patches of 4 x 4, each color after another, as tokens for a linear layer."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(48, 6)

    def forward(self, images):
        return self.project(F.unfold(images, 4, stride=4).transpose(1, 2))


class Shuffled(nn.Module):
    """Space to depth and a convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(12, 5, 3, padding=1)

    def forward(self, images):
        return self.conv(F.pixel_unshuffle(images, 2))


class Own(nn.Module):
    """Normalizes inside, and swaps the colors."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.conv((images.flip(1) - 0.2) / 0.5)


class Standardized(nn.Conv2d):
    """A convolution of other weights than those that it holds."""

    def forward(self, images):
        weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) * 2
        return self._conv_forward(images, weight, self.bias)


class Squared(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.conv(images**2)


class Blurred(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.conv(F.avg_pool2d(images, 3, 1, 1))


def found(net):
    return stem_of(net.net, net, net.input_size, net.preprocessing.channels)


STEMS = {
    "plain": (lambda: nn.Conv2d(3, 8, 5, stride=2, padding=2), (8, 3, 5, 5), (2, 2)),
    "no padding": (lambda: nn.Conv2d(3, 8, (3, 5), stride=(1, 3)), (8, 3, 3, 5), (1, 3)),
    "groups": (lambda: nn.Conv2d(3, 6, 3, groups=3), (6, 3, 3, 3), (1, 1)),
    "dilated": (lambda: nn.Conv2d(3, 4, 3, dilation=2), (4, 3, 3, 3), (1, 1)),
    "patches": (lambda: nn.Conv2d(3, 8, 4, stride=4), (8, 3, 4, 4), (4, 4)),
    "tokens": (Unfold, (6, 3, 4, 4), (4, 4)),
    "shuffled": (Shuffled, (5, 3, 6, 6), (2, 2)),
    "own": (Own, (4, 3, 3, 3), (1, 1)),
    "standardized": (
        lambda: Standardized(3, 6, 3, stride=2, padding=1, groups=3),
        (6, 3, 3, 3),
        (2, 2),
    ),
    "all": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 3)), (3, 3, 24, 24), None),
}


@pytest.mark.parametrize("name", STEMS)
def test_the_gain_is_the_variance_of_real_noise_within_its_error(name):
    make, shape, stride = STEMS[name]
    net = classifier(make())
    stem = found(net)
    count = 400
    images = normal(1, 3, 24, 24)[0].sigmoid().expand(count, -1, -1, -1)
    seen = propagate(net, images, 0.1, keys_for(torch.arange(count), seed=1, stream=name), stem)

    assert stem.weight.shape == shape
    assert stride in (None, stem.stride)
    error = (seen.stem_gain.high - seen.stem_gain.low) / 2 / 1.96
    assert abs(seen.stem_gain.value - stem.gains.mean()) < FAR * error
    assert error < (0.06 if name == "all" else 0.02) * stem.gains.mean()
    # Each filter by itself; positions of one image overlap, so that 5 % is wide for 400 images.
    assert np.allclose(seen.stem_gains, stem.gains, rtol=0.35 if name == "all" else 0.08)


@pytest.mark.parametrize("name", [name for name in STEMS if name != "dilated"])
def test_weights_are_the_derivative_of_the_output_by_the_pixels(name):
    net = classifier(STEMS[name][0]())
    stem = found(net)
    image = normal(1, 3, 24, 24).sigmoid().requires_grad_(True)
    output = net.net[0]((image - 0.4) / torch.tensor(STD).view(1, 3, 1, 1))
    place = stem.interior(output)[0, 1]
    slope = torch.autograd.grad(place[len(place) // 2], image)[0][0]
    hit = slope.abs().sum(0).nonzero()
    (top, left), (bottom, right) = hit.min(0).values, hit.max(0).values + 1

    expected = torch.tensor(stem.weight[1])
    expected = expected[:, expected.abs().sum((0, 2)) > 0][:, :, expected.abs().sum((0, 1)) > 0]
    assert torch.allclose(slope[:, top:bottom, left:right].double(), expected, atol=1e-5)


def test_gray_networks_and_colors_that_are_made_gray():
    net = classifier(nn.Conv2d(1, 4, 3), std=(0.5,), channels=1)
    weight = net.net[0].weight.detach().double().numpy()
    gray = stem_of(net.net, net, (24, 24), 1)
    color = stem_of(net.net, net, (24, 24), 3)

    assert np.allclose(gray.gains, 4 * (weight**2).sum((1, 2, 3)))
    luma = np.array([0.299, 0.587, 0.114])
    assert np.allclose(color.gains, gray.gains * (luma**2).sum(), rtol=1e-4)


@pytest.mark.parametrize("stem", [Squared, Blurred])
def test_what_is_not_linear_in_pixels_is_no_stem(stem):
    told = found(classifier(stem()))

    assert "the stem is not linear in pixels" in told
    assert "0.conv" in told


def test_a_network_without_weights_has_no_stem():
    assert "No convolution" in found(classifier(Head()))


def test_folded_normalization_and_groups_by_hand():
    weight = np.arange(24.0).reshape(4, 2, 3, 1)
    std = np.array([1.0, 2.0, 4.0, 8.0])
    by_hand = [
        sum(
            (weight[filter_, channel] / std[2 * (filter_ // 2) + channel]).ravel()
            @ (weight[filter_, channel] / std[2 * (filter_ // 2) + channel]).ravel()
            for channel in range(2)
        )
        for filter_ in range(4)
    ]

    assert np.allclose(by_hand, noise_gains(weight, std=std, groups=2))
    with pytest.raises(BadValueError, match="multiple of groups"):
        noise_gains(weight, groups=3)


def test_average_pooling_after_a_filter_is_one_filter():
    conv = fixed(nn.Conv2d(3, 4, 5, stride=2, bias=False))
    weight, stride = averaged(conv.weight.detach().double().numpy(), 2, 3)
    images = normal(300, 3, 41, 41)
    with torch.no_grad():
        expected = F.avg_pool2d(conv(images), 3)
        ours = F.conv2d(images, torch.tensor(weight).float(), stride=stride)
        squares = (expected.double() ** 2).mean((1, 2, 3)).numpy()

    assert torch.allclose(expected, ours[..., : expected.shape[2], : expected.shape[3]], atol=1e-4)
    exact = noise_gains(weight).mean()
    assert abs(squares.mean() - exact) < FAR * squares.std(ddof=1) / math.sqrt(300)
    # Of a box: pixels count 1, 1, 2, 2, 3, 2, 2, 1, 1 times along an axis. Windows overlap, so
    # that their noise is alike and pooling takes away less than 8/9.
    box = averaged(np.full((1, 1, 5, 5), 1 / 25), 2, 3)[0]
    assert math.isclose((29 / 225) ** 2, noise_gains(box)[0])
    assert noise_gains(box)[0] > 1 / 25 / 9
    with pytest.raises(BadValueError, match="filters, colors"):
        averaged(np.ones((3, 3)), 1, 2)


@pytest.mark.shared
def test_the_stem_of_a_trained_efficientnet(shared):
    weights = shared / "data/weights/imagenet/tf_efficientnet_lite0.pth"
    net = load_model("timm:tf_efficientnet_lite0", weights=weights)
    stem = found(net)
    images = torch.full((32, 3, 224, 224), 0.5)
    keys = keys_for(torch.arange(32), seed=0, stream="stem")
    noise = keys.normal(3, 224, 224) * 0.12
    outputs = []
    handle = stem.module.register_forward_hook(lambda *given: outputs.append(given[2]))
    with torch.no_grad():
        for part in torch.cat([images[:1], images + noise]).split(11):
            net.net.bn1(net.net.conv_stem((part - 0.5) / 0.5))
    handle.remove()
    output = torch.cat(outputs)
    inner = stem.interior(output[1:] - output[:1]).double()
    measured = (inner.permute(1, 0, 2).reshape(32, -1).var(1, unbiased=True) / 0.12**2).numpy()

    assert stem.about == "conv_stem: 32 filters of 3x3 pixels, stride 2"
    assert measured.mean() == pytest.approx(stem.gains.mean(), rel=0.01)
    assert np.allclose(measured, stem.gains, rtol=0.01)
    by_hand = (net.net.conv_stem.weight.detach().double() * 2).square().sum((1, 2, 3)).numpy()
    assert np.allclose(by_hand, stem.gains, rtol=1e-5)
