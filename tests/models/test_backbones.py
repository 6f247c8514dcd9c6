"""The table of backbones against the published counts, and against timm itself."""

from __future__ import annotations

from collections import Counter

import pytest
import timm
import torch

from holdfast.core.errors import BadValueError, MissingError, UnknownNameError
from holdfast.models import Preprocessing, load_model, load_weights, model_names
from holdfast.models.backbones import BACKBONES, backbone
from holdfast.models.loading import Request
from holdfast.models.timm_source import _maker

ROWS = list(BACKBONES.values())
OF_TIMM = [row for row in ROWS if row.spec.startswith("timm:")]
SMALLEST = "backbone:regnetx_004.pycls_in1k"
CLIP = Preprocessing(
    input_size=(224, 224),
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    resize="squash",
)
IMAGENET = Preprocessing(
    input_size=(224, 224),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    resize="squash",
)


def test_the_counts_are_the_published_ones():
    assert {"small": 7, "medium": 15, "large": 18} == Counter(row.size for row in ROWS)
    assert {"convolutional": 16, "attention": 18, "hybrid": 6} == Counter(r.type for r in ROWS)
    assert {
        "supervised": 20,
        "supervised (multistep)": 6,
        "supervised (robust)": 5,
        "self-supervised": 4,
        "self-supervised (multimodal)": 3,
        "fusion": 2,
    } == Counter(row.strategy for row in ROWS)


def test_multistep_and_fusion_name_several_sets_and_the_others_one():
    several = {row.id for row in ROWS if "+" in row.data}

    expected = {r.id for r in ROWS if r.strategy in ("supervised (multistep)", "fusion")}
    assert expected == several


def test_clip_statistics_are_those_of_laion_and_no_others():
    laion = {row.id for row in ROWS if row.preprocessing == CLIP}

    assert 5 == len(laion)
    assert all("laion" in name for name in laion)
    assert {IMAGENET} == {row.preprocessing for row in ROWS if row.id not in laion}


def test_ids_with_a_tag_are_the_names_of_timm():
    tagged = [row for row in OF_TIMM if "." in row.id]

    assert 31 == len(tagged)
    assert all(row.spec == f"timm:{row.id}" for row in tagged)


def test_every_pretrained_tag_is_known_to_timm():
    known = set(timm.list_pretrained())
    wanted = {row.spec.removeprefix("timm:") for row in OF_TIMM if not row.checkpoint}

    assert 33 == len(wanted)
    assert set() == wanted - known


def test_every_tag_of_open_clip_is_known_to_it():
    package = pytest.importorskip("open_clip")
    specs = [row.spec.removeprefix("open_clip:") for row in ROWS if row not in OF_TIMM]
    pairs = {tuple(spec.split("/")) for spec in specs}

    assert 2 == len(pairs)
    assert set() == pairs - set(package.list_pretrained())


@pytest.mark.slow
@pytest.mark.parametrize("row", OF_TIMM, ids=lambda row: row.id)
def test_sizes_are_by_parameters_and_weights_leave_only_a_head_fresh(row):
    """All 38, without memory; judged by timm's own number of classes and of parameters."""
    name = row.spec.removeprefix("timm:")
    with torch.device("meta"):
        whole = timm.create_model(name, pretrained=False)
        net = _maker(Request(spec=row.spec, name=name))(37).eval()
        logits = net(torch.empty(2, 3, 224, 224))
    fresh = load_weights(net, whole.state_dict(), part="backbone")

    assert (2, 37) == tuple(logits.shape)
    assert {f"{net.pretrained_cfg['classifier']}.{kind}" for kind in ("weight", "bias")} == {*fresh}
    if row.id != "eva02_tiny_patch14_224.mim_in22k":  # 5.5 million, and medium in the table
        low, high = {"small": (0, 20), "medium": (20, 50), "large": (50, 1e9)}[row.size]
        assert low <= sum(p.numel() for p in net.parameters()) / 1e6 < high


def test_a_backbone_is_the_network_of_its_spec_under_the_published_preprocessing():
    ours = load_model(SMALLEST, pretrained=False, classes=5)
    theirs = load_model(backbone("regnetx_004.pycls_in1k").spec, pretrained=False, classes=5)

    assert theirs.digest == ours.digest
    assert (IMAGENET, 5) == (ours.preprocessing, ours.classes)
    assert SMALLEST == ours.name
    assert ours.identity.startswith("timm:regnetx_004.pycls_in1k [224x224 of 224x224 squash bili")


def test_preprocessing_that_is_passed_replaces_the_published_one():
    wanted = IMAGENET.resized_to(32)

    assert wanted == load_model(SMALLEST, pretrained=False, preprocessing=wanted).preprocessing


def test_a_robust_backbone_asks_for_its_file():
    with pytest.raises(MissingError, match=r"needs imagenet_linf_4\.pt of .* with --weights FILE"):
        load_model("backbone:robust_resnet50", weights_part="backbone", classes=3)


@pytest.mark.slow
def test_a_robust_backbone_takes_its_file(tmp_path):
    torch.manual_seed(0)
    net = timm.create_model("deit_small_patch16_224")
    torch.save(net.state_dict(), tmp_path / "a.pt")

    classifier = load_model(
        "backbone:robust_deit_small_patch16_224",
        weights=tmp_path / "a.pt",
        weights_part="backbone",
        classes=3,
    )

    assert ("head.weight", "head.bias") == classifier.fresh_keys
    assert torch.equal(net.blocks[0].mlp.fc1.weight, classifier.net.blocks[0].mlp.fc1.weight)


def test_a_backbone_without_a_classifier_needs_classes(offline):
    with pytest.raises(BadValueError, match="gives features, not classes"):
        load_model("backbone:eva02_tiny_patch14_224.mim_in22k", pretrained=False)


def test_an_unknown_backbone_gets_near_ones():
    with pytest.raises(UnknownNameError, match=r"no backbone named 'convnext_tiny'; did you mean"):
        load_model("backbone:convnext_tiny")


def test_backbones_are_named():
    assert list(BACKBONES) == model_names("backbone")
    assert 40 == len(BACKBONES)
