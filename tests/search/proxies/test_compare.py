"""How proxies are held against recorded scores, and how architectures are drawn."""

from __future__ import annotations

import polars as pl
import pytest

from holdfast.core.errors import BadValueError
from holdfast.search.proxies.base import proxy, short_name, spec_of
from holdfast.search.proxies.compare import compare
from holdfast.search.proxies.sampling import draw_architectures, open_batch
from search_toys import toy_table

TABLE = toy_table()
CLEAN = TABLE.pick("clean", split="validation")
LATENCY = TABLE.pick("latency")


def rows(archs, values, sign=1, proxy="mine"):
    return pl.DataFrame({"arch": archs, "proxy": proxy, "sign": sign, "value": values})


def worth(archs):
    return [TABLE.value(CLEAN, arch) for arch in archs]


def test_a_proxy_that_ranks_as_the_table_does_agrees_wholly():
    archs = draw_architectures(TABLE.space, 40, table=TABLE)
    found = next(compare(rows(archs, worth(archs)), TABLE, [CLEAN]))

    assert found.spearman.value == pytest.approx(1)
    assert found.kendall.value == pytest.approx(1)
    assert found.spearman.count == 40


def test_a_proxy_of_which_less_is_better_is_turned():
    archs = draw_architectures(TABLE.space, 40, table=TABLE)
    turned = [-value for value in worth(archs)]

    assert next(compare(rows(archs, turned, sign=-1), TABLE, [CLEAN])).spearman.value > 0.99
    assert next(compare(rows(archs, turned, sign=1), TABLE, [CLEAN])).spearman.value < -0.99


def test_a_column_of_which_less_is_better_is_turned():
    archs = draw_architectures(TABLE.space, 40, table=TABLE)
    slow = [TABLE.value(LATENCY, arch) for arch in archs]

    assert next(compare(rows(archs, slow, sign=-1), TABLE, [LATENCY])).spearman.value > 0.99


def test_a_score_that_failed_is_no_data():
    archs = draw_architectures(TABLE.space, 40, table=TABLE)
    values = [None, *worth(archs)[1:]]

    assert next(compare(rows(archs, values), TABLE, [CLEAN])).spearman.count == 39


def test_drawn_architectures_are_different_classes_and_keyed():
    drawn = draw_architectures(TABLE.space, 50)

    assert len(set(map(TABLE.space.canonical, drawn))) == 50
    assert drawn == draw_architectures(TABLE.space, 50)
    assert drawn != draw_architectures(TABLE.space, 50, seed=1)


def test_of_a_small_space_all_are_drawn():
    classes = {TABLE.space.canonical(arch) for arch in TABLE.space.everything()}

    assert set(draw_architectures(TABLE.space, 10_000, table=TABLE)) == classes


def test_images_are_the_ones_asked_for():
    batch, classes = open_batch("digits", count=20)
    again, _ = open_batch("digits", count=20)
    other, _ = open_batch("digits", count=20, seed=1)

    assert (len(batch), classes) == (20, 10)
    assert batch.images.shape == (20, 3, 32, 32)
    assert 0 <= batch.images.min() < batch.images.max() <= 1
    assert batch.images.equal(again.images)
    assert not batch.images.equal(other.images)


def test_more_images_than_there_are_is_refused():
    with pytest.raises(BadValueError, match="1000 images in its train split, 2000 are wanted"):
        open_batch("digits", count=2_000)


def test_a_device_that_is_not_there_is_told():
    with pytest.raises(BadValueError, match="device must be auto, cpu, cuda or mps"):
        open_batch("digits", count=2, device="xyz")


def test_settings_that_are_not_the_usual_ones_stay_in_a_name():
    usual, other = proxy("ntk_bound"), proxy("ntk_bound(kernel=robust)")

    assert short_name(spec_of(usual)) == "ntk_bound"
    assert short_name(spec_of(other)) == "ntk_bound(kernel=robust)"
