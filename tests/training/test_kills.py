"""Runs that are killed at any moment, and taken up again: the same weights to the bit."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from holdfast.records.trainings import read_training
from holdfast.training.events import Options
from holdfast.training.run import train
from holdfast.training.stepping import Stepped
from training.run_toys import ROBUST, left, recipe_in, run, write_files


def forked(recipe, folder, told):
    """Train in a process of its own, which writes a byte for each step."""
    pid = os.fork()
    if pid:
        return pid
    torch.set_num_threads(1)  # other threads are not here any more
    try:
        for event in train(recipe, folder, Options(device="cpu", save_every=0.0)):
            if isinstance(event, Stepped):
                os.write(told, b".")
    finally:
        os._exit(0)


def killed(recipe, folder, steps, delay):
    """Kill a run a moment after so many steps; whether it was still running."""
    here, there = os.pipe()
    pid = forked(recipe, folder, there)
    os.close(there)
    for _ in range(steps):
        os.read(here, 1)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    os.close(here)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.fixture(name="one_thread")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a fork of this process")
def test_a_run_killed_at_five_random_moments_ends_with_the_same_bits(tmp_path, one_thread):
    write_files(tmp_path)
    recipe = recipe_in(
        tmp_path,
        train={"objective": ROBUST, "epochs": 6, "ema": 0.8},
        augment=["flip", "mixup(alpha=0.3)"],
        model={"name": "norms"},
    )
    run(recipe, tmp_path / "whole")
    draw = random.Random(5)
    hits = sum(
        killed(recipe, tmp_path / "run", draw.randint(1, 4), draw.uniform(0, 0.01))
        for _ in range(5)
    )
    assert hits == 5
    assert read_training(tmp_path / "run").status == "running"
    last = run(recipe, tmp_path / "run")[-1].training

    assert last.resumed == 5
    assert left(tmp_path / "whole") == left(tmp_path / "run")
    unfinished = [path.name for path in (tmp_path / "run").iterdir() if path.suffix == ".tmp"]
    assert len(unfinished) <= 5  # of files that were being written when the process was killed


RECIPE = (
    "classic-at data.name=digits data.n=300 data.validation=0.2 model.name=small:cnn train.epochs=5"
    " train.batch_size=32 validate.n=40 validate.train_n=20 optimizer.lr=0.05"
)


def start(folder, *arguments):
    command = [sys.executable, "-m", "holdfast", "train", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def begun(process):
    """Wait until training has begun."""
    for line in process.stderr:
        if "steps" in line:
            return
    raise AssertionError(f"ended with {process.wait()} before it began")


@pytest.mark.slow
def test_the_command_killed_at_five_random_moments_ends_with_the_same_bits(tmp_path):
    whole = start(tmp_path, "run", *RECIPE.split(), "--out", "whole")
    before = time.monotonic()
    begun(whole)
    before = time.monotonic() - before, time.monotonic()
    assert whole.communicate() is not None
    assert whole.returncode == 0
    length = time.monotonic() - before[1]
    draw, hits = random.Random(7), 0
    arguments = ["run", *RECIPE.split(), "--out", "run", "--save-every", "0.2"]
    for _ in range(5):
        process = start(tmp_path, *arguments)
        arguments = ["resume", "run", "--save-every", "0.2"]
        begun(process)
        time.sleep(draw.uniform(0.1, length / 5))
        process.kill()
        process.communicate()
        hits += process.returncode == -signal.SIGKILL
    last = start(tmp_path, *arguments)
    last.communicate()

    assert last.returncode == 0
    assert hits >= 3  # the machine may be quicker than it was
    assert read_training(tmp_path / "run").resumed >= 2
    for name in ("last.safetensors", "best.safetensors"):
        one, two = load_file(tmp_path / "whole" / name), load_file(tmp_path / "run" / name)
        assert all(torch.equal(one[key], two[key]) for key in one.keys() | two.keys())
    assert left(tmp_path / "whole") == left(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_asked_to_stop_keeps_what_it_has(tmp_path, number, status):
    process = start(tmp_path, "run", *RECIPE.split(), "--out", "run")
    begun(process)
    process.send_signal(number)
    _, said = process.communicate()

    assert process.returncode == status
    assert "`holdfast train resume run` goes on" in said
    assert "Traceback" not in said
    told = read_training(tmp_path / "run")
    assert told.status == "interrupted"
    assert told.steps >= 1
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()
