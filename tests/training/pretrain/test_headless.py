"""A network without its last layer, and the weights of both."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.models import load_model
from holdfast.models.small import small_cnn
from holdfast.training.pretrain import Headless
from training.pretrain.toys import uniform

NB201 = (
    "nb201:|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|avg_pool_3x3~1|skip_connect~2|"
)


def loaded(text):
    net = load_model(text).net
    assert isinstance(net, nn.Module)
    return net


NETS = {
    "small": (lambda: small_cnn(10, width=2), "head", 8),
    "resnet": (lambda: torchvision.models.resnet18(num_classes=5), "fc", 512),
    "mobilenet": (
        lambda: torchvision.models.mobilenet_v2(num_classes=5, width_mult=0.25),
        "classifier.1",
        1280,
    ),
    "timm resnet": (
        lambda: timm.create_model("test_resnet.r160_in1k", num_classes=5),
        "fc",
        None,
    ),
    "timm vit": (lambda: timm.create_model("test_vit.r160_in1k", num_classes=5), "head", None),
    "nb201": (lambda: loaded(NB201 + "(channels=2, cells=1)"), "classifier", 8),
}


@pytest.mark.parametrize("name", NETS)
def test_what_is_left_gives_what_the_last_layer_took(name):
    make, layer, dimension = NETS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make().eval()
    size = 160 if "timm" in name else 32
    images = uniform(2, 3, size, size)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        logits = net(images)
        headless = Headless(net)
        assert headless.net is net
        assert headless.name == layer
        assert headless.head.in_features == headless.dimension
        assert dimension in (None, headless.dimension)
        features = net(images)
        assert features.shape == (2, headless.dimension)
        assert not any(key.startswith(f"{layer}.") for key in net.state_dict())
        torch.testing.assert_close(headless.head(features), logits, rtol=0, atol=0)
    after = headless.whole_state(net)
    assert set(after) == set(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "Conv2d"),
        (nn.Linear(3, 2), "no layers before"),
        (nn.Flatten(), "no layers before"),
    ],
)
def test_a_network_without_a_last_linear_layer_is_refused(net, why):
    keys = list(net.state_dict())
    with pytest.raises(BadValueError, match=why):
        Headless(net)
    assert list(net.state_dict()) == keys


def test_several_last_layers_are_refused():
    net = small_cnn(3, width=2)
    net.pretrained_cfg = {"classifier": ("head", "extra")}
    net.extra = nn.Linear(8, 3)
    with pytest.raises(BadValueError, match="2 last layers"):
        Headless(net)


def test_squeezenet_is_refused():
    with pytest.raises(BadValueError, match="Conv2d"):
        Headless(torchvision.models.squeezenet1_1(num_classes=3))
