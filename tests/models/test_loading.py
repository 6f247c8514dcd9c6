"""Weights into networks: what must fit, what stays fresh."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.models import head_layers, load_weights, small_cnn
from holdfast.models.loading import keyed_initialization


def net(classes=3):
    layers = {"stem": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "fc": nn.Linear(4, classes)}
    return nn.Sequential(OrderedDict(layers))


def ones(classes=3):
    return {key: torch.ones_like(value) for key, value in net(classes).state_dict().items()}


def test_every_weight_is_copied():
    target = net()
    load_weights(target, ones())

    assert all(bool((value == 1).all()) for value in target.state_dict().values())


def test_counters_of_batches_may_be_absent():
    state = {key: value for key, value in ones().items() if "num_batches" not in key}

    assert () == load_weights(net(), state)


def test_a_wrapper_that_only_the_file_has_is_dropped():
    target = net()
    load_weights(target, {f"model.{key}": value for key, value in ones().items()})

    assert bool((target.fc.weight == 1).all())


def test_a_wrapper_that_only_the_network_has_is_added():
    target = nn.Sequential(OrderedDict(inner=net()))
    load_weights(target, ones())

    assert bool((target.inner.fc.weight == 1).all())


def test_a_mismatch_names_keys_shapes_and_counts():
    state = ones()
    del state["stem.bias"]
    state["extra"] = torch.ones(1)
    state["norm.weight"] = torch.ones(5)
    message = (
        r"the weights do not fit Sequential: 1 of 9 keys missing \(stem.bias\); "
        r"1 of 9 keys unexpected \(extra\); "
        r"1 of 9 keys of other shapes \(norm.weight expected \[4\], came \[5\]\); "
        r"is it a file for another architecture\?"
    )

    with pytest.raises(BadValueError, match=message):
        load_weights(net(), state)


def test_a_long_list_of_keys_is_cut():
    with pytest.raises(BadValueError, match=r"8 of 9 keys missing \(stem.weight, stem.bias, norm"):
        load_weights(net(), {"else": torch.ones(1)})


def test_a_mismatch_changes_nothing():
    target = net()
    before = target.stem.weight.clone()
    with pytest.raises(BadValueError):
        load_weights(target, ones() | {"fc.weight": torch.ones(7, 4)})

    assert torch.equal(before, target.stem.weight)


def test_a_mismatch_of_the_last_layer_alone_says_how_to_keep_it_fresh():
    with pytest.raises(
        BadValueError, match=r"fc.weight expected \[3, 4\], came \[7, 4\].*backbone"
    ):
        load_weights(net(), ones(classes=7))


def test_the_backbone_leaves_the_last_layer_as_it_was():
    target = net()
    before = target.fc.weight.clone()
    load_weights(target, ones(classes=7), part="backbone")

    assert torch.equal(before, target.fc.weight) and bool((target.stem.weight == 1).all())


def test_the_backbone_says_which_keys_stayed_fresh():
    assert ("fc.weight", "fc.bias") == load_weights(net(), ones(), part="backbone")


def test_a_file_of_the_backbone_alone_fits_the_backbone():
    state = {key: value for key, value in ones().items() if not key.startswith("fc")}

    assert ("fc.weight", "fc.bias") == load_weights(net(), state, part="backbone")


def test_a_backbone_that_lacks_a_layer_is_refused():
    state = {key: value for key, value in ones().items() if not key.startswith("stem")}

    with pytest.raises(BadValueError, match="2 of 9 keys missing"):
        load_weights(net(), state, part="backbone")


def test_features_without_any_layer_of_a_named_head_fit_the_backbone():
    head = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    target = nn.Sequential(OrderedDict(features=nn.Conv2d(3, 4, 3), classifier=head))
    state = {key: v for key, v in target.state_dict().items() if key.startswith("features")}

    fresh = load_weights(target, state, part="backbone")

    assert {"classifier.0", "classifier.2"} == {key.rpartition(".")[0] for key in fresh}


HEADS = {
    "resnet18": ("fc",),
    "mobilenet_v2": ("classifier.1",),
    "densenet121": ("classifier",),
    "squeezenet1_0": ("classifier.1",),
    "swin_t": ("head",),
    "vit_b_32": ("heads.head",),
    "maxvit_t": ("classifier.5",),
    "convnext_tiny": ("classifier.2",),
}


@pytest.mark.parametrize(("name", "expected"), HEADS.items(), ids=list(HEADS))
def test_the_last_layer_of_torchvisions_networks_is_found(name, expected):
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)

    assert expected == head_layers(network)


def test_auxiliary_classifiers_are_heads_too():
    with torch.device("meta"):
        network = torchvision.models.googlenet(weights=None, init_weights=False)

    assert ("aux1.fc2", "aux2.fc2", "fc") == head_layers(network)


def test_keyed_initialization_repeats():
    weights = []
    for _ in range(2):
        with keyed_initialization("a"):
            weights.append(small_cnn(5).head.weight)

    assert torch.equal(*weights)


def test_another_key_gives_other_weights():
    weights = []
    for key in "ab":
        with keyed_initialization(key):
            weights.append(small_cnn(5).head.weight)

    assert not torch.equal(*weights)


def test_keyed_initialization_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    with keyed_initialization("a"):
        small_cnn(5)

    assert torch.equal(before, torch.get_rng_state())


def test_seed_0_is_the_key_of_old_and_another_seed_is_another_stream():
    draws = {}
    for seed in (0, 1, 2):
        with keyed_initialization("small:cnn", seed):
            draws[seed] = torch.rand(4).tolist()
    with keyed_initialization("small:cnn"):
        old = torch.rand(4).tolist()
    digest = hashlib.blake2b(b"small:cnn", digest_size=7).digest()
    judge = torch.Generator().manual_seed(int.from_bytes(digest, "little"))

    assert draws[0] == old == torch.rand(4, generator=judge).tolist()
    assert 12 == len({value for row in draws.values() for value in row})
