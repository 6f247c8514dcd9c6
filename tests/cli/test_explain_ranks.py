"""`holdfast explain ranks` and `holdfast explain fine-tuning`."""

from __future__ import annotations

import json

import pytest

from helpers import MODEL_FILE

HEAD = "model,img_size,top1,top5"


@pytest.fixture
def tables(here):
    base = [HEAD, *(f"m{one},224,{80 - one},{95 - one}" for one in range(6))]
    variant = [
        f"{HEAD},rank_diff",
        *(f"m{one},224,{40 + one},{55 + one},{2 * one - 5:+d}" for one in range(6)),
    ]
    (here / "results-imagenet.csv").write_text("\n".join(base))
    (here / "results-sketch.csv").write_text("\n".join(variant))
    return "--from-timm", "results-imagenet.csv", "--variant", "results-sketch.csv"


def test_ranks_of_timm_tables(cli, tables, here):
    found = cli("explain", "ranks", *tables, "--top", 2, "--out", "why")

    assert found.exit_code == 0, found.output
    assert "sketch: six models, one condition" in found.output
    assert "m5-224" in found.output and "+5" in found.output
    assert "m3-224" not in found.output
    assert "and 4 more: --top 6" in found.output
    assert "published rank_diff: 6 of 6 equal ours (100.0%), 6 within 4 places" in found.output
    assert {"page.html", "ranks.json"} == {path.name for path in (here / "why").iterdir()}
    kept = json.loads((here / "why" / "ranks.json").read_text())
    assert kept["command"].startswith("holdfast")
    assert 6 == len(kept["models"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give one thing to rank"),
        (("--from-timm", "results-imagenet.csv"), "go together"),
        (("--variant", "results-sketch.csv"), "give one thing to rank"),
        (("s", "--from-testbed", "t.csv"), "give one thing to rank"),
    ],
)
def test_what_to_rank_must_be_told(cli, tables, arguments, told):
    found = cli("explain", "ranks", *arguments)

    assert found.exit_code == 2
    assert told in found.output


def test_a_wrong_table_is_told(cli, tables, here):
    (here / "other.csv").write_text("a,b\n1,2\n")
    found = cli("explain", "ranks", "--from-timm", "other.csv", "--variant", "results-sketch.csv")
    absent = cli("explain", "fine-tuning", "absent.csv")
    other = cli("explain", "fine-tuning", "other.csv")
    beside = cli("explain", "ranks", *tables, "--perturbation", "fog")

    assert [2] * 4 == [one.exit_code for one in (found, absent, other, beside)]
    assert "lacks the columns model, img_size, top1" in found.output
    assert "no file absent.csv" in absent.output
    assert "not the robust fine-tuning table" in other.output
    assert "holds sketch alone" in beside.output


def test_ranks_of_a_store(cli, measure, here):
    (here / "other.py").write_text(MODEL_FILE.replace("- 0.5", "- 0.4"))
    for condition in ("gaussian_noise(sigma=0.1)", "gaussian_noise(sigma=0.3)", "fog(severity=3)"):
        for model in ("net.py:bright", "other.py:bright"):
            assert measure("--perturb", condition, model=model).exit_code == 0

    found = cli("explain", "ranks", "s", "--perturbation", "gaussian_noise")

    assert found.exit_code == 0, found.output
    assert "gaussian_noise: two models, two conditions" in found.output
    assert "says little" in found.output
    everything = cli("explain", "ranks", "s")
    assert "2 perturbations: two models, three conditions" in everything.output
    assert "--perturbation NAME" in everything.output
    unknown = cli("explain", "ranks", "s", "--perturbation", "gaussian_nois")
    assert 2 == unknown.exit_code
    assert "did you mean gaussian_noise?" in unknown.output


def test_ranks_of_a_testbed_table(cli, here):
    levels = [f"imagenet-c.gaussian_noise.{one}_on-disk" for one in range(1, 6)]
    rows = [
        ",".join([f"net{one}", str(80 - one), *(str(70 - one - 5 * level) for level in range(5))])
        for one in range(8)
    ]
    (here / "t.csv").write_text("\n".join([",".join(["model", "val", *levels]), *rows]))

    found = cli("explain", "ranks", "--from-testbed", "t.csv", "--out", "why")

    assert found.exit_code == 0, found.output
    assert "gaussian_noise: eight models, five conditions" in found.output
    assert "\N{MINUS SIGN}0.0" in found.output  # slopes
    assert (here / "why" / "page.html").is_file()


@pytest.mark.shared
def test_the_published_study(cli, shared, here):
    found = cli(
        "explain", "fine-tuning", shared / "data/tables/robust_finetuning_1440.csv", "-o", "why"
    )

    assert found.exit_code == 0, found.output
    for told in (
        "convnext_base.fb_in22k                  TRADES  2281",
        "size (p 8.4e-07): large 1505.6 a, medium 1005.3 b, small 851.9 b",
        "large 18:0 (odds ratio inf, p 2.2e-10)",
        "757 of 7,200 accuracies",
    ):
        assert told in found.output
    assert {"page.html", "fine_tuning.json"} == {path.name for path in (here / "why").iterdir()}
