"""`holdfast explain anatomy`."""

from __future__ import annotations

import csv
import io
import json

import pytest
import timm

from holdfast.records.explanations import ANATOMY_COLUMNS, read_anatomy

NAME = "test_resnet.r160_in1k"
TINY = "test_convnext*"


def rows(text):
    """The two columns of one model."""
    pairs = (line.split("  ", 1) for line in text.splitlines() if "  " in line)
    return {words.strip(): value.strip() for words, value in pairs}


def test_one_model_is_told_in_words(cli):
    found = cli("explain", "anatomy", "resnet10t.c3_in1k")
    told = rows(found.stdout)

    assert found.exit_code == 0, found.output
    assert told["stem"].startswith("conv 3x3/2, conv 3x3, conv 3x3, max 3x3/2")
    assert told["pooling before the head"] == "average"
    assert told["anti-aliased"] == "no"
    net = timm.create_model("resnet10t")
    assert told["parameters"] == f"{sum(one.numel() for one in net.parameters()):,}"
    assert told["pretraining data"] == "in1k"
    assert told["fine-tuned on"] == "none"


def test_a_model_of_ones_own(cli, here):
    found = cli("explain", "anatomy", "small:cnn", "--out", "why")

    assert found.exit_code == 0, found.output
    assert rows(found.stdout)["objective"] == "unknown"
    assert "It does not say its size" in found.output
    assert {"page.html", "anatomy.csv", "anatomy.parquet"} == {
        path.name for path in (here / "why").iterdir()
    }
    assert read_anatomy(here / "why")["stem_kernel"].to_list() == [3]


def test_several_models_are_a_table_and_a_wrong_name_is_told(cli):
    found = cli("explain", "anatomy", NAME, "test_vit.r160_in1k", "test_vot")

    assert found.exit_code == 1, found.output
    assert "test_resnet.r160_in1k" in found.stdout and "attention" in found.stdout
    assert "test_vot failed" in found.stderr
    assert "test_vot" not in found.stdout


def test_a_wrong_name_alone_is_refused(cli):
    unknown, tag = cli("explain", "anatomy", "resnet5O"), cli("explain", "anatomy", "resnet50.nope")

    assert (unknown.exit_code, tag.exit_code) == (2, 2)
    assert "did you mean" in unknown.output
    assert "no pretrained model of timm named 'resnet50.nope'" in tag.output


@pytest.mark.parametrize("shape", ["csv", "json"])
def test_rows_for_machines_are_all_of_the_output(cli, shape):
    found = cli("explain", "anatomy", "all", "--filter", TINY, "--jobs", 1, "--format", shape)

    assert found.exit_code == 0, found.output
    if shape == "csv":
        read = list(csv.DictReader(io.StringIO(found.stdout)))
    else:
        read = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(read) == 3
    assert set(read[0]) == set(ANATOMY_COLUMNS)
    assert {row["status"] for row in read} == {"ok"}


def test_a_second_run_knows_what_the_first_traced(cli, here):
    arguments = ("explain", "anatomy", "all", "--filter", TINY, "--jobs", 1)
    first, second = cli(*arguments, "--out", "a"), cli(*arguments, "--out", "b")
    fresh = cli(*arguments, "--fresh")

    assert "3 of 3 structures" in first.stderr
    assert "structures" not in second.stderr
    assert "3 of 3 structures" in fresh.stderr
    assert (here / "a/anatomy.csv").read_text() == (here / "b/anatomy.csv").read_text()
    assert list((here / "cache" / "anatomy").iterdir())


def test_a_filter_that_nothing_fits_is_told(cli):
    found = cli("explain", "anatomy", "all", "--filter", "nothing*")

    assert found.exit_code == 2
    assert "no pretrained name of timm fits 'nothing*'" in found.output


def test_many_are_summed_up_and_failures_told(cli, monkeypatch):
    many = [f"bad{one}" for one in range(12)] + [NAME] * 41
    monkeypatch.setattr("holdfast.explain.anatomy.timm_names", lambda _: many)
    found = cli("explain", "anatomy", "all")

    assert found.exit_code == 1, found.output
    assert "41 models of one family" in found.stdout
    assert "what mixes positions: convolutional 41" in found.stdout
    assert "bad0 failed: no architecture of timm named 'bad0'" in " ".join(found.stderr.split())
    assert "bad9 failed" in found.stderr and "bad10" not in found.stderr
    assert "and 2 more failed" in found.stderr


def test_a_second_model_joins_the_first_in_a_folder(cli, here):
    for model in (NAME, "small:cnn", "small:cnn"):
        assert cli("explain", "anatomy", model, "--out", "why").exit_code == 0

    assert sorted(read_anatomy(here / "why")["model"]) == ["small:cnn", NAME]
