"""Structure of networks: closed forms on small ones, hand-read values on real ones."""

from __future__ import annotations

import copy
import csv
import math

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from holdfast.core.errors import BadValueError
from holdfast.explain.anatomy import structure
from holdfast.explain.anatomy.graph import trace

IMAGE = (3, 32, 32)


def meta(name):
    """An architecture of timm without weights."""
    with torch.device("meta"):
        return timm.create_model(name, pretrained=False).eval()


def read(name, size=224):
    return structure(meta(name), (3, size, size))


def plain(*layers):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5)).eval()


def built(*layers, image=IMAGE):
    net = plain(*layers)
    net(torch.zeros(1, *image))
    return net


class Residual(nn.Module):
    """x + f(x), so that what stands before it is a stem."""

    def __init__(self, *layers):
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.body(x)


class TestClosedForms:
    @pytest.mark.parametrize(
        ("layers", "field"),
        [
            ([nn.Conv2d(3, 4, 3)], 3),
            ([nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)], 5),
            ([nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3)], 7),
            ([nn.Conv2d(3, 4, 3, dilation=2)], 5),
            ([nn.MaxPool2d(2), nn.Conv2d(3, 4, 3)], 6),
            ([nn.Conv2d(3, 4, 5, stride=2), nn.AvgPool2d(3, 2), nn.Conv2d(4, 4, 3)], 17),
        ],
    )
    def test_receptive_field_is_that_of_the_recurrence(self, layers, field):
        assert structure(built(*layers), IMAGE).receptive_field == field

    def test_receptive_field_is_where_the_gradient_is(self):
        layers = [nn.Conv2d(3, 4, 3, stride=2), nn.AvgPool2d(2), Residual(nn.Conv2d(4, 4, 3, 1, 1))]
        net = copy.deepcopy(nn.Sequential(*layers)).double()
        image = torch.rand(1, 3, 64, 64, dtype=torch.double, requires_grad=True)
        net(image)[0, :, 7, 7].abs().sum().backward()
        rows = image.grad.abs().sum((0, 1, 3)).nonzero()

        wide = int(rows.max() - rows.min()) + 1
        assert structure(built(*layers), (3, 64, 64)).receptive_field == wide

    def test_products_and_parameters_are_counted(self):
        found = structure(built(nn.Conv2d(3, 8, 3, padding=1, groups=1, bias=False)), IMAGE)

        assert found.multiply_adds == 32 * 32 * 8 * 27 + 8 * 5
        assert found.parameters == 8 * 27 + 8 * 5 + 5
        assert (found.depth, found.width) == (2, 8)

    @pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
    def test_products_are_those_of_torch(self, name):
        net = meta(name)
        with FlopCounterMode(display=False) as judge, torch.no_grad():
            net(torch.zeros(1, 3, 224, 224, device="meta"))

        assert structure(net, (3, 224, 224)).multiply_adds == pytest.approx(
            judge.get_total_flops() / 2, rel=1e-3
        )

    def test_a_gate_of_all_positions_leaves_the_field_alone(self):
        class Gated(nn.Module):
            def __init__(self):
                super().__init__()
                self.before = nn.Conv2d(3, 4, 3)
                self.weigh = nn.Conv2d(4, 4, 1)

            def forward(self, x):
                x = self.before(x)
                return x * self.weigh(x.mean((2, 3), keepdim=True)).sigmoid()

        found = structure(built(Gated()), IMAGE)

        assert found.receptive_field == 3
        assert found.depth == 2  # the gate's layer stands beside the way

    def test_a_mean_that_is_added_sees_everything(self):
        class Context(nn.Module):
            def forward(self, x):
                return x + x.mean((2, 3), keepdim=True)

        found = structure(built(nn.Conv2d(3, 4, 3), Context(), nn.Conv2d(4, 4, 3)), IMAGE)

        assert math.isinf(found.receptive_field)

    def test_functional_pooling_is_seen(self):
        class Functional(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 4, 3, stride=2)

            def forward(self, x):
                return nn.functional.max_pool2d(self.conv(x).relu(), 2)

        found = structure(built(Functional()), IMAGE)

        assert (found.stem, found.stem_pool) == ("conv 3x3/2, max 2x2/2", "max")
        assert found.downsampling == "strided conv, max"
        assert found.anti_aliased is False

    def test_a_network_is_anti_aliased_if_each_reduction_is(self):
        conv, pool = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.AvgPool2d(2)
        later = nn.Conv2d(4, 4, 3, stride=2, padding=1)

        assert structure(built(conv, pool), IMAGE).anti_aliased is True
        assert structure(built(conv, pool, later), IMAGE).anti_aliased is False

    def test_a_resolution_that_was_seen_before_is_no_reduction(self):
        down = [nn.Conv2d(3, 4, 2, stride=2), nn.Conv2d(4, 4, 2, stride=2)]
        again = nn.Conv2d(4, 4, 2, stride=2)
        found = structure(built(*down, nn.ConvTranspose2d(4, 4, 2, stride=2), again), IMAGE)

        assert found.downsampling == "strided conv, strided conv"

    def test_one_gray_channel(self):
        assert structure(built(nn.Conv2d(1, 4, 3), image=(1, 28, 28)), (1, 28, 28)).stem_kernel == 3

    def test_a_network_without_convolutions(self):
        net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 16), nn.ReLU(), nn.Linear(16, 5)).eval()
        found = structure(net, IMAGE)

        assert (found.kind, found.depth, found.width) == ("mlp", 2, 16)
        assert found.stem_kernel is None
        assert found.head_pool == "none"

    def test_the_network_is_left_as_it_was(self):
        net = built(nn.Conv2d(3, 4, 3))
        before = {name: value.clone() for name, value in net.state_dict().items()}
        structure(net, IMAGE)

        assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
        assert not any(module._forward_hooks for module in net.modules())


