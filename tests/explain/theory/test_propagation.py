"""Noise through networks: closed forms of linear ones, laws, and what each layer is called."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.core.randomness import keys_for
from holdfast.explain.theory import (
    amplifying,
    propagate,
    propagation,
    random_fields,
    stem_of,
    theory_of,
)
from holdfast.models import Card, Classifier, Preprocessing
from holdfast.models.small import SmallCNN
from holdfast.records.explanations import read_explanation, write_explanation

COUNT = 12


def keys(count=COUNT, seed=0):
    return keys_for(torch.arange(count), seed=seed, stream="test")


def wrapped(net, size=(16, 16), mean=(0.5,) * 3, std=(0.25,) * 3):
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
            module.running_mean = torch.randn(module.num_features, generator=generator)
            module.weight.data = torch.rand(module.num_features, generator=generator) + 0.5
    for weight in net.parameters():
        if weight.dim() > 1:
            weight.data = torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5
    ready = Preprocessing(input_size=size, mean=mean, std=std)
    return Classifier(net.eval(), Card(name="net", preprocessing=ready, identity="net"))


def images(count=COUNT, size=(16, 16)):
    return keys_for(torch.arange(count), seed=9, stream="images").uniform(3, *size).float()


def seen(net, pictures=None, sigma=0.1, **other):
    pictures = images() if pictures is None else pictures
    stem = stem_of(net.net, net, net.input_size)
    return propagate(net, pictures, sigma, keys(len(pictures), **other), stem)


def chain():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.Identity(),
        nn.AvgPool2d(2),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 4, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def test_every_layer_agrees_with_a_plain_computation():
    net = wrapped(chain())
    found = seen(net)
    pictures = images()
    noisy = pictures + keys().normal(3, 16, 16) * 0.1
    clean, noisy = (pictures - 0.5) / 0.25, (noisy - 0.5) / 0.25
    told = {layer.name: layer for layer in found.layers}
    for place, module in enumerate(net.net):
        with torch.no_grad():
            clean, noisy = module(clean.clone()), module(noisy.clone())
        if isinstance(module, nn.Identity):
            assert str(place) not in told
            continue
        layer = told[str(place)]
        difference = (noisy - clean).double()
        if clean.dim() > 1:
            flat = clean.double().transpose(0, 1).flatten(1)  # channels first
            signal = math.sqrt(flat.var(1, unbiased=False).mean())
            assert layer.signal == pytest.approx(signal, rel=1e-4)
        assert layer.noise == pytest.approx(float(difference.square().mean().sqrt()), rel=1e-4)
        assert layer.shape == tuple(clean.shape[1:])
        assert layer.ratio.value == pytest.approx(layer.noise / layer.signal)
        assert layer.ratio.low < layer.ratio.value < layer.ratio.high
    assert list(range(len(found.layers))) == [layer.place for layer in found.layers]
    pairs = zip(found.layers[1:], found.layers, strict=False)
    assert all(one.gain == one.ratio.value / before.ratio.value for one, before in pairs)


def test_analytic_noise_where_the_way_is_linear_and_nowhere_else():
    found = seen(wrapped(chain()), images(300))
    known = {layer.name: layer for layer in found.layers if math.isfinite(layer.analytic)}

    assert {"0", "1", "3"} == set(known)
    for layer in known.values():
        assert layer.noise == pytest.approx(layer.analytic, rel=0.01)
    # Without the pooling's window the third would be the second's.
    assert known["3"].analytic < 0.8 * known["1"].analytic


@pytest.mark.parametrize(
    "second",
    [
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(8, 8, 1),
        nn.AvgPool2d(3, stride=1),
        nn.AvgPool2d(2, padding=1),
    ],
)
def test_no_closed_form_is_claimed_after(second):
    found = seen(wrapped(nn.Sequential(nn.Conv2d(3, 8, 3), second, nn.Flatten())))

    assert [True, False, False] == [math.isfinite(layer.analytic) for layer in found.layers]


def test_a_linear_network_keeps_the_ratio_when_both_are_scaled():
    net = wrapped(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.Flatten()))
    ratios = [layer.ratio.value for layer in seen(net, sigma=0.05).layers]
    doubled = [layer.ratio.value for layer in seen(net, sigma=0.1).layers]

    assert np.allclose(np.multiply(ratios, 2), doubled, rtol=1e-4)


def test_the_result_is_keyed_and_does_not_hang_on_the_passes(monkeypatch):
    net = wrapped(SmallCNN(4))
    first = seen(net)
    assert first.layers == seen(net).layers
    assert first.layers != seen(net, seed=1).layers
    monkeypatch.setattr(propagation, "_TOGETHER", 5)
    for one, other in zip(first.layers, seen(net).layers, strict=True):
        assert one.noise == pytest.approx(other.noise, rel=1e-4)
        assert one.ratio.high == pytest.approx(other.ratio.high, rel=1e-3)


class Windows(nn.Module):
    """Windows of an image in the batch, channels last, a layer that runs twice, and attention."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.act = nn.GELU()
        self.mix = nn.Linear(8, 8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.drop = nn.Dropout(0.5)
        self.mean = nn.Embedding(1, 8)

    def forward(self, pictures):
        tokens = self.act(self.embed(pictures)).permute(0, 2, 3, 1)  # [B, 4, 4, 8]
        windows = tokens.reshape(-1, 2, 8)
        mixed = self.act(self.mix(windows))
        tokens = self.attend(mixed, mixed, mixed)[0].reshape(len(pictures), -1, 8)
        tokens = self.drop(tokens + self.mean(torch.zeros(1, dtype=torch.int64)))
        return tokens.mean(1)


def test_names_windows_repeats_and_what_is_left_out():
    found = seen(wrapped(Windows()))
    told = [(layer.name, layer.kind) for layer in found.layers]

    assert told == [
        ("embed", "Conv2d"),
        ("act", "GELU"),
        ("mix", "Linear"),
        ("act#2", "GELU"),
        ("attend", "MultiheadAttention"),
        ("drop", "in Windows"),
    ]
    assert ("mean",) == found.skipped
    assert (2, 8) == found.layers[2].shape


def test_intervals_over_images_cover():
    """Of 40 sets of eight images, about 95 % of the intervals hold the ratio of 320 images."""
    net = wrapped(nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten()))
    pictures = random_fields(keys(320), (3, 16, 16))
    whole = seen(net, pictures).layers[2].ratio.value
    inside = 0
    for start in range(0, 320, 8):
        ratio = seen(net, pictures[start : start + 8], seed=start).layers[2].ratio
        inside += ratio.low < whole < ratio.high

    assert 32 <= inside <= 40


