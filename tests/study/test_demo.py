"""The demo trains no network twice, from the same first weights, and measures the test split."""

from collections import Counter

from holdfast.measuring import Options
from holdfast.study import demo
from holdfast.study.demo import ENTRIES, Entry, Trainee
from holdfast.training import Stepped, load_recipe
from holdfast.training.preparing import starting_point


def test_the_four_networks_differ_in_their_recipes_alone():
    assert 4 == len({entry.name for entry in ENTRIES})
    assert 4 == len({entry.recipe.digest for entry in ENTRIES})
    assert [(), ("affine", "mixup"), ("random_noise",), ()] == [
        tuple(text.partition("(")[0] for text in entry.recipe.augment) for entry in ENTRIES
    ]
    assert [None, None, None, "pgd"] == [
        entry.recipe.objective.attack and entry.recipe.objective.attack.partition("(")[0]
        for entry in ENTRIES
    ]


def test_every_network_begins_with_the_same_weights():
    digests = {starting_point(entry.recipe, 10, device="cpu").digest for entry in ENTRIES}

    assert 1 == len(digests)


def test_the_digits_are_measured_on_other_images_than_they_were_learned_from(tmp_path):
    quick = load_recipe("demo-plain", ["train.max_steps=1", "data.n=400"])
    trainee = Trainee(Entry("quick", quick), tmp_path)
    assert not trainee.trained
    assert 1 == sum(isinstance(event, Stepped) for event in trainee.train())
    subject = trainee.subject(Options())

    assert trainee.trained
    assert ("quick", "test") == (subject.model, subject.stream.split)
    assert "train" == quick.data.split


def test_another_recipe_is_another_folder(tmp_path):
    recipes = [load_recipe("demo-plain", [f"seed={seed}"]) for seed in (0, 0, 1)]
    folders = {Trainee(Entry("a", recipe), tmp_path).folder for recipe in recipes}

    assert 2 == len(folders)


def test_the_conditions_are_clean_the_sweep_the_75_and_attacks():
    kinds = [part.kind for group in demo.conditions() for part in group.conditions]

    assert {"clean": 1, "noise": 7, "corruption": 75, "attack": 5} == Counter(kinds)
    assert ["clean", "autoattack(norm=linf, eps=0.1, version=standard)"] == [
        group.spec for group in demo.thorough()
    ]
