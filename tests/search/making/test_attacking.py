import pytest
import torch

from holdfast.core.randomness import keys_for
from holdfast.measuring import measure
from holdfast.models.nb201 import build_nb201, format_cell
from holdfast.perturb.attacks._stages import streams
from holdfast.perturb.attacks.fgsm import FGSM
from holdfast.perturb.attacks.pgd import PGD
from holdfast.search.making import attacking
from holdfast.search.making.attacking import standing, worst_images
from holdfast.search.making.inputs import Pooled, digits, pooled
from holdfast.search.making.stack import CONV, SKIP, Size, Stack
from holdfast.search.making.training import Recipe, train

CELLS = [(CONV, "none", SKIP, SKIP, "none", CONV), ("none", CONV, SKIP, SKIP, CONV, CONV)]
SIZE = Size(channels=4)
COUNT = 120


@pytest.fixture(scope="module")
def trained():
    images, labels = digits("train")
    stack = Stack(CELLS, SIZE, seed=0)
    list(train(stack, pooled(images), labels, Recipe(epochs=12, learning_rate=8e-3), seed=0))
    return stack


def plain(stack, place):
    net = build_nb201(format_cell(CELLS[place]), channels=4, cells=1, in_channels=1)
    net.load_state_dict(stack.state(place), strict=False)
    return net.eval()


ATTACKS = {
    "fgsm(norm=linf, eps=0.1)": FGSM(eps=0.1),
    "pgd(norm=linf, eps=0.1, steps=20)": PGD(eps=0.1, steps=20),
}


@pytest.mark.parametrize("text", ATTACKS)
def test_an_attack_on_a_stack_is_the_one_that_a_measurement_runs(trained, text):
    images, labels = (part[:COUNT] for part in digits("test"))
    small = pooled(images)
    found = standing(ATTACKS[text], trained.prepared(training=False), small, labels, seed=0)

    for place in range(len(CELLS)):
        result = measure(plain(trained, place), (small[:, None], labels), text)
        assert result.value(condition=text) == pytest.approx(
            found[place].double().mean().item(), abs=1.5 / COUNT
        )


# A random start is uniform in the large ball, and its mean over a block is not in the small one:
# without it both attacks take the same steps.
FROM_THE_IMAGE = {
    "fgsm(norm=linf, eps=0.1)": FGSM(eps=0.1),
    "pgd(norm=linf, eps=0.1, steps=20, random_start=False)": PGD(
        eps=0.1, steps=20, random_start=False
    ),
}


@pytest.mark.parametrize("text", FROM_THE_IMAGE)
def test_the_worst_of_the_small_image_is_the_worst_of_the_large_one(trained, text):
    images, labels = (part[:COUNT] for part in digits("test"))
    nets = trained.prepared(training=False)
    found = standing(FROM_THE_IMAGE[text], nets, pooled(images), labels, seed=0)[1]
    result = measure(Pooled(plain(trained, 1)), (images, labels), text)

    assert result.value(condition=text) == pytest.approx(
        found.double().mean().item(), abs=2.5 / COUNT
    )


def test_an_image_falls_with_the_first_point_that_is_wrong(trained, monkeypatch):
    # Steps that are too long for the ball jump back and forth between its corners.
    text = "pgd(norm=linf, eps=0.1, steps=3, step_size=0.3)"
    images, labels = (part[:COUNT] for part in digits("test"))
    nets = trained.prepared(training=False)
    attack = PGD(eps=0.1, steps=3, step_size=0.3)
    found = standing(attack, nets, pooled(images), labels, seed=0)
    result = measure(plain(trained, 0), (pooled(images)[:, None], labels), text)
    ids = torch.arange(COUNT)
    keys = keys_for(ids, seed=0, stream=streams([attack])[0]).at(torch.zeros_like(ids))
    last = nets(worst_images(attack, nets, pooled(images), labels, keys)).argmax(2) == labels

    assert result.value(condition=text) == pytest.approx(
        found[0].double().mean().item(), abs=1.5 / COUNT
    )
    assert not (found & ~last).any()
    assert (last & ~found).sum() > 3
    monkeypatch.setattr(attacking, "_WORTH", 0.0)  # what has fallen is carried along
    assert torch.equal(found, standing(attack, nets, pooled(images), labels, seed=0))
