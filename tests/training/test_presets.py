"""Every preset builds, and takes two steps on images and a network that are small."""

import math

import numpy as np
import pytest
import torch

from holdfast.core.errors import UnknownNameError
from holdfast.training.preparing import prepare, starting_point
from holdfast.training.presets import PRESETS, preset
from holdfast.training.reading import load_recipe
from holdfast.training.trainer import Trainer

KEPT = ("protocol", "augment", "objective", "optimizer", "schedule")
NETWORKS = sorted({load_recipe(name).model.name for name in PRESETS})


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """48 images of 16 x 16 pixels in three classes that a mean color tells apart."""
    labels = np.arange(48) % 3
    pixels = np.random.default_rng(0).integers(0, 120, (48, 16, 16, 3), dtype=np.uint8)
    pixels[np.arange(48), :, :, labels] += 120
    path = tmp_path_factory.mktemp("presets") / "set.npz"
    np.savez(path, x=pixels, y=labels)
    return f"npz:{path}"


def small(name, images, *overrides):
    """The preset with other images, a small network and two steps."""
    own = load_recipe(name)
    changes = [
        f"data.name={images}",
        "model.name=small:cnn(width=4)",
        "model.pretrained=false",
        "train.batch_size=12",
        "train.max_steps=2",
        "validate.n=8",
        "validate.train_n=8",
    ]
    if own.data.size is not None:
        changes.append("data.size=16")
    if own.train.micro_batch is not None:
        changes.append("train.micro_batch=5")
    return load_recipe(name, [*changes, *overrides])


# One of each objective, step and protocol in the quick tests; the others are slow.
QUICK = [
    "awp-trades",
    "augmix",
    "barlow-twins-cifar10",
    "classic-at",
    "demo-mixup",
    "fast-at",
    "free-at",
    "gaussian-noise",
    "heuillet-lp50-trades",
    "lp-ft",
    "mart",
    "mixture",
    "team34-pretrained",
    "wu-pgd7",
]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name)
        for name in PRESETS
    ],
)
def test_a_preset_takes_two_steps(name, images):
    wanted = small(name, images)
    ready = prepare(wanted, device="cpu")
    trainer = Trainer(wanted, ready.classifier, ready.data, features=ready.features)
    before = {key: value.clone() for key, value in ready.weights(ready.classifier).items()}
    steps = list(trainer.run())
    after = ready.weights(trainer.result)
    changed = {key for key in before if not torch.equal(before[key], after[key])}

    assert all(getattr(wanted, part) == getattr(load_recipe(name), part) for part in KEPT)
    assert [1, 2] == [one.step for one in steps]
    assert all(math.isfinite(one.loss) and one.loss > 0 for one in steps)
    probe = wanted.protocol.kind in ("linear_probe", "lp_ft")
    assert changed and probe == all(key.startswith("head.") for key in changed)
    assert all(value.isfinite().all() for value in after.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_of_a_preset_can_be_built(name):
    wanted = load_recipe(
        next(one for one in PRESETS if load_recipe(one).model.name == name),
        ["model.pretrained=false", "data.size=32"],
    )

    assert 7 == starting_point(wanted, 7, device="cpu").classes


def test_the_probe_of_a_preset_is_followed_by_the_whole_network(images):
    wanted = small(
        "lp-ft", images, "train.epochs=2", "protocol.probe_epochs=1", "train.max_steps=null"
    )
    ready = prepare(wanted, device="cpu")
    net = ready.classifier.net
    first = {key: value.clone() for key, value in net.named_parameters()}
    moved = [
        sum(not torch.equal(first[key], value) for key, value in net.named_parameters())
        for _ in Trainer(wanted, ready.classifier, ready.data).run()
    ]

    assert [2] * 4 == moved[:4]
    assert {len(first)} == set(moved[4:]) and 8 == len(moved)


def test_the_demo_learns_what_it_is_shown(images):
    wanted = small("demo-plain", images, "train.max_steps=null", "train.epochs=20")
    ready = prepare(wanted, device="cpu")
    losses = [one.loss for one in Trainer(wanted, ready.classifier, ready.data).run()]

    assert losses[-1] < losses[0] / 4


def test_published_settings_are_what_was_published():
    wu, team = load_recipe("wu-pgd7"), load_recipe("team34-mixup")
    tuned = load_recipe("heuillet-fft50-trades")

    assert ("sgd", 0.1, 0.9, 5e-4) == (
        wu.optimizer.kind,
        wu.optimizer.lr,
        wu.optimizer.momentum,
        wu.optimizer.weight_decay,
    )
    assert (50, 256, "onecycle") == (wu.train.epochs, wu.train.batch_size, wu.schedule.kind)
    assert "eps=8/255, steps=7, step_size=2/255" in wu.train.objective
    assert "mixup(alpha=0.3)" in team.augment
    assert (1e-3, 256, 28) == (team.optimizer.lr, team.train.batch_size, team.data.size)
    assert "trades(beta=1.0" in tuned.train.objective and "eps=4/255" in tuned.train.objective
    assert (50, 1024, "full") == (
        tuned.train.epochs,
        tuned.train.batch_size,
        tuned.protocol.kind,
    )


def test_presets_say_where_they_come_from():
    found = {name: PRESETS[name] for name in PRESETS}

    assert all(one.name == name and one.about and one.source for name, one in found.items())
    assert all("." == one.source.strip()[-1] for one in found.values())
    with pytest.raises(UnknownNameError, match="no preset named 'wu-pgd'; did you mean wu-pgd7"):
        preset("wu-pgd")
