from __future__ import annotations

import re

import pytest
import torch

from helpers import pictures
from holdfast.core.errors import BadValueError
from holdfast.training.augment.pipeline import Epoch, Pipeline
from holdfast.training.batch import TrainingBatch

NOW = Epoch(seed=1, epoch=1)
IDS = torch.arange(30)
STACK = torch.from_numpy(pictures(30, 8)).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(autouse=True)
def _generator_is_put_back():
    with torch.random.fork_rng(devices=[]):
        yield


def test_texts_are_kept_in_canonical_form():
    listed = Pipeline(["crop( padding = 2)", "flip", "mixup(alpha=1)"])

    assert ("crop(padding=2)", "flip(p=0.5)", "mixup(alpha=1.0)") == listed.specs
    assert listed == Pipeline("crop(padding=2), flip, mixup(alpha=1)") == Pipeline(listed.specs)
    assert hash(listed) == hash(Pipeline(listed.specs))
    assert () == Pipeline().specs == Pipeline("").specs == Pipeline([]).specs


@pytest.mark.parametrize(
    ("specs", "needs_source", "reach"),
    [
        ("", False, 0),
        ("flip, gaussian_noise", False, 0),
        ("random_resized_crop, flip", True, 0),
        ("flip, mixup", False, 1),
        ("mixup, random_noise, cutmix", False, 2),
    ],
)
def test_a_pipeline_says_what_it_needs(specs, needs_source, reach):
    pipeline = Pipeline(specs)

    assert (needs_source, reach) == (pipeline.needs_source, pipeline.reach)


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ("mixup, flip", "did you mean flip(p=0.5), mixup(alpha=0.3)?"),
        ("flip, gaussian_noise, crop", "crop changes pictures of the network's size"),
        ("flip, random_resized_crop", "the stored picture and cannot follow flip"),
        ("mixup, random_resized_crop", "cannot follow mixup, which changes a batch"),
        ("random_resized_crop, random_resized_crop(min_scale=0.5)", "keep one of them"),
    ],
)
def test_a_wrong_order_is_refused(specs, words):
    with pytest.raises(BadValueError, match=re.escape(words)):
        Pipeline(specs)


def test_parts_are_applied_one_after_the_other():
    one, two = Pipeline(["crop(padding=2)"]), Pipeline(["color_jitter"])
    step_by_step = two.change(one.change(STACK, IDS, NOW), IDS, NOW)

    assert torch.equal(
        step_by_step, Pipeline("crop(padding=2), color_jitter").change(STACK, IDS, NOW)
    )


def test_a_part_more_leaves_the_draws_of_the_others():
    marks = torch.zeros(30, 3, 8, 8, dtype=torch.uint8)
    marks[:, :, :, 0] = 255
    alone = Pipeline("flip").change(marks, IDS, NOW)

    assert torch.equal(alone, Pipeline("vertical_flip(p=0.5), flip").change(marks, IDS, NOW))


def test_a_part_that_comes_twice_draws_twice():
    once, twice = Pipeline("flip").change(STACK, IDS, NOW), Pipeline("flip, flip")
    back = (twice.change(STACK, IDS, NOW) == STACK).flatten(1).all(1)
    flipped = (once != STACK).flatten(1).any(1)

    assert 5 < int(back.sum()) < 25  # with equal draws, all 30
    assert 5 < int(flipped.sum()) < 25


def test_mixing_twice_reaches_two_images_back():
    images = torch.zeros(6, 3, 1, 1)
    batch = TrainingBatch.of(images, torch.arange(6), IDS[:6], classes=6)
    targets = Pipeline("mixup, mixup").mix(batch, IDS[:1], NOW).targets
    # Weights are a row's own, its neighbor's and the next but one's, the same in each row.
    own, near, far = (targets.diagonal(), targets[range(6), range(-1, 5)], targets.roll(2, 1))

    assert torch.allclose(own, own[:1].expand(6)) and torch.allclose(near, near[:1].expand(6))
    assert torch.allclose(torch.ones(6), own + near + far.diagonal())
    assert (own > 0).all() and (near > 0).all() and (far.diagonal() > 0).all()


def test_the_draw_of_a_batch_is_that_of_its_first_image():
    batch = TrainingBatch.of(STACK / 255, IDS % 3, IDS, classes=3)
    mix = Pipeline("mixup").mix
    first, other = (mix(batch, torch.tensor([key]), NOW).targets for key in (0, 1))

    assert not torch.equal(first, other)
    part = mix(batch.take(slice(10, 20)), torch.tensor([0]), NOW)
    assert torch.equal(first[11:20], part.targets[1:])