def test_what_cannot_be_measured_is_refused():
    net = wrapped(SmallCNN(4))
    for pictures, sigma in ((images(1), 0.1), (images(), 0.0)):
        with pytest.raises(BadValueError, match="two or more images"):
            propagate(net, pictures, sigma, keys(len(pictures)))
    with pytest.raises(BadValueError, match="sigma"):
        propagate(net, images(), -1.0, keys())


def test_random_fields_are_keyed_pictures_with_a_falling_spectrum():
    fields = random_fields(keys(20), (3, 64, 64))
    power = torch.fft.fft2(fields.mean(1) - 0.5).abs().square().mean(0)

    assert (20, 3, 64, 64) == fields.shape
    assert 0 <= float(fields.min()) < float(fields.max()) <= 1
    assert torch.equal(fields[5:7], random_fields(keys(20).take(torch.tensor([5, 6])), (3, 64, 64)))
    # Amplitude 1 / f: power falls fourfold an octave, but for what is cut at 0 and 1.
    assert 2.5 < float(power[0, 4] + power[4, 0]) / float(power[0, 8] + power[8, 0]) < 6
    with pytest.raises(BadValueError, match="two pixels"):
        random_fields(keys(2), (3, 1, 8))


def test_the_whole_theory_of_a_model_and_back_from_its_file(tmp_path):
    found = theory_of(wrapped(SmallCNN(4)), None, 0.1, keys())
    write_explanation(tmp_path, found)

    assert "blocks.0.0: 16 filters of 3x3 pixels, stride 1" == found.stem
    assert found.stem_exact == pytest.approx(np.mean(found.stem_gains))
    assert found.stem_measured.low < found.stem_exact < found.stem_measured.high
    assert (3, 1, 12, 0.1) == (found.stem_size, found.stem_stride, found.images, found.sigma)
    assert "net" == found.preprocessing[0].name
    assert 4 == found.preprocessing[0].factor
    assert all((found.kernels, found.resampling, found.pooling, found.layers))
    filters = [one.gain for one in found.responses if one.name.startswith("filter")]
    assert sorted(filters, reverse=True) == filters
    assert max(found.stem_gains) == filters[0]
    assert "random fields" in found.flags[0]
    assert str(read_explanation(tmp_path, type(found))) == str(found)
    grown = amplifying(found, 2)
    assert max(layer.gain for layer in found.layers[1:]) == grown[0].gain


def test_a_model_that_is_no_module_still_has_its_tables():
    card = Card(name="f", preprocessing=Preprocessing(), identity="f")
    found = theory_of(Classifier(lambda x: x.flatten(1)[:, :3], card), images(), 0.1, keys())

    assert ("", (), 1.0) == (found.stem, found.layers, found.preprocessing[0].factor)
    assert "no torch module" in found.flags[0]
