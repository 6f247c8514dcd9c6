"""Torchvision itself, under the same seed, is the judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import beta, chisquare, kstest
from torchvision.transforms import v2

from helpers import pictures
from holdfast.core.randomness import keys_for
from holdfast.training.augment import AUGMENTATIONS, SampleAugmentation, parse_augmentation
from holdfast.training.augment._torchvision import TorchvisionAugmentation
from holdfast.training.augment.pipeline import Epoch, Pipeline
from holdfast.training.batch import TrainingBatch

BILINEAR = v2.InterpolationMode.BILINEAR
# The published recipes of Team 34 ("basic") and of Heuillet et al. are among them.
SAME = {
    "rotation(degrees=20, p=0.4)": v2.RandomApply([v2.RandomRotation(20)], p=0.4),
    "rotation(degrees=5)": v2.RandomRotation(5),
    "rotation(degrees=30, interpolation=bilinear)": v2.RandomRotation(30, BILINEAR),
    "shift(fraction=0.2)": v2.RandomAffine(0, translate=(0.2, 0.2)),
    "affine(degrees=10, shift=0.08)": v2.RandomAffine(
        10, translate=(0.08, 0.08), interpolation=BILINEAR
    ),
    "color_jitter": v2.ColorJitter(0.25, 0.25, 0.25),
    "color_jitter(brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1)": v2.ColorJitter(
        0.4, 0.3, 0.2, 0.1
    ),
    "color_jitter(p=0.8)": v2.RandomApply([v2.ColorJitter(0.25, 0.25, 0.25)], p=0.8),
    "grayscale(p=0.3)": v2.RandomGrayscale(0.3),
    "erase(p=0.7, smallest=0.1, largest=0.2)": v2.RandomErasing(0.7, scale=(0.1, 0.2)),
    "randaugment(changes=3, magnitude=12)": v2.RandAugment(3, 12),
    "trivialaugment": v2.TrivialAugmentWide(),
    "autoaugment(policy=cifar10)": v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
    "autoaugment": v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
    "augmix(severity=4, width=2, depth=2, alpha=0.5)": v2.AugMix(4, 2, 2, 0.5, all_ops=False),
}
STACK = torch.from_numpy(pictures(8, 16)).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(autouse=True)
def _generator_is_put_back():
    with torch.random.fork_rng(devices=[]):
        yield


def test_every_transform_of_torchvision_has_its_judge():
    names = {text.split("(")[0] for text in SAME}
    kinds = {
        name for name in AUGMENTATIONS if issubclass(AUGMENTATIONS[name], TorchvisionAugmentation)
    }

    assert kinds == names


@pytest.mark.parametrize("text", SAME)
def test_a_picture_is_what_torchvision_makes_of_it(text):
    part = parse_augmentation(text)
    changed = []
    for seed, image in enumerate(STACK):
        torch.manual_seed(seed)
        changed.append(part.change(image))
        torch.manual_seed(seed)

        assert torch.equal(SAME[text](image), changed[-1])

    assert not torch.equal(STACK, torch.stack(changed))


def test_a_pipeline_seeds_torchvision_for_each_picture():
    ids = torch.arange(8) + 3
    changed = Pipeline(["color_jitter"]).change(STACK, ids, Epoch(seed=4, epoch=6))
    seeds = keys_for(ids, seed=4, stream="training color_jitter 6").bits().tolist()
    for image, seed, found in zip(STACK, seeds, changed, strict=True):
        torch.manual_seed(seed)

        assert torch.equal(SAME["color_jitter"](image), found)


def test_a_cut_is_what_torchvision_makes_with_pil():
    image = pictures(1, 40)[0, :30]
    text = "random_resized_crop(min_scale=0.3, max_scale=0.9, min_ratio=0.5, max_ratio=2)"
    judge = v2.RandomResizedCrop((12, 10), scale=(0.3, 0.9), ratio=(0.5, 2))
    for seed in range(5):
        torch.manual_seed(seed)
        found = parse_augmentation(text).cut(image, (12, 10))
        torch.manual_seed(seed)

        assert np.array_equal(np.asarray(judge(Image.fromarray(image))), found)


@pytest.mark.parametrize(
    ("text", "judge"),
    [("mixup(alpha=0.4)", v2.MixUp(alpha=0.4)), ("cutmix(alpha=0.7)", v2.CutMix(alpha=0.7))],
)
def test_a_batch_is_what_torchvision_makes_of_it(text, judge):
    batch = TrainingBatch.of(STACK / 255, torch.arange(8) % 4, torch.arange(8) + 9, classes=4)
    mixed = Pipeline([text]).mix(batch, batch.ids[:1], Epoch(seed=2, epoch=3))
    stream = keys_for(batch.ids[:1], seed=2, stream=f"training {text.split('(')[0]} 3")
    torch.manual_seed(int(stream.stream("batch").bits()))
    images, targets = judge(batch.images, batch.targets)

    assert torch.equal(images, mixed.images) and torch.equal(targets, mixed.targets)
    assert not torch.equal(batch.targets, mixed.targets)


@pytest.mark.parametrize(("name", "flip"), [("flip", "horizontal"), ("vertical_flip", "vertical")])
def test_pictures_are_mirrored_as_often_as_was_asked(name, flip):
    images, ids = STACK[:1].repeat(4000, 1, 1, 1), torch.arange(4000)
    changed = Pipeline([f"{name}(p=0.4)"]).change(images, ids, Epoch(seed=0, epoch=1))
    mirrored = getattr(v2.functional, f"{flip}_flip")(STACK[0])
    is_mirrored = (changed == mirrored).flatten(1).all(1)

    assert torch.equal(is_mirrored, ~(changed == STACK[0]).flatten(1).all(1))
    # 5 standard deviations of a share of 0.4 of 4,000 are 0.039.
    assert 0.4 == pytest.approx(is_mirrored.double().mean().item(), abs=0.039)


@pytest.mark.parametrize(("name", "p", "moved"), [("flip", 0, False), ("flip", 1, True)])
def test_a_share_of_none_or_all_is_meant(name, p, moved):
    changed = Pipeline([f"{name}(p={p})"]).change(STACK, torch.arange(8), Epoch(0, 1))

    assert torch.equal(STACK.flip(3) if moved else STACK, changed)


def test_every_window_is_cut_and_as_often_as_the_others():
    images, ids = STACK[:1].repeat(5000, 1, 1, 1), torch.arange(5000)
    changed = Pipeline(["crop(padding=2)"]).change(images, ids, Epoch(seed=0, epoch=1))
    padded = v2.functional.pad(STACK[0], [2, 2, 2, 2])
    windows = [
        v2.functional.crop(padded, top, left, 16, 16) for top in range(5) for left in range(5)
    ]
    counts = [int((changed == window).flatten(1).all(1).sum()) for window in windows]

    assert 5000 == sum(counts)
    assert chisquare(counts).pvalue > 1e-4


def test_one_picture_by_itself_is_drawn_from_the_global_generator():
    part = parse_augmentation("crop(padding=4)")
    assert isinstance(part, SampleAugmentation)

    def drawn(seed):
        torch.manual_seed(seed)
        return torch.stack([part.change(STACK[0]) for _ in range(20)])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert len(torch.unique(drawn(1), dim=0)) > 10


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_weight_of_mixup_has_the_distribution_that_was_asked_for(alpha):
    batch = TrainingBatch.of(torch.rand(2, 3, 2, 2), torch.arange(2), torch.arange(2), classes=2)
    pipeline = Pipeline([f"mixup(alpha={alpha})"])
    weights = [
        float(pipeline.mix(batch, torch.tensor([first]), Epoch(0, 1)).targets[0, 0])
        for first in range(500)
    ]

    assert kstest(weights, beta(alpha, alpha).cdf).pvalue > 1e-4
    spread = (4 * (2 * alpha + 1)) ** -0.5
    assert 0.5 == pytest.approx(np.mean(weights), abs=5 * spread / 500**0.5)
