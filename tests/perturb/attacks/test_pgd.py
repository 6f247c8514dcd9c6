"""PGD against plain one-lane formulas, closed forms and its budget."""

from __future__ import annotations

import math

import pytest
import torch
from attacks.crowd import Constant, Curved, images_of
from attacks.judges import brought_back
from attacks.linear import DISTANCE, SHAPE, linear_model, mid_gray, size
from attacks.naive import walk

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.perturb.attacks._steps import sparse_signs
from holdfast.perturb.attacks.pgd import PGD

EPS = {"linf": 16 / 255, "l2": 0.5, "l1": 3.0}
NORMS = list(EPS)
LARGE = (3, 10, 10)  # 300 entries, of which an L1 step changes 3


def slope_of(model, point, label):
    """Gradient of the cross-entropy of the label, in float64."""
    leaf = point.double().requires_grad_(True)
    logits = ((leaf.flatten() - 0.5) @ model.inner.double()).tanh() @ model.outer.double()
    return torch.autograd.grad(-logits.log_softmax(0)[label], leaf)[0]


def judged_step(norm, slope, point, length):
    if norm == "linf":
        return length * slope.sign()
    if norm == "l2":
        return length * slope / slope.norm()
    held = ((point >= 1) & (slope > 0)) | ((point <= 0) & (slope < 0))
    free = torch.where(held, 0, slope)
    least = free.abs().flatten().sort(descending=True).values[2]  # 1 % of 300 entries
    kept = free.sign() * (free.abs() >= least)
    return length * kept / kept.abs().sum()


def judged(model, image, start, attack, length):
    """All points of a PGD lane, in float64, as the papers have it."""
    image, point = image.double(), start.double()
    eps, points, velocity = float(attack.eps), [start.double()], 0
    for _ in range(attack.steps):
        slope = slope_of(model, point, 1)
        velocity = attack.momentum * velocity + slope / slope.abs().sum()
        step = judged_step(attack.norm, velocity if attack.momentum else slope, point, length)
        point = brought_back(attack.norm, image, point + step, eps)
        points.append(point)
    return torch.stack(points)


def lane(attack, image=None, model=None, **where):
    """Images that a lane asks for, float64."""
    image = images_of(LARGE, 1)[0] if image is None else image
    model = model or Curved(LARGE, 5)
    return torch.stack(walk(attack, model, image, 1, **where).seen).double()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("momentum", [0.0, 0.75])
def test_every_point_is_that_of_the_papers(norm, momentum):
    attack = PGD(norm=norm, eps=EPS[norm], steps=12, momentum=momentum)

    actual = lane(attack)

    image = images_of(LARGE, 1)[0]
    expected = judged(Curved(LARGE, 5), image, actual[0], attack, 2.5 * EPS[norm] / 12)
    torch.testing.assert_close(expected, actual, rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_steps_of_a_length_that_is_given_are_that_long(norm):
    attack = PGD(norm=norm, eps=0.4, step_size=0.0625, random_start=False, steps=1)

    first, second = lane(attack, torch.full(LARGE, 0.5))

    assert size(second - first, norm) == pytest.approx(0.0625, rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_random_start_the_first_point_is_the_image(norm):
    image = images_of(LARGE, 1)[0]

    assert torch.equal(image.double(), lane(PGD(norm=norm, eps=0.1, random_start=False), image)[0])


def test_a_random_linf_start_fills_the_ball():
    deltas = lane(PGD(eps=0.1, steps=1), torch.full(LARGE, 0.5))[0] - 0.5

    assert deltas.abs().max() <= 0.1
    assert deltas.abs().mean().item() == pytest.approx(0.05, abs=0.005)  # 3 standard errors


@pytest.mark.parametrize("norm", NORMS)
def test_every_lane_of_a_sample_starts_elsewhere(norm):
    attack = PGD(norm=norm, eps=EPS[norm], restarts=2)
    image = images_of(SHAPE, 1)[0]
    starts = [lane(attack, image, Curved(SHAPE, 5), lane=number)[0] for number in (0, 1)]

    assert not torch.equal(starts[0], starts[1])


def test_lanes_are_restarts():
    assert PGD(restarts=7).lanes(10) == 7


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [1, 5])
def test_the_budget_is_the_steps_and_a_forward_pass(norm, steps):
    walked = walk(PGD(norm=norm, eps=EPS[norm], steps=steps), Curved(SHAPE, 5), mid_gray(), 1)

    assert [True] * steps + [False] == walked.wanted


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_zero_gradient_changes_nothing(norm, momentum):
    points = lane(PGD(norm=norm, eps=EPS[norm], steps=3, momentum=momentum), model=Constant(4))

    torch.testing.assert_close(points[:1].expand_as(points), points, rtol=0, atol=2e-7)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_two_classes_on_a_line_fall_from_the_distance_on(norm, seed, loss):
    model = linear_model(norm, 2, seed)
    for factor, fallen in ((0.999, False), (1.05, True)):
        attack = PGD(norm=norm, eps=factor * DISTANCE[norm], loss=loss)
        logits = torch.stack(walk(attack, model, mid_gray(), 0).logits)
        assert fallen == bool((logits[:, 1] > logits[:, 0]).any())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [3, 10])
