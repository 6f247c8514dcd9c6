"""Crafting copies follow a network through its training, and leave it alone."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from holdfast.core.errors import BadTypeError
from holdfast.models import Card, Classifier, Preprocessing, load_model
from holdfast.models.small import small_cnn
from holdfast.models.training_copy import CraftingCopy

BATCH = 4


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(5))


def classifier(net, **settings):
    card = Card(name="net", preprocessing=Preprocessing(**settings), identity="net")
    return Classifier(net, card)


def seeded(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return build()


def cifar_resnet18():
    net = torchvision.models.resnet18(num_classes=10)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return net


def dense():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 4)
    )


def depthwise():
    return timm.create_model("mobilenetv2_035", num_classes=4)


def cell():
    return load_model("nb201:|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+"
                      "|avg_pool_3x3~0|nor_conv_3x3~1|none~2|").net  # fmt: skip


class Reused(nn.Module):
    """A layer called twice, which cannot be folded, and one whose weight another shares."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.second.weight = self.first.weight
        self.norm, self.last = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 4)

    def forward(self, images):
        features = self.norm(self.first(self.first(images))).relu()
        return self.head(self.last(self.second(features)).mean((2, 3)))


NETWORKS = {
    "small cnn": (lambda: small_cnn(4), 8),
    "nb201 cell": (cell, 16),
    "resnet18": (cifar_resnet18, 8),
    "depthwise": (depthwise, 32),
    "batchnorm after linear": (dense, 8),
    "without batchnorm": (lambda: nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(),
                          nn.Conv2d(16, 8, 3), nn.Flatten(), nn.Linear(128, 4)), 8),
    "shared weights": (Reused, 8),
}  # fmt: skip


def step(net, images, number):
    """What one of training changes: statistics in train mode, and every weight."""
    generator = torch.Generator().manual_seed(number)
    net.train()
    with torch.no_grad():
        net(images)
        for value in net.parameters():
            value.mul_(torch.rand(value.shape, generator=generator) + 0.5)
            value.add_(torch.randn(value.shape, generator=generator), alpha=0.02)


def truth(net, images):
    """Logits and input gradient of a copy in evaluation mode, by torch alone."""
    return answers(copy.deepcopy(net).eval(), images)


def answers(of, images):
    images = images.clone().requires_grad_(True)
    logits = of(images)
    weights = torch.linspace(-1, 1, logits.shape[1])
    return logits.detach(), torch.autograd.grad((logits * weights).sum(), images)[0]


def assert_near(actual, expected):
    assert all(bool(part.isfinite().all()) and bool(part.any()) for part in expected)
    for one, other in zip(actual, expected, strict=True):
        assert float((one - other).norm()) <= 1e-3 * float(other.norm())


@pytest.mark.parametrize(("build", "size"), NETWORKS.values(), ids=list(NETWORKS))
def test_a_copy_follows_the_training(build, size):
    net, images = seeded(build), noise(BATCH, 3, size, size)
    twin = CraftingCopy(classifier(net, input_size=(size, size)))

    assert twin.changes
    assert not twin.problems
    first = truth(net, images)
    assert_near(answers(twin, images), first)
    for number in range(2):
        step(net, images, number)
        twin.refresh()
        assert_near(answers(twin, images), truth(net, images))
    # The steps were large enough to tell.
    assert float((first[0] - truth(net, images)[0]).norm()) > 1e-1 * float(first[0].norm())


def test_a_stale_copy_is_the_network_as_it_was():
    net, images = seeded(lambda: small_cnn(4)), noise(BATCH, 3, 8, 8)
    twin = CraftingCopy(classifier(net))
    before = truth(net, images)

    step(net, images, 0)

    assert_near(answers(twin, images), before)


def test_preprocessing_is_the_classifiers():
    settings = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.5), "input_size": (12, 12)}
    live = classifier(seeded(lambda: small_cnn(4)), **settings)
    images = noise(BATCH, 1, 8, 8)

    assert_near(answers(CraftingCopy(live), images), answers(live, images))


def test_the_live_network_is_left_alone():
    net, images = seeded(lambda: small_cnn(4)), noise(BATCH, 3, 8, 8)
    live = classifier(net)
    net.train()
    net.blocks[1].eval()
    modes = [module.training for module in net.modules()]
    state = copy.deepcopy(net.state_dict())
    layers = [(name, type(module)) for name, module in net.named_modules()]

    twin = CraftingCopy(live)
    answers(twin, images)
    twin.refresh()

    assert modes == [module.training for module in net.modules()]
    assert layers == [(name, type(module)) for name, module in net.named_modules()]
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert all(value.requires_grad and value.grad is None for value in net.parameters())
    assert live.net is net


