"""FGSM: one step, as far as ball and box allow."""

from __future__ import annotations

import pytest
import torch
from attacks.crowd import Constant, Curved, images_of
from attacks.linear import DISTANCE, SHAPE, linear_model, mid_gray
from attacks.naive import walk

from holdfast.core.errors import BadValueError
from holdfast.perturb.attacks.fgsm import FGSM

EPS = {"linf": 8 / 255, "l2": 0.5, "l1": 3.0}
NORMS = list(EPS)


def gradient(model, image, label, target=None):
    """Of the cross-entropy of the label, or of minus that of the target, in float64."""
    leaf = image[None].double().requires_grad_(True)
    probabilities = ((leaf.flatten(1) - 0.5) @ model.inner.double()).tanh() @ model.outer.double()
    chances = probabilities.log_softmax(1)[0]
    score = -chances[label] if target is None else chances[target]
    return torch.autograd.grad(score, leaf)[0][0]


def stepped(norm, eps=None, image=None, seed=0, **settings):
    """Image, gradient and what FGSM asks for last."""
    model = Curved(SHAPE, 5, seed)
    image = images_of(SHAPE, 1, seed)[0] if image is None else image
    attack = FGSM(norm=norm, eps=eps or EPS[norm], **settings)
    seen = walk(attack, model, image, 1, target=settings.get("target", -1)).seen
    return image.double(), gradient(model, image, 1, settings.get("target")), seen[-1].double()


def test_the_linf_step_is_the_sign_of_the_gradient_clipped_to_the_box():
    image, slope, point = stepped("linf")

    torch.testing.assert_close(
        (image + 8 / 255 * slope.sign()).clamp(0, 1), point, rtol=0, atol=1e-7
    )


def test_the_l2_step_is_along_the_gradient_clipped_to_the_box():
    image, slope, point = stepped("l2")

    expected = (image + 0.5 * slope / slope.norm()).clamp(0, 1)
    torch.testing.assert_close(expected, point, rtol=0, atol=1e-6)


def test_no_feasible_point_has_a_higher_linear_score_than_the_l1_step():
    """The optimum of a linear program over ball and box, by its dual.

    For any price t of a unit of change, score <= t eps + sum(max(|g| - t, 0) room): the step
    attains the smallest of these bounds.
    """
    image, slope, point = stepped("l1")
    score = (slope * (point - image)).sum()

    rooms = torch.where(slope > 0, 1 - image, image).flatten()
    prices = slope.abs().flatten()
    bounds = 3 * prices + ((prices - prices[:, None]).clamp(min=0) * rooms).sum(1)
    torch.testing.assert_close(bounds.min(), score, rtol=1e-5, atol=0)


def test_the_l1_step_spends_all_of_eps_but_not_more():
    image, _, point = stepped("l1")

    assert (point - image).abs().sum().item() == pytest.approx(3, abs=1e-5)


def test_the_l1_step_stops_at_the_box_where_eps_is_larger_than_all_room():
    _, slope, point = stepped("l1", eps=1000)

    torch.testing.assert_close(torch.where(slope > 0, 1.0, 0.0).double(), point)


@pytest.mark.parametrize("norm", NORMS)
def test_it_takes_one_gradient_and_one_forward_pass(norm):
    model = Curved(SHAPE, 5)
    walked = walk(FGSM(norm=norm, eps=EPS[norm]), model, images_of(SHAPE, 1)[0], 1)

    assert [True, False] == walked.wanted


@pytest.mark.parametrize("norm", NORMS)
def test_the_gradient_is_taken_at_the_image_itself(norm):
    image = images_of(SHAPE, 1)[0]
    walked = walk(FGSM(norm=norm, eps=EPS[norm]), Curved(SHAPE, 5), image, 1)

    assert torch.equal(image, walked.seen[0])


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_changes_nothing(norm):
    image = images_of(SHAPE, 1)[0]
    walked = walk(FGSM(norm=norm, eps=EPS[norm]), Constant(4), image, 1)

    assert torch.equal(image, walked.seen[1])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_two_classes_on_a_line_fall_from_the_distance_on(norm, seed):
    model = linear_model(norm, 2, seed)
    for factor, fallen in ((0.999, False), (1.05, True)):
        attack = FGSM(norm=norm, eps=factor * DISTANCE[norm])
        logits = walk(attack, model, mid_gray(), 0).logits[-1]
        assert fallen == bool(logits[1] > logits[0])


def test_a_target_is_stepped_towards():
    image, slope, point = stepped("linf", target=3)

    torch.testing.assert_close(
        (image + 8 / 255 * slope.sign()).clamp(0, 1), point, rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("loss", ["margin", "dlr"])
def test_other_losses_step_elsewhere(loss):
    *_, expected = stepped("l2")
    *_, actual = stepped("l2", loss=loss)

    assert (expected - actual).abs().max() > 1e-4


@pytest.mark.parametrize("loss", ["cross_entropy", "margin", "dlr"])
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("target", [None, 0])
def test_each_loss_knows_any_number_of_classes(loss, classes, target):
    attack = FGSM(loss=loss, target=target)
    walked = walk(attack, Curved(SHAPE, classes), mid_gray(), 1, target=-1 if target is None else 0)

    assert not torch.equal(walked.seen[0], walked.seen[1])


def test_an_unknown_loss_is_refused():
    with pytest.raises(
        BadValueError, match="loss must be one of cross_entropy, margin, dlr, got 'cw'"
    ):
        FGSM(loss="cw")
