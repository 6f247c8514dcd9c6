"""`FILE.py:FUNCTION`: a person's own file, run as it is."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path, PureWindowsPath

import pytest
import torch

from holdfast.core.errors import BadValueError, MissingError, UnknownNameError
from holdfast.models import load_model
from holdfast.models.file_source import split_file_spec

SOURCE = """
from dataclasses import dataclass
import torch
from torch import nn
from holdfast.models import Card, Classifier, Preprocessing, load_model

@dataclass
class Settings:
    classes: int = 3

def build(classes=3):
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))
    net.mean, net.std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    return net

def evaluated():
    return build().eval()

def classifier():
    return load_model(build())

def function():
    return lambda images: images.mean((2, 3))

def no_model():
    return 3

def a_class():
    return nn.Linear

def raises():
    raise KeyError("no weights here")

def needs(path, width=3):
    return build()

def probabilities():
    return nn.Sequential(build(), nn.Softmax(1))

constant = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("net.py:build", ("net.py", "build")),
        ("net.py", ("net.py", "")),
        ("a/b:c/net.py:build", ("a/b:c/net.py", "build")),
        ("C:\\nets\\net.py:build", ("C:\\nets\\net.py", "build")),
        ("C:\\nets\\net.py", ("C:\\nets\\net.py", "")),
    ],
)
def test_the_function_follows_the_last_colon_after_the_file(text, expected):
    assert (Path(expected[0]), expected[1]) == split_file_spec(text)


@pytest.mark.parametrize("text", ["timm:resnet50", "net.pth", str(PureWindowsPath("C:/a.pth"))])
def test_what_is_no_python_file_is_left_to_others(text):
    assert split_file_spec(text) is None


def test_a_function_gives_a_model(file):
    assert 3 == load_model(f"{file}:build").classes


def test_the_preprocessing_is_what_the_module_declares(file):
    assert (0.25, 0.25, 0.25) == load_model(f"{file}:build").preprocessing.std


def test_a_function_may_give_a_callable(file):
    images = torch.rand(2, 3, 4, 4)

    torch.testing.assert_close(images.mean((2, 3)), load_model(f"{file}:function")(images))


def test_a_function_may_give_a_classifier(file):
    assert (0.5, 0.5, 0.5) == load_model(f"{file}:classifier").preprocessing.mean


def test_a_module_in_train_mode_is_flagged(file):
    assert {"train_mode"} == load_model(f"{file}:build").flags


def test_a_classifier_keeps_its_flags(file):
    assert {"train_mode"} == load_model(f"{file}:classifier").flags


def test_a_module_in_evaluation_mode_is_not_flagged(file):
    assert frozenset() == load_model(f"{file}:evaluated").flags


def test_a_module_whose_weights_come_from_a_file_is_not_flagged(file, tmp_path):
    torch.save(load_model(f"{file}:build").net.state_dict(), tmp_path / "a.pth")

    assert frozenset() == load_model(f"{file}:build", weights=tmp_path / "a.pth").flags