@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
def test_a_target_is_reached_on_a_linear_model(norm, classes, loss):
    model, target = linear_model(norm, classes, 0), 2
    attack = PGD(norm=norm, eps=EPS[norm] * 4, target=target, loss=loss)

    logits = walk(attack, model, mid_gray(), 0, target=target).logits

    # The targeted DLR only compares the target with the label.
    leads = [(z[target] - (z[0] if loss == "dlr" else z[z != z[target]].max())) for z in logits]
    assert max(leads) > 0


def test_pixels_that_the_box_holds_take_no_part_in_an_l1_step():
    attack = PGD(norm="l1", eps=1, step_size=0.3, random_start=False, steps=1)
    model, image = Curved(LARGE, 5), torch.full(LARGE, 0.5)
    order = slope_of(model, image, 1).abs().flatten().argsort(descending=True)
    image.view(-1)[order[:3]] = (slope_of(model, image, 1).flatten()[order[:3]] > 0).float()
    slope = slope_of(model, image, 1)
    held = ((image >= 1) & (slope > 0)) | ((image <= 0) & (slope < 0))

    first, second = lane(attack, image, model)

    assert held.sum() == 3 and ((second != first) & held).sum() == 0
    assert (second != first).sum() == 3


def test_equal_entries_share_an_l1_step():
    gradients = torch.tensor([[3.0, -3.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, -2.0, 0.0, 0.0]])
    expected = torch.tensor([[0.5, -0.5, 0, 0], [0, 0, 0, 0], [0, -1, 0, 0]])

    actual = sparse_signs(gradients.view(3, 1, 2, 2), torch.tensor([3, 3, 0]))

    assert torch.equal(expected, actual.view(3, 4))


def test_restarts_without_a_random_start_are_refused():
    with pytest.raises(BadValueError, match="restarts=2 without a random start"):
        PGD(restarts=2, random_start=False)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"steps": 0}, BadValueError, "steps must be at least 1, got 0"),
        ({"steps": 2.5}, BadTypeError, "steps must be a whole number, got 2.5"),
        ({"restarts": True}, BadTypeError, "restarts must be a whole number, got True"),
        ({"momentum": -0.1}, BadValueError, "momentum must be from 0 to 1, got -0.1"),
        ({"momentum": math.nan}, BadValueError, "momentum must be from 0 to 1, got nan"),
        ({"momentum": "big"}, BadTypeError, "momentum must be a number, got 'big'"),
        ({"step_size": 0}, BadValueError, "step_size must be above 0 and finite, got 0"),
        ({"step_size": "2"}, BadTypeError, "step_size must be a number such as 2/255, got '2'"),
        ({"loss": "targeted_dlr"}, BadValueError, "loss must be one of cross_entropy, margin, dlr"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        PGD(**settings)


def test_a_step_size_of_whole_255ths_becomes_a_fraction():
    assert str(PGD(step_size=2 / 255).step_size) == "2/255"
