import pytest

from holdfast.measuring import measure
from holdfast.models.nb201 import build_nb201, format_cell
from holdfast.perturb.attacks.fgsm import FGSM
from holdfast.perturb.attacks.pgd import PGD
from holdfast.search.making.attacking import standing
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


@pytest.mark.parametrize("text", ATTACKS)
def test_the_worst_of_the_small_image_is_the_worst_of_the_large_one(trained, text):
    images, labels = (part[:COUNT] for part in digits("test"))
    nets = trained.prepared(training=False)
    found = standing(ATTACKS[text], nets, pooled(images), labels, seed=0)[1]
    result = measure(Pooled(plain(trained, 1)), (images, labels), text)

    assert result.value(condition=text) == pytest.approx(
        found.double().mean().item(), abs=2.5 / COUNT
    )
