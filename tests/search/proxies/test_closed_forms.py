"""Scores of networks that can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from holdfast.search.proxies import Batch, proxy
from search.proxies.nets import Residual, batch_of, linear, random_linear, seeded


def of(text, network, batch):
    return proxy(text).score(network, batch)


@pytest.fixture
def batch():
    return batch_of()


def softmax_gradient(weight, batch):
    """Gradient of the mean cross-entropy of W x: (p - y) x' over images, by hand."""
    x = batch.images.flatten(1)
    miss = (x @ weight.T).softmax(1) - F.one_hot(batch.labels, len(weight))
    return miss.T @ x / len(x)


def test_gradient_proxies_of_one_linear_layer(batch):
    net = random_linear(batch)
    weight = net[1].weight.detach()
    gradient = softmax_gradient(weight, batch)

    assert float(gradient.norm()) == pytest.approx(of("grad_norm(batch=6)", net, batch), rel=1e-5)
    assert float((weight * gradient).abs().sum()) == pytest.approx(
        of("snip(batch=6)", net, batch), rel=1e-5
    )
    assert float((weight * gradient).sum()) == pytest.approx(
        of("plain(batch=6)", net, batch), rel=1e-4
    )


def test_gradient_norms_are_summed_by_layer(batch):
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.ReLU(), nn.Linear(4, 3)))
    loss = F.cross_entropy(net(batch.images), batch.labels)
    by_layer = torch.autograd.grad(loss, [net[1].weight, net[3].weight])

    assert float(sum(g.norm() for g in by_layer)) == pytest.approx(
        of("grad_norm(batch=6)", net, batch), rel=1e-5
    )


def test_grasp_is_a_directional_derivative_of_the_gradient(batch):
    net = random_linear(batch).double()
    batch = Batch(batch.images.double(), batch.labels, batch.ids)
    weight = net[1].weight.detach()
    step = 1e-6
    gradient = softmax_gradient(weight, batch)
    # H g by central differences along g, then -w . H g.
    ahead, behind = (softmax_gradient(weight + s * gradient, batch) for s in (step, -step))
    expected = -float((weight * (ahead - behind) / (2 * step)).sum())

    assert expected == pytest.approx(of("grasp(batch=6)", net, batch), rel=1e-5)


def test_fisher_of_one_linear_layer(batch):
    net = random_linear(batch)
    logits = batch.images.flatten(1) @ net[1].weight.detach().T
    slope = (logits.softmax(1) - F.one_hot(batch.labels, 3)) / len(logits)
    expected = float((logits * slope).square().mean(0).sum() / 2)

    assert expected == pytest.approx(of("fisher(batch=6)", net, batch), rel=1e-4)


def test_fisher_sums_pixels_before_it_squares(batch):
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1, bias=False)

        def forward(self, images):
            return self.conv(images).mean((2, 3))

    net = seeded(Mean)
    maps = net.conv(batch.images).detach()
    logits = maps.mean((2, 3))
    slope = (logits.softmax(1) - F.one_hot(batch.labels, 3)) / len(logits) / 16
    expected = float((maps.sum((2, 3)) * slope).square().mean(0).sum() / 2)

    assert expected == pytest.approx(of("fisher(batch=6)", net, batch), rel=1e-4)


def test_synflow_is_the_layers_times_the_product_of_absolute_weights(batch):
    first, second = torch.tensor([[1.0, -2.0, 3.0]]), torch.tensor([[-4.0], [5.0]])
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 1, bias=False), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(first)
        net[2].weight.copy_(second)
    images = torch.rand(6, 3, 1, 1)
    product = (1 + 2 + 3) * (4 + 5)  # on ones; each layer carries the whole flow once

    assert 2 * product == of("synflow", net, Batch(images, batch.labels, batch.ids))


def test_synflow_leaves_normalization_out(batch):
    net = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Flatten())
    with torch.no_grad():
        net[0].weight.fill_(-2)
        net[1].weight.fill_(7)

    assert 3 * 2 * 16 == of("synflow", net, batch)


def test_l2_norm_params_and_flops(batch):
    net = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Flatten(), nn.Linear(32, 3))
    with torch.no_grad():
        net[0].weight.fill_(1)
        net[2].weight.fill_(2)

    assert math.sqrt(54) + 2 * math.sqrt(96) == pytest.approx(of("l2_norm", net, batch), rel=1e-6)
    assert 54 + 2 + 96 + 3 == of("params", net, batch)
    assert 54 * 16 + 96 == of("flops", net, batch)


