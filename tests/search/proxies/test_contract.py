"""What every proxy must keep."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.models.nb201 import build_nb201
from holdfast.search.proxies import (
    PROXIES,
    Batch,
    default_proxies,
    known_proxies,
    parse_proxies,
    proxy,
    spec_of,
)
from search.proxies.nets import Residual, batch_of, seeded

SMALL = {"batch": 4, "steps": 2, "crops": 50}
CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"


def small(one):
    """The proxy with settings that take milliseconds."""
    names = {field.name for field in dataclasses.fields(one)}
    return dataclasses.replace(one, **{k: v for k, v in SMALL.items() if k in names})


TANGENT = "ntk_smallest(kernel=robust_all), ntk_condition, ntk_bound(kernel=all)"
ALL = [small(one) for one in default_proxies() if not spec_of(one).startswith("ntk")]
ALL += map(small, parse_proxies(TANGENT))
each = pytest.mark.parametrize("one", ALL, ids=spec_of)


@pytest.fixture(scope="module")
def network():
    return seeded(lambda: build_nb201(CELL, channels=3, cells=1, classes=3))


@pytest.fixture
def batch():
    return batch_of(4, side=8)


def state_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


@each
def test_a_network_and_the_global_generators_are_left_as_they_were(one, network, batch):
    before, mode, random = state_of(network), network.training, torch.random.get_rng_state()
    value = one.score(network, batch)

    assert math.isfinite(value)
    assert torch.equal(random, torch.random.get_rng_state())
    assert mode == network.training
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert not any(m._forward_hooks for m in network.modules())


@each
def test_a_score_is_the_same_again_and_in_evaluation_mode(one, network, batch):
    value = one.score(network, batch)
    again = batch_of(4, side=8)
    network.eval()
    try:
        other = one.score(network, again)
    finally:
        network.train()

    assert value == other


@each
def test_only_the_first_images_count(one, network):
    more = batch_of(4, side=8)
    images = torch.cat([more.images, torch.rand(2, 3, 8, 8)])
    longer = Batch(images, torch.tensor([*more.labels, 0, 0]), torch.arange(6))
    if spec_of(one).startswith("linear_regions"):
        pytest.skip("crops come from all images")

    assert one.score(network, more) == one.score(network, longer)


@each
def test_it_says_what_it_is(one):
    assert one.about and "\n" not in one.about
    assert one.sign in (1, -1)
    assert one.moment == "at initialisation"
    assert one.needs <= {"images", "labels", "gradients"}
    assert one == proxy(spec_of(one))


def test_every_name_is_among_the_usual_ones():
    assert set(PROXIES) == {spec_of(one).partition("(")[0] for one in default_proxies()}


def test_proxies_in_words():
    rows = {name: words for name, *words in known_proxies()}

    assert list(PROXIES) == list(rows)
    assert ["larger", "any", "at initialisation", "the network alone"] == rows["params"][:4]
    assert ["smaller", "16", "at initialisation", "images, labels, gradients"] == (
        rows["hessian_top"][:4]
    )
    assert PROXIES["snip"].about == rows["snip"][4]


def test_the_thirteen_of_the_suite_are_there():
    suite = {"epe_nas", "fisher", "flops", "grad_norm", "grasp", "jacov", "l2_norm"}
    suite |= {"nwot", "params", "plain", "snip", "synflow", "zen"}

    assert 13 == len(suite)
    assert suite <= set(PROXIES)


def test_changed_weights_are_seen(network, batch):
    one = proxy("snip(batch=4)")
    net = seeded(Residual)
    before = one.score(net, batch)
    with torch.no_grad():
        net.head.weight.mul_(2)

    assert before != one.score(net, batch)


def test_the_seed_decides_what_is_drawn(network):
    values = {proxy("zen(batch=4)").score(network, batch_of(4, seed=seed)) for seed in (0, 0, 1)}

    assert 2 == len(values)


def test_dropout_stays_off(batch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Dropout(0.9))
    one = proxy("snip(batch=4)")

    assert one.score(net, batch) == one.score(net, batch_of(4, side=8))


def test_lists_of_proxies():
    assert ["snip(batch=8)", "params"] == [
        spec_of(one) for one in parse_proxies("snip(batch=8), params, snip(batch=8)")
    ]
    assert [spec_of(one) for one in default_proxies()] == [
        spec_of(one) for one in parse_proxies("all")
    ]
    with pytest.raises(UnknownNameError, match="snip"):
        parse_proxies("snap")
    with pytest.raises(BadValueError, match="known"):
        parse_proxies(" ")


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (torch.zeros(2, 3, 4), torch.zeros(2, dtype=torch.int64), r"\[B, C, H, W\]"),
        (torch.zeros(0, 3, 4, 4), torch.zeros(0, dtype=torch.int64), "above 0"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(3, dtype=torch.int64), "as many labels"),
        (torch.zeros(2, 3, 4, 4), torch.tensor([0, -1]), "below 0"),
    ],
)
def test_refused_batches(images, labels, words):
    with pytest.raises(BadValueError, match=words):
        Batch(images, labels, torch.arange(len(images)))


def test_too_few_images_and_no_relu(batch):
    net = seeded(lambda: Residual(activation=nn.Tanh))
    with pytest.raises(BadValueError, match="looks at 32 images, got 4"):
        proxy("snip").score(net, batch)
    with pytest.raises(BadValueError, match=r"no nn\.ReLU"):
        proxy("nwot(batch=4)").score(net, batch)