class TestFallback:
    def test_a_network_that_looks_at_values_runs_for_real_and_says_so(self):
        class Looks(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 4, 5, stride=2)
                self.pool = nn.AdaptiveAvgPool2d(1)
                self.head = nn.Linear(4, 5)

            def forward(self, x):
                x = self.conv(x)
                if x.abs().sum().item() > 1e9:
                    x = -x
                return self.head(self.pool(x).flatten(1))

        found = structure(Looks().eval(), IMAGE)

        assert found.traced == "hooks"
        assert "cannot run without values" in found.flags[0]
        assert (found.stem, found.head_pool, found.depth) == ("conv 5x5/2", "average", 2)

    def test_the_fallback_works_without_weights(self):
        class Looks(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 5, 3)

            def forward(self, x):
                return self.conv(x).mean((2, 3)) * float(x.sum())

        with torch.device("meta"):
            net = Looks().eval()

        assert structure(net, IMAGE).traced == "hooks"

    def test_one_that_runs_in_no_way_says_why(self):
        with pytest.raises(BadValueError, match=r"does not run on one image \[3, 32, 32\].*shape"):
            structure(nn.Sequential(nn.Linear(7, 5)).eval(), IMAGE)

    def test_an_output_without_the_image_is_refused(self):
        class Constant(nn.Module):
            def forward(self, x):
                return torch.zeros(1, 5, device=x.device)

        with pytest.raises(BadValueError, match=r"does not run|is known"):
            structure(Constant(), IMAGE)


