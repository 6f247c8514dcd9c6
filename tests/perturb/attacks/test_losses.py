"""What the losses are worth, where they lead, and that samples never meet."""

from __future__ import annotations

import math

import pytest
import torch

from holdfast.core.errors import BadValueError
from holdfast.perturb.attacks import losses

UNTARGETED = {"cross_entropy": 2, "margin": 2, "dlr": 3}
TARGETED = {
    "targeted_cross_entropy": 2,
    "targeted_margin": 2,
    "margin_to_aim": 2,
    "targeted_dlr": 4,
}
LEAST = UNTARGETED | TARGETED
EVERY = [(name, k) for name, least in LEAST.items() for k in (2, 3, 4, 10) if k >= least]

every_loss = pytest.mark.parametrize(("name", "classes"), EVERY)


def drawn(classes, count=40, dtype=torch.float64):
    """Logits, labels and aims that are not the label."""
    generator = torch.Generator().manual_seed(classes)
    logits = 3 * torch.randn(count, classes, generator=generator, dtype=dtype)
    labels = torch.randint(classes, (count,), generator=generator)
    aims = (labels + torch.randint(1, classes, (count,), generator=generator)) % classes
    return logits, labels, aims


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross_entropy", math.log(math.exp(2) + math.exp(1) + math.exp(-1) + math.exp(4)) - 1),
        ("margin", 3.0),
        ("dlr", 3 / (4 - 1)),
        (
            "targeted_cross_entropy",
            2 - math.log(math.exp(2) + math.exp(1) + math.exp(-1) + math.exp(4)),
        ),
        ("targeted_margin", -2.0),
        ("margin_to_aim", 1.0),
        ("targeted_dlr", 1 / (4 - (1 - 1) / 2)),
    ],
)
def test_values_by_hand(name, expected):
    logits = torch.tensor([[2.0, 1.0, -1.0, 4.0]], dtype=torch.float64)

    actual = getattr(losses, name)(logits, torch.tensor([1]), torch.tensor([0]))

    assert [expected] == pytest.approx(actual.tolist(), rel=1e-11)


def test_dlr_by_hand_where_the_label_leads():
    logits = torch.tensor([[5.0, 1.0, -1.0, 4.0]], dtype=torch.float64)

    assert [-1 / (5 - 1)] == pytest.approx(losses.dlr(logits, torch.tensor([0]), None).tolist())


@every_loss
def test_gradients_are_those_of_the_values(name, classes):
    logits, labels, aims = drawn(classes, count=6)

    assert torch.autograd.gradcheck(
        lambda z: getattr(losses, name)(z, labels, aims), logits.requires_grad_(True)
    )


@every_loss
def test_a_shift_of_the_logits_changes_nothing(name, classes):
    logits, labels, aims = drawn(classes)
    loss = getattr(losses, name)

    expected = loss(logits, labels, aims)

    assert expected.tolist() == pytest.approx(loss(logits + 7, labels, aims).tolist(), abs=1e-9)


@pytest.mark.parametrize(("name", "classes"), [(n, k) for n, k in EVERY if "dlr" in n])
def test_dlr_does_not_see_the_scale_of_the_logits(name, classes):
    logits, labels, aims = drawn(classes)
    loss = getattr(losses, name)

    expected = loss(logits, labels, aims)

    assert expected.tolist() == pytest.approx(loss(100 * logits, labels, aims).tolist(), abs=1e-9)


@pytest.mark.parametrize("classes", [3, 4, 10])
@pytest.mark.parametrize("name", ["margin", "dlr"])
def test_a_wrong_prediction_has_a_positive_margin_and_a_right_one_a_negative(name, classes):
    logits, labels, aims = drawn(classes)

    positive = getattr(losses, name)(logits, labels, aims) > 0

    assert torch.equal(logits.argmax(1) != labels, positive)
    assert 0 < positive.sum() < len(labels)


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_the_targeted_margin_is_positive_where_the_aim_is_predicted(classes):
    logits, labels, aims = drawn(classes)

    positive = losses.targeted_margin(logits, labels, aims) > 0

    assert torch.equal(logits.argmax(1) == aims, positive)
    assert 0 < positive.sum() < len(labels)


