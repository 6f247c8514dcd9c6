import pytest
import torch
from attacks.crowd import Curved, images_of

from holdfast.compat import torchattacks
from holdfast.core.errors import BadValueError, HoldfastError
from holdfast.perturb.attacks.craft import craft

SHAPE, CLASSES, COUNT = (3, 8, 8), 5, 20
MODEL = Curved(SHAPE, CLASSES).eval()
IMAGES = images_of(SHAPE, COUNT)
LABELS = MODEL(IMAGES).argmax(1)

# As published in torchattacks' README, but for the import.
SCRIPT = """
import torchattacks
atk = torchattacks.PGD(model, eps=8/255, alpha=2/255, steps=10, random_start=True)
adv_images = atk(images, labels)
"""
TARGETED = """
import torchattacks
atk = torchattacks.PGD(model, eps=16/255, alpha=2/255, steps=20)
atk.set_mode_targeted_by_function(target_map_function=lambda images, labels: (labels + 1) % 5)
adv_images = atk(images, labels)
"""
NORMALIZED = """
import torchattacks
atk = torchattacks.PGD(model, eps=8/255, alpha=2/255, steps=10)
atk.set_normalization_used(mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4])
adv_images = atk(images, labels)
"""


def run(script, **others):
    """Run a published script with its import changed."""
    scope = {"model": MODEL, "images": IMAGES, "labels": LABELS, **others}
    changed = script.replace("import torchattacks", "from holdfast.compat import torchattacks")
    exec(changed, scope)  # noqa: S102
    return scope["adv_images"]


def fooled(images):
    return MODEL(images).argmax(1) != LABELS


def test_the_script_runs():
    adversarial = run(SCRIPT)

    assert int(fooled(adversarial).sum()) > COUNT // 2
    assert float((adversarial - IMAGES).abs().max()) <= 8 / 255 + 1e-6


def test_the_script_has_the_images_of_the_engine():
    spec = "pgd(eps=8/255, step_size=2/255, steps=10)"

    assert craft(spec, MODEL, IMAGES, LABELS).images.equal(run(SCRIPT))


def test_a_targeted_script_reaches_the_classes_of_its_function():
    adversarial = run(TARGETED)

    assert int((MODEL(adversarial).argmax(1) == (LABELS + 1) % 5).sum()) > COUNT // 2


def test_normalized_images_come_back_normalized():
    mean = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)
    std = torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    found = run(
        NORMALIZED,
        model=lambda images: MODEL(images * std + mean),
        images=(IMAGES - mean) / std,
    )
    pixels = found * std + mean

    assert int(fooled(pixels).sum()) > COUNT // 2
    assert float((pixels - IMAGES).abs().max()) <= 8 / 255 + 1e-5


@pytest.mark.parametrize(
    "attack",
    [
        torchattacks.FGSM(MODEL, eps=16 / 255),
        torchattacks.PGDL2(MODEL, eps=1.0, alpha=0.2, steps=10),
        torchattacks.APGD(MODEL, norm="L2", eps=1.0, steps=10, loss="dlr"),
        torchattacks.APGDT(MODEL, eps=8 / 255, n_classes=5),
        torchattacks.FAB(MODEL, norm="L2", eps=1.0),
        torchattacks.FAB(MODEL, norm="Linf", eps=8 / 255, multi_targeted=True, n_classes=5),
        torchattacks.Square(MODEL, eps=16 / 255, n_queries=100),
        torchattacks.AutoAttack(MODEL, norm="Linf", eps=0.3, n_classes=5),
    ],
)
def test_attacks_fool_the_model(attack):
    assert int(fooled(attack(IMAGES, LABELS)).sum()) > COUNT // 2


def test_attributes_may_be_changed_between_calls():
    attack = torchattacks.FGSM(MODEL, eps=8 / 255)
    attack.eps = 1 / 255
    largest = float((attack(IMAGES, LABELS) - IMAGES).abs().max())

    assert abs(largest - 1 / 255) < 1e-6


def test_each_call_draws_anew_and_a_script_repeats_itself():
    first, second = (torchattacks.PGD(MODEL) for _ in range(2))
    calls = first(IMAGES, LABELS), first(IMAGES, LABELS)

    assert not calls[0].equal(calls[1])
    assert calls[0].equal(second(IMAGES, LABELS)) and calls[1].equal(second(IMAGES, LABELS))


def test_labels_can_be_the_targets():
    attack = torchattacks.PGD(MODEL, eps=16 / 255, steps=20)
    attack.set_mode_targeted_by_label(quiet=True)
    wanted = torch.full_like(LABELS, 2)

    assert int((MODEL(attack(IMAGES, wanted)).argmax(1) == 2).sum()) > COUNT // 2