def test_only_the_images_get_a_gradient():
    twin = CraftingCopy(classifier(seeded(lambda: small_cnn(4))))

    logits = twin(noise(BATCH, 3, 8, 8))

    assert not logits.requires_grad
    assert logits.dtype == torch.float32


def test_what_was_done_is_told():
    twin = CraftingCopy(classifier(seeded(cifar_resnet18), input_size=(8, 8)))

    assert twin.changes == (
        "20 BatchNorm folded",
        "channels-last",
        "1 convolutions with a cheaper input gradient",
    )


def test_weights_that_are_loaded_are_taken_over():
    net, images = seeded(lambda: small_cnn(4)), noise(BATCH, 3, 8, 8)
    twin = CraftingCopy(classifier(net))
    other = small_cnn(4)

    net.load_state_dict(other.state_dict())
    twin.refresh()

    assert_near(answers(twin, images), truth(other, images))


def test_other_parameters_in_the_same_place_are_taken_over():
    net, images = seeded(lambda: small_cnn(4)), noise(BATCH, 3, 8, 8)
    twin = CraftingCopy(classifier(net))

    net.head.weight = nn.Parameter(torch.ones_like(net.head.weight))
    net.blocks[0][0].weight = nn.Parameter(torch.ones_like(net.blocks[0][0].weight))
    twin.refresh()

    assert_near(answers(twin, images), truth(net, images))


class Dropping(nn.Module):
    """Nothing to speed up; dropout and noise in train mode, which evaluation mode has not."""

    def __init__(self):
        super().__init__()
        self.head, self.drop = nn.Linear(192, 4), nn.Dropout(0.5)

    def forward(self, images):
        return self.head(self.drop(images.flatten(1)))


def test_without_anything_to_gain_the_live_network_is_called_in_evaluation_mode():
    net, images = seeded(Dropping), noise(BATCH, 3, 8, 8)
    twin = CraftingCopy(classifier(net))
    net.train()
    net.head.eval()

    expected = F.linear(images.flatten(1), net.head.weight, net.head.bias)

    assert twin.changes == ()
    torch.testing.assert_close(twin(images), expected)
    assert [module.training for module in net.modules()] == [True, False, True]
    twin.refresh()
    with torch.no_grad():
        net.head.bias += 1
    torch.testing.assert_close(twin(images), expected + 1)


class Uncopied(Dropping):
    def __deepcopy__(self, memo):
        raise RuntimeError("one of a kind")


def test_what_cannot_be_copied_is_called_itself():
    net, images = seeded(Uncopied), noise(BATCH, 3, 8, 8)
    twin = CraftingCopy(classifier(net))
    net.train()

    assert twin.problems == ("the network cannot be copied: one of a kind",)
    torch.testing.assert_close(twin(images), net.head(images.flatten(1)))


class Moody(nn.Module):
    """Does something else where it finds no BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4)

    def forward(self, images):
        sign = 1 if isinstance(self.norm, nn.BatchNorm2d) else -1
        return sign * self.head(self.norm(self.conv(images)).mean((2, 3)))


def test_a_copy_with_other_answers_is_not_used():
    net, images = seeded(Moody), noise(BATCH, 3, 8, 8)
    twin = CraftingCopy(classifier(net))

    assert twin.changes == ()
    assert "not the original's" in twin.problems[0]
    assert_near(answers(twin, images), truth(net, images))


def test_a_function_is_called_itself():
    twin = CraftingCopy(classifier(lambda images: images.mean((2, 3))))
    images = noise(BATCH, 3, 8, 8)

    twin.refresh()

    torch.testing.assert_close(twin(images), images.mean((2, 3)))
    assert twin.fast_rows(images) == BATCH


def test_large_results_are_made_in_parts():
    convolution, norm = nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64)
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4))
    twin = CraftingCopy(classifier(nn.Sequential(convolution, norm, *pooled)))

    # 64 channels of float32 at every pixel: 256 KiB an image.
    assert twin.fast_rows(noise(1, 3, 32, 32)) == 31 * 4
    assert twin.fast_rows(noise(1, 3, 64, 64)) == 31
    assert twin.fast_rows(noise(1, 3, 8, 8)) == 31 * 64


def test_bad_images_are_refused():
    twin = CraftingCopy(classifier(seeded(lambda: small_cnn(4))))

    with pytest.raises(BadTypeError, match="float images"):
        twin(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
