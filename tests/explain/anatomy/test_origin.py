"""Where a model comes from, by its name."""

from __future__ import annotations

import csv

import pytest
import timm

from holdfast.explain.anatomy import family, origin
from holdfast.explain.anatomy.origin import full_name

# Name; pretraining, its data, what it was fine-tuned on, objective. By hand, of the model cards.
CARDS = (
    ("resnet50.a1_in1k", "supervised", "in1k", None, "classification"),
    ("vit_base_patch16_224.augreg_in21k_ft_in1k", "supervised", "in22k", "in1k", "classification"),
    ("deit3_small_patch16_224.fb_in22k_ft_in1k", "supervised", "in22k", "in1k", "classification"),
    ("hgnetv2_b0.ssld_stage1_in22k_in1k", "supervised", "in22k", "in1k", "distillation"),
    ("deit_base_distilled_patch16_224.fb_in1k", "supervised", "in1k", None, "distillation"),
    ("tf_efficientnet_b0.ap_in1k", "supervised", "in1k", None, "adversarial"),
    ("inception_v3.tf_adv_in1k", "supervised", "in1k", None, "adversarial"),
    ("tf_efficientnet_b0.ns_jft_in1k", "noisy student", "jft", None, "classification"),
    ("resnet18.fb_swsl_ig1b_ft_in1k", "semi-weakly supervised", "ig1b", "in1k", "classification"),
    ("resnet18.fb_ssl_yfcc100m_ft_in1k", "semi-supervised", "yfcc100m", "in1k", "classification"),
    ("regnety_160.swag_ft_in1k", "weakly supervised", "instagram_3.6b", "in1k", "classification"),
    ("regnety_160.swag_lc_in1k", "weakly supervised", "instagram_3.6b", "in1k", "classification"),
    ("vit_base_patch16_clip_224.openai", "clip", "wit_400m", None, "contrastive"),
    ("vit_base_patch16_clip_224.laion2b_ft_in12k_in1k", "clip", "laion2b", "in12k, in1k",
     "contrastive"),
    ("eva02_large_patch14_clip_224.merged2b", "clip", "merged2b", None, "contrastive"),
    ("eva_giant_patch14_224.clip_ft_in1k", "clip", None, "in1k", "contrastive"),
    ("vit_base_patch16_siglip_224.webli", "siglip", "webli", None, "contrastive"),
    ("vit_base_patch16_224.mae", "mae", "in1k", None, "masked"),
    ("convnextv2_tiny.fcmae_ft_in22k_in1k", "fcmae", "in1k", "in22k, in1k", "masked"),
    ("beitv2_base_patch16_224.in1k_ft_in22k_in1k", "mim", "in1k", "in22k, in1k", "masked"),
    ("eva02_base_patch14_448.mim_in22k_ft_in22k_in1k", "mim", "in22k", "in22k, in1k", "masked"),
    ("vit_small_patch16_224.dino", "dino", "in1k", None, "self-distillation"),
    ("vit_small_patch14_dinov2.lvd142m", "dinov2", "lvd142m", None, "self-distillation"),
    ("vit_small_patch16_dinov3.lvd1689m", "dinov3", "lvd1689m", None, "self-distillation"),
    ("naflexvit_base_patch16_radio_v3.c_radio", "multi-teacher", None, None, "distillation"),
    ("samvit_base_patch16.sa1b", "segment anything", "sa1b", None, "segmentation"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "method", "data", "followed", "objective"), CARDS)
def test_tags_are_read_as_the_cards_say(name, method, data, followed, objective):
    found = origin(name)

    assert (found.pretraining, found.pretraining_data) == (method, data)
    assert (found.fine_tuning_data, found.objective) == (followed, objective)
    assert found.tag == name.partition(".")[2]
    assert bool(found.flags) == (data is None)


@pytest.mark.parametrize("name", ["efficientnet_b1.ft_in1k", "net.new_recipe", "no_such_net"])
def test_what_a_tag_does_not_say_stays_unknown(name):
    found = origin(name)

    assert (found.pretraining, found.pretraining_data, found.objective) == (None, None, None)
    assert "does not say how and on which data it was trained" in found.flags[0]


