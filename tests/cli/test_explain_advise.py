"""`holdfast explain advise`."""

from __future__ import annotations

import json

import pytest

ASK = ("explain", "advise", "small:cnn", "--data", "digits", "--n", 12, "--device", "cpu")
CHANGES = ("--change", "low_pass(std=0.6)", "--change", "average_pooling()")


def test_it_tells_predicted_and_measured_and_keeps_them(cli, here):
    found = cli(*ASK, *CHANGES, "--perturb", "contrast(severity=3)", "--out", "why")
    said = " ".join(found.output.split())

    assert found.exit_code == 0, found.output
    assert "small:cnn on 12 images of digits test" in said
    assert "the original: clean" in said
    assert "gaussian_noise(sigma=0.12) predicted measured" in said
    assert "average_pooling(where=all) does not apply: it has no max pooling layer." in said
    assert "note: Only 12 images were measured" in said
    kept = json.loads((here / "why" / "advice.json").read_text())
    measured = {one["change"]: one["status"] for one in kept["advised"]}
    assert measured == {
        "low_pass(std=0.6)": "measured",
        "average_pooling(where=all)": "does not apply",
    }
    assert kept["verdict"] in said
    assert "Advice" in (here / "why" / "page.html").read_text()


def test_it_goes_on_where_it_was_and_says_the_same(cli, here):
    first = cli(*ASK, *CHANGES, "--out", "why")
    runs = {path.name for path in (here / "why" / "store").iterdir()}
    second = cli(*ASK, *CHANGES, "--out", "why")

    assert first.exit_code == second.exit_code == 0
    assert {path.name for path in (here / "why" / "store").iterdir()} == runs
    assert second.stdout == first.stdout


def test_without_out_nothing_is_kept(cli, here):
    before = {path.name for path in here.iterdir()}
    found = cli(*ASK, *CHANGES)

    assert found.exit_code == 0
    assert {path.name for path in here.iterdir()} - before <= {"cache"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--change", "low_pas()"), "no change named 'low_pas'"),
        (("--change", "low_pass(std=-1)"), "std must be from"),
        (("--sigma", "0"), "sigma must be in (0, 1]"),
        (("--perturb", "fogg"), "fogg"),
        (("--fine-tune", 1, "--train-split", "test"), "name another --train-split"),
        (("--weights", "absent.pt"), "absent.pt"),
        (("--n", 0), "equal to 1"),
    ],
)
def test_bad_input_is_told(cli, arguments, told):
    found = cli(*ASK, *arguments)

    assert found.exit_code == 2
    assert told in " ".join(found.output.split())


def test_changes_are_listed(cli):
    found = cli("list", "changes")

    assert found.exit_code == 0
    for name in ("average_pooling", "blurred_downsampling", "larger_stem", "low_pass"):
        assert name in found.output
    assert "resolution" in found.output and "normalization" in found.output


def test_a_changed_model_is_measured_like_any(cli):
    name = "small:cnn + low_pass(std=0.6)"
    found = cli("measure", "--model", name, "--data", "digits", "--n", 12, "--store", "s")

    assert found.exit_code == 0, found.output
    assert "low_pass(std=0.6)" in found.output
