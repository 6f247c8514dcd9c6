"""`holdfast train`, as a newcomer types it."""

from __future__ import annotations

import json
import shlex
import signal

import numpy as np
import pytest
import yaml

from holdfast.cli import train as commands
from holdfast.records import Store
from holdfast.records.trainings import read_curves, read_training
from training.run_toys import body, left, write_files

OVERRIDES = ("data.name=npz:a.npz", "model.name=net.py:net", "train.epochs=2")


@pytest.fixture(name="there")
def _there(here):
    """The folder of `cli` with 8 x 8 pictures, and a recipe `r.yaml` for them."""
    write_files(here)
    (here / "r.yaml").write_text(yaml.safe_dump(body(here)))
    return here


@pytest.fixture(name="train")
def _train(cli, there):
    """Function that runs `holdfast train ARGUMENTS` on the CPU."""

    def run(command, *arguments):
        here = ("--device", "cpu") if command in ("run", "resume", "tune") else ()
        return cli("train", command, *arguments, *here)

    return run


def test_a_recipe_is_trained_and_told(train, there):
    found = train("run", "r.yaml", "--out", "run")
    lines = found.stdout.splitlines()

    assert found.exit_code == 0, found.output
    assert lines[0].startswith("before epoch 0: accuracy ")
    assert lines[1].startswith("best   epoch ")
    assert lines[2].startswith("last   epoch 3: accuracy ")
    assert all(line.endswith("of 10 images") for line in lines[:3])
    assert lines[3] == "model: run  (holdfast measure --model run ...)"
    assert lines[4] == "page: run/page.html"
    assert len(lines) == 5
    told = found.stderr.splitlines()
    assert told[0] == "run: run"
    assert told[1].endswith("net.py:net on npz:%s: 30 images, 12 steps" % (there / "a.npz"))
    assert "chosen on 10 images" in told[2]
    assert [line.partition(";")[0] for line in told[3:]] == [f"epoch {n}" for n in range(4)]
    assert (there / "run" / "page.html").stat().st_size > 10_000


def test_the_folder_is_a_model_to_measure(train, cli, there):
    train("run", "r.yaml", "--out", "run")
    found = cli("measure", "--model", "run", "--data", "npz:a.npz", "--store", "s", "--json")
    rows = [json.loads(line) for line in found.stdout.splitlines()]

    assert found.exit_code == 0, found.output
    (accuracy,) = [row for row in rows if row["metric"] == "accuracy"]
    assert accuracy["model"] == "run"
    assert accuracy["weights_digest"] == read_training(there / "run").weights_digest


def test_overrides_reach_the_recipe(train, there):
    found = train(
        "run", "r.yaml", "train.epochs=1", "train.objective=trades", "train.beta=2", "--out", "run"
    )
    written = yaml.safe_load((there / "run" / "recipe.yaml").read_text())["train"]

    assert found.exit_code == 0, found.output
    assert written["epochs"] == 1
    assert "beta=2" in written["objective"]


def test_without_a_folder_the_recipe_names_one(train, there):
    found = train("run", "r.yaml")
    (folder,) = (there / "runs").iterdir()
    digest = read_training(folder).digest

    assert found.exit_code == 0, found.output
    assert folder.name == f"r-{digest[:8]}"
    assert f"run: runs/{folder.name}" in found.stderr
    before = left(folder)
    again = train("run", "r.yaml")
    assert again.exit_code == 0
    assert "epoch 1;" not in again.stderr  # it is not trained again
    assert again.stdout == found.stdout
    assert left(folder) == before


def test_a_dry_run_writes_nothing_but_the_recipe(train, there):
    before = sorted(there.iterdir())
    found = train("run", "r.yaml", "train.epochs=7", "--dry-run")
    shown = yaml.safe_load(found.stdout)

    assert found.exit_code == 0, found.output
    assert shown["train"]["epochs"] == 7
    assert shown["optimizer"]["betas"] == [0.9, 0.999]  # defaults too
    assert "7 epochs" in found.stderr
    assert sorted(there.iterdir()) == before
    (there / "again.yaml").write_text(found.stdout)
    again = train("run", "again.yaml", "--dry-run")
    assert again.stdout == found.stdout


def test_presets_are_listed_and_shown(train):
    listed = train("presets")
    shown = train("presets", "classic-at")

    assert listed.exit_code == shown.exit_code == 0
    assert "classic-at" in listed.stdout
    assert "heuillet-fft50-trades" in listed.stdout
    assert yaml.safe_load(shown.stdout)["train"]["objective"].startswith("adversarial(")
    assert shown.stdout.startswith("# classic-at: ")