def test_words_of_recipes_that_look_like_methods_are_none():
    # Sharpness-aware minimization, a schedule, a patch size.
    assert origin("vit_base_patch16_224.sam_in1k").pretraining == "supervised"
    assert origin("cs3darknet_l.c2ns_in1k").pretraining == "supervised"
    assert origin("flexivit_base.patch16_in21k").pretraining_data == "in22k"


def test_a_name_without_a_tag_is_that_of_its_default_weights():
    default = timm.get_pretrained_cfg("resnet50").tag

    assert full_name("resnet50") == f"resnet50.{default}"
    assert origin("resnet50") == origin(f"resnet50.{default}")
    assert full_name("resnet50.tv_in1k") == "resnet50.tv_in1k"


def test_old_names_are_what_they_became():
    assert full_name("adv_inception_v3") == "inception_v3.tf_adv_in1k"
    assert origin("ens_adv_inception_resnet_v2").objective == "adversarial"
    assert origin("tf_efficientnet_b7_ns").pretraining == "noisy student"


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("resnet50d", "resnet"), ("seresnext50_32x4d", "resnet"), ("wide_resnet50_2", "resnet"),
        ("resnet50_clip", "resnet"), ("gcresnext26ts", "resnet"), ("resnetv2_50x1_bit", "resnetv2"),
        ("eca_botnext26ts_256", "byoanet"), ("repvgg_a2", "repvgg"), ("dm_nfnet_f0", "nfnet"),
        ("tf_efficientnet_b0", "efficientnet"), ("tf_efficientnetv2_s", "efficientnetv2"),
        ("mobilenetv3_large_100", "mobilenetv3"), ("mixnet_s", "mixnet"),
        ("regnetz_c16", "regnet"), ("nf_regnet_b1", "regnet"), ("cs3darknet_l", "darknet"),
        ("vit_base_patch16_224", "vit"), ("deit_tiny_patch16_224", "deit"),
        ("swin_tiny_patch4_window7_224", "swin"), ("swinv2_tiny_window8_256", "swinv2"),
        ("eva02_base_patch14_448", "eva"), ("beitv2_base_patch16_224", "beitv2"),
        ("coatnet_0_rw_224", "coatnet"), ("maxvit_tiny_tf_224", "maxvit"),
        ("convnext_tiny", "convnext"), ("convnextv2_tiny", "convnext"), ("my_own_net", "my"),
    ],
)  # fmt: skip
def test_families(architecture, expected):
    assert family(architecture) == expected


def test_every_pretrained_name_has_a_family_and_few_origins_are_unknown():
    found = {name: origin(name) for name in timm.list_pretrained()}
    unknown = [name for name, one in found.items() if one.pretraining is None]

    assert len(found) > 1174
    assert all(len(one.family) > 1 for one in found.values())
    assert len(unknown) < 0.02 * len(found), unknown
    assert all(bool(one.flags) == (one.pretraining_data is None) for one in found.values())


def judged(name: str) -> str:
    """Origin in the words of timm's own table, such as `in1k-dist`."""
    found = origin(name)
    data = (found.pretraining_data or "unknown").replace("in22k", "in21k")
    if found.pretraining == "mim":
        return f"{data}-selfsl"
    known = {
        "noisy student": "jft300m-ns",
        "semi-supervised": "yfc-semisl",
        "semi-weakly supervised": "ig1b-swsl",
        "weakly supervised": "ig1b-wsl",
    }
    advprop = "ap" in found.tag.split("_")
    ends = {"adversarial": "-ap" if advprop else "-adv", "distillation": "-dist"}
    return known.get(found.pretraining or "", data + ends.get(found.objective or "", ""))


@pytest.mark.shared
def test_origins_agree_with_the_table_that_timm_keeps_by_hand(shared):
    """It is of 2023: a name whose default weights are others by now differs rightly."""
    path = shared / "data" / "tables" / "timm" / "model_metadata-in1k.csv"
    rows = csv.DictReader(path.read_text().splitlines())
    said = {row["model"]: row["pretrain"] for row in rows if timm.is_model(row["model"])}
    wrong = {name: (judged(name), one) for name, one in said.items() if judged(name) != one}

    assert len(said) > 500
    assert len(wrong) < 0.05 * len(said), wrong
