"""FMN: the published loop, what we do otherwise, and the norms of foolbox."""

from __future__ import annotations

import math

import pytest
import torch
from attacks.crowd import Constant, Crowd, Curved, images_of, task_for
from attacks.linear import DUAL, ORDER, Linear, distances, linear_model, mid_gray, size
from attacks.naive import walk
from attacks.smallest import CIFAR, smallest_norms

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.perturb.attacks.fmn import FMN

SHAPE = (3, 6, 5)
NORMS = ("linf", "l2", "l1")


def projected(delta, norm, eps):
    """Nearest point of a ball, float64 [D]; L1 by sorting, as Duchi et al. 2008."""
    if norm == "linf":
        return delta.clamp(-eps, eps)
    if norm == "l2":
        return delta * min(1, eps / delta.norm().clamp_min(1e-12))
    if delta.abs().sum() <= eps:
        return delta
    ranked = delta.abs().sort(descending=True).values
    excess = (ranked.cumsum(0) - eps) / torch.arange(1, len(delta) + 1)
    threshold = excess[ranked > excess][-1]
    return delta.sign() * (delta.abs() - threshold).clamp_min(0)


def published(model, image, label, norm, steps, *, target=None):
    """Points of Pintor et al. 2021, algorithm 1, one by one in float64; the box is far.

    One thing is ours: the factor 1 + gamma before the first success.
    """
    image, eps, best, seen = image.double().flatten(), math.inf, math.inf, []
    delta = torch.zeros_like(image)
    for step in range(steps + 1):
        seen.append(image + delta)
        leaf = seen[-1].float().view(1, *SHAPE).requires_grad_(True)
        logits = model(leaf)[0]
        wanted = label if target is None else target
        others = torch.cat([logits[:wanted], logits[wanted + 1 :]]).max()
        loss = (others - logits[wanted]) * (1 if target is None else -1)
        gradient = torch.autograd.grad(loss, leaf)[0].double().flatten()
        cosine = (1 + math.cos(math.pi * step / steps)) / 2
        length, gamma = 0.01 + 0.99 * cosine, 0.001 + 0.049 * cosine
        length_now = float(torch.linalg.vector_norm(delta, ord=ORDER[norm]))
        if loss > 0:
            best = min(best, length_now)
            eps = min(eps * (1 - gamma), best)
        else:
            slope = torch.linalg.vector_norm(gradient, ord=DUAL[norm])
            boundary = length_now + abs(loss.item()) / float(slope)
            eps = (eps if best < math.inf else boundary) * (1 + gamma)
        delta = projected(delta + length * gradient / gradient.norm(), norm, eps)
    return torch.stack(seen).view(-1, *SHAPE)


@pytest.mark.parametrize("target", [None, 1])
@pytest.mark.parametrize("norm", NORMS)
def test_without_probes_the_points_are_those_published(norm, target):
    model, images = Curved(SHAPE, 4, seed=5), images_of(SHAPE, 3) * 0.1 + 0.45
    attack = FMN(norm=norm, steps=25, probes=0, target=target)
    task = task_for(images, model, target=-1 if target is None else target)
    crowd = Crowd(attack, model)
    crowd.join(task, torch.arange(3))
    records = crowd.run()

    for lane, image in enumerate(images):
        expected = published(model, image, int(task.labels[lane]), norm, 25, target=target)
        assert 0 < expected.min() and expected.max() < 1
        actual = torch.stack(records[lane].images).double()
        torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_a_lane_gets_its_steps_with_gradients_and_one_last_look():
    walked = walk(FMN(steps=30), Curved(SHAPE, 4), images_of(SHAPE, 1)[0], 0)

    assert [True] * 30 + [False] == walked.wanted


@pytest.mark.parametrize("norm", NORMS)
def test_the_first_step_after_the_probes_is_towards_the_nearest_class(norm):
    """Its radius is 1.05 times the distance by linearization, here the true one."""
    model = linear_model(norm, 10, seed=4)
    bounds = distances(model, 0, norm)
    likeliest = int(model.bias[1:].argmax()) + 1

    walked = walk(FMN(norm=norm), model, mid_gray(), 0)

    assert [torch.equal(mid_gray(), seen) for seen in walked.seen[:11]] == [True] * 10 + [False]
    assert pytest.approx(1.05 * float(bounds.min()), rel=1e-4) == size(walked.seen[10] - 0.5, norm)
    assert bounds[likeliest] > 1.2 * bounds.min()


