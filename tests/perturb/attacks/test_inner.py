"""Attacks inside training steps: what they cost, what they give back, what they leave alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from attacks.cases import each_case
from attacks.crowd import Curved, images_of
from torch import nn
from torch.nn import functional as F

from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.core.randomness import keys_for
from holdfast.core.specs import canonical
from holdfast.perturb.attacks.apgd import APGD, AveragedAPGD
from holdfast.perturb.attacks.balls import BALLS
from holdfast.perturb.attacks.base import UNTARGETED, Task
from holdfast.perturb.attacks.craft import craft
from holdfast.perturb.attacks.ddn import DDN
from holdfast.perturb.attacks.fgsm import FGSM
from holdfast.perturb.attacks.inner import worst_images
from holdfast.perturb.attacks.losses import divergence
from holdfast.perturb.attacks.pgd import PGD
from holdfast.perturb.attacks.square import Square

SHAPE, COUNT, CLASSES = (3, 6, 6), 5, 4
IMAGES = images_of(SHAPE, COUNT)
LABELS = torch.tensor([0, 1, 2, 3, 1])
KEYS = keys_for(torch.arange(COUNT), seed=0, stream="inner")
MODEL = Curved(SHAPE, CLASSES)
TRADES = {"loss": "kl", "noise": 0.001}


class Watched(nn.Module):
    """Counts passes, rows and gradients, and keeps the images."""

    def __init__(self, model=MODEL):
        super().__init__()
        self.model = model
        self.seen, self.gradients = [], 0

    def forward(self, images):
        self.seen.append(images.detach().clone())
        if images.requires_grad:
            images = images.clone()
            images.register_hook(self.note)
        return self.model(images)

    def note(self, gradient):
        self.gradients += 1


def attacked(attack, model=MODEL, **options):
    return worst_images(attack, model, IMAGES, LABELS, KEYS, **options)


COSTS = {
    "pgd": (PGD(steps=7), 7, 7),
    "pgd without start": (PGD(steps=7, random_start=False), 7, 7),
    "fgsm": (FGSM(), 1, 1),
    "apgd": (APGD(steps=10), 11, 10),
    "apgd in l1": (APGD(norm="l1", steps=10), 13, 10),
    "kl reads the clean logits": (PGD(steps=7, **TRADES), 8, 7),
    "a rule does": (PGD(steps=7, target="second"), 8, 7),
    "and classes to aim at": (APGD(steps=10, loss="targeted_dlr"), 12, 10),
    "draws": (AveragedAPGD(steps=3, repeats=2), 8, 6),
    "square": (Square(queries=9), 10, 0),
}


@pytest.mark.parametrize(("attack", "passes", "gradients"), COSTS.values(), ids=list(COSTS))
def test_nothing_is_computed_that_is_not_needed(attack, passes, gradients):
    model = Watched()

    attacked(attack, model)

    assert (len(model.seen), model.gradients) == (passes, gradients)
    assert {len(images) for images in model.seen} == {COUNT}  # no row added


@pytest.mark.parametrize("attack", [PGD(steps=7, **TRADES), PGD(steps=7, target="second")])
def test_known_logits_spare_the_clean_pass_and_change_nothing(attack):
    model = Watched()

    found = attacked(attack, model, reference=MODEL(IMAGES))

    assert len(model.seen) == 7
    assert torch.equal(found, attacked(attack))


def plain_pgd(loss, points, eps, step, steps):
    """Linf PGD as every textbook writes it."""
    for _ in range(steps):
        leaf = points.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(loss(MODEL(leaf)), leaf)
        points = points + step * slope.sign()
        points = torch.min(torch.max(points, IMAGES - eps), IMAGES + eps).clamp(0, 1)
    return points


def test_pgd_gives_its_last_point():
    attack = PGD(eps=8 / 255, step_size=2 / 255, steps=5, random_start=False)

    expected = plain_pgd(lambda z: F.cross_entropy(z, LABELS), IMAGES, 8 / 255, 2 / 255, 5)

    torch.testing.assert_close(attacked(attack), expected, rtol=0, atol=1e-7)


def start_of(attack):
    logits = MODEL(IMAGES)
    targets = torch.full_like(LABELS, UNTARGETED)
    return attack.start(Task(IMAGES, LABELS, targets, logits, LABELS * 0, KEYS)).points


def test_kl_pgd_is_the_inner_loop_of_trades():
    attack = PGD(eps=0.03, step_size=0.007, steps=6, **TRADES)
    clean = MODEL(IMAGES).softmax(1)

    def loss(logits):
        return F.kl_div(F.log_softmax(logits, 1), clean, reduction="sum")

    expected = plain_pgd(loss, start_of(attack), 0.03, 0.007, 6)

    torch.testing.assert_close(attacked(attack), expected, rtol=0, atol=1e-7)


def test_a_gaussian_start_has_its_deviation():
    gray = torch.full((40, 3, 20, 20), 0.5)
    task = Task(
        gray,
        torch.zeros(40, dtype=torch.int64),
        torch.full((40,), UNTARGETED),
        torch.zeros(40, 3),
        torch.zeros(40, dtype=torch.int64),
        keys_for(torch.arange(40), seed=1, stream="start"),
    )

    moved = PGD(noise=0.001).start(task).points - gray

    assert 0.00098 < float(moved.std()) < 0.00102
    assert abs(float(moved.mean())) < 2e-5
    assert float(moved.abs().max()) > 0.003  # no bounded draw


def test_divergence_is_that_of_distributions():
    one, other = torch.randn(2, 6, 5, dtype=torch.float64)
    known = torch.distributions.Categorical(logits=one)
    judge = torch.distributions.kl_divergence(known, torch.distributions.Categorical(logits=other))

    torch.testing.assert_close(divergence(other, one.log_softmax(1)), judge)
    assert torch.autograd.gradcheck(
        lambda z: divergence(z, one.log_softmax(1)), other.requires_grad_(True)
    )


def entropy(images, model=MODEL):
    return F.cross_entropy(model(images), LABELS, reduction="none")


def wavy(images):
    """Logits with so many hills that steps overshoot."""
    return 3 * (8 * MODEL(images)).sin()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 1.0), ("l1", 8.0)])
def test_apgd_gives_its_point_of_largest_loss(norm, eps):
    model = Watched(wavy)

    found = attacked(APGD(norm=norm, eps=eps, steps=10), model)

    seen = model.seen[-5:] if norm == "l1" else model.seen  # L1: those in the radius asked for
    losses = torch.stack([entropy(images, wavy) for images in seen])
    torch.testing.assert_close(entropy(found, wavy), losses.max(0).values)
    assert bool((losses.max(0).values > losses[-1]).any())


def test_apgd_counts_its_last_point():
    """On a linear loss every step helps, so the last point is the best."""
    weight = torch.randn(CLASSES, 108, generator=torch.Generator().manual_seed(1)) / 10
    watched = Watched(lambda images: images.flatten(1) @ weight.T)

    found = attacked(APGD(eps=0.05, steps=2, random_start=False), watched)

    assert torch.equal(found, watched.seen[-1])


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_apgd_without_a_random_start_begins_at_the_image(norm):
    model = Watched()

    attacked(APGD(norm=norm, steps=2, random_start=False), model)

    assert torch.equal(model.seen[0], IMAGES)


def test_fgsm_gives_the_stepped_image():
    leaf = IMAGES.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(F.cross_entropy(MODEL(leaf), LABELS), leaf)

    found = attacked(FGSM(eps=4 / 255))

    torch.testing.assert_close(found, (IMAGES + 4 / 255 * slope.sign()).clamp(0, 1))


def test_square_gives_the_best_of_what_it_asked_for():
    model = Watched()

    found = attacked(Square(norm="l2", eps=2, queries=12, loss="cross_entropy"), model)

    losses = torch.stack([entropy(images) for images in model.seen[1:]])
    torch.testing.assert_close(entropy(found), losses.max(0).values)
    assert bool((losses.max(0).values > losses[-1]).any())


@each_case
def test_every_attack_stays_in_ball_and_box(case):
    attack, images = case.attack(), images_of((3, 8, 8), COUNT)

    found = worst_images(attack, Curved((3, 8, 8), CLASSES), images, LABELS, KEYS)

    sizes = BALLS[case.norm].size((found - images).double())
    assert bool((sizes <= float(attack.eps) * (1 + 1e-5) + 1e-6).all())
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert not found.requires_grad
    assert attack.minimum_norm or bool((sizes > 0).all())


def test_minimum_norm_attacks_give_the_smallest_adversarial_image():
    model, labels = Watched(), MODEL(IMAGES).argmax(1)
    labels[0] = (labels[0] + 1) % CLASSES  # wrong as it is

    found = worst_images(DDN(steps=30, probes=0), model, IMAGES, labels, KEYS)

    sizes = BALLS["l2"].size(found - IMAGES)
    asked = torch.stack([BALLS["l2"].size(images - IMAGES) for images in model.seen])
    fell = torch.stack([MODEL(images).argmax(1) != labels for images in model.seen])
    assert bool((MODEL(found).argmax(1) != labels).all())
    torch.testing.assert_close(sizes, asked.where(fell, torch.inf).min(0).values)
    assert (sizes == 0).tolist() == [True] + [False] * (COUNT - 1)


def test_targets_are_reached_for():
    towards = attacked(PGD(eps=0.2, steps=10, target=2))

    gained = MODEL(towards).log_softmax(1)[:, 2] - MODEL(IMAGES).log_softmax(1)[:, 2]
    assert bool((gained[LABELS != 2] > 0).all())


def test_neighbors_do_not_matter():
    attack, rows = PGD(steps=3), torch.tensor([3, 1])

    alone = worst_images(attack, MODEL, IMAGES[rows], LABELS[rows], KEYS.take(rows))

    torch.testing.assert_close(alone, attacked(attack)[rows])
    assert torch.equal(attacked(attack), attacked(attack))


class InParts(Watched):
    def fast_rows(self, images):
        return 2


def test_large_batches_go_in_parts_where_the_classifier_asks_for_it():
    model, attack = InParts(), PGD(steps=3, **TRADES)

    found = attacked(attack, model, reference=MODEL(IMAGES))

    assert [len(images) for images in model.seen] == [2] * 6 + [1] * 3
    torch.testing.assert_close(found, attacked(attack))


def network():
    """BatchNorm and dropout; one of each in evaluation mode for good."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 4)
    )
    net.train()
    net[2].eval()
    return net


