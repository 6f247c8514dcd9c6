"""Bounds by tangent kernels: linear networks in closed form, and laws."""

from __future__ import annotations

import math

import pytest
import timm.layers
import torch
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.explain.theory import bounds, ntk_bounds
from holdfast.explain.theory.bounds import targets
from holdfast.models import Card, Classifier, Preprocessing
from holdfast.models.small import SmallCNN

COUNT = 6
LABELS = torch.tensor([0, 1, 2, 0, 1, 0])


@pytest.fixture
def images():
    return keys_for(torch.arange(COUNT), seed=0, stream="bounds").uniform(3, 8, 8).float()


def linear(classes=3, bias=False):
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, classes, bias=bias))
    net[1].weight.data = keys_for(torch.arange(classes), seed=1, stream="w").normal(192) / 14
    return net.eval()


def cnn():
    net = SmallCNN(3, width=4).eval()
    for place, weight in enumerate(net.parameters()):
        if weight.dim() > 1:
            drawn = keys_for(torch.arange(1), seed=place, stream="w").normal(*weight.shape)[0]
            weight.data = drawn / weight[0].numel() ** 0.5
    nn.init.zeros_(net.head.bias)
    return net


def of(found):
    return {one.name: one for one in found.kernels}


def test_the_kernel_of_a_linear_network_is_the_gram_matrix_of_its_images(images):
    found = of(ntk_bounds(linear(), images, LABELS, steps=2))["clean"]
    flat = images.double().flatten(1)
    gram = flat @ flat.T
    values = torch.linalg.eigvalsh(gram)
    one_hot = torch.eye(3, dtype=torch.float64)[LABELS]
    columns = one_hot - one_hot.mean(0)
    inverse = torch.linalg.inv(gram)
    expected = sum(float(y @ inverse @ y) for y in columns.T)

    assert found.smallest == pytest.approx(float(values[0]), rel=1e-4)
    assert found.condition == pytest.approx(float(values[-1] / values[0]), rel=1e-4)
    assert found.bound == pytest.approx(math.sqrt(expected / COUNT), rel=1e-4)
    loose = math.sqrt(float((columns**2).sum()) / COUNT / float(values[0]))
    assert found.looser == pytest.approx(loose, rel=1e-4)


def test_mixtures_of_a_linear_network_are_gram_matrices_of_mixed_images(images):
    beta, eps = 0.3, 0.05
    found = of(ntk_bounds(linear(), images, LABELS, beta=beta, eps=eps, steps=3))
    parts = bounds.Batch(images, LABELS, torch.arange(COUNT))
    settings = bounds._Settings(kernel="all", beta=beta, eps=eps, steps=3, batch=COUNT)
    module = bounds._as_module(linear(), images)
    once, twice = (settings._attacked(module, parts, count) for count in (1, 2))
    flat = [one.double().flatten(1) for one in (images, once, twice)]

    for name, first, second in (("all", 0, 1), ("robust_all", 1, 2)):
        mixed = (1 - beta) * flat[first] + beta * flat[second]
        smallest = torch.linalg.eigvalsh(mixed @ mixed.T)[0]
        assert found[name].smallest == pytest.approx(float(smallest), rel=1e-3)
    assert float((once - images).abs().max()) <= eps + 1e-6
    assert float((once - images).abs().max()) > 0.9 * eps


def test_laws_of_a_convolutional_network(images):
    found = ntk_bounds(cnn(), images, LABELS, beta=0.5, steps=2)
    kernels = of(found)

    assert set(bounds.KERNELS) == set(kernels)
    for one in kernels.values():
        assert 0 < one.bound <= one.looser
        assert one.smallest > 0
        assert one.condition >= 1
    assert (COUNT, 0.5, 2) == (found.images, found.beta, found.steps)
    assert found == ntk_bounds(cnn(), images, LABELS, beta=0.5, steps=2)


def test_the_ends_of_beta(images):
    clean = of(ntk_bounds(cnn(), images, LABELS, beta=0.0, steps=2))
    attacked = of(ntk_bounds(cnn(), images, LABELS, beta=1.0, steps=2))

    for first, second in (("clean", "all"), ("robust", "robust_all")):
        assert clean[first].bound == pytest.approx(clean[second].bound, rel=1e-6)
        assert clean[first].smallest == pytest.approx(clean[second].smallest, rel=1e-6)
    assert attacked["all"].bound == pytest.approx(attacked["robust"].bound, rel=1e-6)
    assert attacked["robust_all"].bound == pytest.approx(attacked["twice"].bound, rel=1e-6)
    assert clean["all"].bound != pytest.approx(attacked["all"].bound, rel=1e-3)


def test_a_classifier_brings_its_normalization(images):
    ready = Preprocessing(input_size=(8, 8), mean=(0.4,) * 3, std=(0.2,) * 3)
    classifier = Classifier(linear(), Card(name="net", preprocessing=ready, identity="net"))
    found = of(ntk_bounds(classifier, images, LABELS, steps=1))["clean"]
    flat = ((images - 0.4) / 0.2).double().flatten(1)

    assert found.smallest == pytest.approx(float(torch.linalg.eigvalsh(flat @ flat.T)[0]), rel=1e-4)
    with pytest.raises(BadValueError, match="takes 8x8 pixels"):
        ntk_bounds(classifier, torch.rand(4, 3, 9, 9), LABELS[:4])


class Padding(nn.Conv2d):
    def forward(self, images):
        return super().forward(nn.functional.pad(images, (0, 1, 0, 1)))


def test_layers_of_a_class_of_their_own_count_as_what_they_do(images):
    """A convolution that pads inside, and a normalization with its activation inside."""
    conv, norm = Padding(3, 4, 3, bias=False), timm.layers.BatchNormAct2d(4)
    own = nn.Sequential(conv, norm, nn.Flatten(), nn.Linear(256, 3))
    plain = nn.Conv2d(3, 4, 3, bias=False)
    same = nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)),
        plain,
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 3),
    )
    drawn = keys_for(torch.arange(4), seed=1, stream="w").normal(3, 3, 3) / 5
    conv.weight.data, plain.weight.data = drawn, drawn.clone()
    own[3].load_state_dict(same[5].state_dict())
    images = nn.functional.pad(images, (0, 1, 0, 1))  # 9 x 9; the convolutions give 8 x 8

    first, second = (of(ntk_bounds(net.eval(), images, LABELS, steps=1)) for net in (own, same))
    for name in ("clean", "all"):
        assert first[name].bound == pytest.approx(second[name].bound, rel=1e-3)


def test_what_has_no_bound(images):
    twins = images.clone()
    twins[1] = twins[0]
    found = of(ntk_bounds(linear(), twins, LABELS, steps=1))["clean"]

    assert math.isnan(found.bound)
    assert math.isnan(found.looser)
    assert found.smallest == pytest.approx(0, abs=1e-3)
    with pytest.raises(BadValueError, match="two classes"):
        ntk_bounds(linear(), images, torch.zeros(COUNT, dtype=torch.int64))


def test_targets_have_mean_zero_and_leave_out_classes_that_do_not_occur():
    columns = targets(torch.tensor([5, 2, 5, 9]))

    assert (4, 3) == columns.shape
    assert torch.allclose(columns.sum(0), torch.zeros(3, dtype=torch.float64))
