"""The small networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.models import load_model, small_cnn
from holdfast.models.small import small_stem


def test_the_small_network_has_30_to_60_thousand_parameters():
    assert 33_626 == load_model("small:cnn").parameter_count


def test_the_small_network_is_flagged_without_weights():
    assert "untrained" in load_model("small:cnn").flags


def test_the_small_network_takes_its_classes_from_the_file(tmp_path):
    torch.save(small_cnn(6, width=8).state_dict(), tmp_path / "a.pth")
    classifier = load_model("small:cnn(width=8)", weights=tmp_path / "a.pth")

    assert (6, frozenset()) == (classifier.classes, classifier.flags)


def test_the_small_network_learns_which_half_is_bright():
    torch.manual_seed(0)
    labels = torch.arange(128) % 2
    images = torch.rand(128, 3, 16, 16) / 2
    images[labels == 1, :, :8] += 0.3
    images[labels == 0, :, 8:] += 0.3
    net = small_cnn(2, width=4)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net.train()(images), labels).backward()
        optimizer.step()

    assert 1.0 == float((net.eval()(images).argmax(1) == labels).float().mean())


def test_a_small_network_without_two_classes_is_refused():
    with pytest.raises(BadValueError, match="classes >= 2"):
        small_cnn(1)


def stem(**settings):
    return small_stem(4, **settings)


def test_stems_of_one_seed_start_from_the_same_body_and_head():
    first, second = stem(kernel=3, pool="max").state_dict(), stem(kernel=7).state_dict()
    same = {key for key in first if not key.startswith("filters")}

    assert all(torch.equal(first[key], second[key]) for key in same)
    assert first["filters.weight"].shape[2:] == (3, 3)
    assert second["filters.weight"].shape[2:] == (7, 7)


def test_the_same_holds_for_models_loaded_by_name_and_seed():
    first, second = (
        load_model(f"small:stem(kernel={kernel})", init_seed=5).net.state_dict()
        for kernel in (3, 5)
    )
    other = load_model("small:stem(kernel=3)", init_seed=6).net.state_dict()

    assert torch.equal(first["body.1.0.weight"], second["body.1.0.weight"])
    assert not torch.equal(first["body.1.0.weight"], other["body.1.0.weight"])


def test_pooling_changes_no_first_weight():
    first, second = stem(kernel=5, pool="max").state_dict(), stem(kernel=5).state_dict()

    assert all(torch.equal(first[key], second[key]) for key in first)


def test_layers_of_one_network_are_drawn_apart():
    net = stem(width=8)

    assert net.body[0][0].weight.shape == (16, 8, 3, 3)
    assert not torch.equal(net.body[0][0].weight.flatten()[:99], net.head.weight.flatten()[:99])


def test_building_a_stem_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    stem()

    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_the_kernel_changes_no_shape_but_its_own(kernel):
    net, shapes = stem(kernel=kernel), []
    net.body.register_forward_hook(lambda _, given, out: shapes.extend([given[0].shape, out.shape]))
    net(torch.rand(2, 3, 32, 32))

    assert [(2, 16, 16, 16), (2, 64, 8, 8)] == [tuple(shape) for shape in shapes]


def test_the_two_poolings_are_those_of_their_names():
    images = torch.rand(3, 16, 8, 8)

    assert torch.equal(nn.functional.avg_pool2d(images, 2), stem(pool="average").pool(images))
    assert torch.equal(nn.functional.max_pool2d(images, 2), stem(pool="max").pool(images))


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_a_box_stem_has_the_gain_of_its_size(kernel):
    net = stem(kernel=kernel)
    nn.init.constant_(net.filters.weight, 1 / (3 * kernel**2))  # mean of all pixels and colors

    # 1 / (3 k^2) of independent values, and pixels are divided by 0.25 before.
    assert torch.allclose(
        torch.full((16,), 16 / (3 * kernel**2), dtype=torch.float64), net.stem_gain()
    )


def test_the_gain_is_what_noise_does_to_the_convolution():
    net, sigma, generator = stem(kernel=5), 0.1, torch.Generator().manual_seed(0)
    seen = []
    net.filters.register_forward_hook(lambda _, __, out: seen.append(out.detach().double()))
    images = torch.rand(64, 3, 36, 36, generator=generator)
    noise = sigma * torch.randn(images.shape, generator=generator)
    for given in (images, images + noise):
        net(given)
    # Every fifth pixel, so that no two share a pixel of noise, and none sees the padding.
    change = (seen[1] - seen[0])[:, :, 2:-2:5, 2:-2:5].transpose(0, 1).flatten(1) / sigma
    measured = change.square().mean(1)
    error = change.square().std(1) / change.shape[1] ** 0.5

    assert float(((measured - net.stem_gain()) / error).abs().max()) < 4


def test_the_ratio_of_noise_to_signal_does_not_see_the_scale_of_a_filter():
    net, images = stem().train(), torch.rand(32, 3, 16, 16)
    ratios = []
    for scale in (1.0, 3.0):
        with torch.no_grad():
            net.filters.weight.mul_(scale)
        net.norm.reset_running_stats()
        net.norm.momentum = None  # running statistics are the mean over batches
        net(images)
        ratios.append(net.stem_ratio())

    torch.testing.assert_close(*ratios, rtol=1e-3, atol=0)


@pytest.mark.parametrize("kernel", [0, 4, -3, 33])
def test_a_stem_that_is_not_odd_or_too_wide_is_refused(kernel):
    with pytest.raises(BadValueError, match="odd number from 1 to 31"):
        small_stem(3, kernel=kernel)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(BadValueError, match="average"):
        load_model("small:stem(pool=blur)")
    with pytest.raises(BadValueError, match="average or max"):
        small_stem(3, pool="blur")


def test_a_stem_takes_its_classes_from_a_file(tmp_path):
    torch.save(small_stem(6, kernel=5, width=8).state_dict(), tmp_path / "a.pth")
    classifier = load_model("small:stem(kernel=5, width=8)", weights=tmp_path / "a.pth")

    assert (6, frozenset()) == (classifier.classes, classifier.flags)