@pytest.mark.parametrize("training", [True, False])
def test_modes_parameters_and_gradients_stay_as_they_are(training):
    with torch.random.fork_rng(devices=[]):
        net = network()
    if not training:
        net.eval()
    modes = [module.training for module in net.modules()]
    before = {name: value.clone() for name, value in net.named_parameters()}
    net[0].weight.grad = kept = torch.ones_like(net[0].weight)

    attacked(PGD(steps=3), net)

    assert modes == [module.training for module in net.modules()]
    assert all(torch.equal(before[name], value) for name, value in net.named_parameters())
    assert all(value.requires_grad for value in net.parameters())
    assert net[0].weight.grad is kept
    assert bool((kept == 1).all())
    assert net[0].bias.grad is None
    # As many batches as were passed, in train mode.
    assert int(net[1].num_batches_tracked) == (3 if training else 0)


def test_the_images_and_labels_are_left_alone():
    images, labels = IMAGES.clone(), LABELS.clone()

    for attack in (PGD(steps=2), FGSM(), APGD(steps=2), Square(queries=4), DDN(steps=3)):
        worst_images(attack, MODEL, images, labels, KEYS)

    assert torch.equal(images, IMAGES)
    assert torch.equal(labels, LABELS)


def test_too_little_memory_is_told_at_once():
    calls = []

    def model(images):
        calls.append(len(images))
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        attacked(PGD(steps=3), model)

    assert calls == [COUNT]


