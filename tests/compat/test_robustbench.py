import enum
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import holdfast
from helpers import Textured, pictures
from holdfast.compat import benchmark
from holdfast.compat.robustbench import EPS, Part, Prepared, _pixels, _write_info
from holdfast.core.errors import HoldfastError
from holdfast.records import Store
from holdfast.records.robustbench import read_model_info

COUNT = 30
PICTURES = pictures(COUNT)
PIXELS = torch.from_numpy(PICTURES).permute(0, 3, 1, 2).float() / 255
LABELS = Textured()(PIXELS).argmax(1).numpy()
LABELS[:3] = (LABELS[:3] + 1) % 5

# As published in RobustBench's README, but for the import.
SCRIPT = """
from robustbench.eval import benchmark
clean_acc, robust_acc = benchmark(model, dataset='cifar10', threat_model='Linf', eps=16/255,
                                  n_examples=20, data_dir=data_dir)
"""


class Normalizes(nn.Module):
    """Carries its constants as attributes, and uses them itself."""

    def __init__(self):
        super().__init__()
        self.net = Textured()
        self.mean, self.std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

    def forward(self, images):
        return self.net(images)


class Counting(Textured):
    """Counts its images."""

    def __init__(self):
        super().__init__()
        self.rows = 0

    def forward(self, images):
        self.rows += len(images)
        return super().forward(images)


class Threat(enum.Enum):
    Linf = "Linf"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Current folder with the pictures as `data/cifar10.npz`."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    np.savez("data/cifar10.npz", x=PICTURES, y=LABELS)
    return tmp_path / "data"


def test_the_script_runs(folder):
    scope = {"model": Textured(), "data_dir": str(folder)}
    exec(SCRIPT.replace("robustbench.eval", "holdfast.compat"), scope)  # noqa: S102

    assert (17 / 20, 0.0) == (scope["clean_acc"], scope["robust_acc"])


def test_the_first_images_are_measured(folder):
    clean, _ = benchmark(Textured(), n_examples=3, eps=16 / 255, data_dir=folder)

    assert 0.0 == clean


@pytest.mark.slow  # some samples stand and get the whole budget
def test_the_robust_accuracy_is_that_of_measure(folder):
    found = benchmark(Textured(), n_examples=6, threat_model="L2", eps=0.02, data_dir=folder)
    results = holdfast.measure(
        Textured(),
        (PIXELS[:6], torch.from_numpy(LABELS[:6])),
        "autoattack(norm=l2, eps=0.02)",
        batch_size=32,
    )

    assert results.value("accuracy", results.measurements["condition"][-1]) == found[1]
    assert 0 < found[1] < 1


def test_the_same_call_again_measures_nothing(folder):
    # Each call looks at the model first; only the first one measures.
    models = [Counting(), Counting()]
    found = [benchmark(m, n_examples=8, eps=16 / 255, data_dir=folder) for m in models]

    assert found[0] == found[1]
    assert 8 < models[0].rows - models[1].rows


def test_runs_are_kept_beside_the_data_or_where_the_state_is_wanted(folder, tmp_path):
    benchmark(Textured(), n_examples=4, eps=16 / 255, data_dir=folder)
    benchmark(Textured(), n_examples=4, eps=0.1, data_dir=folder, aa_state_path=tmp_path / "aa")

    beside = Store.existing(folder / "holdfast-store").measurements()
    wanted = Store.existing(tmp_path / "aa").measurements()
    assert {16 / 255} == set(beside["eps"].drop_nulls())
    assert {0.1} == set(wanted["eps"].drop_nulls())


def test_the_radius_of_the_leaderboard_is_the_default(folder):
    benchmark(Textured(), n_examples=4, data_dir=folder)
    stored = Store.existing(folder / "holdfast-store").measurements()

    assert "autoattack(norm=linf, eps=8/255, version=standard)" in set(stored["condition"])


def test_the_radii_are_those_published():
    assert (8 / 255, 0.5) == (EPS["cifar10", "Linf"], EPS["cifar10", "L2"])
    assert (8 / 255, 4 / 255) == (EPS["cifar100", "Linf"], EPS["imagenet", "Linf"])


def test_a_model_that_carries_its_constants_normalizes_only_once(folder):
    plain = benchmark(Textured(), n_examples=20, eps=16 / 255, data_dir=folder)

    assert plain == benchmark(Normalizes().eval(), n_examples=20, eps=16 / 255, data_dir=folder)


def test_a_module_is_given_back_in_its_mode(folder, caplog):
    model = Textured().train()
    benchmark(model, n_examples=4, eps=16 / 255, data_dir=folder)

    assert all(module.training for module in model.modules())
    assert "train_mode: " in caplog.text


def test_a_model_in_evaluation_mode_is_not_warned_of(folder, caplog):
    benchmark(Textured(), n_examples=4, eps=16 / 255, data_dir=folder)

    assert "train_mode" not in caplog.text


def test_enumerations_are_taken(folder):
    plain = benchmark(Textured(), n_examples=4, eps=16 / 255, data_dir=folder)

    assert plain == benchmark(
        Textured(), n_examples=4, threat_model=Threat.Linf, eps=16 / 255, data_dir=folder
    )


def test_the_data_may_be_a_file(folder):
    plain = benchmark(Textured(), n_examples=4, eps=16 / 255, data_dir=folder)
    file = benchmark(Textured(), n_examples=4, eps=16 / 255, data_dir=folder / "cifar10.npz")

    assert plain == file