def test_nwot_counts_agreeing_units():
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False), nn.ReLU())
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]))
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).view(3, 1, 1, 2)
    batch = Batch(images, torch.zeros(3, dtype=torch.int64), torch.arange(3))
    # Codes 101, 011 and 000: a unit that gets exactly 0 passes nothing on.
    agree = [[3, 1, 1], [1, 3, 1], [1, 1, 3]]

    assert np.linalg.slogdet(agree)[1] == pytest.approx(of("nwot(batch=3)", net, batch))


def test_nwot_of_equal_images_has_no_value():
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU()))
    images = torch.rand(1, 3, 2, 2).expand(4, -1, -1, -1).clone()
    batch = Batch(images, torch.zeros(4, dtype=torch.int64), torch.arange(4))

    assert math.isnan(of("nwot(batch=4)", net, batch))


def test_linear_regions_of_one_unit(batch):
    net = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1))
    text = "linear_regions(crops=200, side=1, channels=1, cells=1)"

    assert 2 == of(text, net, batch)


def test_jacov_of_uncorrelated_and_of_equal_gradients():
    eye = linear(torch.ones(1, 4))
    images = torch.rand(3, 1, 2, 2)
    batch = Batch(images, torch.zeros(3, dtype=torch.int64), torch.arange(3))
    k = 1e-5

    # A constant gradient has no correlation at all.
    assert math.isnan(of("jacov(batch=3)", eye, batch))
    # A linear network has the same gradient for each image: eigenvalues 3, 0, 0.
    net = linear(torch.tensor([[1.0, 2.0, 3.0, 5.0]]))
    expected = -(math.log(3 + k) + 1 / (3 + k) + 2 * (math.log(k) + 1 / k))
    assert expected == pytest.approx(of("jacov(batch=3)", net, batch), rel=1e-6)


def test_epe_nas_of_equal_gradients():
    net = linear(torch.tensor([[1.0, 2.0, 3.0, 5.0]] * 2))
    batch = Batch(torch.rand(5, 1, 2, 2), torch.tensor([0, 0, 0, 1, 1]), torch.arange(5))

    # All correlations are 1: 9 and 4 entries of log(1 + k).
    assert (9 + 4) * math.log(1 + 1e-5) == pytest.approx(
        of("epe_nas(batch=5)", net, batch), rel=1e-4
    )


def test_jacobian_norm_of_a_linear_network_is_that_of_its_matrix(batch):
    net = random_linear(batch)

    assert float(net[1].weight.detach().norm()) == pytest.approx(
        of("jacobian_frobenius(batch=6)", net, batch), rel=1e-6
    )


def test_jacobian_norm_goes_by_all_logits(batch):
    net = seeded(lambda: Residual(activation=nn.Tanh)).eval()
    images = batch.images[:2]
    fixed = proxy("jacobian_frobenius(batch=2)")
    two = Batch(images, batch.labels[:2], batch.ids[:2])
    net.norm = nn.Identity()  # so that no mode matters
    whole = torch.autograd.functional.jacobian(net, images)
    own = torch.stack([whole[i, :, i].norm() for i in range(2)])

    assert float(own.mean()) == pytest.approx(fixed.score(net, two), rel=1e-5)


def test_top_of_the_hessian_of_a_softmax_layer(batch):
    net = random_linear(batch)
    images = batch.images.flatten(1)

    def loss(weight):
        return F.cross_entropy(images @ weight.T, batch.labels)

    weight = net[1].weight.detach()
    hessian = torch.autograd.functional.hessian(loss, weight).reshape(weight.numel(), -1)
    expected = float(torch.linalg.eigvalsh(hessian)[-1])

    assert expected == pytest.approx(
        of("hessian_top(batch=6, steps=40, tolerance=0.0)", net, batch), rel=1e-4
    )


def test_zen_of_a_linear_layer_is_that_of_its_draw(batch):
    net = random_linear(batch)
    value = of("zen(batch=6)", net, batch)
    moved = of("zen(batch=6, repeats=3)", net, batch)

    # f is the input of the linear layer: |0.01 d|_1 over 48 pixels, d standard normal.
    expected = math.log(48 * 0.01 * math.sqrt(2 / math.pi))
    assert expected == pytest.approx(value, abs=0.2)
    assert expected == pytest.approx(moved, abs=0.1)


def test_zen_undoes_normalization(batch):
    plain = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False))
    normal = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8, eps=1e-9))

    # Channels differ in their variance, so the root of the mean one undoes it only about.
    assert of("zen(batch=6)", plain, batch) == pytest.approx(
        of("zen(batch=6)", normal, batch), abs=0.3
    )
