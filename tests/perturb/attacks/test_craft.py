import pytest
import torch
from attacks.crowd import Curved, images_of
from torch import nn

import holdfast
from helpers import Bright
from holdfast.core.errors import HoldfastError
from holdfast.perturb.attacks import ATTACKS
from holdfast.perturb.attacks.autoattack import AutoAttack
from holdfast.perturb.attacks.balls import BALLS
from holdfast.perturb.attacks.craft import Crafting, attack, craft, craft_levels
from holdfast.perturb.attacks.pgd import PGD
from holdfast.perturb.attacks.run import AttackRun

SHAPE, CLASSES, COUNT = (3, 8, 8), 4, 24
EPS = 8 / 255
MODEL = Curved(SHAPE, CLASSES).eval()
IMAGES = images_of(SHAPE, COUNT)
LABELS = MODEL(IMAGES).argmax(1)
WRONG = [1, 5]  # what the model gets wrong from the start
TRUE = LABELS.clone()
TRUE[WRONG] = (TRUE[WRONG] + 1) % CLASSES
WANTED = (LABELS + 1) % CLASSES


class Normalized(nn.Module):
    """Batch normalization and dropout: another function in training mode."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5))
        self.outer = Curved(SHAPE, CLASSES)

    def forward(self, images):
        return self.outer(self.inner(images))


class Searched(Curved):
    """Has an attribute that means something else."""

    def search(self, images):
        raise RuntimeError("no business of an attack")


def weak():
    """At which some samples fall and some stand."""
    return craft("pgd(eps=1/255, steps=5)", MODEL, IMAGES, TRUE)


def test_fallen_is_what_a_fresh_pass_gets_wrong():
    crafted = weak()

    assert 0.1 < crafted.robust_accuracy < 0.9
    assert crafted.fallen.equal(MODEL(crafted.images).argmax(1) != TRUE)


def test_logits_are_those_of_the_images():
    crafted = weak()

    torch.testing.assert_close(crafted.logits, MODEL(crafted.images))


def test_a_standing_sample_keeps_its_image_and_has_no_norm():
    crafted = weak()
    stands = ~crafted.fallen

    assert crafted.images[stands].equal(IMAGES[stands])
    assert bool(crafted.norm[stands].isnan().all())
    assert {None} == {crafted.broken_by[row] for row in stands.nonzero()[:, 0].tolist()}


def test_norm_is_the_size_of_the_perturbation():
    crafted = weak()
    sizes = (crafted.images.double() - IMAGES.double()).abs().flatten(1).amax(1)

    assert crafted.norm[crafted.fallen].equal(sizes[crafted.fallen])
    assert float(sizes.max()) <= 1 / 255 * (1 + 1e-6) + 1e-6


def test_a_sample_wrong_from_the_start_has_fallen_with_norm_zero():
    crafted = weak()

    assert [0.0, 0.0] == crafted.norm[WRONG].tolist()
    assert ["clean", "clean"] == [crafted.broken_by[row] for row in WRONG]
    assert crafted.images[WRONG].equal(IMAGES[WRONG])
    assert 2 == crafted.broken_by.count("clean")


def test_broken_by_names_the_attack_that_did_it():
    crafted = craft("fgsm(eps=8/255) + pgd(eps=8/255, steps=20)", MODEL, IMAGES, TRUE)
    alone = craft("fgsm(eps=8/255)", MODEL, IMAGES, TRUE)
    by_first = torch.tensor([name in ("clean", "fgsm") for name in crafted.broken_by])

    assert ("fgsm", "pgd") == crafted.members
    assert alone.fallen.equal(by_first)
    assert 0 < crafted.broken_by.count("pgd") < COUNT


def test_evaluations_are_counted():
    crafted = craft("fgsm(eps=8/255)", MODEL, IMAGES, TRUE)
    right = torch.tensor([row not in WRONG for row in range(COUNT)])

    assert (right + 0).equal(crafted.gradient_evals)
    # The clean pass; of those that are right two in the attack, and one that confirms a fall.
    assert (1 + right * (2 + crafted.fallen)).equal(crafted.forward_evals)


def test_order_changes_nothing():
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(3))
    straight = craft("pgd(eps=2/255, steps=5)", MODEL, IMAGES, TRUE)
    mixed = craft("pgd(eps=2/255, steps=5)", MODEL, IMAGES[order], TRUE[order], ids=order)

    assert mixed.images.equal(straight.images[order])
    assert mixed.fallen.equal(straight.fallen[order])
    assert [straight.broken_by[row] for row in order.tolist()] == list(mixed.broken_by)


def test_the_seed_keys_the_draws():
    first, second = (craft("pgd(eps=8/255)", MODEL, IMAGES, TRUE, seed=seed) for seed in (0, 1))

    assert not first.images.equal(second.images)
    assert first.images.equal(craft("pgd(eps=8/255)", MODEL, IMAGES, TRUE).images)


def test_ids_key_the_draws():
    first = craft("pgd(eps=8/255)", MODEL, IMAGES, TRUE)
    second = craft("pgd(eps=8/255)", MODEL, IMAGES, TRUE, ids=torch.arange(COUNT) + 100)

    assert not first.images.equal(second.images)


def test_below_the_distance_to_the_boundary_nothing_falls():
    # Linf distance of a mean pixel m from one half: abs(m - 1/2), for any image in the box.
    model, images = Bright(), torch.full((1, 3, 8, 8), 0.52)
    labels = model(images).argmax(1)

    assert 1.0 == craft("pgd(eps=0.0199)", model, images, labels).robust_accuracy
    assert 0.0 == craft("pgd(eps=0.0202)", model, images, labels).robust_accuracy


def test_what_fell_at_an_eps_has_fallen_at_larger_ones_with_the_same_image():
    low, high = craft_levels("pgd(eps=[1/255, 4/255], steps=5)", MODEL, IMAGES, TRUE)

    assert high.images[low.fallen].equal(low.images[low.fallen])
    assert bool(high.fallen[low.fallen].all())
    assert int(low.fallen.sum()) < int(high.fallen.sum())
    assert "eps=1/255" in low.condition and "eps=4/255" in high.condition


def test_the_smallest_of_several_eps_is_as_alone():
    low, _ = craft_levels("pgd(eps=[1/255, 4/255], steps=5)", MODEL, IMAGES, TRUE)

    assert low.images.equal(weak().images)


@pytest.mark.parametrize(
    "spec",
    [
        "fgsm(eps=16/255)",
        "pgd(eps=8/255)",
        "apgd(eps=8/255)",
        "apgd(eps=8/255, loss=targeted_dlr)",
        "fab(norm=l2, eps=1)",
        "fab(norm=linf, eps=8/255, targets=2)",
        "square(norm=linf, eps=16/255, queries=300)",
        "ddn(eps=1)",
        "fmn(norm=linf)",
        "pgd(eps=8/255) + square(norm=linf, eps=8/255, queries=50)",
    ],
)
def test_a_targeted_attack_reaches_the_labels_it_is_given(spec):
    crafted = craft(spec, MODEL, IMAGES, WANTED, targeted=True)

    assert int(crafted.fallen.sum()) >= COUNT // 4
    assert crafted.fallen.equal(MODEL(crafted.images).argmax(1) == WANTED)


def test_a_sample_given_its_target_already_has_norm_zero():
    crafted = craft("pgd(eps=1/255, steps=2)", MODEL, IMAGES, LABELS, targeted=True)

    assert [0.0] * COUNT == crafted.norm.tolist()
    assert {"clean"} == set(crafted.broken_by)
    assert crafted.images.equal(IMAGES)


def test_a_targeted_run_raises_no_flag_over_other_classes():
    # Untargeted steps break what stands: no sign that the search went wrong.
    crafted = craft("pgd(eps=4/255, steps=20)", MODEL, IMAGES, WANTED, targeted=True)

    assert bool((~crafted.fallen).any())
    assert frozenset() == crafted.flags


def test_logits_that_are_not_finite_are_no_success_of_a_targeted_attack():
    crafted = craft(
        "pgd(eps=4/255, steps=2)",
        lambda images: MODEL(images) * torch.nan,
        IMAGES,
        torch.zeros_like(LABELS),
        targeted=True,
    )

    assert 1.0 == crafted.robust_accuracy
    assert "nonfinite_logits" in crafted.flags


def test_logits_that_are_not_finite_are_wrong():
    crafted = craft("pgd(eps=4/255)", lambda images: MODEL(images) * torch.nan, IMAGES, TRUE)

    assert 0.0 == crafted.robust_accuracy
    assert bool(crafted.logits.isnan().all())


def modes(model):
    return [module.training for module in model.modules()]


def test_a_module_is_attacked_in_evaluation_mode_and_given_back_as_it_came():
    model = Normalized().train()
    model.inner[1].eval()
    before = modes(model)
    crafted = craft("pgd(eps=8/255, steps=3)", model, IMAGES, TRUE)

    assert frozenset({"train_mode"}) == crafted.flags
    assert before == modes(model)
    assert crafted.fallen.equal(model.eval()(crafted.images).argmax(1) != TRUE)


def test_a_module_is_given_back_as_it_came_when_the_attack_fails():
    model = Normalized().train()
    with pytest.raises(HoldfastError, match="labels must be"):
        craft("pgd(eps=8/255)", model, IMAGES, TRUE + CLASSES)

    assert all(modes(model))


def test_weights_and_their_gradients_are_left_alone():
    model = Normalized()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    craft("apgd(eps=8/255, steps=5)", model, IMAGES, TRUE)

    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert [None, None] == [parameter.grad for parameter in model.parameters()]


def test_the_global_generator_and_the_inputs_are_untouched():
    state, images = torch.get_rng_state(), IMAGES.clone()
    craft("pgd(eps=8/255) + square(norm=linf, eps=8/255, queries=20)", MODEL, IMAGES, TRUE)

    assert state.equal(torch.get_rng_state())
    assert images.equal(IMAGES)


def test_attacks_work_in_inference_mode():
    with torch.inference_mode():
        inside = craft("pgd(eps=2/255, steps=5)", MODEL, IMAGES * 1, TRUE)

    assert inside.images.equal(craft("pgd(eps=2/255, steps=5)", MODEL, IMAGES, TRUE).images)


def test_an_attribute_of_a_module_is_not_taken_for_its_twin():
    crafted = craft("fgsm(eps=1/255)", Searched(SHAPE, CLASSES), IMAGES, TRUE)

    assert crafted.images.equal(craft("fgsm(eps=1/255)", MODEL, IMAGES, TRUE).images)


def test_inputs_that_are_not_contiguous_make_no_difference():
    turned = IMAGES.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)

    assert weak().images.equal(craft("pgd(eps=1/255, steps=5)", MODEL, turned, TRUE).images)


def test_finished_samples_are_not_attacked_again():
    crafting, asked = Crafting("pgd(eps=1/255, steps=5)", IMAGES, TRUE), []
    steps = crafting.steps(MODEL)
    first = next(steps)
    steps.close()
    done = int(crafting.done.sum())
    whole = crafting.finish(lambda images: asked.append(images.clone()) or MODEL(images))[0]
    shown = torch.cat(asked)

    assert 0 < first == done < COUNT
    assert 0 == sum(int((shown == image).flatten(1).all(1).sum()) for image in IMAGES[WRONG])
    assert weak().images.equal(whole.images)


def test_a_sample_is_finished_when_it_is_at_all_eps():
    crafting = Crafting("pgd(eps=[1/255, 2/255], steps=5)", IMAGES, TRUE)
    steps = crafting.steps(MODEL)

    assert [0, len(WRONG)] == [next(steps), next(steps)]


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_every_attack_can_be_called_on_images(name):
    kind = ATTACKS[name]
    part = kind(norm="l2", eps=1.0)
    adversarial = part(MODEL, IMAGES, TRUE)
    sizes = BALLS["l2"].size(adversarial.double() - IMAGES.double())

    assert float(sizes.max()) <= 1.0 * (1 + 1e-6) + 1e-6
    assert int((MODEL(adversarial).argmax(1) != TRUE).sum()) > 2


def test_a_called_attack_can_aim():
    adversarial = PGD(eps=EPS)(MODEL, IMAGES, WANTED, targeted=True)

    assert int((MODEL(adversarial).argmax(1) == WANTED).sum()) > COUNT // 2


@pytest.mark.parametrize(
    "run",
    [
        AutoAttack(eps=16 / 255),
        AttackRun((PGD(eps=16 / 255),)),
        holdfast.attack("pgd(eps=16/255)"),
    ],
)
def test_an_ensemble_a_run_and_a_text_can_be_called(run):
    assert int((MODEL(run(MODEL, IMAGES, TRUE)).argmax(1) != TRUE).sum()) > COUNT // 2


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("pgdd(eps=8/255)", "did you mean pgd"),
        ("fog(severity=3)", "is no attack"),
        ("clean", "is no attack"),
        ("", "an empty condition"),
        ("fgsm(eps=8/255), pgd(eps=8/255)", "joined by plus signs"),
        ("pgd(eps=8)", "did you mean 8/255"),
        (8, "an attack is a text"),
    ],
)
def test_a_text_that_is_no_attack_is_told(spec, words):
    with pytest.raises(HoldfastError, match=words):
        attack(spec)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"run": "pgd(eps=[1/255, 2/255])"}, "craft_levels"),
        ({"run": "autoattack(eps=8/255)", "targeted": True}, "cannot aim"),
        ({"run": "pgd(eps=8/255, target=1)", "targeted": True}, "has a target already"),
        ({"images": IMAGES[:0], "labels": TRUE[:0]}, "at least one image"),
        ({"images": None}, "images as a tensor or array, got NoneType"),
        ({"images": IMAGES.mul(255).to(torch.int32)}, "divide by 255"),
        ({"labels": None}, "labels as a tensor or an array of numbers, got NoneType"),
        ({"model": None}, "expected a module or another function"),
        ({"model": "small:cnn"}, "load it first, with holdfast.load_model"),
        ({"run": AttackRun((PGD(),)).sized(0)}, "batch size must be a whole number from 1"),
        ({"images": IMAGES * 2}, "must lie in"),
        ({"labels": TRUE[:-1]}, r"expected labels \[24\]"),
        ({"labels": TRUE.float()}, "labels must be whole numbers"),
        ({"labels": TRUE + 1}, "labels must be 0..3"),
        ({"ids": torch.zeros_like(TRUE)}, "no two may be alike"),
        ({"ids": torch.arange(3)}, r"expected ids \[24\]"),
        ({"model": lambda images: (MODEL(images),)}, "returns tuple"),
        ({"model": lambda images: MODEL(images)[:1]}, "one row an image"),
        ({"model": lambda images: MODEL(images)[:, :1]}, "two or more"),
        ({"model": lambda images: MODEL(images).detach()}, "needs gradients"),
    ],
)
def test_what_cannot_be_used_is_told(given, words):
    usual = {"run": "pgd(eps=8/255)", "model": MODEL, "images": IMAGES, "labels": TRUE}
    with pytest.raises(HoldfastError, match=words):
        craft(**{**usual, **given})


def test_a_result_is_shown_in_a_line():
    crafted = weak()
    fallen = int(crafted.fallen.sum())

    assert repr(crafted).startswith(f"Crafted({fallen} of {COUNT} fallen under pgd(")
    assert len(repr(crafted)) < 200


def test_a_model_that_changes_its_number_of_classes_is_refused():
    calls = []

    def growing(images):
        calls.append(len(images))
        return torch.zeros(len(images), CLASSES + (len(calls) > 3))

    with pytest.raises(HoldfastError, match="gave 4 classes at first and then 5"):
        craft("square(eps=1/255, queries=9)", growing, IMAGES, torch.zeros_like(LABELS))


def test_pixels_that_are_no_numbers_are_told():
    images = IMAGES.clone()
    images[0, 0, 0, 0] = torch.nan

    with pytest.raises(HoldfastError, match="some pixels are NaN"):
        craft("fgsm", MODEL, images, LABELS)


def test_a_seed_that_is_no_whole_number_is_refused():
    with pytest.raises(HoldfastError, match="seed must be a whole number"):
        craft("fgsm", MODEL, IMAGES, LABELS, seed=1.5)