@pytest.mark.slow
def test_corruptions_give_the_mean_of_the_fifteen_at_five_severities(folder):
    clean, under = benchmark(
        Textured(),
        n_examples=10,
        threat_model="corruptions",
        data_dir=folder,
        to_disk=True,
        model_name="Mine",
    )
    rows = Store.existing(folder / "holdfast-store").measurements().filter(metric="accuracy")
    found = rows.filter(rows["condition"] != "clean")["value"]

    assert 0.7 == clean
    assert 75 == len(found)
    assert pytest.approx(found.mean(), abs=1e-12) == under
    info = dict(read_model_info("model_info").select("metric", "value").iter_rows())
    assert {"clean_accuracy": 0.7, "corruption_accuracy": round(under, 4)} == info


def test_a_summary_is_logged_and_written(folder, caplog, tmp_path):
    with caplog.at_level(logging.INFO):
        benchmark(
            Textured(), n_examples=20, eps=16 / 255, data_dir=folder, log_path=tmp_path / "log"
        )

    assert "Clean accuracy: 85.00%\nAdversarial accuracy: 0.00%" in (tmp_path / "log").read_text()
    assert "Adversarial accuracy: 0.00%" in caplog.text


def test_results_can_be_kept_as_robustbench_keeps_them(folder):
    benchmark(
        Textured(), n_examples=20, eps=16 / 255, data_dir=folder, to_disk=True, model_name="Mine"
    )
    info = json.loads(Path("model_info/cifar10/Linf/Mine.json").read_text())

    assert ("cifar10", "16/255") == (info["dataset"], info["eps"])
    assert ("85.00", "0.00") == (info["clean_acc"], info["autoattack_acc"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dataset": "cifar11"}, "did you mean cifar10"),
        ({"threat_model": "linff"}, "did you mean Linf"),
        ({"threat_model": "corruptions_3d"}, "did you mean corruptions"),
        ({"dataset": "cifar100", "threat_model": "L2"}, "no published eps"),
        ({"threat_model": "corruptions", "eps": 0.1}, "leave eps out"),
        ({"to_disk": True}, "give model_name"),
        ({"n_examples": 0}, "at least 1"),
        ({"eps": 8}, "did you mean 8/255"),
        ({"model": [Textured(), Textured()]}, "one model, got several"),
        ({"preprocessing": "Crop300"}, "did you mean Crop288"),
        ({"model": lambda images: Textured()(images).softmax(1)}, "probabilities"),
    ],
)
def test_wrong_arguments_are_told(folder, options, words):
    with pytest.raises(HoldfastError, match=words):
        benchmark(**{"model": Textured(), "data_dir": folder, **options})


def test_pictures_of_imagenet_need_a_preprocessing(tmp_path):
    with pytest.raises(HoldfastError, match="give preprocessing, one of Res256Crop224"):
        benchmark(Textured(), dataset="imagenet", data_dir=tmp_path)


def images_of(folder):
    return holdfast.load_data(f"npz:{folder / 'cifar10.npz'}", split="test")


def test_a_part_of_a_set_counts_its_images_from_zero(folder):
    part = Part(images_of(folder), (2, 5, 9))
    found = list(part.read([1, 2]))

    assert [1, 2] == [sample.id for sample in found]
    assert [True, True] == [
        bool((sample.image == PICTURES[place]).all())
        for sample, place in zip(found, (5, 9), strict=True)
    ]


def test_other_parts_of_a_set_have_other_fingerprints(folder):
    whole = images_of(folder)
    marks = {Part(whole, chosen).fingerprint() for chosen in [(0,), (1,), (0, 1)]}

    assert 3 == len(marks)
    assert whole.fingerprint() == Part(whole, tuple(range(COUNT))).fingerprint()


def test_a_preprocessing_acts_on_each_picture(folder):
    turned = Prepared(images_of(folder), lambda picture: picture.rotate(180))
    sample = next(iter(turned.read([4])))

    assert bool((sample.image == PICTURES[4][::-1, ::-1]).all())
    assert images_of(folder).fingerprint() != turned.fingerprint()


def test_a_preprocessing_may_give_a_tensor():
    assert bool((_pixels(PIXELS[0]) == PICTURES[0]).all())


def test_normalization_in_a_preprocessing_is_refused():
    with pytest.raises(HoldfastError, match="belongs into the model"):
        _pixels(PIXELS[0] * 4 - 2)


@pytest.mark.parametrize("options", [{"eps": 8}, {"n_examples": 0}, {"n_examples": "all"}])
def test_wrong_numbers_are_told_before_data_is_looked_for(tmp_path, monkeypatch, options):
    opened = []
    monkeypatch.setattr(
        "holdfast.compat.robustbench.open_dataset", lambda *a, **k: opened.append(a)
    )

    with pytest.raises(HoldfastError, match=r"eps|n_examples"):
        benchmark(Textured(), data_dir=tmp_path, **options)
    assert [] == opened


def test_clean_and_corrupted_accuracy_keep_their_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write_info("cifar10", "corruptions", "M", None, (0.9, 0.4))
    written = json.loads(Path("model_info/cifar10/corruptions/M.json").read_text())

    assert ("90.00", "40.00") == (written["clean_acc"], written["corruptions_acc"])
