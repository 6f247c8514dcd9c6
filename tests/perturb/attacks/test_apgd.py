"""APGD against a plain one-lane reading of the papers, closed forms and its budget."""

from __future__ import annotations

import math

import pytest
import torch
from attacks.crowd import Constant, Crowd, Curved, OneByOne, images_of, part_of, task_for
from attacks.judges import Checkpoints, Judge, judged_momentum, judged_sparse, onto_l1
from attacks.linear import DISTANCE, SHAPE, linear_model, mid_gray, size
from attacks.naive import walk

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.perturb.attacks._apgd_momentum import checkpoints
from holdfast.perturb.attacks._apgd_sparse import plan
from holdfast.perturb.attacks.apgd import APGD
from holdfast.perturb.attacks.base import Answer

EPS = {"linf": 12 / 255, "l2": 0.4, "l1": 0.8}  # DLR is flat where the label is the third class
NORMS = list(EPS)
LARGE = (3, 6, 7)
LOSSES = ["cross_entropy", "dlr", "targeted_dlr"]


def walked(attack, image=None, model=None):
    """Images that a lane asks for, float64, and its aim."""
    image = images_of(LARGE, 1)[0] if image is None else image
    model = model or Curved(LARGE, 10)
    result = walk(attack, model, image, predicted(model, image))
    return torch.stack(result.seen).double(), int(result.state.aims[0])


def predicted(model, image):
    with torch.no_grad():
        return int(model(image[None]).argmax())


def judged(attack, seed, start, aim):
    """What a plain reading of the paper asks for from the same start."""
    image, model = images_of(LARGE, 1, seed)[0], Curved(LARGE, 10, seed)
    judge = Judge(model, attack.loss, predicted(model, image), aim)
    image = image.double()
    eps = float(attack.eps)
    if attack.norm != "l1":
        judged_momentum(judge, image, start, attack.norm, eps, attack.steps)
    elif not attack.large_eps:
        judged_sparse(judge, image, start, eps, attack.steps, kept=0.2)
    else:
        lengths = [math.ceil(0.3 * attack.steps)] * 2
        lengths.append(attack.steps - sum(lengths))
        for factor, length in zip((3, 2, 1), lengths, strict=True):
            start = onto_l1(image, start, factor * eps) if judge.points else start
            start = judged_sparse(judge, image, start, factor * eps, length)
    return judge


def assert_same_way(attack, seed, least):
    """Equal to the judge's points as long as rounding decides nothing: at least for so many."""
    actual, aim = walked(attack, images_of(LARGE, 1, seed)[0], Curved(LARGE, 10, seed))
    judge = judged(attack, seed, actual[0], aim)
    many = min(len(actual), judge.certain)

    assert len(actual) == len(judge.points) and many >= least
    torch.testing.assert_close(torch.stack(judge.points)[:many], actual[:many], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("norm", "loss", "seed", "least"),
    [
        ("linf", "cross_entropy", 1, 25),
        ("linf", "cross_entropy", 7, 25),
        ("linf", "dlr", 1, 41),
        ("linf", "targeted_dlr", 1, 41),
        ("linf", "targeted_dlr", 3, 41),
        ("l2", "cross_entropy", 1, 41),
        ("l2", "dlr", 3, 41),
        ("l2", "targeted_dlr", 1, 41),
    ],
)
def test_every_point_is_that_of_the_paper(norm, loss, seed, least):
    assert_same_way(APGD(norm=norm, eps=EPS[norm], steps=40, loss=loss), seed, least)


