"""What cannot be trained on, with or in, and what those who try are told; nothing is lost."""

import json
import shutil

import numpy as np
import pytest
import torch

from holdfast.core.errors import BadValueError, ChangedInputError, StoreError
from holdfast.models import Classifier, Preprocessing
from holdfast.models.classifier import Card
from holdfast.records.trainings import read_training
from holdfast.training import run as module
from holdfast.training import validation
from holdfast.training.checkpoint import read_tensors, save_tensors
from holdfast.training.tuning import load_space
from holdfast.training.validation import Examined
from training.run_toys import ROBUST, after, recipe_in, run, write_files

NETS = """
import torch
from torch import nn


def sized(net):
    net.input_size = 8
    return net


class Net(nn.Module):
    input_size = 8

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(192, 2)

    def forward(self, images):
        return self.last(images.flatten(1))


class InPlace(Net):
    def forward(self, images):
        return super().forward(images.mul_(2))


class Detached(Net):
    def forward(self, images):
        return super().forward(images).detach()


class Weightless(nn.Module):
    input_size = 8

    def forward(self, images):
        return images.flatten(1)[:, :2]


class Headless(Weightless):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, images):
        return super().forward(images) * self.scale


class OnlyNorm(Weightless):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        return super().forward(self.norm(images))


def norms():
    return sized(nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))
"""


