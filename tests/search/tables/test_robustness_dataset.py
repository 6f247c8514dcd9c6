"""The robustness dataset's layout, on a folder of three cells."""

from __future__ import annotations

import json

import numpy as np
import pytest

from holdfast.core.errors import BadValueError, MissingError
from holdfast.search.spaces import space_of
from holdfast.search.tables import open_table
from holdfast.search.tables.formats.robustness_dataset import confusion_matrices

SPACE = space_of("nb201")
GRID = [0.1, 1.0, 8.0]
IDS = ("0", "1", "2")


def meta(ids=IDS, grid=GRID):
    entries = {uid: {"nb201-string": SPACE.from_id(int(uid)), "isomorph": uid} for uid in ids}
    return {"ids": entries, "epsilons": {"pgd@Linf": grid}}


def put(folder, key, measure, values, dataset="cifar10"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}_{measure}.json"
    path.write_text(json.dumps({dataset: {key: {measure: values}}}))
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps(meta()))
    put(tmp_path / "cifar10", "clean", "accuracy", dict(zip(IDS, (0.9, 0.8, 0.7), strict=True)))
    put(tmp_path / "cifar10", "pgd@Linf", "accuracy", {uid: [0.5, 0.25, 0.0] for uid in IDS})
    return tmp_path


def refused(path, kind=BadValueError):
    with pytest.raises(kind) as caught:
        open_table(f"robustness-dataset:{path}")
    return str(caught.value)


def test_a_root_and_a_folder_of_files_below_it_read_the_same(folder):
    root, below = open_table(str(folder)), open_table(str(folder / "cifar10"))
    assert root.frame.equals(below.frame)
    assert len(root.frame) == 3 + 9


def test_radii_become_conditions_in_255ths(folder):
    table = open_table(str(folder))
    found = [column.condition for column in table.matching("pgd")]
    assert found == [
        "pgd(norm=linf, eps=1/2550, steps=40)",
        "pgd(norm=linf, eps=1/255, steps=40)",
        "pgd(norm=linf, eps=8/255, steps=40)",
    ]
    value = table.value(table.pick("pgd(eps=1/255)"), SPACE.from_id(2))
    assert value == pytest.approx(0.25)


def test_severities_confidences_and_confusion_matrices_are_read(folder):
    put(folder / "cifar10", "fog", "accuracy", {uid: [0.9, 0.8, 0.7, 0.6, 0.5] for uid in IDS})
    put(folder / "cifar10", "clean", "confidence", dict.fromkeys(IDS, 0.75))
    counts = [[3, 1], [2, 2]]
    path = put(folder / "cifar10", "clean", "cm", dict.fromkeys(IDS, counts))
    table = open_table(str(folder))
    arch = SPACE.from_id(0)
    assert table.value(table.pick("fog(severity=4)"), arch) == pytest.approx(0.6)
    assert table.value(table.pick("clean", metric="confidence"), arch) == pytest.approx(0.75)
    assert table.value(table.pick("clean", metric="recall(class=0)"), arch) == pytest.approx(0.75)
    assert table.value(table.pick("clean", metric="recall(class=1)"), arch) == pytest.approx(0.5)
    assert np.array_equal(confusion_matrices(path)["1"], counts)


def test_recalls_under_an_attack_have_a_condition_a_radius(folder):
    matrices = [[[4, 0], [0, 4]], [[2, 2], [1, 3]], [[0, 4], [4, 0]]]
    put(folder / "cifar10", "pgd@Linf", "cm", dict.fromkeys(IDS, matrices))
    table = open_table(str(folder))
    column = table.pick("pgd(eps=1/255)", metric="recall(class=1)")
    assert table.value(column, SPACE.from_id(1)) == pytest.approx(0.75)


def test_nan_is_no_data_and_counted(folder):
    put(folder / "cifar10", "clean", "accuracy", {"0": 0.9, "1": float("nan"), "2": None})
    table = open_table(str(folder))
    assert table.no_data == 2
    assert list(table.values(table.pick("clean"))) == [SPACE.from_id(0)]


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("clean", {"0": 0.9, "1": 0.8}, "lacks 1 of 3 architectures (numbers 2)"),
        ("clean", {"0": 0.9, "1": 0.8, "2": 0.7, "99": 0.6}, "99, which"),
        ("pgd@Linf", {uid: [0.5, 0.2] for uid in IDS}, "has 2 values an architecture; expected 3"),
        ("pgd@Linf", dict.fromkeys(IDS, 0.5), "has 1 values an architecture"),
        ("pgd@Linf", {"0": [0.1] * 3, "1": [0.1] * 3, "2": [0.1]}, "unequal length"),
        ("clean", {"0": "high", "1": 0.8, "2": 0.7}, "no number"),
        ("clean", {"0": 90.1, "1": 80.0, "2": 70.0}, "expected a fraction"),
        ("clean", {uid: [0.5, 0.2] for uid in IDS}, "lists where numbers are expected"),
        ("mist", dict.fromkeys(IDS, 0.5), "neither clean, nor an attack"),
        ("fgsm@Linf", {uid: [0.5] for uid in IDS}, "has no epsilons of fgsm@Linf"),
    ],
)
def test_wrong_content_is_refused(folder, key, values, message):
    put(folder / "cifar10", key, "accuracy", values)
    assert message in refused(folder)


def test_a_file_that_ends_early_is_named(folder):
    path = folder / "cifar10" / "clean_accuracy.json"
    path.write_text(path.read_text()[:-6])
    assert "clean_accuracy.json ends in the middle" in refused(folder)


def test_a_web_page_under_the_name_of_data_is_told_from_json(folder):
    (folder / "cifar10" / "clean_accuracy.json").write_text("<!DOCTYPE html><html>sign in</html>")
    assert "is a web page, not data" in refused(folder)


def test_an_unknown_cell_in_the_list_of_ids_is_refused(folder):
    wrong = meta()
    wrong["ids"]["1"]["nb201-string"] = "|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    (folder / "meta.json").write_text(json.dumps(wrong))
    assert "is no architecture of nb201" in refused(folder)


def test_a_folder_without_list_or_files_says_what_is_missing(folder, tmp_path):
    (folder / "meta.json").unlink()
    assert "there is no meta.json" in refused(folder / "cifar10", MissingError)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has no files" in refused(empty)
    assert "is an empty folder" in _refused_path(empty)


def _refused_path(path):
    with pytest.raises(BadValueError) as caught:
        open_table(str(path))
    return str(caught.value)
