"""Changes of networks: what stays the same, what they compute, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.models import Preprocessing, load_model
from holdfast.models.surgery import CHANGES, parse_changes
from holdfast.models.surgery._parts import Blur, binomial, gaussian
from holdfast.models.surgery.average_pooling import SameAverage
from holdfast.models.surgery.blurred_downsampling import BlurredMax
from holdfast.training import Options
from holdfast.training.reading import recipe_of
from holdfast.training.run import train

TIMM = ("timm:test_efficientnet", "timm:test_vit", "timm:test_resnet", "timm:test_convnext")


class Net(nn.Module):
    """A stem, a max pool, a strided convolution, and a head."""

    def __init__(self, kernel=3, stride=2, padding=1, pool=None):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, kernel, stride, padding)
        self.pool = nn.MaxPool2d(**({"kernel_size": 3, "stride": 2, "padding": 1} | (pool or {})))
        self.down = nn.Conv2d(8, 8, 3, 2, 1)
        self.short = nn.Conv2d(8, 8, 1, 2)
        self.head = nn.Linear(8, 5)
        self.input_size = (48, 48)

    def features(self, x):
        x = self.pool(self.stem(x).relu())
        return self.down(x) + self.short(x)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


def classifier(net=None, **settings):
    torch.manual_seed(0)
    known = {"input_size": (48, 48), "mean": (0.48, 0.45, 0.4), "std": (0.23, 0.22, 0.21)}
    wanted = Preprocessing(**(known | settings))
    return load_model(Net() if net is None else net, preprocessing=wanted)


def make(text, found):
    return parse_changes([text])[0].change(found)


def logits(found, images):
    with torch.no_grad():
        return found(images)


def pictures(count=3, side=48):
    generator = torch.Generator().manual_seed(5)
    return torch.rand(count, 3, side, side, generator=generator)


def named(name):
    return load_model(name, pretrained=False, device="cpu")


class TestWhatStays:
    @pytest.mark.parametrize("add", [2, 4])
    @pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (7, 2, 3), (4, 4, 0)])
    def test_an_embedded_stem_computes_the_same(self, kernel, stride, padding, add):
        before = classifier(Net(kernel, stride, padding))
        after = make(f"larger_stem(add={add}, start=embed)", before)

        assert after.net.stem.weight.shape[-2:] == (kernel + add,) * 2
        assert torch.allclose(logits(after, pictures()), logits(before, pictures()), atol=1e-5)

    @pytest.mark.parametrize("name", TIMM)
    @pytest.mark.parametrize(
        "change", ["larger_stem(start=embed)", "normalization(mean=0.3, std=0.4)"]
    )
    def test_networks_of_timm_compute_the_same(self, name, change):
        before = named(name)
        images = pictures(2, before.input_size[0])
        old, new = logits(before, images), logits(make(change, before), images)

        assert float((new - old).abs().max()) <= 1e-4 * float(old.abs().max())

    @pytest.mark.parametrize("padding", [0, 1, 3])
    def test_another_normalization_computes_the_same_at_the_border_too(self, padding):
        before = classifier(Net(7, 2, padding))
        after = make("normalization(mean=0.5, std=0.5)", before)

        assert after.preprocessing.mean == (0.5, 0.5, 0.5)
        assert after.preprocessing.std == (0.5, 0.5, 0.5)
        for images in (pictures(), torch.ones(1, 3, 48, 48)):  # white reaches the border
            assert torch.allclose(logits(after, images), logits(before, images), atol=1e-5)

    def test_pixels_as_they_are_can_be_normalized(self):
        before = classifier(mean=(), std=())
        after = make("normalization(mean=0.5, std=0.25)", before)

        assert torch.allclose(logits(after, pictures()), logits(before, pictures()), atol=1e-5)

    def test_a_narrow_low_pass_is_none(self):
        before = classifier()
        after = make("low_pass(std=0.05)", before)

        assert torch.allclose(logits(after, pictures()), logits(before, pictures()), atol=1e-6)

    @pytest.mark.parametrize("text", [CHANGES[name]().spec for name in CHANGES])
    def test_the_original_is_left_alone(self, text):
        before = classifier()
        kept = {key: value.clone() for key, value in before.net.state_dict().items()}
        names = [name for name, _ in before.net.named_modules()]
        out = logits(before, pictures())
        after = make(text if "resolution" not in text else "resolution(size=32)", before)

        assert [name for name, _ in before.net.named_modules()] == names
        assert all(torch.equal(kept[k], v) for k, v in before.net.state_dict().items())
        assert torch.equal(logits(before, pictures()), out)
        assert after.identity != before.identity
        assert after.name == f"Net + {parse_changes([after.name.split(' + ')[1]])[0].spec}"
        assert not any(module.training for module in after.net.modules())


class TestPooling:
    @pytest.mark.parametrize(
        "pool",
        [
            {"kernel_size": 3, "stride": 2, "padding": 1},
            {"kernel_size": 3, "stride": 2, "padding": 0, "ceil_mode": True},
            {"kernel_size": 2, "stride": 2, "padding": 0},
        ],
    )
    def test_on_a_constant_map_mean_and_maximum_are_the_same(self, pool):
        before = nn.MaxPool2d(**pool)
        after = make("average_pooling()", classifier(Net(pool=pool))).net.pool
        flat = torch.full((1, 2, 13, 13), 0.7)

        assert isinstance(after, nn.AvgPool2d)
        assert torch.allclose(after(flat), before(flat))
        assert after(pictures(2, 13)).shape == before(pictures(2, 13)).shape

    def test_the_mean_of_a_window(self):
        after = make("average_pooling()", classifier()).net.pool
        images = pictures()

        inside = images[:, :, 1:4, 1:4].mean((2, 3))  # window of the second output
        corner = images[:, :, :2, :2].mean((2, 3))  # what of the first window is picture
        assert torch.allclose(after(images)[:, :, 1, 1], inside)
        assert torch.allclose(after(images)[:, :, 0, 0], corner)

    def test_the_stem_alone(self):
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3)
        )
        net(torch.zeros(1, 3, 48, 48))
        after = make("average_pooling(where=stem)", classifier(net)).net

        assert [type(part).__name__ for part in after][1:3] == ["AvgPool2d", "MaxPool2d"]

    @pytest.mark.parametrize("side", [12, 13])
    @pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (3, 1)])
    def test_tensorflows_padding(self, side, kernel, stride):
        images = pictures(2, side)
        new = SameAverage((kernel,) * 2, (stride,) * 2)
        old, judge = (kind(kernel, stride) for kind in (MaxPool2dSame, AvgPool2dSame))
        flat = torch.full((1, 3, side, side), 0.7)

        assert torch.allclose(new(flat), old(flat))
        there = judge(torch.ones(1, 1, side, side))  # the judge counts the padding
        assert torch.allclose(new(images), judge(images) / there, atol=1e-6)
        found = make("average_pooling()", classifier(_with_pool(old)))
        assert isinstance(found.net.pool, SameAverage)


def _with_pool(pool):
    net = Net()
    net.pool = pool
    return net


class TestBlur:
    def test_filters(self):
        assert binomial(5).tolist() == pytest.approx([1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16])
        taps = gaussian(1.5)
        places = torch.arange(len(taps)) - len(taps) // 2
        assert float(taps.sum()) == pytest.approx(1)
        assert float((taps * places**2).sum()) == pytest.approx(1.5**2, rel=0.03)

    @pytest.mark.parametrize("std", [0.4, 0.8, 2.0])
    def test_the_low_pass_is_that_of_scipy(self, std):
        images = pictures(2)
        radius = max(1, int(3 * std + 0.5))
        judge = ndimage.gaussian_filter(
            images.double().numpy(), (0, 0, std, std), mode="mirror", radius=(0, 0, radius, radius)
        )
        found = Blur(gaussian(std))(images)

        assert torch.allclose(found.double(), torch.from_numpy(judge), atol=1e-6)

    def test_the_low_pass_is_before_the_network_and_its_resize_is_done(self):
        before = classifier()
        after = make("low_pass(std=0.6)", before)
        blurred = Blur(gaussian(0.6))(pictures())

        assert torch.allclose(logits(after, pictures()), logits(before, blurred), atol=1e-5)

    def test_noise_through_the_low_pass_falls_by_its_gain(self):
        noise = torch.randn(4, 3, 200, 200, generator=torch.Generator().manual_seed(0))
        taps = gaussian(0.8)
        gain = float((taps**2).sum()) ** 2

        # 480,000 correlated values: a standard error below 0.5 %.
        assert float(Blur(taps)(noise).var()) == pytest.approx(gain, rel=0.02)

    def test_a_map_narrower_than_the_filter(self):
        assert torch.allclose(Blur(gaussian(2.0))(torch.ones(1, 2, 3, 3)), torch.ones(1, 2, 3, 3))

    def test_a_blurred_stem_is_the_stem_of_the_blurred_picture(self):
        before = classifier(Net(3, 2, 0))
        after = make("larger_stem(add=2, start=blurred)", before)
        x = pictures()
        blurred = F.conv2d(
            F.pad(x, (1,) * 4),
            torch.outer(binomial(3), binomial(3)).float().expand(3, 1, 3, 3),
            groups=3,
        )

        inside = (..., slice(1, -1), slice(1, -1))
        assert torch.allclose(
            after.net.stem(x)[inside], before.net.stem(blurred)[inside], atol=1e-5
        )

    def test_it_falls_on_every_reduction_but_the_stem(self):
        after = make("blurred_downsampling(taps=5)", classifier()).net
        names = {name for name, part in after.named_modules() if isinstance(part, Blur)}

        assert names == {"pool.blur", "down.prefix", "short.prefix"}
        with_stem = make("blurred_downsampling(stem=True)", classifier()).net
        assert any(name == "stem.prefix" for name, _ in with_stem.named_modules())

    def test_a_blur_before_a_strided_convolution_is_one_behind_it_undone_stride(self):
        """Zhang's order, in the interior: convolution, blur, every second pixel."""
        before, after = classifier().net, make("blurred_downsampling()", classifier()).net
        after.load_state_dict(
            dict(zip(after.state_dict(), before.state_dict().values(), strict=True))
        )
        x = torch.randn(1, 8, 20, 20, generator=torch.Generator().manual_seed(1))
        dense = F.conv2d(x, before.down.weight, before.down.bias, stride=1, padding=1)
        judge = Blur(binomial(3))(dense)[..., ::2, ::2]
        inside = (..., slice(2, -2), slice(2, -2))

        assert torch.allclose(after.down(x)[inside], judge[inside], atol=1e-5)

    @pytest.mark.parametrize("side", [9, 10, 11, 12])
    @pytest.mark.parametrize("ceil", [False, True])
    @pytest.mark.parametrize(
        ("kernel", "stride", "padding"), [(3, 2, 1), (3, 2, 0), (2, 2, 0), (2, 3, 0)]
    )
    def test_blurred_max_pooling_keeps_size_and_places(self, side, ceil, kernel, stride, padding):
        pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
        images = pictures(2, side)
        # A filter that passes everything leaves the pool as it was.
        unblurred = BlurredMax(pool, Blur(torch.tensor([0.0, 1.0, 0.0])))
        flat = BlurredMax(pool, Blur(binomial(3)))(torch.full((1, 1, side, side), 0.3))

        assert torch.equal(unblurred(images), pool(images))
        assert torch.allclose(flat, torch.full_like(flat, 0.3))


