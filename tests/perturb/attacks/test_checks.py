"""Each flag has a model that raises it, and a plain model raises none."""

import sys

import pytest
import torch
from torch import nn

import holdfast
from helpers import Textured, pictures
from holdfast.perturb.base import Batch
from holdfast.perturb.conditions import parse_conditions

COUNT = 20
PLAIN = Textured()
IMAGES = torch.from_numpy(pictures(COUNT)).permute(0, 3, 1, 2).float() / 255
with torch.no_grad():
    LABELS = PLAIN(IMAGES).argmax(1)
LONG = "pgd(eps=0.002, steps=12)"


def flags_of(model, spec=LONG, *, search=None, labels=None):
    """Flags of a run on a model."""
    if search is not None:
        object.__setattr__(model, "search", search)
    truth = model(IMAGES).argmax(1) if labels is None else labels
    batches = [Batch(IMAGES, truth, torch.arange(COUNT))]
    run = parse_conditions(spec)[1]
    return set().union(*(outcome.flags for outcome in run.run(batches, model, 0)))


class Changed(nn.Module):
    """The plain model with something after it."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, images):
        return self.change(images, PLAIN(images))


def noisy(images, logits):
    return logits + 0.01 * logits.abs().max() * torch.randn(
        logits.shape, generator=NOISE, dtype=logits.dtype
    )


NOISE = torch.Generator().manual_seed(0)


def purified(images, logits):
    """As a defense that follows a gradient of its own before it predicts."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_(True)
        torch.autograd.grad(PLAIN(leaf).sum(), leaf)
    return logits


def back_propagated(images, logits):
    with torch.enable_grad():
        leaf = images.detach().requires_grad_(True)
        PLAIN(leaf).sum().backward()
    return logits


@pytest.mark.parametrize("spec", [LONG, "apgd(eps=0.004, steps=12)", "square(eps=0.01, queries=9)"])
def test_a_plain_model_raises_none(spec):
    assert set() == flags_of(PLAIN, spec)


def test_other_logits_for_equal_images_are_told():
    assert "randomized" in flags_of(Changed(noisy), labels=LABELS)


def test_a_little_rounding_is_no_randomness():
    def rounded(images, logits):
        return logits * (1 + 1e-6 * torch.rand(1, generator=NOISE))

    assert "randomized" not in flags_of(Changed(rounded), labels=LABELS)


def test_probabilities_are_told():
    assert "softmax_outputs" in flags_of(Changed(lambda _, logits: (logits / 9).softmax(1)))


def test_log_probabilities_are_no_probabilities():
    model = Changed(lambda _, logits: (logits / 9).log_softmax(1))

    assert "softmax_outputs" not in flags_of(model)


@pytest.mark.parametrize("change", [purified, back_propagated])
def test_a_model_that_differentiates_while_it_predicts_is_told(change):
    assert "dynamic_defense" in flags_of(Changed(change))


def test_looking_for_it_leaves_no_profiler_behind():
    flags_of(PLAIN)

    assert sys.getprofile() is None


def test_somebody_elses_profiler_is_left_alone():
    def watch(frame, event, argument):
        pass

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        flags = flags_of(PLAIN)
        kept = sys.getprofile() is watch
    finally:
        sys.setprofile(before)

    assert kept
    assert "dynamic_defense" not in flags


@pytest.mark.parametrize(
    ("spec", "classes"),
    [
        ("apgd(eps=0.002, steps=2, loss=dlr)", 2),
        ("apgd(eps=0.002, steps=2, loss=targeted_dlr, targets=9)", 5),
        ("fab(eps=0.002, steps=2, targets=9)", 5),
    ],
)
def test_too_few_classes_are_told(spec, classes):
    assert "few_classes" in flags_of(Textured(classes), spec)


@pytest.mark.parametrize(
    "spec",
    [
        "apgd(eps=0.002, steps=2, loss=dlr)",
        "apgd(eps=0.002, steps=2, loss=targeted_dlr, targets=2)",
        "fab(eps=0.002, steps=2, targets=4)",
    ],
)
def test_five_classes_are_enough(spec):
    assert "few_classes" not in flags_of(Textured(5), spec)