def test_a_gradient_that_is_no_number_moves_nothing_and_spreads_nowhere():
    def model(images):
        logits = MODEL(images)
        return torch.cat([logits[:1] * torch.nan, logits[1:]])

    attack = PGD(norm="l2", steps=3, random_start=False)  # in Linf, torch's sign of NaN is 0

    found = attacked(attack, model)

    assert torch.equal(found[0], IMAGES[0])
    assert torch.equal(found[1:], attacked(attack)[1:])


def test_a_model_without_gradient_is_refused():
    with pytest.raises(BadValueError, match="carry none"):
        attacked(PGD(steps=3), lambda images: MODEL(images).detach())


PGD_TEXT = "norm=linf, eps=8/255, steps=40, random_start=True, restarts=1, momentum=0.0, loss="
APGD_TEXT = "norm=linf, eps=8/255, steps=100, restarts=1, loss=cross_entropy, rho=0.75"


@pytest.mark.parametrize(
    ("attack", "text"),
    [
        (PGD(), f"{PGD_TEXT}cross_entropy"),
        (PGD(**TRADES), f"{PGD_TEXT}kl, noise=0.001"),
        (APGD(), APGD_TEXT),
        (APGD(random_start=True), APGD_TEXT),
        (APGD(random_start=False), f"{APGD_TEXT}, random_start=False"),
    ],
)
def test_specs_say_what_is_new_only_where_it_is_used(attack, text):
    assert canonical(attack.name, attack) == f"{attack.name}({text})"


def test_kl_is_an_attack_like_any_other():
    right = MODEL(IMAGES).argmax(1)

    found = craft(PGD(eps=0.5, steps=20, **TRADES), MODEL, IMAGES, right)

    fell = MODEL(found.images).argmax(1) != right
    assert bool(fell.any())
    assert torch.equal(fell, found.fallen)


REFUSED = {
    "kl at a flat place": (lambda: PGD(loss="kl", random_start=False), "random_start=True"),
    "kl towards a class": (lambda: PGD(loss="kl", target=1), "leave target=1 out"),
    "noise without a start": (lambda: PGD(noise=0.1, random_start=False), "random start"),
    "no noise": (lambda: PGD(noise=0.0), "above 0"),
    "one walk twice": (lambda: APGD(restarts=2, random_start=False), "same path"),
    "targeted": (
        lambda: craft(PGD(steps=2, loss="kl"), MODEL, IMAGES, LABELS, targeted=True),
        "reaches for no class",
    ),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_makes_no_sense_is_refused(make, said):
    with pytest.raises(BadValueError, match=said):
        make()


def test_a_random_start_is_true_or_false():
    with pytest.raises(BadTypeError, match="True or False"):
        APGD(random_start=1)
    with pytest.raises(BadTypeError, match="number"):
        replace(PGD(), noise="much")