@pytest.mark.parametrize(
    ("steps", "large_eps", "loss", "seed", "least"),
    [
        (60, False, "cross_entropy", 0, 14),
        (60, False, "dlr", 7, 21),
        (60, False, "targeted_dlr", 1, 61),
        (60, False, "targeted_dlr", 3, 61),
        (25, True, "dlr", 1, 28),
        (25, True, "targeted_dlr", 1, 28),
    ],
)
def test_every_l1_point_is_that_of_the_paper(steps, large_eps, loss, seed, least):
    attack = APGD(norm="l1", eps=EPS["l1"], steps=steps, loss=loss, large_eps=large_eps)

    assert_same_way(attack, seed, least)


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_steps_are_halved_after_any_losses_as_in_the_authors_code(steps):
    """Losses that rise, fall, stay and change sign; counted on the way, or looked back on."""
    numbers = torch.Generator().manual_seed(steps)
    lanes, rising = 200, torch.randint(-1, 3, (200, 1), generator=numbers)
    losses = torch.randint(-1, 2, (lanes, steps + 1), generator=numbers)
    losses = (losses + rising.clamp(max=1)).clamp(min=-1).cumsum(1)
    losses -= torch.randint(1, 2 * steps, (lanes, 1), generator=numbers)
    attack, model = APGD(steps=steps, eps=0.1), Constant(2)
    state = attack.start(task_for(images_of((1, 1, 2), lanes), model))

    actual = []
    for scores in losses.T[:, :, None].float():
        state = attack.tell(state, Answer(scores, scores, torch.zeros(lanes, 1, 1, 1, 2)))
        actual.append(state.lengths.clone())

    for row, own in enumerate(losses.tolist()):
        checkpoints = Checkpoints(steps, lambda now, then: now > then)
        halvings = [checkpoints.stalled(own[k], max(own[: k + 1])) for k in range(1, steps)]
        expected = [0.2 / 2 ** sum(halvings[:k]) for k in range(steps)]
        torch.testing.assert_close(expected, [float(lengths[row]) for lengths in actual[:-1]])


def test_an_l1_lane_goes_back_to_a_best_point_that_became_sparser():
    """With the gradient there: pixel 7 where the loss was largest, 9 elsewhere."""
    attack, image = APGD(norm="l1", eps=1, steps=100, large_eps=False), mid_gray()
    state, seen = attack.start(task_for(image[None], Constant(2))), []

    for loss in (0.0, 1.0, 0.0, 0.0, 0.0):  # the first checkpoint is after 4 steps
        seen.append(state.points[0].double())
        slope = torch.eye(48)[7 if loss else 9].view(1, 1, *SHAPE)
        scores = torch.tensor([[loss]])
        state = attack.tell(state, Answer(scores, scores, slope))

    expected = onto_l1(image.double(), seen[1] + torch.eye(48)[7].view(SHAPE), 1.0)
    torch.testing.assert_close(expected, state.points[0].double(), rtol=0, atol=1e-6)


def test_a_stage_whose_last_point_is_its_best_hands_that_on():
    """Though no gradient was asked for there: the loss is taken from the logits."""
    attack, image = APGD(norm="l1", eps=1, steps=10), mid_gray()
    state = attack.start(task_for(image[None], Constant(2)))
    slope, flat = torch.eye(48)[9].view(1, 1, *SHAPE), torch.zeros(1, 1)

    for _ in range(3):
        state = attack.tell(state, Answer(torch.zeros(1, 2), flat, slope))
    last = state.points[0].double()
    none = Answer(torch.tensor([[0.0, 5.0]]), flat[:, :0], slope[:, :0])
    state = attack.tell(state, none)

    expected = onto_l1(image.double(), last, 2.0)
    torch.testing.assert_close(expected, state.points[0].double(), rtol=0, atol=1e-6)


def test_checkpoints_of_100_steps_are_those_of_the_paper():
    needed = checkpoints(100, 0.75)

    assert [22, 41, 57, 70, 80, 87, 93, 99] == (needed >= 0).nonzero().view(-1).tolist()
    assert [16.5, 14.25, 12.0, 9.75, 7.5, 5.25, 4.5, 4.5] == needed[needed >= 0].tolist()


def test_checkpoints_of_a_few_steps_follow_each_other():
    assert [-1.0, 0.5, 0.5, 0.5] == checkpoints(3, 0.5).tolist()