def test_a_short_attack_that_breaks_more_is_told():
    # Steps so short that the long attack hardly moves.
    weak = "pgd(eps=0.004, steps=12, step_size=1e-7, random_start=False)"

    assert "fewer_steps_stronger" in flags_of(PLAIN, weak)


def test_a_short_attack_has_no_shorter_one_to_fear():
    weak = "pgd(eps=0.004, steps=10, step_size=1e-7, random_start=False)"

    assert "fewer_steps_stronger" not in flags_of(PLAIN, weak)


def test_a_targeted_attack_is_not_held_against_an_untargeted_one():
    weak = "pgd(eps=0.004, steps=12, step_size=1e-7, random_start=False, target=second)"

    assert "fewer_steps_stronger" not in flags_of(PLAIN, weak)


class Constant(nn.Module):
    """Gives class 0 whatever it sees, with a slope."""

    def forward(self, images):
        level = images.mean((1, 2, 3))
        return torch.stack([10 + level, level**2], 1)


def test_an_image_that_stands_when_all_pixels_may_be_gray_is_told():
    assert "stands_at_huge_eps" in flags_of(Constant())


def test_gradients_that_vanish_are_told():
    class Flat(nn.Module):
        def forward(self, images):
            return PLAIN((images * 4).round() / 4)

    assert "zero_gradients" in flags_of(Flat())


def test_what_the_judge_does_not_confirm_is_told():
    class Deaf(nn.Module):
        def forward(self, images):
            near = torch.cdist(images.flatten(1), IMAGES.flatten(1)).argmin(1)
            return 10 * nn.functional.one_hot(LABELS[near], 5).float()

    assert "unconfirmed" in flags_of(Deaf(), search=PLAIN, labels=LABELS)


class Masked(nn.Module):
    """Same logits, but the gradient's sign is turned."""

    def forward(self, images):
        return PLAIN(2 * images.detach() - images)


def test_a_black_box_that_breaks_more_than_gradients_is_told():
    spec = "fgsm(eps=0.02) + square(eps=0.02, queries=200)"
    data = (IMAGES, LABELS)

    def flags(model):
        frame = holdfast.measure(model, data, spec, device="cpu").measurements
        return frame.filter(metric="accuracy")["flags"].to_list()[-1]

    assert "black_box_stronger" in flags(Masked())
    assert "black_box_stronger" not in flags(PLAIN)


def test_a_model_that_came_in_training_mode_is_told():
    model = Textured().train()
    results = holdfast.measure(model, (IMAGES, LABELS), "fgsm(eps=0.002)", device="cpu")

    assert all(["train_mode"] == flags for flags in results.measurements["flags"].to_list())


def test_what_is_noticed_early_is_told_before_the_end():
    batches = [Batch(IMAGES, LABELS, torch.arange(COUNT))]
    run = parse_conditions(LONG)[1].run(batches, Changed(purified), 0)
    first = next(run)

    assert "dynamic_defense" in first.flags


def test_flags_reach_the_record_of_every_radius():
    spec = "apgd(eps=[0.002, 0.004], steps=2, loss=targeted_dlr, targets=9)"
    frame = holdfast.measure(PLAIN, (IMAGES, LABELS), spec, device="cpu").measurements
    flags = frame.filter(metric="accuracy")["flags"].to_list()

    assert [[], ["few_classes"], ["few_classes"]] == flags


def test_only_a_few_samples_are_looked_at_again():
    evaluator_rows = []

    class Counting(nn.Module):
        def forward(self, images):
            evaluator_rows.append(len(images))
            return PLAIN(images)

    model = Counting()
    run = parse_conditions("square(eps=1e-6, queries=2)")[1].sized(1)
    many = IMAGES.repeat(4, 1, 1, 1)
    batch = Batch(many, LABELS.repeat(4), torch.arange(len(many)))
    passes = sum(int(o.forward_evals.sum()) for o in run.run([batch], model, 0))

    assert sum(evaluator_rows) - passes <= 4 * 16
