"""Which weights learn, at which rates, in which phase."""

import pytest
import torch
import torchvision
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.training.protocols import Learning, Phase, make_optimizer, phases
from holdfast.training.recipe import OptimizerSection, ProtocolSection
from training_toys import linear, recipe, with_norms

FULL = Phase("full", 1, 1)


def learning(net, kind="full", **protocol):
    return Learning(net, ProtocolSection(**protocol), Phase(kind, 1, 1))


def rates(net, settings, kind="full", **protocol):
    """(rate, decay) of each weight by name."""
    names = {id(p): name for name, p in net.named_parameters()}
    groups = learning(net, kind, **protocol).groups(OptimizerSection(**settings))
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}


def learns(net):
    return {name for name, p in net.named_parameters() if p.requires_grad}


def training(net):
    return {name for name, module in net.named_modules() if module.training}


@pytest.fixture(scope="module")
def resnet():
    return torchvision.models.resnet18(weights=None, num_classes=5)


def test_one_rate_and_no_decay_of_norms_and_biases():
    found = rates(with_norms(), {"lr": 0.1, "weight_decay": 0.2})

    assert {
        "0.weight": (0.1, 0.2),
        "0.bias": (0.1, 0.0),
        "1.weight": (0.1, 0.0),
        "1.bias": (0.1, 0.0),
        "6.weight": (0.1, 0.2),
        "6.bias": (0.1, 0.0),
    } == found


def test_the_head_has_a_rate_and_a_decay_of_its_own():
    found = rates(
        with_norms(), {"lr": 0.1, "head_lr": 1.0, "weight_decay": 0.2, "head_weight_decay": 0.0}
    )

    assert ((0.1, 0.2), (0.1, 0.0)) == (found["0.weight"], found["0.bias"])
    assert ((1.0, 0.0), (1.0, 0.0)) == (found["6.weight"], found["6.bias"])
    assert (1.0, 0.3) == rates(linear(), {"head_lr": 1.0, "weight_decay": 0.3})["1.weight"]
    assert (0.5, 0.3) == rates(linear(), {"lr": 0.5, "head_weight_decay": 0.3})["1.weight"]


def test_everything_decays_where_that_is_asked_for():
    found = rates(with_norms(), {"weight_decay": 0.2, "head_weight_decay": 0.3, "decay_all": True})

    assert {0.2} == {decay for name, (_, decay) in found.items() if not name.startswith("6")}
    assert {0.3} == {decay for name, (_, decay) in found.items() if name.startswith("6")}


def test_groups_hold_every_weight_once_and_none_is_empty(resnet):
    settings = OptimizerSection(head_lr=1.0)
    groups = learning(resnet).groups(settings)
    held = [id(p) for group in groups for p in group["params"]]

    assert sorted(held) == sorted(id(p) for p in resnet.parameters())
    assert all(group["params"] for group in groups)
    assert all(group["base_lr"] == group["lr"] for group in groups)
    assert 4 == len(groups)
    assert 2 == len(learning(resnet).groups(OptimizerSection()))


def test_a_residual_network_decays_its_convolutions_and_its_last_layer(resnet):
    found = rates(resnet, {"weight_decay": 0.2})
    decayed = {name for name, (_, decay) in found.items() if decay}
    modules = dict(resnet.named_modules())

    assert decayed == {
        name
        for name in found
        if isinstance(modules[name.rpartition(".")[0]], nn.Conv2d | nn.Linear)
        and name.endswith("weight")
    }