def test_the_walk_after_the_probes_is_that_of_the_steps_left():
    model = linear_model("linf", 3, seed=5)
    assert int(distances(model, 0, "linf").argmin()) == int(model.bias[1:].argmax()) + 1

    walked = walk(FMN(steps=40), model, mid_gray(), 0)

    expected = walk(FMN(steps=38, probes=0), model, mid_gray(), 0)
    torch.testing.assert_close(torch.stack(expected.seen), torch.stack(walked.seen[2:]))


def test_the_radius_of_a_lane_that_never_falls_ends_at_the_box():
    model, image = Linear(torch.eye(2, 90), torch.tensor([1e6, 0.0])), images_of(SHAPE, 1)[0]

    state = walk(FMN(norm="l2", steps=5), model, image, 0).state

    assert state.limit == state.eps
    assert pytest.approx(torch.maximum(image, 1 - image).norm().item()) == state.limit.item()


def test_a_success_sets_the_aim_free():
    walked = walk(FMN(), linear_model("linf", 10, seed=0), mid_gray(), 0)

    assert -1 == walked.state.aims and walked.state.best < math.inf


def test_a_success_does_not_free_a_targeted_lane():
    walked = walk(FMN(target=3), linear_model("linf", 10, seed=0), mid_gray(), 0, target=3)

    assert 3 == walked.state.aims and walked.state.best < math.inf


def test_a_wrong_class_is_no_success_of_a_targeted_lane():
    model = Linear(torch.eye(3, 90), torch.tensor([0.0, 5.0, -5.0]))

    walked = walk(FMN(target=2, steps=5), model, images_of(SHAPE, 1)[0], 0, target=2)

    assert math.inf == walked.state.best


@pytest.mark.parametrize("norm", NORMS)
def test_a_lane_whose_steps_the_box_cuts_gets_there_all_the_same(norm):
    """Nine of ten pixels are at the edge that the gradient points to."""
    free = torch.arange(90) % 10 == 0
    image = torch.where(free, 0.5, 1.0).view(SHAPE)
    # The whole room of the free pixels is 9 * 0.5; the class changes at a quarter of it.
    model = Linear(torch.stack([torch.zeros(90), torch.ones(90)]), torch.tensor([0.0, 0.0]))
    model.bias[0] = model(image[None])[0, 1] + 0.25 * 9 * 0.5

    walked = walk(FMN(norm=norm, steps=40), model, image, 0)

    nearest = {"linf": 0.125, "l2": 0.125 * 3, "l1": 0.125 * 9}[norm]
    assert pytest.approx(nearest, rel=0.01) == walked.state.best.item()


def test_a_zero_gradient_does_not_hold_a_lane_at_the_image():
    image = torch.full(SHAPE, 0.5)

    first = walk(FMN(norm="l2", steps=8), Constant(3), image, 0, seed=0).seen
    other = walk(FMN(norm="l2", steps=8), Constant(3), image, 0, seed=1).seen

    assert pytest.approx(1.0, rel=1e-5) == size(first[1] - image, "l2")
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize("scale", [1e-24, 1e-30])
def test_gradients_whose_squares_underflow_are_followed(scale):
    model = linear_model("l2", 2, seed=0)
    faint = Linear(model.weight * scale, model.bias * scale)

    plain = walk(FMN(norm="l2", steps=10), model, mid_gray(), 0)
    walked = walk(FMN(norm="l2", steps=10), faint, mid_gray(), 0)

    direction = (model.weight[1] - model.weight[0]).view(3, 4, 4)
    deltas = walked.seen[1] - mid_gray()
    assert torch.allclose(direction / direction.norm(), deltas / deltas.norm(), atol=1e-5)
    assert plain.state.best < math.inf


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"step_size": 0.0}, BadValueError, "step_size must be above 0"),
        ({"step_size": math.inf}, BadValueError, "step_size must be above 0 and finite"),
        ({"step_size": "big"}, BadTypeError, "step_size must be a number, got 'big'"),
        ({"gamma": 1.5}, BadValueError, "must be below 1, as in gamma=0.05, got 1.5"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        FMN(**settings)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("norm", "net", "mean"),
    [
        ("linf", "cnn_a_adv", 0.01635),
        ("linf", "resnet20", 0.00276),
        ("l1", "cnn_a_adv", 4.68900),
        ("l1", "resnet20", 1.33962),
        # In L2 foolbox's FMN does not project; its DDN is the judge.
        ("l2", "cnn_a_adv", 0.52478),
        ("l2", "resnet20", 0.10327),
    ],
)
def test_the_mean_norm_is_at_most_that_of_foolbox(shared, norm, net, mean):
    """LInfFMNAttack, L1FMNAttack and DDNAttack (steps=100) of foolbox 3.3.4, the same 50 images."""
    norms = smallest_norms(FMN(norm=norm), *CIFAR[net], shared, count=50)

    assert norms.mean() <= 1.05 * mean
