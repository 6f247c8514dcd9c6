from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare, kstest

from helpers import pictures
from holdfast.core.errors import BadTypeError, BadValueError, UnknownNameError
from holdfast.core.randomness import keys_for
from holdfast.perturb.base import to_8_bit
from holdfast.perturb.conditions import EXTRA, STANDARD
from holdfast.perturb.corruptions import CORRUPTIONS
from holdfast.training.augment import parse_augmentation
from holdfast.training.augment.pipeline import Epoch, Pipeline
from holdfast.training.batch import TrainingBatch

NOW = Epoch(seed=3, epoch=2)


def batch_of(images):
    labels = torch.zeros(len(images), dtype=torch.int64)
    return TrainingBatch.of(images, labels, torch.arange(len(images)) + 5, classes=2)


def mixed(text, batch, moment=NOW):
    with torch.random.fork_rng(devices=[]):
        return Pipeline([text]).mix(batch, batch.ids[:1], moment)


def photos(count, size=8):
    return torch.from_numpy(pictures(count, size)).permute(0, 3, 1, 2).contiguous() / 255


def test_random_noise_has_the_numbers_that_the_first_training_loop_had():
    batch = batch_of(photos(6))
    keys = keys_for(batch.ids, seed=3, stream="training noise 2")
    sigma = keys.stream("sigma").uniform(1, 1, 1, high=0.4).float()
    expected = (batch.images + sigma * keys.normal(3, 8, 8)).clamp(0, 1)

    assert torch.equal(expected, mixed("random_noise(sigma=0.4)", batch).images)


def test_noise_of_one_strength_is_normal_and_of_that_strength():
    grey = batch_of(torch.full((40, 3, 8, 8), 0.5))
    noise = mixed("gaussian_noise(sigma=0.05)", grey).images - 0.5

    assert kstest(noise.flatten().numpy() / 0.05, "norm").pvalue > 1e-4


def test_the_strength_of_random_noise_is_drawn_evenly():
    grey = batch_of(torch.full((2000, 3, 8, 8), 0.5))
    noise = mixed("random_noise(sigma=0.08)", grey).images - 0.5
    strengths = noise.flatten(1).std(1).numpy() / 0.08

    # Each is measured on 192 numbers, to 5 %.
    assert kstest(strengths, "uniform").statistic < 0.05


@pytest.mark.parametrize("spec", ["fog(severity=4)", "gaussian_noise(sigma=0.1)"])
def test_one_corruption_is_the_packages_own(spec):
    batch = batch_of(photos(5))
    part = parse_augmentation(f"corruption(of={spec})")
    found = mixed(part.spec, batch).images
    name = spec.split("(")[0]
    keys = keys_for(batch.ids, seed=3, stream="training corruption 2").stream(name)
    corruption = CORRUPTIONS[name](
        **({"sigma": 0.1} if name == "gaussian_noise" else {"severity": 4})
    )
    expected = to_8_bit(corruption.apply(batch.images, corruption.draw((3, 8, 8), keys)))

    assert f"corruption(of={spec}, p=1.0)" == part.spec
    assert torch.equal(expected, found)


def test_a_share_of_the_images_is_corrupted_and_the_others_are_left():
    batch = batch_of(torch.full((2000, 3, 4, 4), 0.4321))
    found = mixed("corruption(of=brightness(severity=2), p=0.3)", batch).images
    same = (found == batch.images).flatten(1).all(1)

    # 5 standard deviations of a share of 0.3 of 2,000 are 0.051.
    assert 0.3 == pytest.approx(1 - same.double().mean().item(), abs=0.051)


