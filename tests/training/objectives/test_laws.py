"""What every objective keeps to."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from holdfast.training.objectives import OBJECTIVES, parse_objective
from training.objectives.small import (
    CLASSES,
    Pair,
    Seen,
    all_equal,
    batch,
    double,
    keys,
    linear,
    network,
)

# Those that learn without labels share the registry, and keep to laws of their own.
NAMES = [
    name
    for name in OBJECTIVES
    if OBJECTIVES[name].__module__.startswith("holdfast.training.objectives.")
]
DRAWING = [name for name in NAMES if name != "cross_entropy"]
CROSS_ENTROPY = {"trades(beta=0)", "mixture(beta=0)", "augmix_jsd(alpha=0)"} | {
    f"{name}(attack=pgd(eps=0))" for name in ("adversarial", "fast", "mixture", "trades")
}
ENDS = [
    *((text, "cross_entropy") for text in sorted(CROSS_ENTROPY)),
    ("mixture(beta=1, attack=pgd(steps=2))", "adversarial(attack=pgd(steps=2))"),
    ("gaussian_noise(sigma=0)", "cross_entropy"),
    ("gaussian_noise(share=0)", "cross_entropy"),
    ("fast(attack=fgsm)", "adversarial(attack=fgsm)"),
]


def trained_once(text, start=batch):
    """Losses, gradients and running statistics of one pass in training mode."""
    net = network(normalized=True)
    given = start()
    losses = parse_objective(text)(net, given, keys(given))
    losses.sum().backward()
    slopes = [weight.grad for weight in net.parameters()]
    return [losses.detach(), *slopes, *net.buffers()]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_loss(name, mixed):
    objective, given = parse_objective(name), batch(2, mixed=mixed)
    net = network()
    crafted = double(objective.craft(net, given, keys(given)))
    names, weights = zip(*net.double().named_parameters(), strict=True)

    def losses(*values):
        values = dict(zip(names, values, strict=True))
        return objective.losses(lambda images: functional_call(net, values, images), crafted)

    assert torch.autograd.gradcheck(losses, [w.detach().requires_grad_(True) for w in weights])


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_its_batch(name):
    objective, net, given = parse_objective(name), network(), batch(4, mixed=True)
    together = objective(net, given, keys(given))
    rows = [given.take(slice(row, row + 1)) for row in range(4)]
    alone = torch.cat([objective(net, row, keys(row)) for row in rows])

    assert together.shape == (4,)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_crafting_leaves_network_batch_and_generator_alone(name):
    net = network(normalized=True)
    net[1].eval()
    given = batch()
    torch.rand(1)  # else the state may be the one that a craft before has left
    before, state = given.images.clone(), torch.random.get_rng_state()
    modes = [part.training for part in net.modules()]
    weights = [weight.detach().clone() for weight in net.parameters()]
    crafted = parse_objective(name).craft(net, given, keys(given))

    assert all(weight.grad is None for weight in net.parameters())
    assert all_equal(weights, list(net.parameters()))
    assert modes == [part.training for part in net.modules()]
    assert torch.equal(before, given.images)
    assert torch.equal(state, torch.random.get_rng_state())
    made = [crafted.images, crafted.adversarial, crafted.views]
    assert not any(images.requires_grad for images in made if images is not None)
    assert torch.equal(given.targets, crafted.targets)


@pytest.mark.parametrize("name", DRAWING)
def test_the_keys_decide_what_is_crafted(name):
    objective, net, given = parse_objective(name), network(), batch()

    def drawn(seed):
        made = objective.craft(net, given, keys(given, seed))
        images = [made.images, made.adversarial, made.views]
        return torch.cat([one.flatten() for one in images if one is not None])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_crafted_are_images_within_the_box(name):
    net, given = network(), batch()
    given.images[0], given.images[1] = 0, 1
    made = parse_objective(name).craft(net, given, keys(given))

    for images in (made.images, made.adversarial, made.views):
        assert images is None or (0 <= images.min() and images.max() <= 1)
        assert images is None or images.shape[-4:] == given.images.shape
    if made.adversarial is not None:
        assert (made.adversarial - given.images).abs().max() <= 8 / 255 + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_images_are_looked_for_on_the_search_and_losses_taken_on_the_network(name):
    pair, given = Pair(Seen(network()), Seen(network(seed=2))), batch()
    objective = parse_objective(name)
    crafted = objective.craft(pair, given, keys(given))
    looked = len(pair.search.shown)

    assert not pair.network.shown
    assert (looked > 0) == (objective.attack is not None)
    objective.losses(pair, crafted)
    assert len(pair.search.shown) == looked
    assert pair.network.shown


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_certain_networks_have_finite_losses_and_gradients(name, mixed):
    generator = torch.Generator().manual_seed(3)
    net = linear(torch.randn(CLASSES, 192, generator=generator) * 1e4)
    given = batch(8, mixed=mixed)
    losses = parse_objective(name)(net, given, keys(given))
    losses.sum().backward()

    assert losses.isfinite().all()
    assert net[1].weight.grad.isfinite().all()


@pytest.mark.parametrize(("text", "end"), ENDS)
def test_ends_are_equal_to_the_bit(text, end):
    assert all_equal(trained_once(text), trained_once(end))


@pytest.mark.parametrize("text", sorted(CROSS_ENTROPY))
def test_what_has_no_weight_is_not_computed(text):
    pair, given = Pair(Seen(network()), Seen(network())), batch()
    parse_objective(text)(pair, given, keys(given))

    assert not pair.search.shown
    assert all_equal([given.images], pair.network.shown)


def test_only_attacked_images_pass_where_they_have_all_the_weight():
    pair, given = Pair(Seen(network()), Seen(network())), batch()
    objective = parse_objective("mixture(beta=1, attack=fgsm)")
    crafted = objective.craft(pair, given, keys(given))
    objective.losses(pair, crafted)

    assert all_equal([crafted.adversarial], pair.network.shown)


@pytest.mark.parametrize(
    ("name", "passes"), [("trades", [4, 4]), ("mart", [4, 4]), ("mixture", [8]), ("fast", [4])]
)
def test_sets_pass_apart_or_together_as_published(name, passes):
    net, given = Seen(network()), batch()
    objective = parse_objective(name)
    crafted = objective.craft(network(), given, keys(given))
    objective.losses(net, crafted)

    assert passes == [len(images) for images in net.shown]
    if name != "fast":
        assert torch.equal(given.images, net.shown[0][:4])


@pytest.mark.parametrize("name", NAMES)
def test_the_text_says_all(name):
    objective = parse_objective(name)

    assert objective == parse_objective(objective.spec)
    assert (name == "fast") == objective.single_step


@pytest.mark.parametrize("name", ["adversarial", "trades", "mixture", "mart", "fast"])
def test_a_radius_grows(name):
    objective, net, given = parse_objective(name), network(), batch()
    half = objective.grown(0.5).craft(net, given, keys(given))
    none = objective.grown(0)

    assert (half.adversarial - given.images).abs().max().item() == pytest.approx(4 / 255, abs=1e-6)
    assert objective.grown(1) == objective
    assert all_equal(
        [none(net, given, keys(given))], [none.losses(net, given)]
    )  # nothing is crafted


REFUSED = [
    ("trades(beta=-1)", "trades beta must be at least 0"),
    ("mart(beta=-0.1)", "mart beta must be at least 0"),
    ("mixture(beta=-0.1)", "mixture beta must be from 0 to 1"),
    ("mixture(beta=1.1)", "mixture beta must be from 0 to 1"),
    ("trades(beta=1e400)", "finite"),
    ("augmix_jsd(alpha=-1)", "alpha must be at least 0"),
    ("augmix_jsd(severity=0)", "severity must be from 1 to 10"),
    ("augmix_jsd(severity=11)", "severity must be from 1 to 10"),
    ("augmix_jsd(width=0)", "width must be at least 1"),
    ("augmix_jsd(depth=0)", "depth"),
    ("gaussian_noise(sigma=-0.1)", "sigma must be from 0 to 1"),
    ("gaussian_noise(sigma=25)", "did you mean 25.0/255?"),
    ("gaussian_noise(share=1.5)", "share must be from 0 to 1"),
    ("fast(attack=pgd(steps=2))", "one step"),
    ("adversarial(attack=pgd(restarts=2))", "leave restarts out"),
    ("adversarial(attack=ddn)", "needs a radius"),
    ("trades(betta=1)", "did you mean beta"),
    ("trades(attack=pgdd)", "did you mean pgd"),
    *(
        (f"{name}(attack=pgd(eps=8))", "did you mean 8/255?")
        for name in ("adversarial", "trades", "mixture", "mart", "fast")
    ),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_what_cannot_be_is_refused(text, said):
    with pytest.raises((ValueError, KeyError)) as refusal:
        parse_objective(text)

    assert said in str(refusal.value)


@pytest.mark.parametrize("value", ["6", True, None])
def test_a_weight_is_a_number(value):
    with pytest.raises(TypeError, match="trades beta must be a number"):
        OBJECTIVES["trades"](beta=value)