@pytest.fixture
def here(tmp_path):
    write_files(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def odd(here, name, **sections):
    return recipe_in(here, model={"name": f"{here / 'nets.py'}:{name}"}, **sections)


def refused(recipe, folder, kind=BadValueError):
    with pytest.raises(kind) as found:
        run(recipe, folder)
    return str(found.value)


def interrupted(here, steps=6, **sections):
    recipe = recipe_in(here, **sections)
    run(recipe, here / "run", stopping=after(steps))
    return recipe


FROZEN = {"protocol": {"freeze_bn": True}}
LATER = {
    "protocol": {"kind": "lp_ft", "probe_epochs": 1},
    "train": {"epochs": 2, "batch_size": 1},
}
NETWORKS = [
    ("InPlace", {}, "changes the images it is given in place, and they are used again; let its"),
    ("Detached", {}, "carries no gradients, so nothing could learn"),
    ("Weightless", {}, "no weights that could learn; give one that has"),
    ("OnlyNorm", FROZEN, "no weights that could learn.*freeze_bn=false"),
    ("Headless", {"protocol": {"kind": "linear_probe"}}, "no last layer.*; take protocol.kind=ful"),
    ("norms", LATER, "no statistics of a single image"),
]


@pytest.mark.parametrize(("name", "sections", "message"), NETWORKS)
def test_a_network_that_cannot_learn_is_refused(here, name, sections, message):
    with pytest.raises(BadValueError, match=message):
        run(odd(here, name, **sections), here / "run")


def test_batches_that_a_later_phase_refuses_are_refused_before_the_first(here):
    refused(odd(here, "norms", **LATER), here / "run")

    assert not (here / "run").exists()


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_network_is_refused(here):
    (here / "nets.py").write_text(
        f"{NETS}\n\ndef compiled():\n    return torch.jit.script(Net())\n"
    )

    assert "compiled by torch.jit" in refused(odd(here, "compiled"), here / "run")


def test_one_class_is_no_classification(here):
    np.savez(here / "a.npz", x=np.zeros((9, 8, 8, 3), np.uint8), y=np.zeros(9, int))

    assert "has one class, '0', and a classifier tells two" in refused(recipe_in(here), here / "r")


NUMBERS = [
    ({"train": {"batch_size": 10**20}}, "train.batch_size: expected 2.14748e.09 or less"),
    ({"optimizer": {"lr": 1e300}}, "optimizer.lr: expected 1e.30 or less"),
    ({"optimizer": {"weight_decay": 1e300}}, "optimizer.weight_decay: expected 1e.30 or less"),
    ({"data": {"size": 10**20}}, "data.size: expected at most 16384 pixels a side, got 1000"),
    ({"augment": ["mixup(alpha=1e-300)"]}, "mixup alpha must be from 0.001 to"),
]


@pytest.mark.parametrize(("sections", "message"), NUMBERS)
def test_numbers_that_no_machine_computes_with_are_refused(here, sections, message):
    with pytest.raises(BadValueError, match=message):
        recipe_in(here, **sections)


@pytest.mark.parametrize("gamma", [1e29, 1e30])
def test_a_rate_that_grows_beyond_all_numbers_ends_the_run(here, gamma):
    places = [0.01 * place for place in range(1, 20)]
    schedule = {"kind": "step", "milestones": places, "gamma": gamma}

    assert "the learning rate has grown to" in refused(
        recipe_in(here, schedule=schedule), here / "run"
    )


def test_patience_without_a_score_is_refused(here):
    recipe = recipe_in(here, data={"validation": None}, validate={"patience": 2})

    assert "validate.patience=2 waits for a better score" in refused(recipe, here / "run")


def test_what_is_other_than_asked_for_is_told(here):
    told = run(recipe_in(here, data={"n": 1000, "validation": "test"}), here / "run")[-1].training

    assert "data.n=1,000 is more than" in " ".join(told.notes)
    assert "data.validation=test of" in " ".join(told.notes)
    assert "are those that are trained on" in " ".join(told.notes)


def test_other_images_of_the_same_number_are_no_concern(here):
    (here / "other").mkdir()
    write_files(here / "other", seed=3)
    data = {"validation": "test", "validation_name": f"npz:{here / 'other' / 'a.npz'}"}

    told = " ".join(run(recipe_in(here, data=data), here / "run")[-1].training.notes)
    assert "are those that are trained on" not in told


def test_no_more_processes_read_than_there_are_batches(here, monkeypatch):
    asked = []
    loader = torch.utils.data.DataLoader

    def counting(*args, num_workers, **kwargs):
        asked.append(num_workers)
        return loader(*args, num_workers=0, **{**kwargs, "multiprocessing_context": None})

    monkeypatch.setattr("holdfast.training.batches.DataLoader", counting)
    run(recipe_in(here, train={"epochs": 1}), here / "run", workers=1000)

    assert asked == [4]


def full(most, message="DefaultCPUAllocator: can't allocate memory"):
    """A network for which memory is full beyond so many images."""

    class Net(torch.nn.Linear):
        def forward(self, images):
            if len(images) > most:
                raise RuntimeError(message)
            return super().forward(images.flatten(1))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        card = Card(name="full", preprocessing=Preprocessing(input_size=(8, 8)), identity="full")
        return Classifier(Net(192, 2), card)


def examined(count=20):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((count, 3, 8, 8), dtype=np.float32))
    return Examined(images, torch.arange(count) % 2, torch.arange(count))


def test_validation_takes_fewer_images_at_once_where_memory_is_full():
    wanted = examined().accuracy(full(100), None)

    assert examined().accuracy(full(3), None) == wanted
    assert wanted.count == 20 and 0 < wanted.clean < 1


def test_validation_gives_up_where_not_one_image_fits_or_memory_is_not_the_matter():
    with pytest.raises(RuntimeError, match="allocate"):
        examined().accuracy(full(0), None)
    with pytest.raises(RuntimeError, match="another"):
        examined().accuracy(full(3, "another"), None)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory.")], ids=str)
def test_memory_that_is_full_elsewhere_is_said_to_be(here, monkeypatch, error):
    def accuracy(*_):
        raise error

    monkeypatch.setattr(validation.Examined, "accuracy", accuracy)

    assert "memory does not hold the network with its images; take" in refused(
        recipe_in(here), here / "run"
    )


def test_two_processes_do_not_train_in_one_folder(here):
    recipe = recipe_in(here)
    first = module.train(recipe, here / "run")
    next(first)

    assert "another process trains in" in refused(recipe, here / "run")
    last = list(first)[-1].training
    assert last.status == "finished"
    assert not (here / "run" / ".lock").exists()
    assert run(recipe, here / "run")[-1].training.status == "finished"


