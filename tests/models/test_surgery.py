"""Changes of networks: what stays the same, and what they compute."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import nn
from torch.nn import functional as F

from holdfast.models.surgery import CHANGES, parse_changes
from holdfast.models.surgery._parts import Blur, binomial, gaussian
from holdfast.models.surgery.average_pooling import SameAverage
from holdfast.models.surgery.blurred_downsampling import BlurredMax
from models.surgery_nets import Net, classifier, logits, make, named, pictures

TIMM = ("timm:test_efficientnet", "timm:test_vit", "timm:test_resnet", "timm:test_convnext")


class Aliased(Net):
    """Has its stem under two names, and calls it by the second."""

    def __init__(self):
        super().__init__()
        self.entry = nn.Sequential(self.stem)

    def features(self, x):
        x = self.pool(self.entry(x).relu())
        return self.down(x) + self.short(x)


class Gray(Net):
    """Takes gray pictures."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, 2, 1)


def with_stem(stem):
    net = Net()
    net.stem = stem
    return net


def nearly(found, before, images=None):
    images = pictures() if images is None else images
    return torch.allclose(logits(found, images), logits(before, images), atol=1e-5)


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

    @pytest.mark.parametrize("side", [47, 48])
    @pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (3, 1), (4, 4)])
    def test_an_embedded_stem_with_tensorflows_padding(self, side, kernel, stride):
        before = classifier(with_stem(Conv2dSame(3, 8, kernel, stride)), input_size=(side, side))
        after = make("larger_stem(add=4, start=embed)", before)

        assert after.net.stem.kernel_size == (kernel + 4,) * 2
        assert nearly(after, before, pictures(side=side))

    def test_a_network_behind_another_normalization_can_have_a_third(self):
        """Earlier shifts are in units of the deviation that was."""
        before = found = classifier()
        for change in (
            "normalization(mean=0.5, std=0.5)",
            "larger_stem(start=embed)",
            "normalization(mean=0.2, std=0.3)",
            "normalization(mean=0.0, std=1.0)",
        ):
            found = make(change, found)

        assert nearly(found, before)

    def test_a_gray_network_and_one_that_is_fed_gray(self):
        gray = classifier(Gray(), channels=1, mean=(0.3,), std=(0.2,))
        after = make("normalization(mean=0.5, std=0.25)", gray)
        assert (after.preprocessing.mean, after.preprocessing.std) == ((0.5,), (0.25,))
        assert nearly(after, gray)  # of color, which becomes luma
        assert nearly(make("larger_stem(start=embed)", gray), gray, pictures()[:, :1])

    def test_a_stem_of_two_names_is_shifted_under_both(self):
        before = classifier(Aliased())
        after = make("normalization(mean=0.5, std=0.5)", before)

        assert nearly(after, before)
        assert after.net.stem is after.net.entry[0]

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

    @pytest.mark.parametrize("side", [9, 10, 11, 12])
    @pytest.mark.parametrize(
        ("kernel", "stride", "padding", "ceil"),
        [(3, 2, 1, False), (3, 2, 0, True), (2, 2, 1, True), ((3, 2), (2, 1), (1, 0), False)],
    )
    def test_the_mean_of_each_window_is_over_its_pixels(self, side, kernel, stride, padding, ceil):
        settings = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil}
        after = make("average_pooling()", classifier(Net(pool=settings))).net.pool
        images = pictures(1, side)

        assert torch.allclose(after(images), _means(images, nn.MaxPool2d(**settings)), atol=1e-6)

    def test_a_pool_that_is_called_twice_is_replaced_twice(self):
        after = make("average_pooling()", classifier(_pooled_twice())).net

        assert [type(part).__name__ for part in after][:4:2] == ["Conv2d", "Conv2d"]
        assert [type(part).__name__ for part in after][1:4:2] == ["AvgPool2d", "AvgPool2d"]

    def test_a_pool_with_a_forward_of_its_own_is_left(self):
        class Squared(nn.MaxPool2d):
            def forward(self, x):
                return super().forward(x) ** 2

        net = _pooled_twice()
        net[1] = Squared(2)
        after = make("average_pooling()", classifier(net)).net

        assert [type(part).__name__ for part in after][1:4:2] == ["Squared", "AvgPool2d"]

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


