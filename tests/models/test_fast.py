"""Search copies agree with their originals up to rounding, and leave them alone."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.models import Card, Classifier, Preprocessing, load_model
from holdfast.models.fast import described_copy, search_copy
from models import cifar_models

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)


class Net(nn.Module):
    """A convolution, a BatchNorm and a head; `body(net, images)` joins the first two."""

    def __init__(self, body=lambda net, x: F.relu(net.norm(net.conv(x)))):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)
        self.body = body

    def forward(self, images):
        return self.head(self.body(self, images).mean((2, 3)))


def settled(net):
    """Fixed weights, and running statistics as training leaves them: not 0 and 1."""
    generator = torch.Generator().manual_seed(3)
    for parameter in net.parameters():
        parameter.data.normal_(0, 0.4, generator=generator)
    for norm in norms(net):
        if norm.running_mean is not None:
            norm.running_mean.normal_(0, 0.3, generator=generator)
            norm.running_var.uniform_(0.4, 2.5, generator=generator)
    return net.eval()


def norms(net):
    return [
        module for module in net.modules() if isinstance(module, nn.modules.batchnorm._NormBase)
    ]


def classifier(net, **settings):
    card = Card(name="net", preprocessing=Preprocessing(**settings), identity="net")
    return Classifier(net, card)


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(5))


def answers(of, images):
    """Logits, and the gradient of their sum of squares."""
    images = images.clone().requires_grad_(True)
    logits = of(images)
    return logits.detach(), torch.autograd.grad((logits**2).sum(), images)[0]


def assert_same(one, other, images, **tolerance):
    pairs = zip(answers(one, images), answers(other, images), strict=True)
    for expected, actual in pairs:
        torch.testing.assert_close(expected, actual, **tolerance)


def chain(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(4))


FOLDED = {
    "conv": lambda: chain(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)),
    "with bias": lambda: chain(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True)),
    "without affine": lambda: chain(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, affine=False)),
    "grouped, strided, reflecting": lambda: chain(
        nn.Conv2d(3, 6, 3, 2, 1, groups=3, padding_mode="reflect"), nn.BatchNorm2d(6)
    ),
    "linear": lambda: chain(nn.Flatten(), nn.Linear(192, 7), nn.BatchNorm1d(7), nn.ReLU()),
    "functional relu": Net,
    "activation of timm": lambda: chain(nn.Conv2d(3, 6, 3), timm.layers.BatchNormAct2d(6)),
}


@pytest.mark.parametrize("build", FOLDED.values(), ids=list(FOLDED))
def test_a_folded_network_is_the_same_function(build):
    net = build().double()
    images = noise(3, 3, 8, 8).double()
    net.eval()(images)  # gives lazy layers their sizes
    settled(net)
    twin = described_copy(classifier(net, input_size=(8, 8))).classifier.net

    assert [] == norms(twin)
    # In float64, so that nothing but the fold is between them.
    assert_same(net, twin, images, rtol=1e-9, atol=1e-9)


def twice(net, x):
    return net.norm(net.conv(net.norm(net.conv(x))[:, :3]))


def norm_of_two(net, x):
    return net.norm(net.conv(x)) + net.norm(F.conv2d(x.flip(3), net.conv.weight, padding=1))


def without_statistics(net):
    net.norm = nn.BatchNorm2d(6, track_running_stats=False)


def own_forward(net):
    net.norm.forward = lambda x: 2 * nn.BatchNorm2d.forward(net.norm, x)


LEFT_ALONE = {
    "output used again": Net(lambda net, x: (y := net.conv(x)) + net.norm(y)),
    "changed in place": Net(lambda net, x: net.norm(F.relu_(net.conv(x)))),
    "another tensor": Net(lambda net, x: net.norm(net.conv(x).flip(1))),
    "norm first": Net(lambda net, x: net.conv(net.norm(x.repeat(1, 2, 1, 1))[:, :3])),
    "called twice": Net(twice),
    "norm called twice": Net(norm_of_two),
}
ALTERED = {
    "without statistics": without_statistics,
    "hook on the layer": lambda net: net.conv.register_forward_hook(lambda *seen: seen[2] * 2),
    "hook on the norm": lambda net: net.norm.register_forward_hook(lambda *seen: seen[2] * 2),
    "parametrized": lambda net: nn.utils.parametrizations.weight_norm(net.conv),
    "transposed": lambda net: setattr(net, "conv", nn.ConvTranspose2d(3, 6, 3)),
    "forward of its own": own_forward,
}


@pytest.mark.parametrize("name", [*LEFT_ALONE, *ALTERED])
def test_what_cannot_be_folded_is_recognized(name):
    net = LEFT_ALONE.get(name) or Net()
    if name in ALTERED:
        ALTERED[name](net)
    settled(net)
    copied = described_copy(classifier(net))

    assert 1 == len(norms(copied.classifier.net))
    assert () == copied.problems
    assert_same(net, copied.classifier, noise(3, 3, 8, 8))


def test_other_folds_go_on_where_one_cannot():
    residual = Net(lambda net, x: (y := net.conv(x)) + net.norm(y))
    net = settled(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), residual))
    copied = described_copy(classifier(net))

    assert "1 BatchNorm folded" in copied.changes
    assert_same(net, copied.classifier, noise(3, 3, 8, 8))


def test_a_fold_that_only_the_answers_show_to_be_wrong_is_undone():
    net = settled(Net(lambda net, x: (y := net.conv(x)).detach() + net.norm(y)))
    copied = described_copy(classifier(net))

    assert 1 == len(norms(copied.classifier.net))
    assert "1 BatchNorm folded" in copied.problems[0]
    assert_same(net, copied.classifier, noise(3, 3, 8, 8))


def only_the_gradient_knows(net, x):
    read = F.conv2d(x, net.conv.weight, padding=1)
    return net.norm(net.conv(x)) + (read - read.detach())


def test_a_fold_that_only_the_gradient_shows_to_be_wrong_is_undone():
    net = settled(Net(only_the_gradient_knows))
    copied = described_copy(classifier(net))

    assert "1 BatchNorm folded" in copied.problems[0]
    assert_same(net, copied.classifier, noise(3, 3, 8, 8))


def test_a_norm_in_training_mode_stays_so():
    net = settled(Net())
    original = classifier(net)
    net.norm.train()
    copied = described_copy(original)

    assert () == copied.problems
    assert [True] == [norm.training for norm in norms(copied.classifier.net)]


def test_a_norm_over_the_places_of_a_sequence_is_left_alone():
    net = nn.Sequential(nn.Flatten(2), nn.Linear(64, 3), nn.BatchNorm1d(3), nn.Flatten())
    net = settled(net.append(nn.Linear(9, 4)))
    copied = described_copy(classifier(net, input_size=(8, 8)))

    assert () == copied.problems
    assert 1 == len(norms(copied.classifier.net))


def test_the_original_is_untouched():
    net = settled(nn.Sequential(Net(), nn.Identity()))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    kinds = [type(module) for module in net.modules()]
    original = classifier(net, mean=MEAN, std=STD)
    digest, behavior = original.digest, original.behavior
    described_copy(original)

    assert original.net is net
    assert kinds == [type(module) for module in net.modules()]
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert (digest, behavior) == (original.digest, original.probe().behavior)


def test_a_copy_is_frozen():
    twin = search_copy(classifier(settled(Net())))

    assert not any(parameter.requires_grad for parameter in twin.net.parameters())


def test_a_copy_carries_no_hooks():
    twin = search_copy(classifier(settled(Net())))

    assert not any(m._forward_hooks or m._forward_pre_hooks for m in twin.net.modules())


def test_a_copy_keeps_classes_and_preprocessing():
    original = classifier(settled(Net()), input_size=(8, 8), mean=MEAN, std=STD)
    twin = search_copy(original)

    assert 4 == twin.classes
    assert original.preprocessing == twin.preprocessing
    assert_same(original, twin, noise(2, 1, 16, 12))


def test_two_copies_answer_to_the_bit():
    original = classifier(settled(Net()))
    images = noise(3, 3, 8, 8)
    first, second = (answers(search_copy(original), images) for _ in range(2))

    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_copy_made_in_inference_mode_gives_gradients():
    original = classifier(settled(Net()))
    with torch.inference_mode():
        twin = search_copy(original)

    assert_same(original, twin, noise(3, 3, 8, 8))


def test_a_callable_that_is_no_module_is_returned():
    original = classifier(lambda images: images.mean((2, 3)))

    assert original is search_copy(original)


class Locked(nn.Module):
    def forward(self, images):
        return images.mean((2, 3))

    def __deepcopy__(self, memo):
        raise RuntimeError("cannot be copied")


def test_a_network_that_cannot_be_copied_is_returned():
    original = classifier(Locked())
    copied = described_copy(original)

    assert original is copied.classifier
    assert "cannot be copied" in copied.problems[0]


class Wide(nn.Module):
    """Wide enough for channels-last; `flatten` may refuse that layout."""

    def __init__(self, flatten):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.deep = nn.Conv2d(16, 16, 3)
        self.head = nn.Linear(256, 4)
        self.flatten = flatten

    def forward(self, images):
        return self.head(self.flatten(self.deep(self.norm(self.conv(images)))))


def test_a_wide_network_becomes_channels_last():
    net = settled(Wide(lambda x: x.flatten(1)).double())
    copied = described_copy(classifier(net))

    assert copied.classifier.net.deep.weight.is_contiguous(memory_format=torch.channels_last)
    assert_same(net, copied.classifier.net, noise(3, 3, 8, 8).double(), rtol=1e-9, atol=1e-9)


def test_a_network_that_needs_its_layout_keeps_it_and_is_folded():
    net = settled(Wide(lambda x: x.view(len(x), -1)).double())
    copied = described_copy(classifier(net))

    assert copied.classifier.net.deep.weight.is_contiguous()
    assert [] == norms(copied.classifier.net)
    assert "channels-last" in copied.problems[0]
    assert_same(net, copied.classifier.net, noise(3, 3, 8, 8).double(), rtol=1e-9, atol=1e-9)


def test_a_network_of_strided_layers_keeps_its_layout():
    copied = described_copy(classifier(settled(cifar_models.cnn_a()), input_size=(32, 32)))

    assert ("1 convolutions with a cheaper input gradient",) == copied.changes


def test_reduced_precision_gives_float32_logits_that_are_off():
    original = classifier(settled(Net()))
    images = noise(8, 3, 8, 8)
    copied = described_copy(original, precision="bfloat16")
    logits, truth = copied.classifier(images).detach(), original(images).detach()

    assert torch.float32 == logits.dtype
    assert 0 < float((logits - truth).abs().max() / truth.abs().max()) < 2e-2
    assert "bfloat16" in copied.changes


def test_float16_that_overflows_is_undone():
    net = settled(Net(lambda net, x: F.relu(net.norm(net.conv(x * 1e5))) * 1e-5))
    copied = described_copy(classifier(net), precision="float16")

    assert "float16" not in copied.changes
    assert {"not_reduced"} == copied.classifier.flags
    assert "not finite" in copied.problems[0]
    assert_same(net, copied.classifier, noise(3, 3, 8, 8))


def test_an_unknown_precision_is_refused():
    with pytest.raises(BadValueError, match="must be one of float32, bfloat16, float16, got 'f8'"):
        described_copy(classifier(settled(Net())), precision="f8")


def test_a_failing_compiler_leaves_the_copy_as_it_was(monkeypatch):
    def refuse(net):
        raise RuntimeError("no compiler found")

    monkeypatch.setattr(torch, "compile", refuse)
    copied = described_copy(classifier(settled(Net())), compile_net=True)

    assert "1 BatchNorm folded" in copied.changes
    assert "compiled" not in copied.changes
    assert {"not_compiled"} == copied.classifier.flags
    assert ("undone (compiled): RuntimeError: no compiler found",) == copied.problems


def test_a_compiler_that_changes_the_answers_is_not_used(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda net: lambda images: net(images) + 0.01)
    net = settled(Net())
    copied = described_copy(classifier(net), compile_net=True)

    assert ("undone (compiled): the answers are not the original's",) == copied.problems
    assert_same(net, copied.classifier, noise(3, 3, 8, 8))


@pytest.mark.slow
def test_a_compiled_copy_takes_any_number_of_images():
    net = settled(Net())
    copied = described_copy(classifier(net), compile_net=True)

    assert copied.changes[-1:] == ("compiled",) or "not_compiled" in copied.classifier.flags
    for count in (1, 5, 64):
        assert_same(net, copied.classifier, noise(count, 3, 8, 8))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("function", "name", "change"),
    [
        ("resnet20", "resnet20-12fca82f.th", "19 BatchNorm folded"),
        ("cnn_a", "cifar_cnn_a_adv.model", "1 convolutions with a cheaper input gradient"),
        ("resnet4b", "resnet4b.pth", "channels-last"),
    ],
)
def test_a_checkpoint_answers_alike_on_pictures(shared, function, name, change):
    with np.load(shared / "data/images/cifar10/cifar10_test_a.npz") as arrays:
        images = torch.from_numpy(arrays["x"][:64]).permute(0, 3, 1, 2).float() / 255
    path = shared / "data/weights/cifar10" / name
    original = load_model(f"{cifar_models.__file__}:{function}", weights=path)
    copied = described_copy(original)
    (truth, slope), (logits, gradient) = (
        answers(of, images) for of in (original, copied.classifier)
    )

    assert change in copied.changes
    torch.testing.assert_close(truth, logits, rtol=1e-5, atol=1e-4)
    # A ReLU within rounding of zero may switch: by the length, not by the pixel.
    assert float((slope - gradient).norm() / slope.norm()) < 1e-3