def test_kinds_and_severities_are_drawn_evenly():
    batch = batch_of(torch.full((3000, 3, 2, 2), 0.4))
    text = "corruptions(names=[brightness, saturate], weakest=2, strongest=4, p=0.9)"
    batch.images[:, 0] = 0.6  # saturation needs a color
    found = mixed(text, batch).images
    counts = []
    for name in ("brightness", "saturate"):
        for severity in (2, 3, 4):
            part = CORRUPTIONS[name](severity=severity)
            expected = to_8_bit(part.apply(batch.images[:1], {}))
            counts.append(int((found == expected).flatten(1).all(1).sum()))
    untouched = int((found == batch.images).flatten(1).all(1).sum())

    assert 3000 == sum(counts) + untouched
    assert chisquare(counts).pvalue > 1e-4
    assert 300 == pytest.approx(untouched, abs=83)  # 5 standard deviations


def test_an_image_is_corrupted_alike_in_any_batch():
    batch = batch_of(photos(12))
    whole = mixed("corruptions(p=0.8)", batch).images
    parts = [mixed("corruptions(p=0.8)", batch.take(slice(i, i + 1))).images for i in range(12)]

    assert torch.equal(whole, torch.cat(parts))


def test_what_a_benchmark_measures_is_not_trained_on_unless_asked_for():
    assert EXTRA == parse_augmentation("corruptions").names
    assert not set(EXTRA) & set(STANDARD)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("corruption(of=fog)", BadValueError, "needs a severity"),
        ("corruption(of=frogg(severity=3))", UnknownNameError, "fog"),
        ("corruption(of=fog(severity=9))", BadValueError, "1..5"),
        ("corruptions(names=[fog, frogg])", UnknownNameError, "fog"),
        ("corruptions(names=[fog, fog])", BadValueError, "each once"),
        ("corruptions(weakest=4, strongest=2)", BadValueError, "exchange"),
        ("corruptions(strongest=6)", BadValueError, "from 1 to 5"),
        ("corruptions(p=1.5)", BadValueError, "from 0 to 1"),
        ("gaussian_noise(sigma=25)", BadValueError, "divide by 255"),
        ("gaussian_noise(sigma=0)", BadValueError, "leave gaussian_noise out"),
        ("random_noise(sigma=-0.1)", BadValueError, "got -0.1"),
        ("mixup(alpha=0)", BadValueError, "leave mixup out"),
        ("cutmix(alpha=-1)", BadValueError, "from 0"),
        ("mixup(alpha=word)", BadValueError, "a number"),
        ("flip(p=2)", BadValueError, "from 0 to 1, got 2"),
        ("crop(padding=0)", BadValueError, "from 1"),
        ("crop(padding=2.5)", BadValueError, "a whole number"),
        ("rotation(degrees=200)", BadValueError, "to 180"),
        ("rotation(interpolation=cubic)", BadValueError, "nearest or bilinear"),
        ("affine(degrees=0, shift=0)", BadValueError, "does nothing"),
        ("shift(fraction=8)", BadValueError, "fraction of the side"),
        ("color_jitter(hue=0.6)", BadValueError, "to 0.5"),
        ("erase(smallest=0.5, largest=0.1)", BadValueError, "exchange"),
        ("randaugment(magnitude=31)", BadValueError, "to 30"),
        ("autoaugment(policy=mnist)", BadValueError, "imagenet or cifar10 or svhn"),
        ("augmix(depth=0)", BadValueError, "-1 for a random one"),
        ("augmix(severity=0)", BadValueError, "from 1"),
        ("random_resized_crop(min_scale=0.5, max_scale=0.2)", BadValueError, "exchange"),
        ("random_resized_crop(min_ratio=3)", BadValueError, "exchange"),
        ("flop", UnknownNameError, "did you mean flip"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(text, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        parse_augmentation(text)


def test_values_of_the_wrong_type_are_refused_in_python_too():
    from holdfast.training.augment.crop import Crop  # noqa: PLC0415
    from holdfast.training.augment.flip import Flip  # noqa: PLC0415

    with pytest.raises(BadTypeError, match="must be a number"):
        Flip(p="0.5")
    with pytest.raises(BadTypeError, match="whole number"):
        Crop(padding=True)


def test_a_padding_that_leaves_nothing_is_refused():
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(BadValueError, match="at most 7"):
        Pipeline(["crop(padding=8)"]).change(images, torch.arange(2), NOW)
