"""Tangent kernels: closed forms, laws, and torch.func as a judge."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from holdfast.core.errors import BadValueError
from holdfast.search.proxies import proxy
from holdfast.search.proxies._features import _by_functions, tangent_gram
from holdfast.search.proxies._networks import calibrated
from search.proxies.nets import Residual, batch_of, random_linear, seeded


@pytest.fixture(scope="module")
def batch():
    return batch_of(4, side=6)


@pytest.fixture(scope="module")
def net():
    return seeded(Residual)


def kernel(name, net, batch, **settings):
    extra = "".join(f", {key}={value}" for key, value in settings.items())
    return proxy(f"ntk_smallest(kernel={name}, batch=4{extra})").matrix(net, batch)


def close(expected, actual, tolerance=1e-5):
    return float((expected - actual).abs().max()) <= tolerance * float(expected.abs().max())


def test_kernel_of_a_linear_network_is_that_of_its_images(batch):
    images = batch.images.flatten(1).double()
    gram = images @ images.T
    linear = random_linear(batch)
    values = torch.linalg.eigvalsh(gram)

    assert close(gram, kernel("clean", linear, batch))
    assert close(gram, kernel("clean", linear, batch, logits="all"))
    for name, expected in (
        ("ntk_smallest", values[0]),
        ("ntk_condition", values[-1] / values[0]),
    ):
        assert float(expected) == pytest.approx(
            proxy(f"{name}(batch=4)").score(linear, batch), rel=1e-4
        )
    assert float(values[0] / values.mean()) == pytest.approx(
        proxy("ntk_smallest(batch=4, scaled=True)").score(linear, batch), rel=1e-4
    )


def test_bound_of_a_linear_network(batch):
    images = batch.images.flatten(1).double()
    labels = torch.nn.functional.one_hot(batch.labels).double()
    labels = labels - labels.mean(0)
    inverse = torch.linalg.inv(images @ images.T)
    expected = float((labels.T @ inverse @ labels).trace() / 4) ** 0.5

    assert expected == pytest.approx(
        proxy("ntk_bound(batch=4)").score(random_linear(batch), batch), rel=1e-4
    )


@pytest.mark.parametrize("logits", ["sum", "all"])
def test_kernel_equals_that_of_torch_func(net, batch, logits):
    fixed = calibrated(net, batch.images)
    parameters = {name: p.detach() for name, p in fixed.named_parameters()}

    def outputs(parameters):
        return functional_call(fixed, parameters, (batch.images,))

    rows = torch.cat([j.flatten(2) for j in jacrev(outputs)(parameters).values()], 2).double()
    rows = rows.sum(1, keepdim=True) if logits == "sum" else rows
    expected = torch.einsum("ikp,jkp->ij", rows, rows) / 3

    assert close(expected, kernel("clean", net, batch, logits=logits))


def test_layers_and_functions_agree(net, batch):
    fixed = calibrated(net, batch.images)
    readouts = torch.tensor([[1.0, 0.5, -1.0], [0.0, 1.0, 0.0]])
    slow = _by_functions(fixed, batch.images, readouts) / 2

    assert close(slow, tangent_gram(fixed, batch.images, readouts))


def test_a_layer_that_does_more_than_torchs_own_is_understood(batch):
    class Activated(nn.BatchNorm2d):
        def forward(self, images):
            return super().forward(images).relu()

    class Padded(nn.Conv2d):
        def forward(self, images):
            return super().forward(nn.functional.pad(images, (0, 1, 0, 1)))

    net = nn.Sequential(Padded(3, 4, 3), Activated(4), nn.Flatten(), nn.LazyLinear(3)).eval()
    with torch.no_grad():
        net(batch.images)
    readouts = torch.eye(3)
    slow = _by_functions(net, batch.images, readouts) / 3

    assert close(slow, tangent_gram(net, batch.images, readouts))


def test_a_parameter_outside_of_known_layers_takes_part(batch):
    class Gain(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(3.0))
            self.net = random_linear(batch)

        def forward(self, images):
            return self.gain * self.net(images)

    net = Gain()
    images = batch.images.flatten(1).double()
    weight = net.net[1].weight.detach().double()
    by_gain = (images @ weight.T).sum(1) / 3**0.5
    expected = 9 * images @ images.T + by_gain[:, None] * by_gain

    assert close(expected, kernel("clean", net, batch))


def test_mixed_kernel_is_the_sum_of_its_blocks(net, batch):
    clean, robust, cross = (kernel(name, net, batch) for name in ("clean", "robust", "cross"))
    for beta in (0.0, 0.3, 1.0):
        expected = (
            (1 - beta) ** 2 * clean + beta * (1 - beta) * (cross + cross.T) + beta**2 * robust
        )
        assert close(expected, kernel("all", net, batch, beta=beta))


def test_robust_mixed_kernel_ends_in_the_robust_and_the_twice_attacked(net, batch):
    assert close(kernel("robust", net, batch), kernel("robust_all", net, batch, beta=0.0))
    assert close(kernel("twice", net, batch), kernel("robust_all", net, batch, beta=1.0))


@pytest.mark.parametrize("name", ["clean", "robust", "twice", "all", "robust_all"])
def test_kernels_are_symmetric_and_positive(net, batch, name):
    found = kernel(name, net, batch)
    values = torch.linalg.eigvalsh(found)

    assert torch.equal(found, found.T)
    assert float(values[0]) >= -1e-9 * float(values[-1])


def test_attacked_images_raise_the_loss_inside_of_the_ball(net, batch):
    one = proxy("ntk_smallest(kernel=twice, batch=4, eps=8/255)")
    fixed = calibrated(net, batch.images)
    images = [one._attacked(net, batch, count) for count in range(3)]
    losses = [nn.functional.cross_entropy(fixed(x), batch.labels).item() for x in images]

    assert losses == sorted(set(losses))
    for before, after in itertools.pairwise(images):
        assert float((after - before).abs().max()) <= 8 / 255 + 1e-6
    assert float((images[2] - images[0]).abs().max()) > 8 / 255 + 1e-3


def test_a_constant_network_has_no_condition_number(batch):
    net = random_linear(batch)
    images = torch.zeros_like(batch.images)
    flat = type(batch)(images, batch.labels, batch.ids)

    assert 0.0 == proxy("ntk_smallest(batch=4)").score(net, flat)
    assert math.isnan(proxy("ntk_condition(batch=4)").score(net, flat))
    assert math.isnan(proxy("ntk_bound(batch=4)").score(net, flat))


@pytest.mark.parametrize(
    "text", ["ntk_bound(kernel=cross)", "ntk_smallest(beta=2.0)", "ntk_smallest(batch=0)"]
)
def test_refused_settings(text):
    with pytest.raises(BadValueError):
        proxy(text)
