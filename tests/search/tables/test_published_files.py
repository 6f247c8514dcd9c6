"""Readers on the real files: the values that the papers and their authors give."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from holdfast.search.analysis import scores
from holdfast.search.tables import open_table
from holdfast.search.tables.formats.joined import MEANINGS, RELEASED
from holdfast.search.tables.formats.robustness_dataset import confusion_matrices

pytestmark = pytest.mark.shared
JOINED, FOLDER = "nas/nb201_cifar10.csv.gz", "nas/robustness-dataset-cifar10"
ADVERSARIAL = {"training": "adversarial"}


@pytest.fixture(scope="module")
def joined(shared):
    return open_table(str(shared / "data" / JOINED))


@pytest.fixture(scope="module")
def attacked(shared):
    return open_table(str(shared / "data" / FOLDER))


def test_joined_file_keeps_every_cell_where_each_was_trained_and_one_a_class_elsewhere(joined):
    counts = {str(column): len(joined.values(column)) for column in joined.columns}
    each = str(joined.pick("clean", training="plain"))
    assert len(counts) == len(MEANINGS)
    assert {name for name, count in counts.items() if count == 15_625} == {each}
    assert {count for name, count in counts.items() if name != each} == {6_466}
    assert joined.no_data == 0


@pytest.mark.parametrize(
    ("condition", "value", "number"),
    [  # Wu et al. 2024
        ("clean", 0.7956, 9930),
        ("fgsm(eps=3/255)", 0.6973, 13714),
        ("pgd(eps=3/255)", 0.6924, 9930),
        ("fgsm(eps=8/255)", 0.5351, 2581),
        ("pgd(eps=8/255)", 0.4811, 2581),
        ("autoattack", 0.4438, 9930),
    ],
)
def test_best_adversarially_trained_networks_are_the_published_ones(
    joined, condition, value, number
):
    found = joined.values(joined.pick(condition, **ADVERSARIAL))
    best = max(found, key=found.__getitem__)
    assert joined.space.id_of(best) == number
    assert found[best] == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize(
    ("condition", "mean"),
    [
        ("clean", 0.678), ("fgsm(eps=3/255)", 0.588), ("pgd(eps=3/255)", 0.585),
        ("fgsm(eps=8/255)", 0.441), ("pgd(eps=8/255)", 0.408), ("autoattack", 0.367),
    ],
)  # fmt: skip
def test_means_of_adversarially_trained_networks_are_the_published_ones(joined, condition, mean):
    found = joined.values(joined.pick(condition, **ADVERSARIAL))
    assert np.mean(list(found.values())) == pytest.approx(mean, abs=5e-4)


def test_best_plainly_trained_cells_are_two_of_all_of_them(joined):
    column = joined.pick("clean", training="plain", epochs=200)
    found = joined.values(column)
    most = max(found.values())
    top = [arch for arch, value in found.items() if value == most]
    assert sorted(map(joined.space.id_of, top)) == [6111, 13714]
    assert joined.value(column, top[0]) == pytest.approx(0.94373, abs=1e-5)


def test_members_of_a_class_keep_accuracies_of_their_own(joined):
    column, space = joined.pick("clean", training="plain"), joined.space
    apart = sum(
        joined.value(column, arch) != joined.value(column, space.canonical(arch))
        for arch in joined.values(column)
    )
    assert apart > 1_000


def test_a_cell_that_was_not_measured_has_the_value_of_its_class(joined):
    column, space = joined.pick("pgd(eps=8/255)"), joined.space
    other = next(arch for arch in space.everything() if space.canonical(arch) != arch)
    assert joined.value(column, other) == joined.values(column)[space.canonical(other)]


def test_architecture_13433_has_the_values_of_the_authors_example(attacked):
    arch = attacked.space.from_id(13433)
    assert attacked.value(attacked.pick("clean"), arch) == pytest.approx(0.893)
    assert attacked.value(attacked.pick("pgd(eps=1/255)"), arch) == pytest.approx(0.336)


def test_the_folder_has_all_its_conditions_and_classes(attacked):
    accuracies = [column for column in attacked.columns if column.metric == "accuracy"]
    assert len(accuracies) == 1 + 11 + 3 * 7 + 15 * 5
    assert {len(attacked.values(column)) for column in accuracies} == {6_466}
    assert attacked.pick("fgsm(eps=255/255)").condition == "fgsm(norm=linf, eps=1/1)"


@pytest.mark.parametrize(
    ("inside", "condition", "optimum"),
    [
        (RELEASED, "clean", 0.946), ("fgsm(eps=1/255)", "fgsm(eps=1/255)", 0.692),
        ("pgd(eps=1/255)", "pgd(eps=1/255)", 0.588), ("apgd_ce", "apgd_ce(eps=1/255)", 0.540),
        ("square", "square(eps=1/255)", 0.736),
    ],
)  # fmt: skip
def test_joined_file_and_folder_agree_and_have_the_optimum_of_the_talk(
    joined, attacked, inside, condition, optimum
):
    ours = joined.values(joined.pick(inside, training="plain"))
    theirs = attacked.values(attacked.pick(condition))
    assert ours == theirs
    assert max(theirs.values()) == pytest.approx(optimum, abs=5e-4)


def test_mean_corruption_of_the_joined_file_is_the_mean_of_the_folders_75(joined, attacked):
    found = scores(attacked, attacked.matching("corruptions"))
    ours = joined.values(joined.pick("mean_corruption"))
    means = found.values.mean(axis=1)
    assert found.values.shape == (6_466, 75)
    # The joined file is rounded to three decimals.
    assert np.abs(means - [ours[arch] for arch in found.archs]).max() < 6e-4
    assert means.max() == pytest.approx(0.5855, abs=5e-5)


def test_recalls_average_to_the_accuracy_and_matrices_have_a_thousand_images_a_class(
    attacked, shared
):
    recalls = [attacked.pick("clean", metric=f"recall(class={k})") for k in range(10)]
    found = scores(attacked, recalls)
    clean = attacked.values(attacked.pick("clean"))
    assert np.abs(found.values.mean(axis=1) - [clean[arch] for arch in found.archs]).max() < 6e-4
    matrices = confusion_matrices(shared / "data" / FOLDER / "clean_cm.json")
    assert {int(total) for matrix in matrices.values() for total in matrix.sum(1)} == {1000}


def test_columns_are_one_type_each(attacked):
    assert attacked.frame.schema["arch"] == pl.Categorical
    assert attacked.frame.schema["value"] == pl.Float32