def _pooled_twice():
    pool = nn.MaxPool2d(2)
    body = nn.Conv2d(3, 4, 3, 1, 1), pool, nn.Conv2d(4, 4, 3, 1, 1), pool
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(4 * 12 * 12, 3))


def _means(images, pool):
    """Mean of the pixels of each window of a max pool, window by window."""
    (high, wide), (down, right), (top, left) = (
        (value, value) if isinstance(value, int) else value
        for value in (pool.kernel_size, pool.stride, pool.padding)
    )
    height, width = pool(images).shape[-2:]
    found = torch.empty(*images.shape[:2], height, width)
    for row in range(height):
        for column in range(width):
            y, x = row * down - top, column * right - left
            window = images[..., max(y, 0) : y + high, max(x, 0) : x + wide]
            found[..., row, column] = window.mean((2, 3))
    return found


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

    def test_a_constant_picture_passes_the_low_pass(self):
        before = classifier()
        after = make("low_pass(std=1.5)", before)

        assert nearly(after, before, torch.full((1, 3, 48, 48), 0.3))
        assert not nearly(after, before)

    def test_the_border_mirrors_without_its_edge(self):
        ramp = torch.arange(5.0).expand(1, 1, 5, 5)
        found = Blur(binomial(3))(ramp)[0, 0, 2]

        # 1, 0, 1 around the edge: (1 + 2 * 0 + 1) / 4.
        assert found.tolist() == pytest.approx([0.5, 1.0, 2.0, 3.0, 3.5])

    @pytest.mark.parametrize("side", [48, 47, 46, 45])
    @pytest.mark.parametrize("taps", [3, 5, 9])
    def test_sizes_stay_and_constant_maps_stay_constant(self, taps, side):
        before = classifier(input_size=(side, side))
        after = make(f"blurred_downsampling(taps={taps}, stem=True)", before).net
        x = torch.randn(1, 8, side, side, generator=torch.Generator().manual_seed(2))
        flat = torch.full((1, 8, side, side), 0.6)

        for name in ("pool", "down", "short"):
            old, new = getattr(before.net, name), getattr(after, name)
            assert new(x).shape == old(x).shape
            assert torch.allclose(new(flat), old(flat), atol=1e-5)

    def test_a_checkerboard_is_removed_instead_of_becoming_a_constant(self):
        places = torch.arange(48)
        board = (1.0 - 2 * ((places[:, None] + places) % 2)).expand(1, 8, 48, 48)
        before, after = classifier().net, make("blurred_downsampling()", classifier()).net
        with torch.no_grad():
            nothing = before.short(torch.zeros_like(board))
            alias = before.short(board) - nothing
            left = after.short(board) - nothing

        assert float(alias.abs().max()) > 0.1
        assert float(alias.std((2, 3)).max()) < 1e-5
        assert float(left.abs().max()) < 1e-5

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
        for name in names:
            assert after.get_submodule(name).taps.tolist() == pytest.approx(binomial(5).tolist())
        with_stem = make("blurred_downsampling(stem=True)", classifier()).net
        assert any(name == "stem.prefix" for name, _ in with_stem.named_modules())

    def test_a_pool_that_is_called_twice_is_blurred_twice(self):
        after = make("blurred_downsampling()", classifier(_pooled_twice())).net

        # And a convolution without a stride is left.
        kinds = [type(part).__name__ for part in after][:4]
        assert kinds == ["Conv2d", "BlurredMax", "Conv2d", "BlurredMax"]

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
        images = pictures(2, side)[..., :-2] - 2  # below the padding, if it were zero
        # A filter that passes everything leaves the pool as it was.
        unblurred = BlurredMax(pool, Blur(torch.tensor([0.0, 1.0, 0.0])))
        flat = BlurredMax(pool, Blur(binomial(3)))(torch.full((1, 1, side, side), 0.3))

        assert torch.equal(unblurred(images), pool(images))
        assert torch.allclose(flat, torch.full_like(flat, 0.3))