def test_a_shown_preset_is_a_recipe(train, there):
    (there / "p.yaml").write_text(train("presets", "classic-at").stdout)
    one = train("run", "p.yaml", *OVERRIDES, "--dry-run")
    two = train("run", "classic-at", *OVERRIDES, "--dry-run")
    shown, given = (yaml.safe_load(found.stdout) for found in (one, two))

    assert one.exit_code == 0, one.output
    # The statistics of the preset's data go with its own network; in a file they are the user's.
    assert None is given["model"].pop("mean") is given["model"].pop("std")
    assert shown["model"].pop("mean")
    assert shown["model"].pop("std")
    assert shown == given


WRONG = [
    (["run", "clasic-at"], "did you mean classic-at"),
    (["run", "absent.yaml"], "no recipe absent.yaml"),
    (["run", "net.py"], "ends in .yaml"),
    (["run", "r.yaml", "train.epochs"], "section.field=value"),
    (["run", "r.yaml", "train.epoch=3"], "did you mean train.epochs"),
    (["run", "r.yaml", "train.epochs=0"], "train.epochs"),
    (["run", "r.yaml", "train.epochs=many"], "train.epochs"),
    (["run", "r.yaml", "model.name=net.py:nat"], "nat"),
    (["run", "r.yaml", "data.name=npz:b.npz"], "b.npz"),
    (["run", "r.yaml", "--out", "net.py"], "net.py is a file"),
    (["run", "r.yaml", "--out", "run", "--perturb", "fogg(severity=3)"], "did you mean fog"),
    (["run", "r.yaml", "--perturb", "clean", "--measure-data", "npz:b.npz"], "b.npz"),
    (["run", "r.yaml", "--out", "run", "--track", "tensorbord"], "did you mean tensorboard"),
    (["run", "r.yaml", "--device", "gpu"], "gpu"),
    (["resume", "nowhere"], "recipe.yaml in nowhere"),
    (["presets", "clasic-at"], "did you mean classic-at"),
    (["tune", "r.yaml"], "--trials 50"),
    (["page", "nowhere"], "nowhere"),
    (["page", "one", "two"], "--out DIR"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=lambda value: str(value)[:60])
def test_what_cannot_be_used_ends_with_2_before_anything_is_written(cli, there, arguments, told):
    before = sorted(there.rglob("*"))
    found = cli("train", *arguments)

    assert found.exit_code == 2, found.output
    assert told in found.stderr.replace("\n", " ")
    assert found.stdout == ""
    assert "Traceback" not in found.output
    assert "bug" not in found.output
    assert [path for path in sorted(there.rglob("*")) if path.suffix != ".pyc"] == before


def test_without_a_recipe_the_usage_is_shown(train):
    found = train("run")

    assert found.exit_code == 2
    assert "RECIPE" in found.output


def test_another_recipe_in_the_folder_ends_with_2(train):
    train("run", "r.yaml", "--out", "run")
    found = train("run", "r.yaml", "train.epochs=4", "--out", "run")

    assert found.exit_code == 2
    assert "train.epochs: 3 -> 4" in found.stderr


def test_a_run_that_diverges_ends_with_1_and_says_what_to_do(train, there):
    found = train("run", "r.yaml", "optimizer.lr=1e30", "--out", "run")

    assert found.exit_code == 1
    assert "optimizer.lr" in found.stderr
    assert "train.clip=1" in found.stderr
    assert "bug" not in found.output
    assert read_training(there / "run").status == "failed"


def test_conditions_are_measured_before_and_after(train, there):
    found = train(
        "run", "r.yaml", "--out", "run", "--perturb", "clean", "--perturb",
        "gaussian_noise(sigma=0.1)", "--measure-n", "12",
    )  # fmt: skip
    records = [*Store.existing(there / "run" / "store").runs()]
    assert found.exit_code == 0, found.output
    assert len(records) == 4


SIGNALS = [
    ("SIGTERM@6", 143, "SIGTERM: finishing this step, then saving"),
    ("SIGINT@6", 130, "Ctrl-C: finishing this step, then saving"),
]


@pytest.mark.parametrize(("signals", "status", "said"), SIGNALS)
def test_a_signal_ends_after_the_step_with_a_checkpoint(
    train, there, monkeypatch, signals, status, said
):
    train("run", "r.yaml", "--out", "whole")
    handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    monkeypatch.setenv("TEST_SIGNALS", signals)
    found = train("run", "r.yaml", "--out", "run")
    told = read_training(there / "run")

    assert found.exit_code == status, found.output
    assert said in found.stderr
    assert "`holdfast train resume run` goes on" in found.stderr
    assert (told.status, told.steps) == ("interrupted", 6)
    assert handlers == [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    monkeypatch.delenv("TEST_SIGNALS")
    again = train("resume", "run")
    assert again.exit_code == 0, again.output
    assert "going on after step 6" in again.stderr
    assert left(there / "run") == left(there / "whole")


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_a_second_ctrl_c_ends_at_once(train, there, monkeypatch, first):
    monkeypatch.setenv("TEST_SIGNALS", f"{first}@6,SIGINT@6")
    found = train("run", "r.yaml", "--out", "run")

    assert found.exit_code == 130
    assert "goes on" in found.stderr
    assert "Traceback" not in found.output
    assert read_training(there / "run").status == "interrupted"
    assert "KeyboardInterrupt" in read_training(there / "run").reason
    monkeypatch.delenv("TEST_SIGNALS")
    assert train("resume", "run").exit_code == 0


def test_a_finished_run_is_told_again_by_resume(train):
    first = train("run", "r.yaml", "--out", "run")

    assert train("resume", "run").stdout == first.stdout


def test_save_every_is_heeded(train, there, monkeypatch):
    # Both are dropped in the third step, before anything is measured.
    monkeypatch.setenv("TEST_SIGNALS", "SIGINT@3,SIGINT@3")
    train("run", "r.yaml", "--out", "often", "--save-every", "0")
    train("run", "r.yaml", "--out", "seldom")

    assert (there / "often" / "checkpoint.safetensors").exists()
    assert not (there / "seldom" / "checkpoint.safetensors").exists()


def test_several_processes_speak_once(train, there, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    found = train("run", "r.yaml", "--out", "run", "--track", "tensorboard")

    assert found.exit_code == 0
    assert found.output == ""
    assert not (there / "run" / "tensorboard").exists()


def test_runs_are_compared_on_one_page(train, there):
    for name, rate in (("one", 0.1), ("two", 0.01)):
        train("run", "r.yaml", f"optimizer.lr={rate}", "--out", name)
    found = train("page", "one", "two", "--out", "both")

    assert found.exit_code == 0, found.output
    assert "page: both" in found.stdout
    text = next((there / "both").glob("*.html")).read_text()
    assert "0.01" in text
    again = train("page", "one")
    assert again.exit_code == 0
    assert again.stdout == "page: one/page.html\n"


def test_settings_are_looked_for(train, there):
    (there / "space.yaml").write_text("optimizer.lr: {choice: [0.01, 0.1]}\n")
    found = train(
        "tune", "r.yaml", "train.epochs=1", "--space", "space.yaml", "--trials", "2", "--out", "t"
    )

    assert found.exit_code == 0, found.output
    assert "best: trial" in found.stdout
    best = yaml.safe_load((there / "t" / "best.yaml").read_text())
    assert best["optimizer"]["lr"] in (0.01, 0.1)


def test_curves_are_the_ones_that_were_told(train, there):
    found = train("run", "r.yaml", "--out", "run")
    told = [line for line in found.stderr.splitlines() if line.startswith("epoch ")]
    rows = read_curves(there / "run").to_dicts()

    for line, row in zip(told[1:], rows[1:], strict=True):
        assert f"loss {row['loss']:.3f}" in line
        assert f"validation {100 * row['validation_accuracy']:.1f}\N{NO-BREAK SPACE}%" in line


def example(command):
    return " ".join(command.__doc__.partition("Example:")[2].split())


def test_the_examples_of_the_help_run(cli, there):
    """Shortened, and with the attack's few images; every option of them as it stands."""
    pixels = np.load(there / "a.npz")
    np.savez(there / "train.npz", **pixels)
    few = (
        "train.epochs=1 train.max_steps=1 train.batch_size=8 validate.n=4 validate.train_n=0 "
        "validate.attack=null --measure-n 4 --measure-split train --device cpu "
    )
    text = example(commands.run).replace("--out", f"{few} --out").replace("autoattack", "fgsm")
    found = cli(*shlex.split(text)[1:])
    assert found.exit_code == 0, f"{text}: {found.output}"
    for command in (commands.resume, commands.presets):
        text = example(command).partition(" > ")[0]
        found = cli(*shlex.split(text)[1:])
        assert found.exit_code == 0, f"{text}: {found.output}"
    for name in ("lp", "ft", "lp-ft"):
        assert (
            cli("train", "run", "r.yaml", "train.max_steps=1", "-o", f"runs/{name}").exit_code == 0
        )
    found = cli(*shlex.split(example(commands.page))[1:])
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize("command", ["run", "resume", "presets", "tune", "page"])
def test_help_has_an_example(cli, command):
    found = cli("train", command, "--help")

    assert found.exit_code == 0
    assert f"holdfast train {command}" in found.output
