"""What every step keeps to, and the plain one."""

from __future__ import annotations

import pytest
import torch

from holdfast.training.objectives import parse_objective
from holdfast.training.steps import STEPS, Work, parse_step
from training.objectives.small import all_equal, batch, gradients, keys, network

NAMES = sorted(STEPS)
ATTACK = "adversarial(attack=pgd(eps=8/255, steps=2))"


def work_for(net, objective=ATTACK, nominal=4):
    return Work(
        parse_objective(objective),
        net,
        list(net.parameters()),
        nominal,
        torch.Tensor.backward,
        list(net.buffers()),
    )


def stepped(text, given, objective=ATTACK, *, normalized=True):
    """Losses, gradients, weights and running statistics after one batch."""
    net = network(normalized=normalized)
    work = work_for(net, objective, len(given))
    losses = parse_step(text).gradients(work, given, keys(given))
    return [losses, *gradients(net), *net.parameters(), *net.buffers()]


@pytest.mark.parametrize("name", NAMES)
def test_losses_have_no_graph_and_weights_do_not_move(name):
    net, given = network(), batch()
    before = [weight.detach().clone() for weight in net.parameters()]
    losses = parse_step(name).gradients(work_for(net), given, keys(given))

    assert losses.shape == (4,)
    assert not losses.requires_grad
    assert all_equal(before, [weight.detach() for weight in net.parameters()])
    assert net.training


@pytest.mark.parametrize("name", NAMES)
def test_gradients_add_up(name):
    given, net = batch(), network()
    single = stepped(name, given, normalized=False)
    for weight in net.parameters():
        weight.grad = torch.ones_like(weight)
    parse_step(name).gradients(work_for(net), given, keys(given))

    for once, added in zip(single[1:5], gradients(net), strict=True):
        torch.testing.assert_close(added, once + 1)


@pytest.mark.parametrize("name", ["plain", "free"])
def test_the_parts_of_a_batch_make_the_gradient_of_its_mean(name):
    given, (whole, parts) = batch(5), (network(), network())
    parse_step(name).gradients(work_for(whole, nominal=5), given, keys(given))
    work = work_for(parts, nominal=5)
    for rows in (slice(0, 2), slice(2, 5)):
        work.start = rows.start
        part = given.take(rows)
        parse_step(name).gradients(work, part, keys(part))

    for left, right in zip(gradients(whole), gradients(parts), strict=True):
        torch.testing.assert_close(left, right)


def test_plain_gradients_are_those_of_the_mean_loss():
    given, net = batch(), network()
    found = stepped("plain", given, "cross_entropy", normalized=False)
    loss = torch.nn.functional.cross_entropy(net(given.images), given.labels)
    expected = torch.autograd.grad(loss, list(net.parameters()))

    for left, right in zip(found[1:5], expected, strict=True):
        torch.testing.assert_close(left, right)
    assert found[0].mean().item() == pytest.approx(loss.item())


@pytest.mark.parametrize("name", NAMES)
def test_a_pass_in_training_mode_is_noted_once(name):
    objective = ATTACK if name == "free" else "cross_entropy"  # the attack passes are noted too

    assert stepped(name, batch(), objective)[-1] == 1


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("plain", "plain"),
        ("free", "free(replays=8)"),
        ("awp", "awp(gamma=0.005, warmup=0)"),
        ("awp(warmup=10, gamma=1/100)", "awp(gamma=0.01, warmup=10)"),
    ],
)
def test_the_text_says_all(text, spec):
    assert parse_step(text).spec == spec
    assert parse_step(spec) == parse_step(text)


def test_only_free_training_uses_a_batch_again():
    assert {"awp": 1, "free": 8, "plain": 1} == {name: parse_step(name).replays for name in NAMES}
    assert parse_step("free(replays=3)").replays == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("awp(gamma=-0.1)", "gamma must be at least 0"),
        ("awp(warmup=-1)", "warmup must be at least 0"),
        ("awp(warmup=1.5)", "warmup must be a whole number"),
        ("free(replays=0)", "replays must be at least 1"),
        ("plain(gamma=1)", "takes no parameters"),
        ("fre", "did you mean free"),
    ],
)
def test_what_cannot_be_is_refused(text, said):
    with pytest.raises((ValueError, KeyError)) as refusal:
        parse_step(text)

    assert said in str(refusal.value)


def test_numbers_are_checked_in_python_too():
    with pytest.raises(TypeError, match="replays must be a whole number"):
        STEPS["free"](replays=2.0)
    with pytest.raises(TypeError, match="warmup must be a whole number"):
        STEPS["awp"](warmup=1.0)
