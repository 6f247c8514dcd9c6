"""`open_clip:NAME`, without a network: open_clip's own towers and classifier are the judges."""

from __future__ import annotations

import json
import logging
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from holdfast.core.errors import BadValueError, MissingError, UnknownNameError
from holdfast.models import Preprocessing, known_models, load_model
from holdfast.models.open_clip_source import zero_shot

open_clip = pytest.importorskip("open_clip")

TINY = "tiny-clip"  # of this test; open_clip's smallest has 30 million parameters
TAG = "laion2b_s34b_b79k"
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 1,
    },
}
NAMES = ["dog", "great dane", "cat"]
TEMPLATES = ["a photo of a {}.", "itap of the {}.", "{}"]


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    """A CLIP of four patches, registered for one test, with a tag whose file is in the cache."""
    from open_clip import factory, pretrained  # noqa: PLC0415

    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / f"{TINY}.json").write_text(json.dumps(CONFIG))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    open_clip.add_model_config(tmp_path / "configs")
    tags = {
        TAG: pretrained._pcfg(hf_hub="laion/tiny/", quick_gelu=True),
        "webli": pretrained._slpcfg(hf_hub="timm/tiny/"),
    }
    monkeypatch.setitem(pretrained._PRETRAINED, TINY, tags)


@pytest.fixture
def cached(offline):
    """The tag's weights where huggingface_hub would have left them; the CLIP they belong to."""
    torch.manual_seed(0)
    clip = open_clip.create_model(TINY, force_quick_gelu=True).eval()
    place = offline / "hub" / "models--laion--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    (place / "snapshots" / "abc").mkdir(parents=True)
    state = {key: value.contiguous() for key, value in clip.state_dict().items()}
    save_file(state, place / "snapshots" / "abc" / "open_clip_model.safetensors")
    return clip


def trunk(**arguments):
    return load_model(f"open_clip:{TINY}/{TAG}", weights_part="backbone", **arguments)


def pixels(count=3):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def normalized(images):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (images - mean) / std


MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def test_the_trunk_is_the_image_encoder_with_its_pretrained_weights(cached):
    classifier = trunk(classes=5)
    features = cached.encode_image(normalized(pixels()))
    expected = torch.nn.functional.linear(
        features, classifier.net.head.weight, classifier.net.head.bias
    )

    torch.testing.assert_close(expected, classifier(pixels()))


def test_only_the_head_is_fresh(cached):
    classifier = trunk(classes=5)

    assert ("head.weight", "head.bias") == classifier.fresh_keys
    assert 5 == classifier.classes
    assert "untrained" not in classifier.flags


def test_a_seed_changes_the_head_and_nothing_else(cached):
    same, again, other = (trunk(classes=5, init_seed=seed).net for seed in (0, 0, 1))

    assert torch.equal(same.head.weight, again.head.weight)
    assert not torch.equal(same.head.weight, other.head.weight)
    assert torch.equal(same.visual.conv1.weight, other.visual.conv1.weight)


def test_pictures_are_prepared_as_open_clip_does(cached):
    image = np.random.default_rng(0).integers(0, 256, (50, 40, 3)).astype(np.uint8)
    judge = open_clip.image_transform(
        32, is_train=False, mean=MEAN, std=STD, interpolation="bicubic"
    )
    classifier = trunk(classes=5)
    ours = torch.from_numpy(classifier.prepare(image).copy()).permute(2, 0, 1) / 255

    torch.testing.assert_close(judge(Image.fromarray(image)), normalized(ours))


def test_a_tag_brings_its_own_preprocessing():
    """Those of SigLIP squash, and have other statistics than CLIP."""
    classifier = load_model(f"open_clip:{TINY}/webli", pretrained=False, classes=2)

    expected = Preprocessing(
        input_size=(32, 32),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        interpolation="bicubic",
        resize="squash",
    )
    assert expected == classifier.preprocessing


def test_a_fresh_network_is_flagged():
    classifier = load_model(f"open_clip:{TINY}", pretrained=False, classes=4)

    assert "untrained" in classifier.flags
    assert 4 == classifier.classes
    assert set(classifier.net.state_dict()) == set(classifier.fresh_keys)


def test_a_fine_tuned_file_says_how_many_classes_it_has(tmp_path):
    source = load_model(f"open_clip:{TINY}", pretrained=False, classes=4)
    save_file(source.net.state_dict(), tmp_path / "a.safetensors")

    assert (
        source.digest == load_model(f"open_clip:{TINY}", weights=tmp_path / "a.safetensors").digest
    )


