"""Several processes on one run: the weights of one, one folder, one voice, one end."""

import os
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file

from holdfast.core.errors import BadValueError
from holdfast.models import load_model
from holdfast.records.trainings import read_curves, read_training
from holdfast.training.devices import accelerator_for, check_shares, own_device
from holdfast.training.trainer import Trainer
from training.run_toys import ROBUST, body, left, recipe_in, run, write_files
from training_toys import data_for, linear, recipe


class Share:
    """One of two processes, as far as a step asks; the other one's numbers are told."""

    def __init__(self, accelerator, rank, sums):
        self._accelerator, self._sums = accelerator, iter(sums)
        self.process_index, self.num_processes = rank, 2

    def __getattr__(self, name):
        return getattr(self._accelerator, name)

    def reduce(self, value, reduction):
        assert reduction == "sum"
        return torch.full_like(value, next(self._sums))


def moved(settings, share=None):
    """What the first step has added to the weights, and its loss."""
    classifier = load_model(linear(), device="cpu")
    accelerator = accelerator_for(settings, classifier)
    if share is not None:
        accelerator = Share(accelerator, share, [7.0, 3.5])
    one = Trainer(settings, classifier, data_for(settings), accelerator)
    loss = next(iter(one.run())).loss
    return classifier.net[1].weight.detach() - linear()[1].weight.detach(), loss, one.sums


@pytest.mark.parametrize("micro", [None, 2])
def test_unequal_parts_of_a_batch_average_to_the_whole(micro):
    # Seven images: four for one process and three for the other.
    settings = recipe(
        train={"batch_size": 7, "micro_batch": micro},
        optimizer={"kind": "sgd", "lr": 1.0, "weight_decay": 0.0},
        schedule={"kind": "constant"},
    )
    whole, _, _ = moved(settings)
    first, loss, sums = moved(settings, share=0)
    second, _, _ = moved(settings, share=1)

    torch.testing.assert_close((first + second) / 2, whole, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(first, second, atol=1e-4)
    assert loss == 0.5  # of both, told to be 3.5 over 7 images
    assert (sums.images, sums.loss) == (7, 3.5)


@pytest.mark.parametrize(
    ("images", "size", "processes", "fits"),
    [
        (40, 8, 8, True),
        (40, 8, 9, False),
        (43, 8, 3, True),
        (43, 8, 4, False),
        (41, 8, 8, True),  # the single one joins the batch before it
        (5, 8, 5, True),
        (5, 8, 6, False),
        (9, 1, 1, True),
        (9, 1, 2, False),
    ],
)
def test_a_batch_with_nothing_for_a_process_is_refused(images, size, processes, fits):
    if fits:
        check_shares(images, size, processes)
        return
    with pytest.raises(BadValueError, match=f"{processes} processes cannot share a batch of"):
        check_shares(images, size, processes)


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    assert own_device("auto") == "auto"
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)

    assert [own_device(one) for one in ("auto", "cuda")] == ["cuda:1"] * 2
    assert [own_device(one) for one in ("cpu", "cuda:3")] == ["cpu", "cuda:3"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device("auto") == "auto"


def launched(folder, *arguments, **environment):
    """Run `holdfast train` as two processes; exit status and what they said."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--standalone", "-m", "holdfast", "train", *arguments]
    kept = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        command, cwd=folder, env=kept, capture_output=True, text=True, timeout=240, check=False
    )
    return done.returncode, done.stdout + done.stderr


def prepared(folder, **sections):
    """Write a recipe's file, and run it as one process."""
    write_files(folder)
    found = body(folder, **sections)
    (folder / "r.yaml").write_text(yaml.safe_dump(found))
    run(recipe_in(folder, **sections), folder / "one")


def close(folder, name="last.safetensors"):
    one, two = load_file(folder / "one" / name), load_file(folder / "two" / name)
    for key in one.keys() | two.keys():
        torch.testing.assert_close(one[key], two[key], atol=1e-5, rtol=1e-5)


HOWS = [
    {"train": {"objective": ROBUST, "batch_size": 7, "micro_batch": 2, "ema": 0.8}},
    {"train": {"objective": "trades(beta=1, attack=pgd(eps=0.02, steps=2))", "batch_size": 9}},
    {"augment": ["flip", "mixup(alpha=0.3)"], "train": {"batch_size": 7}},
]


@pytest.mark.slow
@pytest.mark.parametrize("how", HOWS, ids=str)
def test_two_processes_make_the_weights_of_one(tmp_path, how):
    prepared(tmp_path, **how)
    status, said = launched(tmp_path, "run", "r.yaml", "--out", "two", "--device", "cpu")

    assert status == 0, said
    close(tmp_path)
    close(tmp_path, "best.safetensors")
    one, two = read_curves(tmp_path / "one"), read_curves(tmp_path / "two")
    for name in ("epoch", "loss", "validation_accuracy", "validation_robust"):
        assert one[name].to_list() == pytest.approx(two[name].to_list(), abs=1e-5), name
    assert read_training(tmp_path / "two").machine["processes"] == 2
    for text in ("run: two", "images, 1", "page: ", "epoch 1;"):
        assert said.count(text) == 1, said
    assert "Warning" not in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_one_process_that_is_asked_to_stop_stops_all(tmp_path):
    prepared(tmp_path)
    status, said = launched(
        tmp_path, "run", "r.yaml", "--out", "two", "--device", "cpu", TEST_SIGNALS="SIGTERM@3#1"
    )
    told = read_training(tmp_path / "two")

    assert status != 0
    assert (told.status, told.reason, told.steps) == ("interrupted", "interrupted by SIGTERM", 3)
    again, said = launched(tmp_path, "resume", "two", "--device", "cpu")
    assert again == 0, said
    close(tmp_path)
    assert read_training(tmp_path / "two").resumed == 1
    assert {**left(tmp_path / "one")}["steps"] == left(tmp_path / "two")["steps"]


@pytest.mark.slow
def test_patience_ends_both(tmp_path):
    prepared(tmp_path, validate={"patience": 1}, train={"epochs": 9})
    assert read_training(tmp_path / "one").status == "stopped"
    status, said = launched(tmp_path, "run", "r.yaml", "--out", "two", "--device", "cpu")

    assert status == 0, said
    assert read_training(tmp_path / "two").epochs == read_training(tmp_path / "one").epochs
    close(tmp_path)
