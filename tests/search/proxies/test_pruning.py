"""TE-NAS: ranks, supernets, and what is proposed."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest
import torch
from PIL import Image

from holdfast.core.errors import BadValueError
from holdfast.models.nb201 import EDGES, build_nb201
from holdfast.search.proxies import pruning
from holdfast.search.proxies.activations import random_crops
from holdfast.search.proxies.supernet import MixedCell, draw_weights, leave, supernet
from holdfast.search.searchers.te_nas import TeNas
from holdfast.search.spaces import space_of
from holdfast.search.spaces.nb201 import OPERATIONS
from holdfast.search.trials import Score, Trial
from search.proxies.nets import Toy, seeded

QUICK = {"repeats": 1, "batch": 2, "crops": 50, "channels": 1}
SPACE = space_of("nb201(operations=[none, skip_connect, nor_conv_3x3])")


def history(archs):
    return [Trial(i, i, arch, Score(0.0, (0.0,))) for i, arch in enumerate(archs)]


def test_equal_values_share_a_rank():
    assert [0, 2, 3, 0] == pruning.summed_ranks(
        [np.array([-1.0, 2.0, 2.0, -1.0]), np.array([5.0, 7.0, 9.0, 5.0])]
    )


def test_a_supernet_of_single_operations_is_the_network():
    cell = ("nor_conv_3x3", "skip_connect", "nor_conv_1x1", "avg_pool_3x3", "none", "nor_conv_3x3")
    mixed = seeded(lambda: supernet(tuple((op,) for op in cell), channels=4, cells=1, classes=3))
    text = space_of("nb201").text(cell)
    network = seeded(lambda: build_nb201(text, channels=4, cells=1, classes=3))
    images = torch.rand(2, 3, 8, 8)

    assert torch.equal(network.eval()(images), mixed.eval()(images))


def test_an_edge_is_the_mean_of_what_is_left():
    cell = seeded(lambda: MixedCell((OPERATIONS,) * len(EDGES), 2)).eval()
    features = torch.rand(2, 2, 4, 4)
    leave(
        cell, (("skip_connect", "none"), *(("none",),) * 2, ("none",), ("skip_connect",), ("none",))
    )

    assert torch.equal(features / 2, cell(features))


def test_weights_of_a_fan():
    net = supernet((("nor_conv_3x3",),) * 6, channels=64, cells=1)
    draw_weights(net, torch.Generator().manual_seed(0), fan="out")
    weight = net.cells[2].edges[0]["nor_conv_3x3"].op[1].weight

    assert (2 / (128 * 9)) ** 0.5 == pytest.approx(float(weight.detach().std()), rel=0.02)
    assert 0.0 == float(net.classifier.bias.detach().abs().max())


def test_crops_are_windows_of_the_images():
    images = torch.arange(2 * 3 * 5 * 5).view(2, 3, 5, 5).float()
    crops = random_crops(images, 40, 3, torch.Generator().manual_seed(0))
    windows = images.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 3, 3)
    found = {tuple(crop.flatten().tolist()) for crop in crops}

    assert (40, 3, 3, 3) == crops.shape
    assert found <= {tuple(window.flatten().tolist()) for window in windows}
    assert 12 < len(found)


def test_an_operation_without_which_nothing_works_is_kept():
    # Without a convolution one cell has no ReLU, hence one region: the one that is left stays.
    how = pruning.Measure(images=torch.randn(8, 3, 8, 8), **QUICK)
    best = pruning.prune(("none", "skip_connect"), how, torch.Generator().manual_seed(0))

    assert [["skip_connect"] * 6] == best


def test_the_least_sum_goes_first():
    left = (("a", "b"), ("a", "b"))
    ranks = {(0, "a"): 3, (0, "b"): 1, (1, "a"): 0, (1, "b"): 5}

    assert ("a",) == pruning._without_least(0, left[0], ranks)
    assert [["a", "b"], ["b", "b"], ["a", "a"], ["b", "a"]] == pruning._ordered(left, ranks)


@pytest.mark.parametrize(
    ("condition", "regions", "least"),
    [
        ({"x"}, set(), "x"),  # it makes the kernel worse conditioned
        (set(), {"x", "y"}, "z"),  # the others make regions, this one does not
        ({"y"}, {"y", "x"}, "y"),  # a rank of each weighs the same, and the first of a tie goes
    ],
)
def test_what_harms_the_kernel_goes_and_what_makes_regions_stays(
    monkeypatch, condition, regions, least
):
    def counting(names):
        return lambda left, how, generator: lambda left: 1.0 + len(names & set(left[0]))

    monkeypatch.setattr(pruning, "_condition_of", counting(condition))
    monkeypatch.setattr(pruning, "_regions_of", counting(regions))
    how = pruning.Measure(images=torch.zeros(1), repeats=2)
    ranks = pruning._round((("x", "y", "z"),), how, torch.Generator())

    assert least == min("xyz", key=lambda name: ranks[0, name])


def test_proposals_are_decided_by_the_generator_and_new():
    searcher, space = TeNas(proposals=3, **QUICK), SPACE
    first = searcher.propose(space, [], np.random.default_rng(0))
    again = searcher.propose(space, [], np.random.default_rng(0))
    second = searcher.propose(space, history(first), np.random.default_rng(0))

    assert first == again
    assert 3 == len({space.canonical(arch) for arch in first})
    assert not {space.canonical(a) for a in first} & {space.canonical(a) for a in second}
    assert all("none" not in arch for arch in first + second)


def test_random_architectures_follow_where_pruning_has_no_more():
    searcher = TeNas(**QUICK)
    pruned = [arch for arch in SPACE.everything() if "none" not in arch]
    found = searcher.propose(SPACE, history(pruned), np.random.default_rng(0))

    assert 1 == len(found)
    assert SPACE.canonical(found[0]) not in {SPACE.canonical(arch) for arch in pruned}


def test_one_of_each_class_where_the_space_has_them():
    space = space_of("nb201(operations=[skip_connect, nor_conv_3x3], unique=True)")
    found = TeNas(proposals=70, **QUICK).propose(space, [], np.random.default_rng(0))

    assert found == [space.canonical(arch) for arch in found]
    assert len(set(found)) == len(found) > 20


def test_other_spaces_and_settings_are_refused():
    with pytest.raises(BadValueError, match="supernet of nb201 only, got toy"):
        TeNas().propose(Toy(), [], np.random.default_rng(0))
    with pytest.raises(BadValueError, match="repeats must be 1 or more, got 0"):
        TeNas(repeats=0)
    with pytest.raises(BadValueError, match="batch of 32 needs as many images, got images=31"):
        TeNas(images=31)


def test_images_of_a_data_set_are_standardized():
    images = pruning.images_for("digits", 20, torch.Generator())

    assert (20, 3, 32, 32) == images.shape
    assert 0.0 == pytest.approx(float(images.mean()), abs=1e-5)
    assert 1.0 == pytest.approx(float(images.std()), rel=1e-3)


@pytest.fixture
def sorted_folder(tmp_path):
    """Eight dark pictures of a class before eight bright ones of another."""
    for name, value in (("a", 10), ("b", 240)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for place in range(8):
            picture = Image.fromarray(np.full((4, 4, 3), value + place, np.uint8))
            picture.save(tmp_path / "train" / name / f"{place}.png")
    return tmp_path


def test_images_come_from_all_of_a_sorted_folder(sorted_folder):
    data = f"folder:{sorted_folder}"
    images = pruning.images_for(data, 8, torch.Generator().manual_seed(0))
    other = pruning.images_for(data, 8, torch.Generator().manual_seed(1))

    assert 0 < int((images.mean((1, 2, 3)) > 0).sum()) < 8
    assert not torch.equal(images, other)


def test_a_picture_that_cannot_be_read_is_refused(sorted_folder):
    (sorted_folder / "train" / "a" / "3.png").write_bytes(b"nothing")
    with pytest.raises(BadValueError, match=r"3\.png cannot be read"):
        pruning.images_for(f"folder:{sorted_folder}", 16, torch.Generator())


def test_fewer_images_than_asked_for_are_refused(sorted_folder):
    with pytest.raises(BadValueError, match=r"has 16 images .* as in .*te_nas\(images=64\)"):
        pruning.images_for(f"folder:{sorted_folder}", 17, torch.Generator())


@pytest.mark.slow
@pytest.mark.shared
def test_pruned_cells_are_far_above_the_middle(shared):
    with gzip.open(shared / "data/nas/nb201_cifar10.csv.gz", "rt") as file:
        rows = {row["arch_str"]: float(row["clean200_cifar10"]) for row in csv.DictReader(file)}
    space = space_of("nb201")
    best = [
        rows[TeNas(repeats=1).propose(space, [], np.random.default_rng(seed))[0]]
        for seed in range(2)
    ]

    assert np.quantile(list(rows.values()), 0.8) < min(best)


def test_pruning_leaves_the_global_generators_alone():
    space = space_of("nb201(operations=[none, nor_conv_1x1])")
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    TeNas(repeats=1, batch=4, crops=20).propose(space, [], np.random.default_rng(0))

    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()