class TestRealNetworks:
    """Values read by hand from the networks' definitions and papers."""

    def test_resnet50(self):
        found = read("resnet50")

        assert found.stem == "conv 7x7/2, max 3x3/2"
        assert (found.stem_effective_kernel, found.stem_reduction) == (11, 4)
        assert found.downsampling == "strided conv, max, strided conv, strided conv, strided conv"
        assert found.shortcut_downsampling == "strided conv"
        assert (found.kind, found.head_pool, found.norms) == ("convolutional", "average", "batch")
        assert (found.depth, found.width, found.parameters) == (50, 2048, 25_557_032)
        assert found.receptive_field == 427  # stride in the 3 x 3 convolutions
        assert found.anti_aliased is False

    def test_resnet50d(self):
        found = read("resnet50d")

        assert found.stem == "conv 3x3/2, conv 3x3, conv 3x3, max 3x3/2"
        assert (found.stem_depth, found.stem_effective_kernel) == (3, 15)
        assert found.shortcut_downsampling == "average"

    def test_blurred_and_averaging_resnets(self):
        blurred, averaging = read("resnetblur50"), read("resnetaa50")

        assert (blurred.stem_pool, averaging.stem_pool) == ("blur", "average")
        assert blurred.anti_aliased
        assert averaging.anti_aliased

    def test_vit(self):
        found = read("vit_base_patch16_224")

        assert (found.kind, found.patch_size, found.overlapping) == ("attention", 16, False)
        assert (found.head_pool, found.norms, found.activation) == ("token", "layer", "gelu")
        assert (found.depth, found.width) == (50, 768)
        assert math.isinf(found.receptive_field)

    def test_convnext(self):
        found = read("convnext_tiny")

        assert (found.stem, found.patch_size, found.kind) == ("conv 4x4/4", 4, "convolutional")
        assert found.downsampling.count("strided conv") == 4

    def test_swin(self):
        found = read("swin_tiny_patch4_window7_224")

        assert (found.kind, found.patch_size, found.head_pool) == ("attention", 4, "average")
        assert found.downsampling == "strided conv, space to depth, space to depth, space to depth"

    def test_mixer(self):
        found = read("mixer_s32_224")

        assert (found.kind, found.patch_size) == ("mlp", 32)
        assert math.isinf(found.receptive_field)

    def test_densenet_and_vgg(self):
        dense, stacked = read("densenet121"), read("vgg16")

        assert dense.stem == "conv 7x7/2, max 3x3/2"
        assert (dense.depth, stacked.depth) == (121, 16)
        assert (stacked.stem, stacked.head_pool) == ("conv 3x3", "none")

    @pytest.mark.parametrize(
        ("name", "kind", "stem"),
        [
            ("mobilenetv3_large_100", "convolutional", "conv 3x3/2"),
            ("tf_efficientnet_lite0", "convolutional", "conv 3x3/2"),
            ("levit_128", "attention", "conv 3x3/2, conv 3x3/2, conv 3x3/2, conv 3x3/2"),
            ("mobilevit_xxs", "hybrid", "conv 3x3/2"),
            ("poolformer_s12", "convolutional", "conv 7x7/4"),
            ("tresnet_m", "convolutional", "space to depth 4, conv 3x3"),
            ("resnetv2_50x1_bit", "convolutional", "conv 7x7/2, max 3x3/2"),
            ("pvt_v2_b0", "hybrid", "conv 7x7/4"),
        ],
    )
    def test_kinds_and_stems(self, name, kind, stem):
        found = read(name)

        assert (found.kind, found.stem) == (kind, stem)

    def test_learned_queries_pool(self):
        assert read("vit_base_patch16_siglip_224").head_pool == "attention"
        assert read("resnet50_clip").head_pool == "attention"

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("coatnet_0_rw_224", "hybrid"), ("coat_tiny", "hybrid"), ("edgenext_small", "hybrid"),
            ("deit_tiny_patch16_224", "attention"), ("eva02_tiny_patch14_224", "attention"),
            ("efficientnet_b0", "convolutional"), ("regnetx_004", "convolutional"),
            ("gmlp_s16_224", "mlp"), ("resmlp_12_224", "mlp"),
        ],
    )  # fmt: skip
    def test_kinds_are_those_of_a_published_table(self, name, kind):
        size = meta(name).pretrained_cfg["input_size"][1]

        assert read(name, size).kind == kind  # Heuillet et al. 2025, and the networks' papers

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "kind", "downsampling", "head"),
        [
            ("levit_128s", "attention", "subsampling, subsampling", "average"),
            ("hiera_tiny_224", "attention", "strided conv, max, max, max", "average"),
            ("pit_ti_224", "attention", "strided conv, strided conv, strided conv", "token"),
            ("coat_tiny", "hybrid", "strided conv", "token"),
            ("coatnet_1_rw_224", "hybrid", "average, average", "average"),
            ("efficientformer_l1", "hybrid", "strided conv, strided conv", "average"),
            ("volo_d1_224", "attention", "strided conv, average", "other"),
        ],
    )
    def test_unusual_reductions_and_heads(self, name, kind, downsampling, head):
        found = read(name)

        assert (found.kind, found.head_pool) == (kind, head)
        assert found.downsampling.endswith(downsampling)
        assert math.isinf(found.receptive_field)

    @pytest.mark.parametrize(("pool", "word"), [("max", "max"), ("catavgmax", "other")])
    def test_other_pools_of_a_head_leave_the_field_alone(self, pool, word):
        with torch.device("meta"):
            net = timm.create_model("resnet10t", global_pool=pool).eval()
        found = structure(net, (3, 176, 176))

        assert found.head_pool == word
        assert found.receptive_field == read("resnet10t", 176).receptive_field < math.inf


@pytest.mark.shared
@pytest.mark.slow
def test_products_are_those_that_timm_publishes(shared):
    path = (
        shared
        / "data"
        / "tables"
        / "timm"
        / "benchmark-infer-fp32-nchw-pt240-cpu-i9_10940x-dynamo.csv"
    )
    with path.open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    names = [name for name in sorted(rows) if float(rows[name]["param_count"]) < 40][::25]
    known = [name for name in names if timm.is_model(name)]
    apart = {}
    for name in known:
        ours = read(name, int(rows[name]["infer_img_size"])).multiply_adds / 1e9
        published = float(rows[name]["infer_gmacs"])
        rounding = 0.005
        apart[name] = max(0.0, abs(ours - published) - rounding) / published

    # Their counter adds group normalization and some products that are no layers.
    assert len(known) >= 10
    assert sum(value <= 0.03 for value in apart.values()) >= 0.9 * len(known)
    assert max(apart.values()) < 0.1


def test_each_operation_knows_its_module():
    graph = trace(meta("resnet10t"), (3, 176, 176))
    convs = [step for step in graph.steps if step.operation.kind == "conv"]

    assert convs[0].module == "conv1.0"
    assert all(step.layer == "Conv2d" for step in convs)
    assert graph.traced == "meta"