@pytest.mark.parametrize("classes", [4, 10])
def test_the_targeted_dlr_is_positive_where_the_aim_is_above_the_label(classes):
    logits, labels, aims = drawn(classes)
    rows = torch.arange(len(labels))

    positive = losses.targeted_dlr(logits, labels, aims) > 0

    assert torch.equal(logits[rows, aims] > logits[rows, labels], positive)


@every_loss
def test_climbing_takes_the_label_down_or_the_aim_up(name, classes):
    logits, labels, aims = drawn(classes)
    rows = torch.arange(len(labels))
    logits.requires_grad_(True)

    (slope,) = torch.autograd.grad(getattr(losses, name)(logits, labels, aims).sum(), logits)

    if name in TARGETED and name != "targeted_dlr":
        assert (slope[rows, aims] > 0).all()
    elif name == "targeted_dlr":
        assert ((slope[rows, aims] - slope[rows, labels]) > 0).any()
    elif name == "dlr":
        leads = logits.argmax(1) == labels
        assert (slope[rows, labels][leads] <= 1e-12).all() and leads.any()
    else:
        assert (slope[rows, labels] < 0).all()


@every_loss
def test_a_sample_has_its_loss_and_gradient_in_any_company(name, classes):
    logits, labels, aims = drawn(classes, count=67, dtype=torch.float32)
    loss = getattr(losses, name)

    def both(rows):
        leaf = logits[rows].clone().requires_grad_(True)
        values = loss(leaf, labels[rows], aims[rows])
        return values.detach(), *torch.autograd.grad(values.sum(), leaf)

    whole = both(slice(None))

    for rows in (slice(0, 1), slice(5, 12), slice(66, 67), slice(1, 67)):
        for expected, actual in zip(whole, both(rows), strict=True):
            assert torch.equal(expected[rows], actual)


@every_loss
def test_other_samples_have_no_gradient(name, classes):
    logits, labels, aims = drawn(classes, count=5)
    logits.requires_grad_(True)

    (slope,) = torch.autograd.grad(getattr(losses, name)(logits, labels, aims)[2], logits)

    assert [False, False, True, False, False] == slope.bool().any(1).tolist()


@pytest.mark.parametrize("name", UNTARGETED)
def test_untargeted_losses_do_not_look_at_the_aim(name):
    logits, labels, aims = drawn(10)
    loss = getattr(losses, name)

    expected = loss(logits, labels, aims)

    assert torch.equal(expected, loss(logits, labels, torch.full_like(aims, -1)))


def test_cross_entropy_has_a_gradient_where_a_float32_softmax_is_one():
    logits = torch.tensor([[20.0, 0.0, 0.0]], requires_grad=True)

    values = losses.cross_entropy(logits, torch.tensor([0]), torch.tensor([-1]))
    (slope,) = torch.autograd.grad(values.sum(), logits)

    assert torch.float32 == values.dtype == slope.dtype
    rise = math.exp(-20)
    assert [-2 * rise, rise, rise] == pytest.approx(slope[0].tolist(), rel=1e-6, abs=0)


def test_one_of_equal_rivals_takes_the_whole_gradient():
    logits = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)

    values = losses.margin(logits, torch.tensor([0]), torch.tensor([-1]))
    (slope,) = torch.autograd.grad(values.sum(), logits)

    assert [-1.0, 0.0, 1.0] == sorted(slope[0].tolist())


def test_equal_logits_have_a_finite_dlr():
    logits = torch.zeros(1, 4)
    label, aim = torch.tensor([0]), torch.tensor([1])

    assert [0.0] == losses.dlr(logits, label, aim).tolist()
    assert [0.0] == losses.targeted_dlr(logits, label, aim).tolist()


@pytest.mark.parametrize(
    ("classes", "untargeted", "aimed"),
    [
        (2, losses.margin, losses.margin_to_aim),
        (3, losses.dlr, losses.margin_to_aim),
        (4, losses.dlr, losses.targeted_dlr),
        (10, losses.dlr, losses.targeted_dlr),
    ],
)
def test_the_ratio_is_taken_where_it_is_defined(classes, untargeted, aimed):
    assert untargeted is losses.untargeted_dlr(classes)
    assert aimed is losses.aimed_dlr(classes)


@pytest.mark.parametrize(("name", "classes"), [("dlr", 2), ("targeted_dlr", 3)])
def test_too_few_classes_are_refused(name, classes):
    message = f"needs at least {classes + 1} classes, got {classes}"

    with pytest.raises(BadValueError, match=message):
        getattr(losses, name)(*drawn(classes))