def test_a_run_that_another_process_ended_meanwhile_is_not_begun_again(here, monkeypatch):
    recipe, prepare = recipe_in(here), module.prepare

    def slow(*args, **options):
        monkeypatch.setattr(module, "prepare", prepare)
        run(recipe, here / "run")
        return prepare(*args, **options)

    monkeypatch.setattr(module, "prepare", slow)
    said = refused(recipe, here / "run", ChangedInputError)

    assert "another process has trained in" in said
    assert (here / "run" / "best.safetensors").exists()


def test_a_folder_under_a_file_is_refused(here):
    (here / "file").write_text("mine")

    said = refused(recipe_in(here), here / "file" / "run", StoreError)
    assert "cannot write in" in said and "choose another folder" in said
    assert (here / "file").read_text() == "mine"


def test_best_weights_that_are_gone_are_chosen_anew(here):
    recipe = interrupted(here)
    folder = here / "run"
    assert read_training(folder).best_epoch == 1
    (folder / "best.safetensors").unlink()

    told = run(recipe, folder)[-1].training
    assert told.best_epoch in (2, 3)
    assert "best.safetensors is gone" in " ".join(told.notes)
    assert json.loads((folder / "model.json").read_text())["weights"] == "best.safetensors"
    assert (folder / "best.safetensors").exists()


def test_that_a_run_begins_again_is_told(here):
    recipe = interrupted(here)
    (here / "run" / "checkpoint.safetensors").unlink()

    texts = [getattr(event, "text", "") for event in run(recipe, here / "run")]
    assert any("no checkpoint.safetensors in" in text for text in texts)


def of_another(folder, tensors, numbers):
    return tensors, {**numbers, "recipe": "0" * 64}


def beyond(folder, tensors, numbers):
    return tensors, {**numbers, "step": 10**6}


def without_sums(folder, tensors, numbers):
    del numbers["sums"]
    return tensors, numbers


def cut(folder, tensors, numbers):
    return {key: one.flatten()[:1] for key, one in tensors.items()}, numbers


@pytest.mark.parametrize("harm", [of_another, beyond, without_sums, cut])
def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_is_lost(here, harm):
    recipe = interrupted(here)
    path = here / "run" / "checkpoint.safetensors"
    save_tensors(path, *harm(path, *read_tensors(path)))
    before = {one.name: one.read_bytes() for one in (here / "run").iterdir()}

    said = refused(recipe, here / "run")
    assert "checkpoint.safetensors is not a checkpoint of this run" in said
    assert "delete it to begin again" in said
    assert before == {one.name: one.read_bytes() for one in (here / "run").iterdir()}


def test_the_checkpoint_of_another_recipe_is_refused(here):
    interrupted(here, optimizer={"kind": "adam"})
    (here / "run").rename(here / "other")
    recipe = interrupted(here)
    shutil.copy(here / "other" / "checkpoint.safetensors", here / "run")

    assert "it is of another recipe" in refused(recipe, here / "run")


def test_a_recipe_that_is_no_text_is_refused(here):
    interrupted(here)
    (here / "run" / "recipe.yaml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(BadValueError, match=r"recipe.yaml is no text in UTF-8"):
        list(module.resume(here / "run"))


SPACES = [
    (b"\xff\xfe", "is no space"),
    (b"train.epochs: {int: [1, 99999999999999999999]}", "int takes whole numbers up to"),
]


@pytest.mark.parametrize(("text", "message"), SPACES)
def test_a_space_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "space.yaml"
    path.write_bytes(text)

    with pytest.raises(BadValueError, match=message):
        load_space(path)


def test_a_damaged_line_of_the_curves_is_to_be_taken_away(here):
    recipe = interrupted(here, train={"objective": ROBUST})
    (here / "run" / "curves.jsonl").write_text("garbage\n")

    assert "take line 1 of" in refused(recipe, here / "run")
