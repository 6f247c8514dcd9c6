from __future__ import annotations

import pytest

from holdfast.core.errors import BadValueError, HoldfastError, MissingError, UnknownNameError
from holdfast.training.tuning import SPACES, load_space, space_of
from training.tuning.toys import recipe

FILE = """
optimizer.lr: {log: [1e-6, 1.0e-1]}
schedule.kind: {choice: [cosine, constant]}
train.beta: {uniform: [1, 6]}
train.batch_size: {int: [32, 256], log: true}
optimizer.nesterov: {choice: [true, false]}
augment: {choice: [[flip], [flip, crop(padding=4)]]}
"""


def trades(**train):
    return recipe(train={"objective": "trades", "beta": 6, **train})


def test_a_file_with_every_kind(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(FILE)
    space = load_space(path)
    space.check(trades())

    lr, kind, beta, size, nesterov, augment = space.dimensions
    assert (1e-6, 1e-1) == (lr.low, lr.high)  # YAML reads 1e-6 as a word
    assert ["cosine", "constant"] == kind.ends
    assert (1.0, 6.0) == (beta.low, beta.high)
    assert (32, 256, True) == (size.low, size.high, size.log)
    assert [True, False] == nesterov.ends
    assert ["flip"] == augment.ends[0]


def test_a_space_survives_its_own_text(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(FILE)
    space = load_space(path)

    assert space == space_of(space.body())


def test_values_replace_fields_and_parameters_of_the_objective():
    space = space_of({"train.beta": {"uniform": [1, 6]}, "optimizer.lr": {"log": [1e-6, 1e-1]}})
    changed = space.recipe(trades(), {"train.beta": 2.5, "optimizer.lr": 0.01})

    assert 2.5 == changed.objective.beta
    assert 0.01 == changed.optimizer.lr
    assert trades().data == changed.data


@pytest.mark.parametrize("name", sorted(SPACES))
def test_published_spaces_fit_any_recipe(name):
    load_space(name).check(recipe())


def test_the_published_ranges():
    body = load_space("heuillet").body()

    assert {"log": [1e-6, 1e-1]} == body["optimizer.lr"] == body["optimizer.head_lr"]
    assert {"log": [1e-6, 1e-2]} == body["optimizer.weight_decay"]
    assert {"optimizer.head_lr", "optimizer.head_weight_decay", "schedule.kind"} == set(
        load_space("heuillet-lp").body()
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"log": [0, 1]}, "above 0"),
        ({"int": [0, 5], "log": True}, "above 0"),
        ({"log": [1e-1, 1e-6]}, "empty"),
        ({"uniform": [2, 2]}, "empty"),
        ({"uniform": [1, 2, 3]}, "lowest, highest"),
        ({"uniform": ["a", "b"]}, "lowest, highest"),
        ({"uniform": [True, 5]}, "lowest, highest"),
        ({"uniform": [1, float("inf")]}, "finite"),
        ({"int": [1.5, 3]}, "whole"),
        ({"int": 5}, "a list"),
        ({"choice": ["cosine"]}, "two values"),
        ({"choice": ["cosine", "cosine"]}, "twice"),
        ({"choice": ["cosine", object()]}, "cannot choose"),
        ({"uniform": [1, 2], "log": True}, "belongs to int"),
        ({"uniform": [1, 2], "int": [1, 2]}, "one range"),
        ({"log": True}, "one range"),
        ([1, 2], "needs a range"),
        (3, "needs a range"),
    ],
)
def test_a_range_that_is_none_is_told(line, told):
    with pytest.raises(BadValueError, match=told) as error:
        space_of({"optimizer.lr": line})

    assert "optimizer.lr" in str(error.value) or told == "finite"


def test_the_nearest_kind_field_and_space_are_named():
    with pytest.raises(UnknownNameError, match="did you mean uniform"):
        space_of({"optimizer.lr": {"unifrom": [1, 2]}})
    with pytest.raises(UnknownNameError, match=r"did you mean .*optimizer\.lr"):
        space_of({"optimiser.lr": {"log": [1e-3, 1e-1]}}).check(recipe())
    with pytest.raises(UnknownNameError, match=r"optimizer\.lr"):
        space_of({"lr": {"log": [1e-3, 1e-1]}}).check(recipe())
    with pytest.raises(UnknownNameError, match="did you mean heuillet"):
        load_space("heuilet")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"schedule.kind": {"choice": ["cosine", "cosin"]}}, r"schedule\.kind of 'cosin'"),
        ({"train.beta": {"uniform": [-1, 6]}}, r"train\.beta of -1"),
        ({"optimizer.momentum": {"uniform": [0.5, 1.5]}}, r"momentum of 1\.5"),
        ({"seed.first": {"int": [0, 5]}}, "seed has no fields"),
    ],
)
def test_a_value_that_the_field_refuses_is_told_at_the_start(line, told):
    with pytest.raises(BadValueError, match=told):
        space_of(line).check(trades())


def test_every_end_of_a_range_is_tried():
    with pytest.raises(HoldfastError, match="batch_size"):
        space_of({"train.batch_size": {"int": [0, 64]}}).check(recipe())


@pytest.mark.parametrize("field", ["data.validation", "data.name", "validate.attack", "validate.n"])
def test_what_trials_are_scored_on_cannot_differ(field):
    with pytest.raises(BadValueError, match="cannot be compared"):
        space_of({field: {"choice": ["a", "b"]}}).check(recipe())


def test_a_field_that_moves_the_attack_of_the_score_needs_a_fixed_one():
    space = space_of({"train.attack": {"choice": ["pgd(eps=2/255)", "pgd(eps=8/255)"]}})
    fixed = recipe(
        train={"objective": "trades"}, validate={"attack": "pgd(norm=linf, eps=4/255, steps=10)"}
    )

    space.check(fixed)
    with pytest.raises(BadValueError, match="changes the attack"):
        space.check(trades())


def test_files_that_are_no_space(tmp_path):
    path = tmp_path / "space.yaml"
    with pytest.raises(MissingError, match="heuillet"):
        load_space(path)
    for text in ("- a\n", "a: [\n", ""):
        path.write_text(text)
        with pytest.raises(BadValueError, match="is no space"):
            load_space(path)
    path.write_text("{}")
    with pytest.raises(BadValueError, match="needs a field"):
        load_space(path)
