"""`timm:NAME`, without a network: timm's own transform and forward pass are the judges."""

from __future__ import annotations

from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file

from holdfast.core.errors import BadValueError, MissingError
from holdfast.models import Preprocessing, load_model
from holdfast.models.loading import keyed_initialization
from holdfast.models.saved import MODEL_FILE, SavedModel

TINY = "timm:test_vit"  # 0.4 M parameters, 160 px
TINY_TAG = "test_vit.r160_in1k"


@pytest.fixture
def tiny(tmp_path):
    """A checkpoint of the tiny transformer with 3 classes."""
    torch.manual_seed(0)
    net = timm.create_model("test_vit", num_classes=3)
    torch.save(net.state_dict(), tmp_path / "tiny.pth")
    return net.eval(), tmp_path / "tiny.pth"


def test_a_timm_network_with_a_file_gives_timms_logits(tiny):
    net, path = tiny
    image = np.random.default_rng(0).integers(0, 256, (180, 200, 3)).astype(np.uint8)
    config = timm.data.resolve_data_config({}, model=net)
    judge = timm.data.create_transform(**config)(Image.fromarray(image))[None]
    expected = net(judge)

    classifier = load_model(TINY, weights=path)
    pixels = torch.from_numpy(classifier.prepare(image).copy()).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(expected, classifier(pixels))


def test_the_number_of_classes_is_taken_from_the_file(tiny):
    assert 3 == load_model(TINY, weights=tiny[1]).classes


def test_a_file_with_other_classes_than_asked_for_is_refused(tiny):
    with pytest.raises(BadValueError, match=r"head.weight expected \[5, 64\], came \[3, 64\]"):
        load_model(TINY, weights=tiny[1], classes=5)


def test_a_fresh_head_repeats(tiny):
    one, other = (
        load_model(TINY, weights=tiny[1], weights_part="backbone", classes=5) for _ in range(2)
    )

    assert one.digest == other.digest


def test_a_fresh_head_is_said(tiny):
    classifier = load_model(TINY, weights=tiny[1], weights_part="backbone", classes=5)

    assert ("head.weight", "head.bias") == classifier.fresh_keys


def test_building_leaves_the_global_generator_alone(tiny):
    before = torch.get_rng_state()
    load_model(TINY, weights=tiny[1])

    assert torch.equal(before, torch.get_rng_state())


def test_the_identity_of_a_timm_network_names_its_tag(tiny):
    assert load_model(TINY, weights=tiny[1]).identity.startswith(f"timm:{TINY_TAG} [160x160 of")


def test_the_name_is_what_was_typed(tiny):
    assert TINY == load_model(TINY, weights=tiny[1]).name


def put_in_hub_cache(folder, repository, state):
    """Lay a file where huggingface_hub would have left its download."""
    place = folder / "hub" / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "snapshots" / "abc").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    save_file(state, place / "snapshots" / "abc" / "model.safetensors")


def pretrained():
    torch.manual_seed(1)
    return timm.create_model("test_vit")


def test_pretrained_weights_in_the_cache_need_no_network(offline, monkeypatch):
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", _refuse)
    net = pretrained()
    put_in_hub_cache(offline, f"timm/{TINY_TAG}", net.state_dict())

    state = load_model(TINY).net.state_dict()

    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_pretrained_weights_may_lend_their_backbone(offline):
    put_in_hub_cache(offline, f"timm/{TINY_TAG}", pretrained().state_dict())

    classifier = load_model(TINY, weights_part="backbone", classes=7)

    assert (7, ("head.weight", "head.bias")) == (classifier.classes, classifier.fresh_keys)


def test_features_get_a_fresh_head(offline):
    """`mim`, like `mae` and `dino`, has no classifier; the head's weights are all that is fresh."""
    name = "eva02_tiny_patch14_224.mim_in22k"
    torch.manual_seed(0)
    source = timm.create_model(name)
    put_in_hub_cache(offline, f"timm/{name}", source.state_dict())

    classifier = load_model(f"timm:{name}", weights_part="backbone", classes=3)
    images = torch.zeros(2, 3, 224, 224)
    features = source.eval().forward_head(source.forward_features(images), pre_logits=True)

    assert (0, 3) == (source.num_classes, classifier.classes)
    assert ("head.weight", "head.bias") == classifier.fresh_keys
    torch.testing.assert_close(classifier.net.head(features), classifier.net(images))


@pytest.mark.parametrize("part", ["all", "backbone"])
def test_features_without_classes_are_refused(part, offline):
    name = "eva02_tiny_patch14_224.mim_in22k"
    put_in_hub_cache(offline, f"timm/{name}", timm.create_model(name).state_dict())

    with pytest.raises(BadValueError, match=r"gives features, not classes.*the weights part 'back"):
        load_model(f"timm:{name}", weights_part=part)


def test_a_network_of_fixed_size_is_built_for_another_one(offline):
    """Its pretrained position embedding is resampled as timm does it."""
    source = pretrained()
    put_in_hub_cache(offline, f"timm/{TINY_TAG}", source.state_dict())
    save_file(source.state_dict(), offline / "a.safetensors")
    judge = timm.create_model(
        "test_vit",
        pretrained=True,
        img_size=96,
        pretrained_cfg_overlay={"file": f"{offline}/a.safetensors"},
    ).eval()
    wanted = Preprocessing(input_size=(96, 96))

    for arguments in ({}, {"weights_part": "backbone", "classes": 1000}):
        classifier = load_model(TINY, preprocessing=wanted, **arguments)
        assert torch.equal(judge.pos_embed, classifier.net.pos_embed)
        assert wanted == classifier.preprocessing


