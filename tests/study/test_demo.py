"""The demo trains no network twice, from the same first weights, and measures the test split."""

from collections import Counter

import torch

from holdfast.measuring import Options
from holdfast.study import demo
from holdfast.study.demo import ENTRIES, Entry, Trainee, training_images
from holdfast.training import Recipe


def test_the_four_networks_differ_in_their_recipes_alone():
    assert 4 == len({entry.name for entry in ENTRIES})
    assert 4 == len({entry.recipe.digest for entry in ENTRIES})
    assert [(0, 0, 0, 0), (0.3, 10, 0, 0), (0, 0, 0.4, 0), (0, 0, 0, 0.15)] == [
        (recipe.mixup, recipe.rotation, recipe.noise, recipe.adversarial_eps)
        for recipe in (entry.recipe for entry in ENTRIES)
    ]


def test_every_network_begins_with_the_same_weights():
    torch.manual_seed(1)
    one = demo._fresh()
    torch.manual_seed(2)
    other = demo._fresh()

    assert all(map(torch.equal, one.parameters(), other.parameters()))


def test_the_digits_are_measured_on_other_images_than_they_were_learned_from(tmp_path):
    images, labels = training_images()
    trainee = Trainee(Entry("quick", Recipe(epochs=1)), tmp_path)
    assert not trainee.trained
    assert [1] == [epoch.epoch for epoch in trainee.train(images[:64], labels[:64])]
    subject = trainee.subject(Options())

    assert trainee.trained
    assert ("quick", "test") == (subject.model, subject.stream.split)


def test_another_recipe_is_another_checkpoint(tmp_path):
    paths = {Trainee(Entry("a", Recipe(seed=seed)), tmp_path).path for seed in (0, 0, 1)}

    assert 2 == len(paths)


def test_the_conditions_are_clean_the_sweep_the_75_and_attacks():
    kinds = [part.kind for group in demo.conditions() for part in group.conditions]

    assert {"clean": 1, "noise": 7, "corruption": 75, "attack": 5} == Counter(kinds)
    assert ["clean", "autoattack(norm=linf, eps=0.1, version=standard)"] == [
        group.spec for group in demo.thorough()
    ]
