"""Advice on a network that sees something: signs of differences, and what counts as help."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from holdfast import load_data
from holdfast.explain.advice import Question, advise
from holdfast.explain.advice.candidates import view_of
from holdfast.models import load_model
from holdfast.models.surgery import parse_changes

IMAGES = 120


def nearest_mean(folder):
    """File of fresh weights whose last layer tells classes by the means of their features."""
    train = list(load_data("digits", split="train").read(range(400)))
    pictures = torch.stack([torch.from_numpy(one.image) for one in train])
    pixels = pictures.permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor([one.label for one in train])
    net = load_model("small:cnn", device="cpu").net
    with torch.no_grad():
        seen = net.blocks((pixels - 0.5) / 0.25)
        features = F.adaptive_avg_pool2d(seen, 1).flatten(1)
        spread = features.std(0) + 1e-6
        means = torch.stack([(features / spread)[labels == one].mean(0) for one in range(10)])
        net.head.weight.copy_(means / spread)
        net.head.bias.copy_(-means.square().sum(1) / 2)
    path = folder / "weights.pt"
    torch.save(net.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    question = Question(
        model="small:cnn",
        dataset=load_data("digits", split="test"),
        weights=nearest_mean(tmp_path_factory.mktemp("weights")),
        n=IMAGES,
        changes=("low_pass(std=0.35)", "low_pass(std=0.6)"),
        perturb=("contrast(severity=3)",),
        device="cpu",
    )
    return list(advise(question))[-1]


def test_the_difference_is_after_less_before(found):
    parts = [part for one in found.advised for part in one.consequences]

    for part in parts:
        assert part.measured.value == pytest.approx(part.after.value - part.before.value)
    assert min(part.measured.value for part in parts) < -0.1  # else a sign would not be seen


def test_what_chance_can_explain_is_no_help(found):
    known = [(one, part) for one in found.advised for part in one.consequences]

    for one, part in known:
        assert (part.condition in one.helps) == (part.measured.low > 0)
    assert any(part.measured.low <= 0 < part.measured.value for _, part in known)


def test_noise_is_added_before_pictures_are_made_smaller():
    smaller, blurred = parse_changes(["resolution(size=160)", "low_pass(std=0.5)"])

    assert (view_of(smaller, "model"), view_of(blurred, "model")) == ("native", "model")
