"""Attacks from the command line."""

import json
import re

import pytest
import torch

from helpers import MODEL_FILE, Bright, write_npz
from holdfast.perturb.conditions import parse_conditions
from holdfast.records import Store

MORE = (
    MODEL_FILE
    + """

def blind():
    class Blind(Bright):
        def forward(self, images):
            return super().forward(images.detach()).detach()

    return Blind()


def single():
    class Single(Bright):
        def forward(self, images):
            return super().forward(images)[:, 1:]

    return Single()
"""
)
ATTACK = "pgd(eps=[2/255, 40/255], steps=3)"


@pytest.fixture
def attack(measure, here):
    """Function that measures twelve pictures with an attack; further arguments follow."""
    (here / "net.py").write_text(MORE)
    write_npz(here / "a.npz", 12)

    def run(*arguments, perturb=ATTACK, **options):
        chosen = () if perturb is None else ("--perturb", perturb)
        return measure(*chosen, "--device", "cpu", *arguments, **options)

    return run


def refused(result, *words):
    assert 2 == result.exit_code, result.output
    assert "Traceback" not in result.output
    assert "" == result.stdout
    message = " ".join(result.stderr.split())
    for word in words:
        assert word in message


def accuracies(here):
    """Condition -> the row of its accuracy."""
    frame = Store.existing(here / "s").measurements().filter(metric="accuracy")
    return {one["condition"]: one for one in frame.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("perturb", "words"),
    [
        ("pgd(eps=8)", ("eps=8", "did you mean 8/255?")),
        ("autoattack(norm=linf, eps=8)", ("did you mean 8/255?",)),
        ("pgd(eps=-1)", ("eps must be above 0", "got -1")),
        ("pgd(eps=[4/255, 2/255])", ("must ascend", "did you mean [2/255, 4/255]?")),
        ("pgd(eps=4/255) + fgsm(eps=8/255)", ("must have the same eps",)),
        ("pgd(norm=l2, eps=0.5) + fgsm(eps=0.5)", ("must have one norm, got l2, linf",)),
        ("ddn(norm=linf)", ("norm",)),
        ("pgd(eps=8/255, size=3)", ("no parameter of attack pgd named 'size'",)),
        ("pgdd(eps=8/255)", ("no condition named 'pgdd'", "did you mean pgd")),
        ("pgd(after=[4/255])", ("no eps",)),
    ],
)
def test_a_wrong_attack_is_told(attack, perturb, words):
    refused(attack(perturb=perturb), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--until-halfwidth", "0.7"), ("between 0 and 0.5", "0.7")),
        (("--transfer-weights", "w.pth"), ("--transfer-weights needs --transfer-from",)),
        (("--precision", "half"), ("float32, bfloat16, float16", "'half'")),
        (("--transfer-from", "net.py:missing"), ("missing",)),
        (("--transfer-from", "net.py:headed", "--transfer-weights", "no.pth"), ("no.pth",)),
        (("--device", ","), ("device must be",)),
        (("--device", "cpu,tpu"), ("tpu",)),
    ],
)
def test_a_wrong_option_is_told(attack, arguments, words, here):
    refused(attack(*arguments), *words)

    assert not list(here.glob("s/*/measurements.parquet"))


def test_a_model_without_gradients_fails_with_advice(attack, here):
    result = attack(model="net.py:blind")
    rows = accuracies(here)

    assert 1 == result.exit_code
    assert "2 of 3 runs failed" in result.stderr
    assert ["failed", "failed", "ok"] == sorted(one["status"] for one in rows.values())
    assert all("square" in one["error"] for one in rows.values() if one["status"] == "failed")


def test_a_model_with_one_output_is_refused(attack):
    refused(attack(model="net.py:single"), "1 output", "two logits")


def test_each_radius_is_a_run(attack, here):
    result = attack()

    assert 0 == result.exit_code, result.output
    assert [2 / 255, 40 / 255, None] == sorted(
        (one["eps"] for one in accuracies(here).values()), key=lambda eps: (eps is None, eps)
    )


def test_a_repeated_command_measures_nothing(attack, here):
    attack()
    before = {path: path.stat().st_mtime_ns for path in here.glob("s/*/*.parquet")}

    assert 0 == attack().exit_code
    assert before == {path: path.stat().st_mtime_ns for path in here.glob("s/*/*.parquet")}