@pytest.mark.parametrize(
    ("steps", "lengths"),
    [(1, [1, 0, 0]), (4, [2, 2, 0]), (5, [2, 2, 1]), (10, [3, 3, 4]), (100, [30, 30, 40])],
)
def test_larger_eps_take_30_percent_of_the_steps_each(steps, lengths):
    starts = plan(steps, large_eps=True)

    assert lengths == starts.steps_left[starts.first].tolist()
    assert [3.0, 2.0, 1.0] == starts.radius[starts.first].tolist()


@pytest.mark.parametrize("steps", [1, 4, 7])
@pytest.mark.parametrize("norm", NORMS)
def test_the_budget_is_the_steps_and_a_forward_pass(norm, steps):
    large_eps = False if norm == "l1" else None
    attack = APGD(norm=norm, eps=EPS[norm], steps=steps, large_eps=large_eps)

    wanted = walk(attack, Curved(SHAPE, 5), mid_gray(), 1).wanted

    assert [True] * steps + [False] == wanted


def test_each_stage_of_larger_eps_evaluates_its_start_again():
    wanted = walk(APGD(norm="l1", eps=1, steps=10), Curved(SHAPE, 5), mid_gray(), 1).wanted

    assert ([True] * 3 + [False]) * 2 + [True] * 4 + [False] == wanted


