"""On linear models the smallest perturbation is a formula: |margin| / dual norm."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from attacks.cases import CASES
from attacks.linear import DISTANCE, distances, linear_model, mid_gray, size
from attacks.naive import walk

from holdfast.perturb.attacks import ATTACKS

BELOW, ABOVE = 1 - 1e-4, 1.05  # times the smallest distance
ROUNDING = 1 + 1e-5  # of float32 pixels
CLASSES = (2, 3, 10)
NORMS = tuple(DISTANCE)


@dataclass(frozen=True)
class Aimed:
    """Attacks that look at the classes one by one: they find the nearest of any number."""

    name: str
    settings: tuple[tuple[str, object], ...]

    def __str__(self):
        return "-".join([self.name, *(f"{key}={value}" for key, value in self.settings)])


AIMED = [
    Aimed("apgd", (("loss", "targeted_dlr"),)),
    Aimed("fab", (("targets", 9),)),
    Aimed("fab", ()),
]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def long(name):
    """Steps enough to come within a hundredth; FAB leaps."""
    return {"fab": 20, "fgsm": None}.get(name, 100)


def adversarial(attack, model):
    """Perturbations under which mid-gray is not given its class 0, over all lanes."""
    lanes = range(attack.lanes(len(model.bias)))
    walks = [walk(attack, model, mid_gray(), 0, lane=lane) for lane in lanes]
    return [
        image - mid_gray()
        for walked in walks
        for image, logits in zip(walked.seen, walked.logits, strict=True)
        if logits.argmax() != 0
    ]


def smallest(attack, model):
    """Size of the smallest perturbation found; infinite where none was."""
    return min(
        (size(delta, attack.norm) for delta in adversarial(attack, model)), default=torch.inf
    )


@pytest.mark.parametrize("norm", NORMS)
def test_the_formula_is_the_size_at_which_the_class_changes(norm):
    """Along the steepest direction to the nearest class, written out."""
    model = linear_model(norm, 5, seed=3)
    nearest = int(distances(model, 0, norm).argmin())
    rise = model.weight[nearest] - model.weight[0]
    peak = rise.abs() == rise.abs().max()
    direction = {"linf": rise.sign(), "l2": rise / rise.norm(), "l1": rise.sign() * peak}[norm]

    moved = {k: mid_gray() + (k * DISTANCE[norm] * direction).view(3, 4, 4) for k in (0.999, 1.001)}

    assert {0.999: 0, 1.001: nearest} == {k: int(model(i[None]).argmax()) for k, i in moved.items()}


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_attack_succeeds_below_the_distance(case, classes):
    eps = DISTANCE[case.norm] * BELOW
    attack = case.attack(eps=eps)

    found = adversarial(attack, linear_model(case.norm, classes, seed=0))

    if attack.minimum_norm or getattr(attack, "large_eps", None):  # asks beyond eps, too
        found = [d for d in found if attack.ball.size(d[None].double()) <= eps * ROUNDING]
    assert [] == found


@pytest.mark.parametrize("case", [case for case in CASES if ATTACKS[case.name].gradients], ids=str)
def test_of_two_classes_every_gradient_attack_reaches_the_other_just_beyond_it(case):
    eps = DISTANCE[case.norm] * ABOVE
    settings = {"steps": steps} if (steps := long(case.name)) else {}

    found = smallest(case.attack(eps=eps, **settings), linear_model(case.norm, 2, seed=1))

    assert found <= eps * ROUNDING


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("aimed", AIMED, ids=str)
def test_attacks_aimed_at_each_class_find_the_nearest_just_beyond_it(aimed, norm, classes):
    eps = DISTANCE[norm] * ABOVE
    attack = ATTACKS[aimed.name](norm=norm, eps=eps, steps=20, **dict(aimed.settings))

    assert smallest(attack, linear_model(norm, classes, seed=4)) <= eps * ROUNDING


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(
    "case", [case for case in CASES if ATTACKS[case.name].minimum_norm], ids=str
)
def test_attacks_that_seek_the_smallest_find_it(case, classes, seed):
    attack = case.attack(eps=None, steps=long(case.name))

    found = smallest(attack, linear_model(case.norm, classes, seed))

    assert DISTANCE[case.norm] / ROUNDING <= found <= DISTANCE[case.norm] * 1.01


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(
    "case", [case for case in CASES if ATTACKS[case.name].minimum_norm], ids=str
)
def test_a_target_is_reached_no_nearer_than_its_own_distance(case, classes):
    model = linear_model(case.norm, classes, seed=0)
    bounds = distances(model, 0, case.norm)
    target = int(bounds[1:].argmax()) + 1
    attack = case.attack(eps=None, steps=long(case.name), target=target)

    walked = walk(attack, model, mid_gray(), 0, target=target)

    reached = [
        size(image - mid_gray(), case.norm)
        for image, logits in zip(walked.seen, walked.logits, strict=True)
        if logits.argmax() == target
    ]
    assert reached and min(reached) >= bounds[target] / ROUNDING
