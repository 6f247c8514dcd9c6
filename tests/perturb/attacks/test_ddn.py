"""DDN: the published loop, what we do otherwise, and the norms of foolbox."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from attacks.crowd import Constant, Crowd, Curved, images_of, task_for
from attacks.linear import DISTANCE, Linear, distances, linear_model, mid_gray, size
from attacks.naive import walk
from attacks.smallest import CIFAR, smallest_norms
from torch.nn import functional as F

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.perturb.attacks.ddn import DDN

SHAPE = (3, 6, 5)


def published(model, image, label, steps, *, target=None):
    """Points of Rony et al. 2019, algorithm 1, one by one in float64."""
    image, eps, seen = image.double(), 1.0, []
    worst = torch.maximum(image, 1 - image).norm().item()
    point = image
    for step in range(steps + 1):
        seen.append(point)
        leaf = point.float()[None].requires_grad_(True)
        logits = model(leaf)
        wanted = label if target is None else target
        loss = F.cross_entropy(logits, torch.tensor([wanted])) * (1 if target is None else -1)
        (gradient,) = torch.autograd.grad(loss, leaf)
        given = int(logits.argmax())
        fallen = given != label if target is None else given == target
        length = 0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2
        delta = point - image + length * gradient[0].double() / gradient.double().norm()
        eps = min(eps * (0.95 if fallen else 1.05), worst)
        point = (image + eps * delta / delta.norm()).clamp(0, 1)
    return torch.stack(seen)


@pytest.mark.parametrize("target", [None, 2])
def test_without_probes_the_points_are_those_published(target):
    model, images = Curved(SHAPE, 4), images_of(SHAPE, 4)
    attack = DDN(steps=25, probes=0, target=target)
    task = task_for(images, model, target=-1 if target is None else target)
    crowd = Crowd(attack, model)
    crowd.join(task, torch.arange(4))
    records = crowd.run()

    for lane, image in enumerate(images):
        expected = published(model, image, int(task.labels[lane]), 25, target=target)
        torch.testing.assert_close(
            torch.stack(records[lane].images).double(), expected, atol=1e-4, rtol=0
        )


def test_a_lane_gets_its_steps_with_gradients_and_one_last_look():
    walked = walk(DDN(steps=30), Curved(SHAPE, 4), images_of(SHAPE, 1)[0], 0)

    assert [True] * 30 + [False] == walked.wanted


def test_the_first_probes_look_at_the_image_itself():
    image = images_of(SHAPE, 1)[0]

    walked = walk(DDN(steps=100, probes=4), Curved(SHAPE, 10), image, 0)

    assert [True] * 5 + [False] == [torch.equal(image, seen) for seen in walked.seen[:6]]


@pytest.mark.parametrize(
    ("settings", "classes", "count"),
    [
        ({"steps": 100}, 10, 9),
        ({"steps": 100}, 200, 9),
        ({"steps": 59}, 10, 5),
        ({"steps": 19}, 10, 0),
        ({"steps": 100}, 4, 3),
        ({"steps": 100}, 2, 0),
        ({"steps": 100, "probes": 1}, 10, 0),
        ({"steps": 100, "probes": 0}, 10, 0),
        ({"steps": 100, "target": 1}, 10, 0),
    ],
    ids=str,
)
def test_probes_are_at_most_a_tenth_of_the_steps_and_only_where_there_is_a_choice(
    settings, classes, count
):
    attack = DDN(**settings)
    target = -1 if attack.target is None else attack.target
    task = task_for(images_of(SHAPE, 2), Curved(SHAPE, classes), target=target)

    assert (2, count) == attack.start(task).probed.shape


def test_the_likeliest_wrong_classes_are_probed_in_their_order():
    model = Curved(SHAPE, 6)
    task = task_for(images_of(SHAPE, 3), model)

    probed = DDN(probes=3).start(task).probed

    ranked = task.logits.argsort(1, descending=True)
    assert torch.equal(ranked[:, 1:4], probed)


def test_after_the_probes_a_lane_aims_at_the_nearest_class():
    models = [linear_model("l2", 10, seed) for seed in range(6)]
    expected = [int(distances(model, 0, "l2").argmin()) for model in models]

    aims = [int(walk(DDN(steps=95), model, mid_gray(), 0).state.aims) for model in models]

    assert expected == aims
    assert expected != [int(model.bias[1:].argmax()) + 1 for model in models]


def test_the_radius_shrinks_after_a_success_and_grows_otherwise():
    model = linear_model("l2", 2, seed=0)
    walked = walk(DDN(init_norm=0.2, gamma=0.1), model, mid_gray(), 0)

    sizes = [size(image - mid_gray(), "l2") for image in walked.seen]
    fell = [logits.argmax() != 0 for logits in walked.logits]

    expected = [0.2 * 1.1]
    for fallen in fell[1:-1]:
        expected.append(expected[-1] * (0.9 if fallen else 1.1))
    assert pytest.approx(expected, rel=1e-4) == sizes[1:]
    assert 0.9 * DISTANCE["l2"] < sizes[-1] < 1.1 * DISTANCE["l2"] / 0.9


def test_a_radius_beyond_the_box_is_cut_to_the_box():
    model, image = Linear(torch.eye(2, 90), torch.tensor([1e6, 0.0])), images_of(SHAPE, 1)[0]

    walked = walk(DDN(steps=20, init_norm=1e6), model, image, 0)

    assert walked.state.eps == walked.state.limit
    assert walked.state.limit.item() == pytest.approx(torch.maximum(image, 1 - image).norm().item())


def test_a_sure_model_whose_softmax_rounds_to_one_has_a_gradient():
    model = linear_model("l2", 3, seed=0)
    sure = Linear(model.weight * 1e4, model.bias * 1e4)

    walked = walk(DDN(), sure, mid_gray(), 0)

    found = [d for d, z in zip(walked.seen, walked.logits, strict=True) if z.argmax() != 0]
    assert min(size(image - mid_gray(), "l2") for image in found) < 1.01 * DISTANCE["l2"]


def test_a_zero_gradient_gives_another_random_direction_each_step():
    model, image = Constant(3), torch.full(SHAPE, 0.5)

    first = walk(DDN(steps=8), model, image, 0, seed=0).seen
    other = walk(DDN(steps=8), model, image, 0, seed=1).seen

    assert pytest.approx(1.05, rel=1e-5) == size(first[1] - image, "l2")
    assert not torch.equal(first[1], other[1])
    steps = [(after - before).flatten() for before, after in pairwise(first)]
    assert all(abs(F.cosine_similarity(a, b, dim=0)) < 0.9 for a, b in pairwise(steps))


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_another_norm_is_refused_with_a_hint(norm):
    with pytest.raises(BadValueError, match=f"write norm=l2, or take fmn.*got norm={norm}"):
        DDN(norm=norm)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"gamma": 1.0}, BadValueError, "must be below 1, as in gamma=0.05, got 1.0"),
        ({"gamma": 0.0}, BadValueError, "gamma must be above 0"),
        ({"gamma": "much"}, BadTypeError, "gamma must be a number, got 'much'"),
        ({"init_norm": -1.0}, BadValueError, "init_norm must be above 0"),
        ({"init_norm": math.nan}, BadValueError, "init_norm must be above 0 and finite"),
        ({"init_norm": True}, BadTypeError, "init_norm must be a number"),
        ({"probes": -1}, BadValueError, "probes must be a whole number from 0, got -1"),
        ({"probes": 0.0}, BadTypeError, "probes must be a whole number from 0, got 0.0"),
        ({"probes": False}, BadTypeError, "probes must be a whole number from 0, got False"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        DDN(**settings)


@pytest.mark.slow
@pytest.mark.shared
def test_the_mean_norm_is_at_most_that_of_foolbox(shared):
    """DDNAttack(steps=100) of foolbox 3.3.4, the same 50 images."""
    judged = {"cnn_a_adv": 0.52478, "resnet20": 0.10327}

    for net, mean in judged.items():
        norms = smallest_norms(DDN(), *CIFAR[net], shared, count=50)
        assert norms.mean() <= 1.05 * mean
