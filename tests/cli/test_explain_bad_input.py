"""`holdfast explain` with input that it cannot take: one message and status 2, or a flag."""

from __future__ import annotations

import polars as pl
import pytest

NANS = """
import torch

def never():
    return lambda x: torch.full((len(x), 10), torch.nan)
"""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("all", "resnet18"), "all stands alone"),
        (("resnet18", "--filter", "res*"), "--filter chooses among all names"),
    ],
)
def test_names_of_anatomy_that_say_two_things(cli, arguments, told):
    found = cli("explain", "anatomy", *arguments)

    assert found.exit_code == 2
    assert told in found.stderr


def test_a_change_that_is_named_twice_is_tried_once(cli):
    found = cli(
        "explain", "advise", "small:cnn", "--data", "digits", "--n", 4, "--device", "cpu",
        "--change", "low_pass(std=0.5)", "--change", "low_pass",
    )  # fmt: skip

    assert found.exit_code == 0, found.output
    assert "(1 of 1)" in found.stderr
    assert found.stdout.count("low_pass(std=0.5)") == 1


def test_logits_that_are_not_finite_are_told_by_advice_and_ranks(cli, here):
    (here / "nans.py").write_text(NANS)
    ask = ("nans.py:never", "--data", "digits", "--n", 4, "--device", "cpu")
    advice = ("explain", "advise", *ask, "--change", "low_pass", "--out", "why")
    first, again = cli(*advice), cli(*advice)
    cli("measure", "--model", *ask, "--perturb", "gaussian_noise(sigma=0.1)", "--store", "s")
    ranks = cli("explain", "ranks", "s")

    for found in (first, again, ranks):
        assert found.exit_code == 0, found.output
        assert "ogits that are not finite, which count as wrong: nans.py:never" in found.stderr


def test_a_file_of_attributes_that_polars_cannot_join_is_refused(cli, here):
    names = [f"model_{one}" for one in range(6)]
    rows = [f"{name},{80 + one},{70 + one}" for one, name in enumerate(names)]
    (here / "t.csv").write_text("\n".join(["model,val,fog.1", *rows, ""]))
    pl.DataFrame({"model": [1], "x": [1]}).write_parquet(here / "a.parquet")
    found = cli("explain", "rules", "--from-testbed", "t.csv", "--attributes", "a.parquet")

    assert found.exit_code == 2
    assert "must hold names" in found.stderr
