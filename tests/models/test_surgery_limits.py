"""Changes of networks: other sizes, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.models import load_model
from holdfast.models.surgery import parse_changes
from models.surgery_nets import Net, classifier, logits, make, named, pictures


def _transformer():
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=48, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=3
    )


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

    @pytest.mark.parametrize("first", ["", "low_pass(std=0.4)", "normalization(std=0.3)"])
    def test_a_network_of_one_size_is_resized_behind_other_changes_too(self, first):
        before = classifier(_transformer())
        with pytest.raises(AssertionError):
            before.net(pictures(side=24))
        for change in [first, "low_pass(std=0.05)"] if first else []:
            before = make(change, before)
        after = make("resolution(size=24)", before)

        assert after.input_size == (24, 24)
        assert logits(after, pictures(side=24)).shape == (3, 3)

    @pytest.mark.parametrize(
        ("net", "size", "why"),
        [
            (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 48 * 48, 4)), 24, "no pictures of"),
            (_transformer, 20, "patches of 8 pixels do not fill 20"),
            (Net, 48, "sees 48 pixels already"),
        ],
    )
    def test_a_network_that_cannot(self, net, size, why):
        with pytest.raises(BadValueError, match=why):
            make(f"resolution(size={size})", classifier(net()))

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


class Luma(Net):
    """Makes gray of color before its stem."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, 2, 1)

    def forward(self, x):
        return super().forward(x.mean(1, keepdim=True))


class Root(nn.Conv2d):
    """Is a convolution itself."""

    def forward(self, x):
        return super().forward(x).mean((2, 3))


class TestRefusals:
    @pytest.mark.parametrize(
        ("texts", "why"),
        [
            (("blurred_downsampling()", "average_pooling()"), "no max pooling layer"),
            (("blurred_downsampling()", "blurred_downsampling(taps=5)"), "blurred already"),
            (("average_pooling()", "average_pooling()"), "no max pooling layer"),
            (("normalization()", "normalization()"), "normalized so already"),
            (("resolution(size=32)", "resolution(size=32)"), "sees 32 pixels already"),
        ],
    )
    def test_a_second_change_that_would_do_nothing(self, texts, why):
        found = make(texts[0], classifier())
        with pytest.raises(BadValueError, match=why):
            make(texts[1], found)

    def test_a_stem_whose_padding_would_move(self):
        net = Net()
        net.stem = Conv2dSame(3, 8, 3, 4)  # 48 pixels: no padding, and one pixel of a wider kernel
        for start in ("embed", "blurred"):
            with pytest.raises(BadValueError, match="padding would move"):
                make(f"larger_stem(start={start})", classifier(net))

    @pytest.mark.parametrize(
        ("net", "settings", "text", "why"),
        [
            (Net, {"resize": "border"}, "normalization()", "pads pictures with its mean"),
            (Luma, {}, "normalization()", "takes 3 channels, and its first convolution 1"),
            (lambda: Root(3, 4, 3, 2), {}, "blurred_downsampling(stem=True)", "no convolution"),
            (lambda: Net(pool={"dilation": 2}), {}, "average_pooling()", "no max pooling layer"),
            (lambda: Net(29), {}, "larger_stem(add=4)", "wider than 31 pixels"),
            (lambda: Net((7, 29)), {}, "larger_stem(add=4)", "wider than 31 pixels"),
        ],
    )
    def test_networks_that_a_change_does_not_fit(self, net, settings, text, why):
        with pytest.raises(BadValueError, match=f"does not apply to .*{why}"):
            make(text, classifier(net(), **settings))

    @pytest.mark.parametrize(
        ("text", "name", "why"),
        [
            ("average_pooling()", "timm:test_vit", "no max pooling layer"),
            ("blurred_downsampling()", "timm:test_vit", "reduces its resolution"),
            ("larger_stem(start=embed)", "timm:test_nfnet", "makes its weight of another"),
            ("normalization()", "timm:test_nfnet", "makes its weight of another"),
            ("resolution(size=160)", "timm:test_vit", "it sees 160 pixels already"),
            ("resolution(size=8)", "timm:test_vit", "do not fill 8"),
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
            "larger_stem(add=32)",
            "larger_stem(add=2.0)",
            "larger_stem(start=middle)",
            "average_pooling(where=head)",
            "low_pass(std=nan)",
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
