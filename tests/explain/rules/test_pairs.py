"""Networks that are the same but for one attribute, by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from explain.rules.make_table import effect
from holdfast.explain.rules import COMPARISONS, matched_sets, pair_effects
from holdfast.explain.rules.attributes import ABOUT_COLUMNS, TRAINING_COLUMNS, Described
from holdfast.records.explanations import ANATOMY_COLUMNS

BASE = {
    "family": "resnet", "kind": "convolutional", "stem_kernel": 7, "stem_depth": 1,
    "stem_effective_kernel": 11, "stem_pool": "max",
    "downsampling": "strided conv, max", "shortcut_downsampling":
    "strided conv", "anti_aliased": False, "head_pool": "average", "norms": "batch",
    "depth": 50, "width": 2048, "parameters": 25_600_000, "input_size": 224,
    "pretraining": "supervised", "pretraining_data": "in1k", "more_data": False,
    "adversarial": False, "augmented": False,
}  # fmt: skip
DEEP = {"stem_kernel": 3, "stem_effective_kernel": 15, "stem_depth": 3, "depth": 52}


def described(**models):
    kinds = dict.fromkeys(ABOUT_COLUMNS, pl.String)
    kinds |= {name: kind for name, kind in ANATOMY_COLUMNS.items() if name != "model"}
    kinds |= dict.fromkeys(TRAINING_COLUMNS, pl.Boolean)
    rows = []
    for name, changes in models.items():
        architecture = name.partition("__")[0]
        row = {"model": name, "resolved": name, "architecture": architecture}
        rows.append({**dict.fromkeys(kinds), **row, **BASE, **changes})
    return Described(pl.DataFrame(rows, schema=kinds), (), ())


def sets_of(table, attribute):
    names = table.table["model"].to_list()
    one = next(one for one in COMPARISONS if one.attribute == attribute)
    return [
        {key: {names[place] for place in places} for key, places in each.groups.items()}
        for each in matched_sets(table, one)
    ]


def test_stems_pools_and_both_are_told_apart():
    table = described(
        resnet50={},
        resnet50c=DEEP,
        resnet50d={**DEEP, "shortcut_downsampling": "average"},
        resnetblur50={"anti_aliased": True, "stem_effective_kernel": 15,
                      "downsampling": "strided conv, blur",
                      "stem_pool": "blur"},
        resnet101={"depth": 101, "parameters": 44_500_000},
        seresnet50={"parameters": 25_700_000},
        resnet50__wide={**DEEP, "parameters": 30_000_000},
    )  # fmt: skip

    assert sets_of(table, "stem_kernel") == [{3.0: {"resnet50c"}, 7.0: {"resnet50"}}]
    assert sets_of(table, "average_pooling") == [{0.0: {"resnet50c"}, 1.0: {"resnet50d"}}]
    assert sets_of(table, "anti_aliased") == [{0.0: {"resnet50"}, 1.0: {"resnetblur50"}}]
    assert sets_of(table, "deep_stem_and_average") == [{0.0: {"resnet50"}, 1.0: {"resnet50d"}}]
    assert sets_of(table, "parameters") == [
        {25_600_000.0: {"resnet50"}, 44_500_000.0: {"resnet101"}},
        {25_600_000.0: {"resnet50c"}, 30_000_000.0: {"resnet50__wide"}},
    ]


def test_another_recipe_or_family_is_no_pair():
    table = described(
        resnet50={}, resnet50c={**DEEP, "recipe": "a1"}, other={**DEEP, "family": "nfnet"}
    )

    assert sets_of(table, "stem_kernel") == []


def test_small_steps_of_size_do_not_add_up():
    table = described(
        resnet50={"parameters": 100},
        resnet50__b={"parameters": 104},
        resnet50c={**DEEP, "parameters": 108},
    )

    assert sets_of(table, "stem_kernel") == []


def test_clip_is_compared_with_supervised_networks_of_one_shape_whatever_their_family():
    vit = {"kind": "attention", "family": "vit", "width": 768, "parameters": 86_000_000}
    clip = {"pretraining": "clip", "family": "vit_clip", "recipe": "openai", "more_data": True}
    table = described(
        vit_base=vit, vit_base_clip={**vit, **clip}, vit_base__mae={**vit, "pretraining": "mae"},
        vit_large_clip={**vit, **clip, "width": 1024},
    )  # fmt: skip

    assert sets_of(table, "clip") == [{0.0: {"vit_base"}, 1.0: {"vit_base_clip"}}]


def test_effects_by_hand_and_against_scipy():
    sizes = [{"input_size": size, "width": width} for width in (1, 2, 3) for size in (224, 448)]
    table = described(**{f"net__{place}": one for place, one in enumerate(sizes)})
    values = np.array([0.0, -0.1, 0.0, -0.3, 0.0, -0.2])
    found = effect(pair_effects(table, {"slope": values}), "input_size", method="pairs")

    assert found.effect.value == pytest.approx(-0.2)
    assert found.effect.count == 3
    judge = stats.ttest_1samp([-0.1, -0.3, -0.2], 0)
    assert found.p_value == pytest.approx(judge.pvalue)
    interval = judge.confidence_interval()
    assert (found.effect.low, found.effect.high) == pytest.approx((interval.low, interval.high))
    assert "0 of 3 sets up, 3 down (sign test p 0.25)" in found.note
    assert "net__0 | net__1" in found.note


def test_a_set_counts_once_and_what_was_not_measured_is_left_out():
    table = described(
        resnet50={}, resnet50__b={}, resnet50c=DEEP, resnet50c__b=DEEP, resnet50c__c=DEEP
    )
    values = np.array([0.0, 0.2, 0.5, np.nan, 0.7])
    found = effect(pair_effects(table, {"slope": values}), "stem_kernel", method="pairs")

    # 0.1 at 7 and 0.6 at 3, over log2(7 / 3) doublings
    assert found.effect.value == pytest.approx(-0.5 / np.log2(7 / 3))
    assert found.effect.count == 1
    assert np.isnan(found.effect.low) and np.isnan(found.p_value) and np.isnan(found.p_holm)
    assert pair_effects(table, {"slope": np.full(5, np.nan)}) == []