def test_building_leaves_the_global_generator_and_the_root_logger_alone(monkeypatch, capfd):
    monkeypatch.setattr(logging.root, "handlers", [])
    before = torch.get_rng_state()
    load_model(f"open_clip:{TINY}", pretrained=False, classes=4)

    assert torch.equal(before, torch.get_rng_state())
    assert ([], 0, "") == (
        logging.root.handlers,
        logging.root.manager.disable,
        capfd.readouterr().err,
    )


@pytest.mark.parametrize(
    "arguments", [{}, {"classes": 3}, {"weights_part": "backbone"}, {"pretrained": False}], ids=str
)
def test_a_trunk_without_a_head_is_refused(arguments, cached):
    with pytest.raises(BadValueError, match="gives features, not classes: give classes and"):
        load_model(f"open_clip:{TINY}/{TAG}", **arguments)


def test_an_architecture_alone_names_no_weights():
    with pytest.raises(BadValueError, match=f"names no weights; write .*there are: {TAG}, webli"):
        load_model(f"open_clip:{TINY}", weights_part="backbone", classes=3)


def test_weights_that_cannot_be_fetched_are_named(offline):
    message = rf"open_clip:{TINY}/{TAG} \(laion/tiny\) are not on this machine, .*HF_HUB_OFFLINE"

    with pytest.raises(MissingError, match=message):
        trunk(classes=3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B32/openai", "no open_clip model named 'ViT-B32'; did you mean ViT-B-32"),
        (
            "ViT-B-32/opnai",
            "pretrained tag of open_clip model ViT-B-32 named 'opnai'; did you mean",
        ),
    ],
    ids=str,
)
def test_an_unknown_name_gets_near_ones(name, message):
    with pytest.raises(UnknownNameError, match=message):
        load_model(f"open_clip:{name}", pretrained=False, classes=2)


@pytest.fixture
def without(monkeypatch):
    """As if open_clip were not installed."""
    monkeypatch.setitem(sys.modules, "open_clip", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def test_without_the_package_the_extra_is_named(without):
    with pytest.raises(MissingError, match=r"pip install 'holdfast\[clip\]'"):
        load_model("open_clip:ViT-B-32", pretrained=False, classes=2)


def test_without_the_package_models_are_listed_all_the_same(without):
    rows = [row for row in known_models() if row[0].startswith("open_clip:")]

    assert [
        ("open_clip:ARCH/PRETRAINED", "trunk of a CLIP; needs pip install 'holdfast[clip]'")
    ] == rows


def test_tags_are_listed_with_their_size():
    rows = dict(known_models())

    assert "224 px, 512 features under a fresh head" == rows["open_clip:ViT-B-32/openai"]
    assert "320 px, 640 features under a fresh head" in {
        rows[spec] for spec in rows if spec.startswith("open_clip:convnext_base_w_320/")
    }


# --- zero-shot ---


def test_the_zero_shot_classifier_is_that_of_open_clip(cached):
    """Also a run of the tokenizer, whose vocabulary comes with the package."""
    classifier = zero_shot(f"open_clip:{TINY}/{TAG}", NAMES, templates=TEMPLATES, device="cpu")
    tokenizer = open_clip.get_tokenizer(TINY)
    judge = open_clip.build_zero_shot_classifier(cached, tokenizer, NAMES, TEMPLATES)
    features = cached.encode_image(normalized(pixels()), normalize=True)
    expected = cached.logit_scale.exp() * features @ judge

    torch.testing.assert_close(expected.detach(), classifier(pixels()).detach())
    assert (3, frozenset()) == (classifier.classes, classifier.flags)


def test_zero_shot_logits_are_cosines_times_the_scale():
    classifier = zero_shot(f"open_clip:{TINY}", NAMES, pretrained=False, device="cpu")

    scale = 1 / 0.07  # with which open_clip begins
    torch.testing.assert_close(
        torch.full((3,), scale), classifier.net.head.weight.norm(dim=1).detach()
    )
    assert float(classifier(pixels()).detach().abs().max()) <= scale
    assert "untrained" in classifier.flags


@pytest.mark.parametrize(
    ("spec", "names", "templates", "message"),
    [
        ("timm:resnet50", NAMES, TEMPLATES, "is open_clip:ARCH/PRETRAINED, got 'timm:resnet50'"),
        (f"open_clip:{TINY}", ["dog"], TEMPLATES, "needs two class names or more, .* got 1 names"),
        (f"open_clip:{TINY}", NAMES, ["a photo"], r"templates with \{\} where"),
        (f"open_clip:{TINY}", NAMES, [], "templates with"),
    ],
    ids=str,
)
def test_what_is_no_zero_shot_classifier_is_refused(spec, names, templates, message):
    with pytest.raises(BadValueError, match=message):
        zero_shot(spec, names, templates=templates, pretrained=False)
