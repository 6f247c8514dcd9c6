"""Names in other people's tables."""

from __future__ import annotations

import pytest

from holdfast.explain.rules import Resolver

RESOLVER = Resolver()


@pytest.mark.parametrize(
    ("name", "model", "exact"),
    [
        ("resnet50.a1_in1k", "timm:resnet50.a1_in1k", True),
        ("resnet50", "timm:resnet50", False),
        ("ResNet-50", "timm:resnet50", False),
        ("tf_efficientnet_b0_ns", "timm:tf_efficientnet_b0.ns_jft_in1k", True),
        ("alexnet", "torchvision:alexnet", False),
        ("ViT-B/16", "torchvision:vit_b_16", False),
        ("inceptionv4", "timm:inception_v4", False),
        ("pnasnet5large", "timm:pnasnet5large", False),
        ("se_resnext50_32x4d", "timm:seresnext50_32x4d", False),
        ("vgg16_bn", "timm:vgg16_bn", False),
        ("timm:resnet50d.ra2_in1k", "timm:resnet50d.ra2_in1k", True),
        ("net.py:bright", "net.py:bright", True),
    ],
)
def test_networks_by_their_spelling(name, model, exact):
    found = RESOLVER.resolve(name)

    assert (found.model, found.exact) == (model, exact)
    assert found.how and not found.training


@pytest.mark.parametrize(
    ("name", "model", "training"),
    [
        ("efficientnet-b0", "timm:tf_efficientnet_b0", set()),
        ("efficientnet-b7-advprop-autoaug", "timm:tf_efficientnet_b7",
         {"adversarial", "augmented"}),
        ("BiT-M-R50x1-ILSVRC2012", "timm:resnetv2_50x1_bit", {"more data"}),
        ("resnet50_l2_eps3_robust", "timm:resnet50", {"adversarial"}),
        ("resnet50_augmix", "timm:resnet50", {"augmented"}),
        ("vgg16_bn_lpf3", "timm:vgg16_bn", {"blur pools"}),
        ("vit_b_32_clip_zeroshot", "timm:vit_base_patch32_clip_224", {"clip"}),
        ("resnet101_3_epochs", "timm:resnet101", {"less training"}),
        ("google_resnet101_jft-300M", "timm:resnet101", {"more data"}),
        ("FixResNet50CutMix_v2", "timm:resnet50", {"augmented", "test size changed"}),
    ],
)  # fmt: skip
def test_what_a_name_says_of_training(name, model, training):
    found = RESOLVER.resolve(name)

    assert (found.model, set(found.training), found.exact) == (model, training, False)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("resnet50_swsl", "timm:resnet50.fb_swsl_ig1b_ft_in1k"),
        ("efficientnet-l2-noisystudent", "timm:tf_efficientnet_l2.ns_jft_in1k"),
    ],
)
def test_weights_that_timm_had_under_another_name(name, model):
    found = RESOLVER.resolve(name)

    assert (found.model, found.exact) == (model, True)


@pytest.mark.parametrize(
    "name", ["resnet50_foo", "resnet50_v2", "bninception", "identity32_random_forests", "x", ""]
)
def test_nothing_is_guessed(name):
    found = RESOLVER.resolve(name)

    assert found.model is None
    assert "no network" in found.how


def test_what_could_be_two_networks_stays_unresolved():
    resolver = Resolver()
    resolver._squashed["twonets"] = {"timm:two_nets", "timm:twonets_"}
    found = resolver.resolve("Two-Nets")

    assert found.model is None
    assert found.how == "could be timm:two_nets or timm:twonets_"