class TestResolution:
    def test_size_and_crop_shrink_together(self):
        before = classifier(scale_size=(56, 56))
        after = make("resolution(size=24)", before)

        assert after.input_size == (24, 24)
        assert after.preprocessing.scale_size == (28, 28)
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in _normalization(before))
        with torch.no_grad():
            judge = before.net((pictures(side=24) - mean) / std)
        assert torch.allclose(logits(after, pictures(side=24)), judge, atol=1e-5)

    def test_a_position_embedding_is_resampled(self):
        before = named("timm:test_vit")
        after = make("resolution(size=96)", before)

        assert after.net.pos_embed.shape[1] == 1 + (96 // 16) ** 2
        assert logits(after, pictures(2, 96)).shape == (2, before.classes)


def _normalization(found):
    return found.preprocessing.mean, found.preprocessing.std


class Scaled(Net):
    """Does something of its own to the pixels first."""

    def forward(self, x):
        return super().forward(x * 0.5 + 0.2 + x.mean() * 0.1)


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "name", "why"),
        [
            ("average_pooling()", "timm:test_vit", "no max pooling layer"),
            ("blurred_downsampling()", "timm:test_vit", "reduces its resolution"),
            ("larger_stem(start=embed)", "timm:test_nfnet", "makes its weight of another"),
            ("normalization()", "timm:test_nfnet", "makes its weight of another"),
            ("resolution(size=160)", "timm:test_vit", "it sees 160 pixels already"),
            ("resolution(size=8)", "timm:test_vit", "cannot be made"),
            ("resolution(size=32)", "small:cnn", "pictures of any size"),
        ],
    )
    def test_what_does_not_apply_says_why(self, text, name, why):
        found = named(name)
        if "normalization" in text:
            text = "normalization(mean=0.3, std=0.4)"
        with pytest.raises(BadValueError, match=why):
            make(text, found)

    def test_a_function_has_no_layers(self):
        found = load_model(lambda x: x.mean((2, 3)))
        with pytest.raises(BadValueError, match="a change needs a torch module"):
            make("low_pass()", found)

    def test_networks_that_change_their_pixels_first_are_found_out(self):
        with pytest.raises(BadValueError, match="cannot be undone exactly"):
            make("normalization(mean=0.3, std=0.4)", classifier(Scaled()))

    def test_a_spectral_norm_makes_the_weight(self):
        for wrap in (nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm):
            net = Net()
            net.stem = wrap(net.stem)
            with pytest.raises(BadValueError, match="makes its weight of another"):
                make("larger_stem(start=embed)", classifier(net.eval()))

    def test_two_branches_have_no_one_stem(self):
        net = Net()
        net.other = nn.Conv2d(3, 2, 1)
        with pytest.raises(BadValueError, match="no single first convolution"):
            make("larger_stem()", classifier(net))

    @pytest.mark.parametrize(
        "text",
        [
            "low_pass(std=0)",
            "low_pass(std=-1)",
            "blurred_downsampling(taps=4)",
            "resolution(size=2)",
            "larger_stem(add=3)",
            "normalization(std=0)",
            "normalization(mean=2)",
        ],
    )
    def test_settings(self, text):
        with pytest.raises(BadValueError, match="must be"):
            parse_changes([text])

    def test_an_unknown_change_lists_known_ones(self):
        with pytest.raises(UnknownNameError, match="low_pass"):
            load_model("small:cnn + low_pas()")