def test_a_trained_network_of_another_size_is_built_again(tmp_path):
    wanted = Preprocessing(input_size=(96, 96))
    source = load_model(TINY, pretrained=False, classes=3, preprocessing=wanted)
    save_file(source.net.state_dict(), tmp_path / "a.safetensors")
    saved = SavedModel(
        name=TINY,
        classes=3,
        class_names=("a", "b", "c"),
        preprocessing=wanted,
        weights="a.safetensors",
    )
    (tmp_path / MODEL_FILE).write_text(saved.text())

    assert source.digest == load_model(str(tmp_path)).digest


def test_a_size_that_a_network_cannot_have_is_refused():
    wanted = Preprocessing(input_size=(97, 97))

    with pytest.raises(BadValueError, match="cannot be built for 97 x 97 pixels: `patch_size`"):
        load_model("timm:xcit_nano_12_p16_224", pretrained=False, preprocessing=wanted)


def test_fresh_weights_need_no_network(offline):
    classifier = load_model(TINY, pretrained=False, classes=7)

    assert 7 == classifier.classes
    assert "untrained" in classifier.flags
    assert set(classifier.net.state_dict()) == set(classifier.fresh_keys)
    assert (160, 160) == classifier.input_size


def test_fresh_weights_are_those_of_timm_under_the_same_key(offline):
    with keyed_initialization(TINY):
        judge = timm.create_model("test_vit", num_classes=7)

    state = load_model(TINY, pretrained=False, classes=7).net.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in judge.state_dict().items())


def test_a_file_is_loaded_whether_pretrained_or_not(tiny):
    one, other = (load_model(TINY, weights=tiny[1], pretrained=p) for p in (True, False))

    assert one.digest == other.digest
    assert "untrained" not in other.flags


def test_a_seed_changes_a_fresh_head_and_nothing_else(tiny):
    one, other = (
        load_model(TINY, weights=tiny[1], weights_part="backbone", classes=5, init_seed=seed)
        for seed in (0, 1)
    )
    mine, theirs = one.net.state_dict(), other.net.state_dict()

    assert {"head.weight"} == {k for k in mine if not torch.equal(mine[k], theirs[k])}


def test_pretrained_weights_with_other_classes_are_refused(offline):
    put_in_hub_cache(offline, f"timm/{TINY_TAG}", pretrained().state_dict())

    with pytest.raises(BadValueError, match=r"have 1000 classes, but 7 were asked for.*backbone"):
        load_model(TINY, classes=7)


def test_pretrained_weights_that_cannot_be_fetched_are_named(offline):
    message = (
        rf"weights of {TINY} \(timm/{TINY_TAG}\) are not on this machine, .*HF_HUB_OFFLINE is set"
        r".*looked for in .*hub.*--weights FILE"
    )

    with pytest.raises(MissingError, match=message):
        load_model(TINY)


def test_an_unreachable_hub_is_noticed_at_once(offline, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    with pytest.raises(MissingError, match=r"huggingface\.co cannot be reached: no route"):
        load_model(TINY)


def test_a_hub_that_fails_later_is_reported_too(offline, monkeypatch):
    """The first look may succeed and the download still fail: huggingface_hub's own error."""
    monkeypatch.setattr("holdfast.models._hub.hugging_face_unreachable", str)

    with pytest.raises(MissingError, match=f"timm/{TINY_TAG}.*fetching them failed"):
        load_model(TINY)


def test_a_hub_repository_that_cannot_be_fetched_is_named(offline):
    with pytest.raises(MissingError, match=r"timm:hf-hub:timm/x \(timm/x\) are not on this"):
        load_model("timm:hf-hub:timm/x")


def test_weights_that_have_only_an_address_are_named_by_it(offline, monkeypatch):
    name = "gcvit_xxtiny.in1k"
    assert not timm.get_pretrained_cfg(name).hf_hub_id
    monkeypatch.setattr("torch.hub.download_url_to_file", _refuse)

    with pytest.raises(MissingError, match=r"\(https://.*\) are not on this.*torch/checkpoints"):
        load_model(f"timm:{name}")


def _refuse(*_, **__):
    raise URLError("no route")


def test_weights_without_a_head_are_refused(tmp_path):
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "a.pth")

    with pytest.raises(BadValueError, match=r"missing \(head.weight, head.bias\); only the last"):
        load_model(TINY, weights=tmp_path / "a.pth")


def test_a_network_that_gives_features_is_refused(tmp_path):
    name = "vit_small_patch16_dinov3"
    torch.save(timm.create_model(name).state_dict(), tmp_path / "a.pth")

    with pytest.raises(BadValueError, match="gives features, not classes"):
        load_model(f"timm:{name}", weights=tmp_path / "a.pth")


def test_a_hub_name_without_an_owner_is_refused():
    with pytest.raises(BadValueError, match="expected timm:hf-hub:ORG/NAME"):
        load_model("timm:hf-hub:resnet18")


def test_a_timm_network_without_pretrained_weights_says_so(offline):
    bare = next(n for n in timm.list_models() if not timm.models.is_model_pretrained(n))

    with pytest.raises(MissingError, match=f"timm has no pretrained weights for timm:{bare}; give"):
        load_model(f"timm:{bare}")
