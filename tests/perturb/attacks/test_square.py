"""Square attack: what it asks for, what it keeps, and how far it gets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from attacks.crowd import Constant, Curved, images_of, part_of, task_for
from attacks.naive import walk
from attacks.squares import (
    EPS,
    Linear,
    at_queries,
    each_norm,
    gray,
    search,
    told,
)

from helpers import Textured, pictures
from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.perturb.attacks.balls import BALLS
from holdfast.perturb.attacks.square import Square
from models.cifar_models import CIFAR_MEAN, cnn_a


@each_norm
@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 9), (2, 9, 5), (1, 1, 1), (3, 14, 14)])
def test_every_image_asked_for_is_in_ball_and_box(norm, shape):
    images, attack = images_of(shape, 5), Square(norm=norm, eps=EPS[norm])
    asked, state = search(attack, Curved(shape, 3), images, None, 5)
    state.query += torch.tensor([0, 20, 100, 1000, 9000])  # small squares, too
    more = torch.stack([attack.ask(state).images.clone()])
    asked = torch.cat([asked, more])

    sizes = attack.ball.size((asked.double() - images.double()).flatten(0, 1))
    assert sizes.max() <= EPS[norm] * (1 + 1e-6) + 1e-7
    assert asked.min() >= 0 and asked.max() <= 1


@each_norm
def test_lanes_at_different_queries_do_not_meet(norm):
    queries = torch.tensor([0, 1, 30, 150, 150, 800, 4500, 9000])
    task = task_for(images_of((3, 20, 24), 8), Constant(4))
    attack = Square(norm=norm, eps=EPS[norm])
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))

    def two_turns(rows):
        state = at_queries(attack, part_of(task, rows), queries[rows])
        first = attack.ask(state).images.clone()
        state = told(attack, state, logits[rows])
        return torch.stack([first, attack.ask(state).images, state.best])

    together = two_turns(torch.arange(8))
    alone = torch.cat([two_turns(torch.tensor([row])) for row in range(8)], 1)
    mixed = two_turns(torch.tensor([6, 0, 3]))

    assert torch.equal(together, alone)
    assert torch.equal(together[:, [6, 0, 3]], mixed)


@each_norm
def test_asking_twice_gives_the_same_image(norm):
    attack = Square(norm=norm, eps=EPS[norm])
    _, state = search(attack, Curved((3, 8, 8), 4), images_of((3, 8, 8), 3), None, 7)
    once = attack.ask(state).images.clone()

    assert torch.equal(once, attack.ask(state).images)


@each_norm
def test_two_walks_of_one_attack_do_not_meet(norm):
    images = images_of((3, 8, 8), 6)
    classifier = Curved((3, 8, 8), 4)
    shared = Square(norm=norm, eps=EPS[norm])

    def walks(attacks):
        states = [
            attack.start(task_for(images[half], classifier, seed=half.start))
            for attack, half in zip(attacks, (slice(0, 3), slice(3, 6)), strict=True)
        ]
        seen = []
        for _ in range(40):
            seen += [
                attack.ask(state).images.clone()
                for attack, state in zip(attacks, states, strict=True)
            ]
            states = [
                told(attack, state, classifier(state.asked))
                for attack, state in zip(attacks, states, strict=True)
            ]
        return torch.stack(seen)

    apart = walks([Square(norm=norm, eps=EPS[norm]) for _ in range(2)])

    assert torch.equal(apart, walks([shared, shared]))


@each_norm
def test_lanes_that_leave_between_question_and_answer_change_nothing(norm):
    images = images_of((3, 8, 8), 6)
    classifier = Curved((3, 8, 8), 4)
    attack = Square(norm=norm, eps=EPS[norm])
    _, state = search(attack, classifier, images, None, 35)
    kept = torch.tensor([0, 2, 5])

    def rest(state, rows):
        seen = []
        for _ in range(4):
            attack.ask(state)
            if len(rows) < len(state):
                state = state.take(rows)
            seen.append(state.asked.clone())
            state = told(attack, state, classifier(state.asked))
        return torch.stack(seen)

    whole = rest(state.take(torch.arange(6)), torch.arange(6))

    assert torch.equal(whole[:, kept], rest(state, kept))


@each_norm
def test_the_best_image_is_the_one_of_the_largest_loss_seen(norm):
    classifier = Textured()
    images = torch.from_numpy(pictures(6)).permute(0, 3, 1, 2).float() / 255
    labels = classifier(images).argmax(1)
    asked, state = search(Square(norm=norm, eps=EPS[norm]), classifier, images, labels, 50)
    logits = torch.stack([classifier(turn) for turn in asked])
    own = logits.gather(2, labels.expand(50, -1)[..., None])[..., 0]
    wrong = logits.scatter(2, labels.expand(50, -1)[..., None], -torch.inf).amax(2)
    peak, turn = (wrong - own).max(0)

    assert torch.equal(state.loss, peak)
    assert torch.equal(state.best, asked[turn, torch.arange(6)])
    assert turn.max() > 0


@each_norm
def test_what_does_not_raise_the_loss_is_undone(norm):
    attack = Square(norm=norm, eps=EPS[norm])
    asked, state = search(attack, Constant(3), images_of((3, 8, 8), 3), None, 9)

    assert torch.equal(state.best, asked[0])
    assert not torch.equal(asked[0], asked[1])


def test_cross_entropy_keeps_what_the_margin_would_not():
    task = task_for(gray(count=1), Constant(3), labels=torch.tensor([0]))
    first, second = torch.tensor([[2.0, 1.0, -9.0]]), torch.tensor([[2.0, 0.9, 0.9]])
    losses = {}
    for loss in ("margin", "cross_entropy"):
        attack = Square(norm="linf", eps=0.1, loss=loss)
        state = told(attack, attack.start(task), first)
        attack.ask(state)
        losses[loss] = float(told(attack, state, second).loss)

    assert losses["margin"] == -1.0
    assert losses["cross_entropy"] == pytest.approx(np.log(1 + 2 * np.exp(-1.1)))


def test_an_aimed_lane_climbs_the_log_probability_of_its_target():
    task = task_for(gray(count=2), Constant(3), labels=torch.tensor([0, 0]))
    task = replace(task, targets=torch.tensor([2, -1]))
    attack = Square(norm="linf", eps=0.1)
    state = told(attack, attack.start(task), torch.tensor([[0.0, 3.0, 1.0]] * 2))

    shares = np.exp([0.0, 3.0, 1.0])
    expected = [np.log(shares[2] / shares.sum()), 3.0]
    assert state.loss.tolist() == pytest.approx(expected)


@each_norm
def test_a_targeted_walk_reaches_its_class(norm):
    classifier = Linear((3, 8, 8))
    eps = 4 / BALLS[norm].dual_size(classifier.weight[None]).item()
    attack = Square(norm=norm, eps=eps, queries=100)

    # The label is the target too, so that moving away from the label would not get there.
    seen = walk(attack, classifier, gray((3, 8, 8))[0], 1, target=1)

    assert 1 in [int(logits.argmax()) for logits in seen.logits]


@each_norm
@pytest.mark.parametrize("queries", [1, 2, 17])
def test_the_budget_is_kept_to_the_query(norm, queries):
    attack = Square(norm=norm, eps=EPS[norm], queries=queries)
    done = walk(attack, Curved((1, 6, 6), 3), images_of((1, 6, 6), 1)[0], 0)

    assert (done.forward_evals, done.gradient_evals) == (queries, 0)


@each_norm
def test_a_linear_model_does_not_fall_below_its_distance(norm):
    classifier = Linear((3, 8, 8))
    distance = 1 / BALLS[norm].dual_size(classifier.weight[None]).item()
    attack = Square(norm=norm, eps=distance * (1 - 1e-5), queries=200)

    seen = walk(attack, classifier, gray((3, 8, 8))[0], 0)

    assert max(float(logits[1] - logits[0]) for logits in seen.logits) < 0


# Bumps of two signs climb a weight of one sign slowly: L2 needs three times the distance here,
# also in the authors' code.
@pytest.mark.parametrize(("norm", "factor"), [("linf", 1.5), ("l2", 3), ("l1", 1.5)])
def test_most_lanes_of_a_linear_model_fall_above_its_distance(norm, factor):
    classifier = Linear((3, 8, 8))
    eps = factor / BALLS[norm].dual_size(classifier.weight[None]).item()
    attack = Square(norm=norm, eps=eps)
    _, state = search(attack, classifier, gray((3, 8, 8), 20), None, 200)

    assert (state.loss > 0).sum() >= 15


@each_norm
def test_another_key_gives_other_images(norm):
    attack = Square(norm=norm, eps=EPS[norm])
    images = images_of((3, 8, 8), 2)
    first = search(attack, Constant(3), images, None, 3)[0]
    again = search(attack, Constant(3), images, None, 3)[0]
    other = search(attack, Constant(3), images, None, 3, seed=1)[0]

    assert torch.equal(first, again)
    assert all(not torch.equal(first[turn], other[turn]) for turn in range(3))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"queries": 0}, BadValueError, "queries must be at least 1, got 0"),
        ({"queries": 2.5}, BadTypeError, "queries must be a whole number, got 2.5"),
        ({"restarts": 0}, BadValueError, "restarts must be at least 1, got 0"),
        ({"p_init": 0}, BadValueError, "p_init is the share of the image"),
        ({"p_init": 1.5}, BadValueError, "p_init must be from 0 to 1, got 1.5"),
        ({"loss": "dlr"}, BadValueError, "loss must be one of margin, cross_entropy, got 'dlr'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Square(norm="linf", eps=0.1, **settings)


def test_a_sample_has_a_lane_for_each_restart():
    assert Square(norm="linf", eps=0.1, restarts=3).lanes(10) == 3


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    # Standing of the first 100 test images after 500 queries: pyautoattack 0.2, mean of 3 seeds.
    ("norm", "theirs"),
    [("linf", 47.0), ("l2", 64.0), ("l1", 28.7)],
)
def test_as_many_fall_as_under_the_authors_code(norm, theirs, shared):
    net = cnn_a()
    file = torch.load(
        shared / "data/weights/cifar10/cifar_cnn_a_adv.model", map_location="cpu", weights_only=True
    )
    net.load_state_dict(file)
    mean, std = (
        torch.tensor(value).view(1, 3, 1, 1) for value in (CIFAR_MEAN, (0.2023, 0.1994, 0.2010))
    )

    def classifier(images):
        return net((images - mean) / std)

    with np.load(shared / "data/images/cifar10/cifar10_test_a.npz") as file:
        images = torch.from_numpy(file["x"][:100]).permute(0, 3, 1, 2).float() / 255
        labels = torch.from_numpy(file["y"][:100]).long()
    with torch.no_grad():
        right = classifier(images).argmax(1) == labels
        attack = Square(norm=norm, eps=EPS[norm])
        _, state = search(attack, classifier, images[right], labels[right], 500)

    assert int((state.loss < 0).sum()) <= theirs + 3
