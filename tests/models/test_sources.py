"""From names and objects to classifiers: what is taken, and what a wrong one is told."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from holdfast.core.errors import BadTypeError, BadValueError, UnknownNameError
from holdfast.models import (
    Preprocessing,
    known_models,
    load_model,
    model_names,
)

CELL = "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"


class Net(nn.Module):
    mean, std, input_size = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 8

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, images):
        return self.fc(images.mean((2, 3)))


def test_a_module_in_memory_is_taken_with_what_it_declares():
    classifier = load_model(Net().eval())

    expected = Preprocessing(input_size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)
    assert expected == classifier.preprocessing


def test_a_preprocessing_that_is_passed_replaces_the_declared_one():
    wanted = Preprocessing(input_size=(4, 4))

    assert wanted == load_model(Net(), preprocessing=wanted).preprocessing


def test_a_callable_is_taken():
    assert 3 == load_model(lambda images: images.mean((2, 3))).classes


def test_a_classifier_is_taken_as_it_is():
    classifier = load_model(Net())

    assert classifier is load_model(classifier)


def test_weights_go_into_a_module_in_memory(tmp_path):
    source = Net()
    torch.save(source.state_dict(), tmp_path / "a.pth")
    classifier = load_model(Net(), weights=tmp_path / "a.pth")

    assert torch.equal(source.fc.weight, classifier.net.fc.weight)


def test_weights_do_not_go_into_a_callable(tmp_path):
    torch.save(Net().state_dict(), tmp_path / "a.pth")

    with pytest.raises(BadValueError, match="weights go into a torch module, and <lambda> is none"):
        load_model(lambda x: x.mean((2, 3)), weights=tmp_path / "a.pth")


def test_a_network_with_other_classes_than_asked_for_is_refused():
    with pytest.raises(BadValueError, match="Net gives 2 classes, but 5 were asked for"):
        load_model(Net(), classes=5)


def test_a_normalization_inside_the_module_is_not_repeated():
    """A `mean` that is a buffer belongs to a network that normalizes its own input."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.register_buffer("mean", torch.tensor([0.5, 0.5, 0.5]))

    assert () == load_model(net).preprocessing.mean


def test_the_channels_are_those_of_the_first_convolution():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    assert 1 == load_model(net).preprocessing.channels


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"std": None}, "Net declares mean but no std"),
        ({"input_size": "32"}, r"input_size must be N, \(H, W\) or \(C, H, W\), got '32'"),
        ({"mean": "0.5"}, "Net: mean must be numbers, one a channel, got '0.5'"),
    ],
    ids=str,
)
def test_a_declaration_that_cannot_be_read_is_refused(attributes, message):
    net = Net()
    for name, value in attributes.items():
        setattr(net, name, value)

    with pytest.raises(BadValueError, match=message):
        load_model(net)


@pytest.mark.parametrize(("thing", "got"), [(3, "3"), (Net, "the class Net")], ids=str)
def test_what_is_no_model_is_refused(thing, got):
    with pytest.raises(BadTypeError, match=f"a model is a name such as .*; got {got}"):
        load_model(thing)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet50", "did you mean timm:resnet50 or torchvision:resnet50"),
        ("squeezenet1_0", r"did you mean torchvision:squeezenet1_0\?"),
        ("resnet20", "no model named 'resnet20'.*did you mean .*resnet200.*models are timm:NAME"),
        ("tm:resnet50", "no model named 'tm:resnet50'.*torchvision:resnet50"),
        ("timm/resnet50.a1_in1k", "is timm:hf-hub:ORG/NAME"),
        ("timm:resnet5", "no timm model named 'resnet5'; did you mean resnet50"),
        ("timm:resnet50.a9_in1k", "no pretrained tag of timm model resnet50.*resnet50.a3_in1k"),
        ("torchvision:resnet5", "no torchvision model named 'resnet5'; did you mean resnet50"),
        ("torchvision:resnet50.IMAGENET1K_V9", "weights of torchvision model resnet50.*1K_V2"),
        ("robust_resnet50", r"did you mean backbone:robust_resnet50\?"),
        ("small:cn", "no small model named 'cn'; did you mean cnn"),
        ("small:cnn(widht=8)", "no parameter of small model cnn named 'widht'; did you mean width"),
    ],
    ids=str,
)
def test_an_unknown_name_gets_near_ones(text, message):
    with pytest.raises(UnknownNameError, match=message):
        load_model(text)


def test_a_prefix_without_a_name_is_refused():
    with pytest.raises(BadValueError, match="'timm:' names no model; write timm:NAME"):
        load_model("timm:")


def test_a_weights_file_is_no_model(tmp_path):
    (tmp_path / "a.pth").touch()

    with pytest.raises(BadValueError, match="is a file, not a model: name the network"):
        load_model(str(tmp_path / "a.pth"))


def test_a_part_that_does_not_exist_is_refused():
    with pytest.raises(BadValueError, match="weights_part must be all or backbone, got 'head'"):
        load_model("small:cnn", weights_part="head")


def test_a_seed_below_nothing_is_refused():
    with pytest.raises(BadValueError, match="init_seed must be 0 or more, got -1"):
        load_model("small:cnn", init_seed=-1)


@pytest.mark.parametrize("spec", ["small:cnn(width=4)", f"nb201:{CELL}(channels=4, cells=1)"])
def test_another_seed_gives_another_network(spec):
    digests = {seed: load_model(spec, init_seed=seed).digest for seed in (0, 1, 2)}

    assert 3 == len(set(digests.values()))
    assert digests[0] == load_model(spec).digest == load_model(spec, pretrained=False).digest


def test_a_device_that_does_not_exist_is_refused():
    with pytest.raises(BadValueError, match="device must be auto, cpu, cuda or mps, got 'gpu'"):
        load_model("small:cnn", device="gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an accelerator here")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(BadValueError, match="no cuda device on this machine; use cpu or auto"):
        load_model("small:cnn", device="cuda")


def test_names_of_each_source_are_known():
    assert {"resnet50.a1_in1k"} <= set(model_names("timm"))
    assert {"squeezenet1_0"} <= set(model_names("torchvision"))
    assert {"cnn"} <= set(model_names("small"))


def test_an_unknown_source_is_refused():
    with pytest.raises(UnknownNameError, match="no model source named 'tim'; did you mean timm"):
        model_names("tim")


def test_known_models_say_their_size():
    assert ("timm:resnet50.a1_in1k", "224 px, 1000 classes") in known_models()
    assert ("torchvision:squeezenet1_0", "224 px, IMAGENET1K_V1") in known_models()


def test_known_models_have_a_spec_once():
    specs = [spec for spec, _ in known_models()]

    assert sorted(specs) == sorted(set(specs))