def test_each_stage_stays_in_its_own_ball():
    points, _ = walked(APGD(norm="l1", eps=2, steps=10))

    sizes = [size(point - images_of(LARGE, 1)[0], "l1") for point in points]
    limits = [6] * 4 + [4] * 4 + [2] * 5
    assert all(s <= limit * (1 + 1e-6) for s, limit in zip(sizes, limits, strict=True))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_lane_starts_on_the_sphere(norm):
    eps = 0.3 if norm != "l1" else 1.0
    attack = APGD(norm=norm, eps=eps, large_eps=False if norm == "l1" else None)

    points, _ = walked(attack, torch.full(LARGE, 0.5))

    assert size(points[0] - 0.5, norm) == pytest.approx(eps, rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_changes_nothing(norm):
    attack = APGD(norm=norm, eps=EPS[norm], steps=8, large_eps=False if norm == "l1" else None)

    points, _ = walked(attack, model=Constant(4))

    torch.testing.assert_close(points[:1].expand_as(points), points, rtol=0, atol=2e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_lanes_at_different_steps_do_not_meet(norm):
    """Bit by bit, over checkpoints and stages, whoever stands beside a lane."""
    model = OneByOne(Curved(SHAPE, 5))
    attack = APGD(norm=norm, eps=EPS[norm], steps=12)
    task = task_for(images_of(SHAPE, 5), model)
    crowd = Crowd(attack, model)
    for row in (4, 2, 0, 1, 3):
        crowd.join(part_of(task, torch.tensor([row])), torch.tensor([row]))
        crowd.run(turns=3)

    actual = crowd.run()

    for row in range(5):
        alone = Crowd(attack, model)
        alone.join(part_of(task, torch.tensor([row])), torch.tensor([row]))
        expected = alone.run()[row].images
        assert torch.equal(torch.stack(expected), torch.stack(actual[row].images))


def fallen(attack, model, classes, norm):
    """Whether any lane shows an image within eps that is not given the class 0."""
    for number in range(attack.lanes(classes)):
        result = walk(attack, model, mid_gray(), 0, lane=number)
        for image, logits in zip(result.seen, result.logits, strict=True):
            inside = size(image - 0.5, norm) <= float(attack.eps) * (1 + 1e-6)
            if inside and logits.argmax() != 0:
                return True
    return False


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("norm", NORMS)
def test_two_classes_on_a_line_fall_from_the_distance_on(norm, seed):
    model = linear_model(norm, 2, seed)

    for loss in LOSSES:
        for factor, expected in ((0.999, False), (1.05, True)):
            attack = APGD(norm=norm, eps=factor * DISTANCE[norm], loss=loss, steps=50)
            assert expected == fallen(attack, model, 2, norm)


@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize("norm", NORMS)
def test_many_classes_on_a_line_fall_to_targets_from_the_distance_on(norm, classes):
    model = linear_model(norm, classes, 0)

    for factor, expected in ((0.999, False), (1.05, True)):
        eps = factor * DISTANCE[norm]
        attack = APGD(norm=norm, eps=eps, loss="targeted_dlr", steps=40)
        assert expected == fallen(attack, model, classes, norm)


@pytest.mark.parametrize("loss", ["cross_entropy", "targeted_dlr"])
@pytest.mark.parametrize("norm", NORMS)
def test_a_target_of_the_user_overtakes_the_label(norm, loss):
    attack = APGD(norm=norm, eps=4 * DISTANCE[norm], target=7, loss=loss, steps=40)

    result = walk(attack, linear_model(norm, 10, 0), mid_gray(), 0, target=7)

    logits = torch.stack(result.logits)
    assert (logits[:, 7] > logits[:, 0]).any()
    if loss == "cross_entropy":
        assert (logits.argmax(1) == 7).any()


def aims(attack, logits, label):
    """Class that each lane of a sample aims at."""

    def model(images):
        return torch.tensor([logits]) + images.flatten(1).sum(1, keepdim=True) * 0

    lanes = range(attack.lanes(len(logits)))
    tasks = [task_for(mid_gray()[None], model, lane=k, labels=torch.tensor([label])) for k in lanes]
    return [attack.start(task).aims.item() for task in tasks]


def test_lanes_aim_at_the_wrong_classes_in_order_of_their_clean_logits():
    attack = APGD(loss="targeted_dlr", targets=3)

    assert [4, 0, 3] == aims(attack, [2.0, 5.0, -1.0, 0.0, 3.0], 1)


def test_no_lane_aims_at_the_label_of_a_sample_that_is_misclassified():
    attack = APGD(loss="targeted_dlr", targets=3)

    assert [1, 4, 3] == aims(attack, [2.0, 5.0, -1.0, 0.0, 3.0], 0)


def test_each_target_gets_all_its_restarts_before_the_next():
    attack = APGD(loss="targeted_dlr", targets=2, restarts=2)

    assert [4, 4, 0, 0] == aims(attack, [2.0, 5.0, -1.0, 0.0, 3.0], 1)


@pytest.mark.parametrize(
    ("settings", "classes", "lanes"),
    [
        ({"restarts": 3}, 10, 3),
        ({"loss": "targeted_dlr"}, 10, 9),
        ({"loss": "targeted_dlr"}, 1000, 9),
        ({"loss": "targeted_dlr", "restarts": 2}, 4, 6),
        ({"loss": "targeted_dlr", "targets": 5}, 10, 5),
        ({"loss": "targeted_dlr", "restarts": 2, "target": "second"}, 10, 2),
        ({"restarts": 2}, 2, 2),
    ],
    ids=str,
)
def test_lanes_are_restarts_of_the_classes_aimed_at(settings, classes, lanes):
    assert lanes == APGD(**settings).lanes(classes)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"targets": 9}, BadValueError, "leave it out, got targets=9, loss=cross_entropy"),
        ({"loss": "targeted_dlr", "target": 3, "targets": 2}, BadValueError, "target=3"),
        ({"loss": "targeted_dlr", "targets": 0}, BadValueError, "targets must be at least 1"),
        ({"large_eps": True}, BadValueError, "large_eps=True is for norm=l1, got norm=linf"),
        ({"large_eps": "yes"}, BadTypeError, "large_eps must be True or False, got 'yes'"),
        ({"rho": 1.5}, BadValueError, "rho must be from 0 to 1, got 1.5"),
        ({"steps": 0}, BadValueError, "steps must be at least 1, got 0"),
        ({"restarts": 0}, BadValueError, "restarts must be at least 1, got 0"),
        ({"loss": "margin"}, BadValueError, "loss must be one of cross_entropy, dlr, targeted_dlr"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        APGD(**settings)


def test_settings_that_mean_the_same_are_equal():
    assert APGD(large_eps=False) == APGD()
    assert APGD(norm="l1", large_eps=True) == APGD(norm="l1")
    assert APGD(loss="targeted_dlr", targets=9) == APGD(loss="targeted_dlr")