class TestSpecs:
    def test_changes_are_made_in_order_and_named(self):
        found = load_model("small:cnn + low_pass(std=0.6) + larger_stem(start=embed)", device="cpu")
        turned = load_model(
            "small:cnn + larger_stem(start=embed) + low_pass(std=0.6)", device="cpu"
        )

        assert found.name == "small:cnn + low_pass(std=0.6) + larger_stem(add=2, start=embed)"
        assert found.identity != turned.identity
        assert torch.allclose(logits(found, pictures()), logits(turned, pictures()), atol=1e-5)

    def test_weights_are_loaded_before_the_change(self, tmp_path):
        before = load_model("small:cnn", init_seed=3, device="cpu")
        torch.save(before.net.state_dict(), tmp_path / "w.pt")
        after = load_model("small:cnn + low_pass(std=0.6)", weights=tmp_path / "w.pt", device="cpu")
        judge = make("low_pass(std=0.6)", before)

        assert torch.equal(logits(after, pictures()), logits(judge, pictures()))
        assert "untrained" not in after.flags

    def test_a_changed_network_is_trained_saved_and_loaded(self, tmp_path):
        """Its own layers, the shift among them, come back."""
        spec = "timm:test_resnet + low_pass(std=0.6) + normalization(mean=0.4, std=0.3)"
        recipe = recipe_of(
            {
                "data": {"name": "digits", "split": "train", "n": 64},
                "model": {"name": spec, "pretrained": False},
                "train": {"epochs": 1, "batch_size": 32},
            }
        )
        list(train(recipe, tmp_path / "net", Options(device="cpu")))
        found = load_model(str(tmp_path / "net"), device="cpu")
        again = load_model(f"{tmp_path / 'net'} + low_pass(std=0.5)", device="cpu")

        assert type(found.net).__name__ == "Filtered"
        assert not found.fresh_keys
        assert "untrained" not in found.flags
        assert again.digest and again.identity != found.identity