def test_a_dry_run_names_each_radius(attack, here):
    lines = [line for line in attack("--dry-run").stdout.splitlines() if "pgd(" in line]

    assert 2 == len(lines)
    assert not (here / "s").exists()


def test_a_dry_run_counts_what_a_standing_image_needs_at_each_radius(attack):
    # Clean images take a pass each, and so do those that an attack is given.
    text = attack("--dry-run").stdout
    single = attack("--dry-run", perturb="pgd(eps=2/255, steps=3)").stdout
    passes = [int(re.search(r"at most ([\d,]+) forward", t)[1].replace(",", ""))
              for t in (text, single)]  # fmt: skip
    budget = sum(parse_conditions("pgd(eps=2/255, steps=3)")[-1].budgets(2))

    assert budget >= 3
    assert [12 * (1 + (1 + budget) + (1 + 2 * budget)), 12 * (2 + budget)] == passes


def test_progress_tells_attacks_by_their_short_names(attack):
    assert "net.py:bright PGD-3 Linf 2/255 accuracy" in attack().stderr


def test_progress_gives_no_time_left_while_an_attack_was_never_timed(attack):
    lines = [line for line in attack().stderr.splitlines() if line.startswith("[")]

    assert [False, True, True] == ["s left" in line for line in lines]


def test_json_lines_tell_each_radius(attack):
    lines = [json.loads(line) for line in attack("--json").stdout.splitlines()]
    found = [one["eps"] for one in lines if one.get("metric") == "accuracy" and one.get("eps")]

    assert [2 / 255, 40 / 255] == sorted(set(found))


def test_transfer_names_its_source_in_the_condition(attack, here):
    result = attack("--transfer-from", "net.py:bright", "--compile", perturb="fgsm(eps=8/255)")

    assert 0 == result.exit_code, result.output
    assert any(" from net.py:bright@" in name for name in accuracies(here))


def test_weights_of_the_source_matter_for_the_run(attack, here):
    net = Bright()
    for gain in (10.0, 20.0):
        torch.save({"gain": torch.tensor(gain)}, here / f"{gain:g}.pth")
        result = attack(
            "--transfer-from", "net.py:bright", "--transfer-weights", f"{gain:g}.pth",
            perturb="fgsm(eps=8/255)",
        )  # fmt: skip
        assert 0 == result.exit_code, result.output

    assert 40.0 == net.gain.item()
    assert 2 == sum("fgsm" in name for name in accuracies(here))


def test_reduced_precision_is_another_run_for_the_attack_only(attack, here):
    attack(perturb="fgsm(eps=8/255)")
    attack("--precision", "bfloat16", perturb="fgsm(eps=8/255)")

    assert 3 == len(Store.existing(here / "s").runs())


def test_two_devices_give_the_rows_of_one(attack, here):
    attack()
    store = Store.existing(here / "s")
    one = {run: store.samples(run) for run in store.runs()}
    (here / "s").rename(here / "one")
    result = attack("--device", "cpu,cpu")
    store = Store.existing(here / "s")

    assert 0 == result.exit_code, result.output
    assert list(one) == store.runs()
    assert all(frame.equals(store.samples(run)) for run, frame in one.items())


def test_a_half_width_stops_early(attack, here, cli):
    write_npz(here / "many.npz", 300, size=8)
    result = attack(
        "--until-halfwidth", "0.15", perturb="fgsm(eps=1/255)", data="npz:many.npz"
    )  # fmt: skip

    assert 0 == result.exit_code, result.output
    assert all(one["count"] < 300 for one in accuracies(here).values())
    assert all("optional_stopping" in one["flags"] for one in accuracies(here).values())


def test_the_list_of_attacks_has_names_and_parameters(cli):
    lines = [json.loads(line) for line in cli("list", "attacks", "--json").stdout.splitlines()]
    found = {one["attack"]: one["parameters"] for one in lines}

    assert {"apgd", "autoattack", "ddn", "fab", "fgsm", "fmn", "pgd", "square"} <= set(found)
    assert found["autoattack"].startswith("norm, eps, version")


def test_the_list_of_attacks_holds_no_corruptions(cli):
    assert "fog" not in cli("list", "attacks").stdout
    assert "autoattack" not in cli("list", "corruptions").stdout


def test_the_list_is_cut_to_a_pattern(cli):
    lines = cli("list", "attacks", "apgd", "--json").stdout.splitlines()

    assert ["apgd"] == [json.loads(line)["attack"] for line in lines]
