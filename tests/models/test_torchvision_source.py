"""`torchvision:NAME`, without a network: torchvision's own transforms are the judge."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.models import SqueezeNet1_0_Weights

from holdfast.core.errors import MissingError
from holdfast.models import load_model


@pytest.fixture
def squeezed(tmp_path):
    torch.manual_seed(2)
    net = torchvision.models.squeezenet1_0(weights=None, num_classes=4)
    torch.save(net.state_dict(), tmp_path / "squeezed.pth")
    return net.eval(), tmp_path / "squeezed.pth"


def test_a_torchvision_network_with_a_file_gives_torchvisions_logits(squeezed):
    net, path = squeezed
    image = np.random.default_rng(0).integers(0, 256, (240, 300, 3)).astype(np.uint8)
    judge = SqueezeNet1_0_Weights.DEFAULT.transforms()(Image.fromarray(image))[None]
    expected = net(judge)

    classifier = load_model("torchvision:squeezenet1_0", weights=path)
    pixels = torch.from_numpy(classifier.prepare(image).copy()).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(expected, classifier(pixels))


def test_torchvision_weights_are_read_from_its_cache(offline):
    net = torchvision.models.squeezenet1_0(weights=None)
    folder = offline / "torch" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(net.state_dict(), folder / "squeezenet1_0-b66bff10.pth")

    classifier = load_model("torchvision:squeezenet1_0")

    assert torch.equal(net.classifier[1].weight, classifier.net.classifier[1].weight)


def test_torchvision_weights_that_cannot_be_fetched_are_named(offline):
    message = (
        r"squeezenet1_0 \(squeezenet1_0-b66bff10.pth\) are not on this machine, .*"
        r"download.pytorch.org cannot be reached: no route.*checkpoints; .*--weights FILE"
    )

    with pytest.raises(MissingError, match=message):
        load_model("torchvision:squeezenet1_0")


@pytest.mark.parametrize(("chosen", "scale"), [("", 232), (".IMAGENET1K_V1", 256)])
def test_each_set_of_weights_brings_its_own_preprocessing(tmp_path, chosen, scale):
    net = torchvision.models.mobilenet_v2(weights=None, num_classes=2)
    torch.save(net.state_dict(), tmp_path / "a.pth")
    classifier = load_model(f"torchvision:mobilenet_v2{chosen}", weights=tmp_path / "a.pth")

    assert (scale, scale) == classifier.preprocessing.scale_size


@pytest.mark.slow
def test_networks_ported_from_tensorflow_undo_the_normalization(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = torchvision.models.googlenet(weights=None, init_weights=True)
    torch.save(net.state_dict(), tmp_path / "googlenet.pth")

    assert load_model(
        "torchvision:googlenet", weights=tmp_path / "googlenet.pth"
    ).net.transform_input


def test_fresh_weights_need_no_network(offline):
    one, same, other = (
        load_model("torchvision:squeezenet1_0", pretrained=False, classes=4, init_seed=seed)
        for seed in (0, 0, 1)
    )

    assert (4, True) == (one.classes, "untrained" in one.flags)
    assert set(one.net.state_dict()) == set(one.fresh_keys)
    assert one.digest == same.digest != other.digest


def test_a_file_is_loaded_whether_pretrained_or_not(squeezed):
    one, other = (
        load_model("torchvision:squeezenet1_0", weights=squeezed[1], pretrained=p)
        for p in (True, False)
    )

    assert one.digest == other.digest
    assert "untrained" not in other.flags
