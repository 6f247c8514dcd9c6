"""Laws of every registered attack, in every norm it takes; a new attack is under them at once."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
import torch
from attacks.cases import CASES, EPS, VARIED, each_case, each_variant
from attacks.crowd import Constant, Crowd, Curved, OneByOne, images_of, part_of, task_for

from holdfast.perturb.attacks import ATTACKS

SHAPE, GRAY = (3, 6, 5), (1, 4, 7)
LANES = 5
# Whose asks do not hang on the seed while gradients are not zero.
DETERMINISTIC = {"ddn", "fab", "fgsm", "fmn"}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def walked(attack, task, classifier):
    crowd = Crowd(attack, classifier)
    crowd.join(task, torch.arange(len(task.labels)))
    return crowd.run()


def images_in(records):
    return [image for record in records.values() for image in record.images]


def asks_of(attack, task, classifier):
    return torch.stack(images_in(walked(attack, task, classifier)))


def all_budgets(records):
    return {record.budget for record in records.values()}


@cache
def straight(case):
    """A walk in which nothing happens to the lanes, each shown alone to the classifier.

    The last lane is misclassified from the start.
    """
    attack, model = case.attack(), OneByOne(Curved(SHAPE, 4))
    task = task_for(images_of(SHAPE, LANES), model)
    task.labels[-1] = (task.labels[-1] + 1) % 4
    return attack, model, task, walked(attack, task, model)


def same(first, second):
    """Whether two lanes asked for the same images, bit by bit, and the same gradients."""
    return (
        first.wanted == second.wanted
        and len(first.images) == len(second.images)
        and all(torch.equal(a, b) for a, b in zip(first.images, second.images, strict=True))
    )


def wrong_labels(task, classes):
    return (task.labels + 1) % classes


@each_variant
def test_every_image_asked_for_is_in_the_box(case):
    *_, records = straight(case)

    assert all(0 <= image.min() and image.max() <= 1 for image in images_in(records))


@pytest.mark.parametrize(
    "case", [case for case in VARIED if not ATTACKS[case.name].minimum_norm], ids=str
)
def test_every_image_asked_for_is_in_the_ball(case):
    attack, _, task, records = straight(case)
    # Of a schedule of larger eps only the last stage has the radius asked for.
    first = -1 if getattr(attack, "large_eps", None) else 0

    for lane, record in records.items():
        deltas = torch.stack(record.images[first:]).double() - task.images[lane].double()
        assert attack.ball.size(deltas).max() <= EPS[case.norm] * (1 + 1e-6) + 1e-6


@each_variant
def test_the_task_is_not_changed_in_place(case):
    model = Curved(SHAPE, 4)
    task = task_for(images_of(SHAPE, 4), model)
    tensors = [task.images, task.labels, task.targets, task.logits, task.lane, task.keys.words]
    before = [tensor.clone() for tensor in tensors]

    walked(case.attack(), task, model)

    assert all(torch.equal(a, b) for a, b in zip(before, tensors, strict=True))


@each_variant
def test_the_state_is_lane_first_at_every_turn(case):
    model = Curved(SHAPE, 4)
    crowd = Crowd(case.attack(), model)
    crowd.join(task_for(images_of(SHAPE, 3), model), torch.arange(3))

    while len(crowd.numbers):
        parts = [getattr(crowd.state, f.name) for f in fields(crowd.state)]
        assert all(len(part) == len(crowd.numbers) for part in parts)
        crowd.turn()


@each_variant
def test_another_order_in_the_middle_of_a_walk_changes_no_bit(case):
    attack, model, task, expected = straight(case)
    crowd = Crowd(attack, model)
    crowd.join(task, torch.arange(LANES))

    order = torch.tensor([3, 0, 4, 1, 2])
    while len(crowd.numbers) == LANES:
        crowd.shuffle(order)
        crowd.turn()

    actual = crowd.run()
    assert all(same(expected[lane], actual[lane]) for lane in range(LANES))


@each_variant
def test_a_lane_alone_asks_for_the_same_bits_as_among_others(case):
    attack, model, task, expected = straight(case)

    for row in (1, LANES - 1):
        actual = walked(attack, part_of(task, torch.tensor([row])), model)
        assert same(expected[row], actual[0])


@each_variant
def test_lanes_that_join_later_change_no_bit(case):
    attack, model, task, expected = straight(case)
    crowd = Crowd(attack, model)

    for rows in torch.arange(LANES).split(2):
        crowd.join(part_of(task, rows), rows)
        crowd.run(turns=1)

    actual = crowd.run()
    assert all(same(expected[lane], actual[lane]) for lane in range(LANES))


@each_case
def test_the_global_generators_are_untouched(case):
    model = Curved(SHAPE, 4)
    task = task_for(images_of(SHAPE, 2), model)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    walked(case.attack(), task, model)

    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert before == after


@each_case
def test_the_same_seed_asks_for_the_same_bits(case):
    model = Curved(SHAPE, 4)
    attack, images = case.attack(), images_of(SHAPE, 3)

    first = walked(attack, task_for(images, model), model)
    again = walked(attack, task_for(images, model), model)

    assert all(same(first[lane], again[lane]) for lane in range(3))


@each_case
def test_another_seed_asks_for_other_images_where_the_attack_draws(case):
    model = Curved(SHAPE, 4)
    attack, images = case.attack(), images_of(SHAPE, 3)

    first = walked(attack, task_for(images, model, seed=0), model)
    other = walked(attack, task_for(images, model, seed=1), model)

    for lane in range(3):
        assert (case.name in DETERMINISTIC) == same(first[lane], other[lane])


@pytest.mark.parametrize(
    "case", [case for case in CASES if hasattr(ATTACKS[case.name], "restarts")], ids=str
)
def test_a_second_restart_takes_another_way(case):
    attack, model = case.attack(restarts=2), Curved(SHAPE, 4)
    images = images_of(SHAPE, 3)

    first = walked(attack, task_for(images, model, lane=0), model)
    second = walked(attack, task_for(images, model, lane=1), model)

    assert attack.lanes(4) == 2
    assert not any(same(first[lane], second[lane]) for lane in range(3))


@each_case
def test_gradients_are_asked_for_exactly_by_attacks_that_say_so(case):
    attack, model = case.attack(), Curved(SHAPE, 4)

    records = walked(attack, task_for(images_of(SHAPE, 2), model), model)

    assert attack.gradients == any(any(record.wanted) for record in records.values())


@each_variant
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_asks_stay_finite_on_equal_logits_and_zero_gradients(case, right):
    model = Constant(4)
    labels = torch.full((3,), 0 if right else 2)  # the first of equals is given

    asks = asks_of(
        case.attack(),
        task_for(images_of(SHAPE, 3), model, labels=labels),
        model,
    )

    assert asks.isfinite().all() and asks.min() >= 0 and asks.max() <= 1


@each_variant
@pytest.mark.parametrize("scale", [1e-12, 1e6], ids=["faint", "steep"])
def test_asks_stay_finite_at_logits_of_any_scale(case, scale):
    curved = Curved(SHAPE, 4)

    def model(images):
        return curved(images) * scale

    asks = asks_of(case.attack(), task_for(images_of(SHAPE, 3), model), model)

    assert asks.isfinite().all() and asks.min() >= 0 and asks.max() <= 1


@each_variant
def test_the_budget_does_not_hang_on_what_happens(case):
    attack, curved, images = case.attack(), Curved(SHAPE, 4), images_of(SHAPE, 3)
    right = task_for(images, curved)
    wrong = replace(right, labels=wrong_labels(right, 4))
    budgets = all_budgets(walked(attack, right, curved))

    assert len(budgets) == 1
    assert budgets == all_budgets(walked(attack, wrong, curved))
    assert budgets == all_budgets(walked(attack, task_for(images, Constant(4)), Constant(4)))


@each_case
def test_the_budget_is_the_number_of_steps_or_queries(case):
    attack, model = case.attack(), Curved(SHAPE, 4)
    ((forward, gradient),) = all_budgets(
        walked(attack, task_for(images_of(SHAPE, 2), model), model)
    )
    if not attack.gradients:
        assert (attack.queries, 0) == (forward, gradient)
        return

    assert getattr(attack, "steps", 1) == gradient


@each_variant
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_any_number_of_classes_will_do(case, classes):
    attack, model = case.attack(), Curved(GRAY, classes)
    images = images_of(GRAY, 2)

    for lane in {0, attack.lanes(classes) - 1}:
        asks = asks_of(attack, task_for(images, model, lane=lane), model)
        assert asks.isfinite().all() and asks.shape[1:] == GRAY


@each_case
def test_a_target_is_where_the_lanes_of_a_targeted_run_aim(case):
    attack, model = case.attack(target=2), Curved(SHAPE, 4)
    task = task_for(images_of(SHAPE, 3), model, target=2)

    state = attack.start(task)

    assert torch.equal(task.targets, state.aims)


@each_case
def test_a_targeted_run_raises_the_wanted_logit(case):
    """Against the largest other, from the first image asked for to the best one."""
    attack, model = case.attack(target=2), Curved(SHAPE, 4)
    images = images_of(SHAPE, 6)
    task = task_for(images, model, target=2)
    rows = (task.labels != 2).nonzero()[:, 0]
    records = walked(attack, part_of(task, rows), model)

    for record, row in zip(records.values(), rows, strict=True):
        with torch.no_grad():
            logits = model(torch.stack([images[row], *record.images]))
        leads = logits[:, 2] - logits[:, [0, 1, 3]].amax(1)
        assert leads[1:].max() > leads[0]
