"""Anatomies of many models: rows in order, a cache, failures as rows."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from torch import nn

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.explain.anatomy import Progress, anatomies, anatomy, anatomy_frame, failed_row
from holdfast.explain.anatomy import one as one_module
from holdfast.records.explanations import ANATOMY_COLUMNS

NAMES = ("test_resnet.r160_in1k", "resnet10t.c3_in1k", "test_vit.r160_in1k")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "kept" / "anatomy.jsonl"


def run(names, cache, **settings):
    found = list(anatomies(names, jobs=1, cache=cache, **settings))
    return [one for one in found if not isinstance(one, Progress)], [
        one for one in found if isinstance(one, Progress)
    ]


def test_rows_come_in_the_order_of_names_with_all_columns(cache):
    rows, told = run(NAMES, cache)

    assert [row["model"] for row in rows] == list(NAMES)
    assert [one.done for one in told] == [1, 2, 3]
    frame = anatomy_frame(rows)
    assert frame.schema == ANATOMY_COLUMNS
    assert frame["status"].to_list() == ["ok"] * 3
    assert frame["pretraining_data"].to_list() == ["in1k"] * 3


def test_a_second_run_traces_nothing(cache, monkeypatch):
    first, _ = run(NAMES, cache)
    monkeypatch.setattr(one_module, "structure", pytest.fail)
    second, told = run(NAMES, cache)

    assert first == second
    assert told == []


def test_fresh_traces_again(cache):
    run(NAMES[:1], cache)

    assert len(run(NAMES[:1], cache, fresh=True)[1]) == 1


def test_a_line_that_was_cut_off_is_traced_again(cache):
    first, _ = run(NAMES, cache)
    text = cache.read_text()
    cache.write_text(text[: len(text) - 40])
    again, told = run(NAMES, cache)

    assert first == again
    assert len(told) == 1


def test_names_that_differ_by_their_tag_share_a_structure(cache):
    tags = timm.list_models("resnet18.*", pretrained=True)
    same = [tag for tag in tags if timm.get_pretrained_cfg(tag).num_classes == 1000]
    rows, told = run(same, cache)

    assert len(same) > 2
    assert len(told) < len(same)
    assert len({row["parameters"] for row in rows}) == 1


def test_an_unknown_name_is_a_row(cache):
    rows, _ = run(["resnet10t.c3_in1k", "no_such_net", "resnet10t.no_tag"], cache)

    assert [row["status"] for row in rows] == ["ok", "failed", "failed"]
    assert "resnet10t.no_tag" in rows[2]["error"]


def test_a_network_that_cannot_be_built_is_a_row_and_is_tried_again(cache, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no such layer")

    monkeypatch.setattr(timm, "create_model", broken)
    rows, _ = run(NAMES[:1], cache)
    monkeypatch.undo()

    assert rows[0]["status"] == "failed"
    assert "cannot build test_resnet.r160_in1k: RuntimeError: no such layer" in rows[0]["error"]
    assert run(NAMES[:1], cache)[0][0]["status"] == "ok"


def test_the_cache_is_lines_of_json(cache):
    run(NAMES[:1], cache)
    (line,) = cache.read_text().splitlines()

    assert json.loads(line)["structure"]["kind"] == "convolutional"


class TestOne:
    def test_a_name_of_timm_with_and_without_its_prefix(self):
        first, second = anatomy("resnet10t.c3_in1k"), anatomy("timm:resnet10t.c3_in1k")

        assert first == second
        assert first["std"] == "0.229, 0.224, 0.225"
        assert first["pixel_factor"] == pytest.approx(1 / 0.224)

    def test_preprocessing_of_a_clip_model(self):
        found = anatomy("vit_base_patch32_clip_224.openai")

        assert found["std"] == "0.268630, 0.261303, 0.275777" or found["std"].startswith("0.26863")
        assert found["pixel_factor"] == pytest.approx(1 / 0.26130258)
        assert (found["pretraining"], found["family"]) == ("clip", "vit")

    def test_torchvision_small_and_objects(self):
        torchvision, small = anatomy("torchvision:squeezenet1_1"), anatomy("small:cnn")
        own = anatomy(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))

        assert torchvision["stem"] == "conv 3x3/2, max 3x3/2"
        assert torchvision["pretraining_data"] == "in1k"
        assert small["stem_kernel"] == 3
        assert own["parameters"] == 4 * 27 + 4

    def test_a_function_is_refused(self):
        with pytest.raises(BadValueError, match="anatomy is read from a torch module"):
            anatomy(lambda images: images.mean((2, 3)) * torch.ones(3))

    def test_a_misspelt_name_is_refused(self):
        with pytest.raises(UnknownNameError, match="resnet50"):
            anatomy("timm:resnet5O")

    def test_a_failed_row_has_no_numbers(self):
        row = failed_row("net", RuntimeError("first\nsecond"))

        assert (row["status"], row["error"]) == ("failed", "first")
        assert row["parameters"] is None


@pytest.mark.slow
def test_a_sample_of_all_pretrained_names_has_no_failure(cache):
    rows, _ = run(timm.list_pretrained()[::40], cache)
    failed = {row["model"]: row["error"] for row in rows if row["status"] == "failed"}

    assert failed == {}
    assert all(row["parameters"] > 0 and row["multiply_adds"] > 0 for row in rows)


def test_a_network_that_does_not_say_its_size_is_read_at_one_at_which_it_runs():
    found = anatomy(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)))

    assert found["input_size"] == 32
    assert "does not say its size" in found["flags"]