def test_weights_are_loaded_into_what_the_function_gives(file, tmp_path):
    state = {"2.weight": torch.ones(3, 3), "2.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "a.pth")
    classifier = load_model(f"{file}:build", weights=tmp_path / "a.pth")

    assert bool((classifier.net[2].weight == 1).all())


def test_the_number_of_classes_is_passed_on(file):
    assert 7 == load_model(f"{file}:build", classes=7).classes


def test_fresh_weights_repeat(file):
    assert load_model(f"{file}:build").digest == load_model(f"{file}:build").digest


def test_the_source_digest_is_that_of_the_file(file):
    expected = hashlib.sha256(SOURCE.encode()).hexdigest()

    assert expected == load_model(f"{file}:build").source_digest


def test_the_identity_does_not_name_the_folder(file):
    assert str(file.parent) not in load_model(f"{file}:build").identity


def test_an_edited_file_is_read_again(file, monkeypatch):
    """Same second, same length: a cache of byte code would give the old classes."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    os.utime(file, (1e9, 1e9))
    load_model(f"{file}:build")
    file.write_text(SOURCE.replace("def build(classes=3)", "def build(classes=4)"))
    os.utime(file, (1e9, 1e9))

    assert 4 == load_model(f"{file}:build").classes


def test_a_file_may_import_its_neighbors(file):
    (file.parent / "neighbor_of_net.py").write_text("CLASSES = 5\n")
    file.write_text(SOURCE.replace("import torch\n", "import torch, neighbor_of_net as n\n", 1))
    file.write_text(file.read_text().replace("classes=3)", "classes=n.CLASSES)"))

    assert 5 == load_model(f"{file}:build").classes


def test_the_import_path_is_put_back(file):
    before = list(sys.path)
    load_model(f"{file}:build")

    assert before == sys.path


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("no_model", "no_model returns an object of type int; expected a torch module"),
        ("a_class", "a_class returns the class Linear; expected a torch module"),
        ("raises", "raises fails when it is called: KeyError: 'no weights here'"),
        ("needs", "needs path, but a model's function is called without arguments"),
        (
            "constant",
            "constant is an object of type int; expected a function that",
        ),
        ("probabilities", "probabilities returns probabilities: .*before softmax"),
    ],
)
def test_a_function_that_gives_no_model_is_refused(file, function, message):
    with pytest.raises(BadValueError, match=message):
        load_model(f"{file}:{function}")


def test_a_file_without_a_function_lists_them(file):
    with pytest.raises(BadValueError, match=r"write .*net.py:FUNCTION; it has Settings, build, ev"):
        load_model(str(file))


def test_a_function_that_is_not_there_gets_near_ones(file):
    with pytest.raises(UnknownNameError, match=r"no function in .* named 'biuld'; did you mean"):
        load_model(f"{file}:biuld")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"no file .*gone.py to take the model .*gone.py:build"):
        load_model(f"{tmp_path / 'gone.py'}:build")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def build(:", "fails when it is run: SyntaxError"),
        ("import no_such_package", "fails when it is run: ModuleNotFoundError: No module named"),
        ("1 / 0", "fails when it is run: ZeroDivisionError"),
    ],
)
def test_a_file_that_cannot_be_run_says_why(file, source, message):
    file.write_text(source)

    with pytest.raises(BadValueError, match=message):
        load_model(f"{file}:build")


def test_weights_for_a_callable_are_refused(file, tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pth")

    with pytest.raises(BadValueError, match="an object of type function, into which no weights"):
        load_model(f"{file}:function", weights=tmp_path / "a.pth")


def test_a_files_network_takes_a_backbone_and_draws_its_head(file, tmp_path):
    path = tmp_path / "deep.py"
    path.write_text(
        "from torch import nn\n\n"
        "def build(num_classes=3):\n"
        "    layers = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "    return nn.Sequential(*layers, nn.Linear(4, num_classes))\n"
    )
    source = load_model(f"{path}:build", init_seed=3)
    torch.save(source.net.state_dict(), tmp_path / "a.pth")
    one, other = (
        load_model(
            f"{path}:build",
            weights=tmp_path / "a.pth",
            weights_part="backbone",
            classes=5,
            init_seed=seed,
        )
        for seed in (0, 1)
    )

    assert (5, ("3.weight", "3.bias")) == (one.classes, one.fresh_keys)
    assert torch.equal(source.net[0].weight, one.net[0].weight)
    assert torch.equal(one.net[0].weight, other.net[0].weight)
    assert not torch.equal(one.net[3].weight, other.net[3].weight)


def test_a_file_has_no_pretrained_weights_to_leave_out(file):
    one, other = (load_model(f"{file}:evaluated", pretrained=p) for p in (True, False))

    assert one.digest == other.digest
    assert frozenset() == other.flags
