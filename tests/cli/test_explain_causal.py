"""`holdfast explain causal`, as a newcomer types it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import app

TINY = (
    *("--kernels", "3,5", "--pools", "max", "--seeds", 2, "--epochs", 1, "--n-train", 66),
    *("--n-test", 20, "--width", 2, "--jobs", 1, "--device", "cpu"),
)


def call(*arguments):
    return CliRunner().invoke(app, ["explain", "causal", *map(str, arguments)])


@pytest.fixture(name="runs", scope="module")
def _runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("causal") / "out"
    return folder, call(*TINY, "--out", folder), call(*TINY, "--out", folder)


def test_it_tells_variants_contrasts_and_a_verdict(runs):
    found = runs[1]

    assert found.exit_code == 0, found.output
    assert "66 training images, one epoch, 20 test images" in found.output
    assert "stem 5 against 3  slope" in found.output
    assert "On two seeds each: so few miss" in found.output


def test_it_tells_how_far_it_is(runs):
    assert "4 trainings of one epoch on digits" in runs[1].output
    assert "[4/4] stem 5, max pooling, seed 1: clean" in runs[1].output
    assert "s left)" in runs[1].output


def test_it_leaves_numbers_and_a_page(runs):
    body = json.loads((runs[0] / "causal.json").read_text())

    assert ["ok"] * 4 == [one["status"] for one in body["trained"]]
    assert body["command"].startswith("holdfast") and body["version"]
    assert "Stem 5 against 3" in (runs[0] / "page.html").read_text()
    assert f"page: {runs[0] / 'page.html'}" in runs[1].output


def test_the_same_command_trains_nothing_again(runs):
    assert runs[2].exit_code == 0, runs[2].output
    assert 4 == runs[2].output.count("(trained before)")
    assert runs[1].output.split("stem  pool")[1] == runs[2].output.split("stem  pool")[1]


def test_trainings_that_all_fail_end_it_with_one(tmp_path):
    found = call(*TINY, "--set", "optimizer.kind=sgd", "--set", "optimizer.lr=1e30")

    assert 1 == found.exit_code
    assert "FAILED" in found.output
    assert "note: Stem 3 with max pooling, seed 0, failed" in found.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--kernels", "3,five"), "whole numbers with commas"),
        (("--kernels", "4,5"), "odd number"),
        (("--kernels", "3", "--pools", "max"), "nothing is varied"),
        (("--pools", "mean,max"), "pooling"),
        (("--data", "digitz"), "digits"),
        (("--data", "npz:nowhere.npz"), "nowhere.npz"),
        (("--set", "seed=3"), "the experiment sets itself"),
        (("--set", "train.epohs=3"), "epochs"),
        (("--device", "toaster"), "device must be"),
    ],
)
def test_bad_input_is_told_in_one_message(arguments, told):
    found = call(*arguments)

    assert 2 == found.exit_code
    assert "error:" in found.output and told in found.output


def test_the_help_says_what_is_held_equal():
    found = call("--help")

    assert "Everything else is equal" in found.output
    assert "augment=flip, crop(padding=4)" in " ".join(found.output.replace("│", " ").split())