def test_the_least_likely_class_can_be_the_target():
    attack = torchattacks.PGD(MODEL, eps=0.3, alpha=0.02, steps=40)
    attack.set_mode_targeted_least_likely()
    least = MODEL(IMAGES).argmin(1)

    assert int((MODEL(attack(IMAGES, LABELS)).argmax(1) == least).sum()) > COUNT // 2


def test_random_targets_are_wrong_classes_and_several():
    attack = torchattacks.PGD(MODEL, eps=0.3, alpha=0.02, steps=40)
    attack.set_mode_targeted_random()
    given, ranked = MODEL(attack(IMAGES, LABELS)).argmax(1), MODEL(IMAGES).argsort(1)

    assert int((given != LABELS).sum()) > COUNT // 2
    assert all(int((given == ranked[:, place]).sum()) > 1 for place in range(4))


def test_the_default_mode_can_be_set_again():
    attack = torchattacks.FGSM(MODEL, eps=16 / 255)
    attack.set_mode_targeted_by_label()
    attack.set_mode_default()

    assert attack(IMAGES, LABELS).equal(torchattacks.FGSM(MODEL, eps=16 / 255)(IMAGES, LABELS))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: torchattacks.APGD(MODEL, norm="l3")(IMAGES, LABELS), "known: L1, L2, Linf"),
        (lambda: torchattacks.APGD(MODEL, loss="margin")(IMAGES, LABELS), "no loss named"),
        (lambda: torchattacks.FAB(MODEL, eta=2.0)(IMAGES, LABELS), "eta is always 1.05"),
        (lambda: torchattacks.Square(MODEL, resc_schedule=True)(IMAGES, LABELS), "not offered"),
        (lambda: torchattacks.PGD(MODEL).set_mode_targeted_least_likely(2), "kth_min must be 1"),
        (lambda: torchattacks.PGD(MODEL, eps=8)(IMAGES, LABELS), "did you mean 8/255"),
    ],
)
def test_what_is_not_offered_is_told(call, words):
    with pytest.raises(HoldfastError, match=words):
        call()


def test_arrays_serve_as_tensors_do():
    attacked = torchattacks.PGD(MODEL, eps=16 / 255)(IMAGES.numpy(), LABELS.numpy())

    assert attacked.equal(torchattacks.PGD(MODEL, eps=16 / 255)(IMAGES, LABELS))


def gradients_of(eot_iter):
    """Calls with a gradient while one image that stands is attacked."""
    calls = []

    def model(images):
        calls.append(images.requires_grad)
        return MODEL(images)

    torchattacks.APGD(model, eps=1e-6, steps=5, eot_iter=eot_iter)(IMAGES[:1], LABELS[:1])
    return sum(calls)


def test_each_gradient_is_the_mean_of_as_many_draws_as_eot_iter_says():
    assert 3 * gradients_of(1) == gradients_of(3)


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        ([0.5, 0.5, 0.5], [0.2, 0.0, 0.2], "std must have one finite number a channel, above 0"),
        ([0.5, 0.5], [0.2, 0.2, 0.2], "mean must have one finite number a channel"),
        ([0.5, 0.5, 0.5], [0.2, 0.2], "std must have one finite number a channel"),
        (["a", "b", "c"], [0.2, 0.2, 0.2], "expected mean as a tensor or an array of numbers"),
        ([0.5, 0.5, 0.5], "imagenet", "expected std as a tensor or an array of numbers"),
    ],
)
def test_constants_that_cannot_normalize_are_refused(mean, std, words):
    with pytest.raises(HoldfastError, match=words):
        torchattacks.PGD(MODEL).set_normalization_used(mean=mean, std=std)


def test_8_bit_images_are_no_normalized_ones():
    attack = torchattacks.PGD(MODEL)
    attack.set_normalization_used(mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4])
    with pytest.raises(BadValueError, match="expected normalized float images"):
        attack(IMAGES.mul(255).to(torch.uint8), LABELS)


@pytest.mark.parametrize("mode", ["random", "least_likely"])
def test_labels_that_are_no_classes_choose_no_targets(mode):
    attack = torchattacks.PGD(MODEL)
    getattr(attack, f"set_mode_targeted_{mode}")()
    with pytest.raises(BadValueError, match=r"5 classes, so labels must be 0\.\.4"):
        attack(IMAGES, LABELS + CLASSES)


@pytest.mark.parametrize(
    "attack",
    [
        torchattacks.APGDT(MODEL, n_classes=5),
        torchattacks.FAB(MODEL, multi_targeted=True, n_classes=5),
    ],
)
def test_every_wrong_class_is_aimed_at(attack):
    assert 4 == attack.part().targets
