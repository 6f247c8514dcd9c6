"""What is told before the first step of a recipe that hardly anybody means."""

import pytest

from holdfast.training import load_recipe
from holdfast.training.doubts import doubts
from training_toys import recipe

SAID = [
    ({"schedule": {"kind": "step", "milestones": [3]}, "train": {"epochs": 3}}, "never falls"),
    ({"schedule": {"kind": "cosine", "warmup": 2}, "train": {"epochs": 2}}, "only rises"),
    (
        {
            "schedule": {"kind": "cosine", "warmup": 1},
            "train": {"epochs": 5},
            "protocol": {"kind": "lp_ft", "probe_epochs": 1},
        },
        "a phase of 1 epochs",
    ),
]


@pytest.mark.parametrize(("sections", "text"), SAID)
def test_schedules_that_do_nothing_are_told(sections, text):
    found = doubts(recipe(**sections), 500)

    assert 1 == len(found)
    assert text in found[0]


def test_a_usual_recipe_is_not_doubted():
    falls = {"kind": "step", "milestones": [2, 5]}

    assert [] == doubts(recipe(schedule=falls, train={"epochs": 3}), 100)
    assert [] == doubts(recipe(), None)


def test_few_validation_images_are_told():
    assert "chosen on 20 images" in doubts(recipe(), 20)[0]


def test_a_presets_statistics_go_with_its_network():
    own = load_recipe("classic-at")
    other = load_recipe("classic-at", ["model.name=small:cnn"])
    chosen = load_recipe(
        "classic-at", ["model.name=small:cnn", "model.mean=[0.5, 0.5, 0.5]", "model.std=[1, 1, 1]"]
    )

    assert own.model.mean is not None
    assert other.model.mean is other.model.std is None
    assert (0.5, 0.5, 0.5) == chosen.model.mean