class Attention(nn.Module):
    """Has a bias of another name, and norms of all kinds."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2)
        self.layer, self.group, self.rms = nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.RMSNorm(4)
        self.instance = nn.InstanceNorm2d(4, affine=True)
        self.head = nn.Linear(4, 2)


def test_biases_of_attention_and_norms_of_all_kinds_do_not_decay():
    found = rates(Attention(), {"weight_decay": 0.2})

    assert {"attention.in_proj_weight", "attention.out_proj.weight", "head.weight"} == {
        name for name, (_, decay) in found.items() if decay
    }


def test_weights_shared_by_two_layers_are_in_one_group():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    net[1].weight = net[0].weight

    assert 5 == sum(len(g["params"]) for g in learning(net).groups(OptimizerSection()))


def test_only_the_last_layer_of_a_probe_learns(resnet):
    one = learning(resnet, "linear_probe")
    resnet.train()
    one.modes()

    assert {"fc.weight", "fc.bias"} == learns(resnet)
    assert {"fc"} == training(resnet)
    assert 2 == len(one.parameters) == len(rates(resnet, {}, "linear_probe"))


LAST = {
    1: ("layer4.1.", "fc."),
    2: ("layer4.0.", "layer4.1.", "fc."),
    3: ("layer3.1.", "layer4.", "fc."),
}


@pytest.mark.parametrize("blocks", LAST)
def test_the_last_blocks_of_a_residual_network(resnet, blocks):
    one = learning(resnet, "last_k", blocks=blocks)
    resnet.train()
    one.modes()
    all_names = {name for name, _ in resnet.named_parameters()}

    assert {name for name in all_names if name.startswith(LAST[blocks])} == learns(resnet)
    assert training(resnet) == {
        name
        for name, _ in resnet.named_modules()
        if f"{name}.".startswith(LAST[blocks])
        and name != "layer4"  # the list itself; its blocks are what learns
    }


OTHERS = [
    ("mobilenet_v2", {"features.18.0", "features.18.1", "classifier.1"}),
    ("regnet_y_400mf", {"trunk_output.block4.block4-5", "fc"}),
    ("densenet121", {"features.denseblock4", "features.norm5", "classifier"}),
    ("vgg11_bn", {"classifier.3", "classifier.6"}),
]


@pytest.mark.parametrize(("name", "expected"), OTHERS)
def test_the_last_block_of_other_networks(name, expected):
    # VGG has 500 MB of weights, which are not needed; RegNet computes its widths with tensors.
    with torch.device("meta" if name.startswith("vgg") else "cpu"):
        net = getattr(torchvision.models, name)(weights=None)
    learning(net, "last_k")

    assert learns(net) == {n for n, _ in net.named_parameters() if n.startswith(tuple(expected))}
    assert all(any(n.startswith(one) for n in learns(net)) for one in expected)


def test_more_blocks_than_there_are_is_told_with_their_number(resnet):
    with pytest.raises(BadValueError, match=r"blocks=10, but ResNet has 9 blocks.*kind=full"):
        learning(resnet, "last_k", blocks=10)
    learning(resnet, "last_k", blocks=9)

    assert {name for name, _ in resnet.named_parameters()} == learns(resnet)


def test_a_later_phase_thaws_what_an_earlier_one_froze():
    net = with_norms()
    learning(net, "linear_probe")
    learning(net).modes()

    assert {name for name, _ in net.named_parameters()} == learns(net)
    assert {name for name, _ in net.named_modules()} == training(net)


@pytest.mark.parametrize("kind", ["full", "last_k"])
def test_frozen_normalization_is_out_of_every_protocol(kind):
    net = with_norms()
    one = learning(net, kind, freeze_bn=True, blocks=1)
    net.train()
    one.modes()

    assert not {"1.weight", "1.bias"} & learns(net)
    assert "0.weight" in learns(net)
    assert not net[1].training and net[0].training


def test_a_network_without_a_last_layer_learns_whole_or_not_at_all():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

    learning(Scale())
    with pytest.raises(BadValueError, match="Scale has no last layer that could learn alone"):
        learning(Scale(), "linear_probe")


@pytest.mark.parametrize("kind", ["full", "scratch", "linear_probe", "last_k"])
def test_one_phase(kind):
    wanted = recipe(train={"epochs": 5}, protocol={"kind": kind})

    assert (Phase("full" if kind == "scratch" else kind, 1, 5),) == phases(wanted)


def test_a_probe_and_then_the_whole_network_are_two_phases():
    first, second = phases(
        recipe(train={"epochs": 5}, protocol={"kind": "lp_ft", "probe_epochs": 2})
    )

    assert (Phase("linear_probe", 1, 2), Phase("full", 3, 3)) == (first, second)
    assert (2, 5) == (first.last, second.last)


OPTIMIZERS = [
    ({"kind": "sgd", "momentum": 0.7, "nesterov": True}, torch.optim.SGD, "momentum", 0.7),
    ({"kind": "sgd", "nesterov": True}, torch.optim.SGD, "nesterov", True),
    ({"kind": "adam", "betas": (0.8, 0.9)}, torch.optim.Adam, "betas", (0.8, 0.9)),
    ({"kind": "adamw", "betas": (0.8, 0.9)}, torch.optim.AdamW, "betas", (0.8, 0.9)),
]


@pytest.mark.parametrize(("settings", "kind", "field", "value"), OPTIMIZERS, ids=str)
def test_the_optimizer_is_torchs_with_these_settings(settings, kind, field, value):
    settings = OptimizerSection(lr=0.3, head_lr=0.5, weight_decay=0.2, **settings)
    found = make_optimizer(learning(with_norms()).groups(settings), settings)

    assert kind is type(found)
    assert {value} == {group[field] for group in found.param_groups}
    assert {(0.3, 0.2), (0.3, 0.0), (0.5, 0.2), (0.5, 0.0)} == {
        (group["lr"], group["weight_decay"]) for group in found.param_groups
    }
