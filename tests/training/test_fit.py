import pytest
import torch
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.training import Recipe, augment, fit
from holdfast.training.fit import _attacked

# Two classes told apart by which half of the image is bright.
IMAGES = torch.zeros(40, 3, 8, 8)
LABELS = torch.arange(40) % 2
IMAGES[LABELS == 0, :, :4] = 0.8
IMAGES[LABELS == 1, :, 4:] = 0.8


def network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 2))


def trained(**settings):
    net = network()
    losses = [epoch.loss for epoch in fit(net, IMAGES, LABELS, Recipe(batch_size=8, **settings))]
    return net, losses


def test_training_separates_what_is_separable():
    net, losses = trained(epochs=8, learning_rate=0.01)

    assert losses[-1] < 0.2 < losses[0]
    assert 1.0 == (net(IMAGES).argmax(1) == LABELS).float().mean()
    assert not net.training


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"mixup": 0.3},
        {"rotation": 5, "shift": 0.1},
        {"noise": 0.2},
        {"adversarial_eps": 0.1},
    ],
)
def test_the_recipe_alone_decides_the_weights(how):
    torch.manual_seed(1)
    first, _ = trained(epochs=2, **how)
    torch.manual_seed(2)
    second, _ = trained(epochs=2, **how)
    other, _ = trained(epochs=2, seed=1, **how)

    assert torch.equal(first[1].weight, second[1].weight)
    assert not torch.equal(first[1].weight, other[1].weight)


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    for _ in fit(network(), IMAGES, LABELS, Recipe(epochs=2, mixup=0.3, rotation=5)):
        assert torch.equal(state, torch.get_rng_state())


def test_mixup_keeps_the_network_from_certainty():
    plain, _ = trained(epochs=20, learning_rate=0.01)
    mixed, _ = trained(epochs=20, learning_rate=0.01, mixup=0.8)

    def confidence(net):
        return net(IMAGES).softmax(1).max(1).values.mean()

    assert confidence(mixed) < confidence(plain) - 0.02


def test_noise_is_each_images_own_and_grows_with_the_recipe():
    ids = torch.arange(40)
    grey = torch.full((40, 3, 8, 8), 0.5)
    weak, strong = (augment(grey, ids, Recipe(noise=s), 1) - grey for s in (0.05, 0.1))

    assert torch.allclose(2 * weak, strong, atol=1e-6)
    assert weak.std((1, 2, 3)).std() > 0.005
    assert weak.std((1, 2, 3)).max() < 0.065


def test_images_of_a_batch_are_moved_apart():
    turned = augment(IMAGES[:1].repeat(8, 1, 1, 1), torch.arange(8), Recipe(rotation=20), 1)

    assert 8 == len(torch.unique(turned, dim=0))


def test_a_loss_that_is_no_number_stops_the_training():
    with pytest.raises(BadValueError, match="lower the learning rate"):
        list(fit(network(), IMAGES * float("nan"), LABELS, Recipe(epochs=1)))


def test_no_images_is_an_error():
    with pytest.raises(BadValueError, match="no images"):
        next(fit(network(), IMAGES[:0], LABELS[:0], Recipe()))


def test_dropout_works_in_every_epoch():
    class Watched(nn.Dropout):
        def forward(self, images):
            modes.append(self.training)
            return super().forward(images)

    modes = []
    list(fit(nn.Sequential(Watched(), *network()), IMAGES, LABELS, Recipe(epochs=2, batch_size=20)))

    assert [True] * 4 == modes


def test_epochs_count_from_1():
    epochs = fit(network(), IMAGES, LABELS, Recipe(epochs=2))

    assert [1, 2] == [epoch.epoch for epoch in epochs]


@pytest.mark.parametrize("other", [{"weight_decay": 0.5}, {"learning_rate": 1e-2}])
def test_each_setting_of_the_optimizer_counts(other):
    plain, _ = trained(epochs=2)
    changed, _ = trained(epochs=2, **other)

    assert not torch.equal(plain[1].weight, changed[1].weight)


def test_noise_is_drawn_anew_each_epoch_and_for_each_seed():
    ids, grey = torch.arange(4), torch.full((4, 3, 8, 8), 0.5)
    noisy = [
        augment(grey, ids, Recipe(noise=0.1, seed=seed), epoch)
        for seed, epoch in ((0, 1), (0, 2), (1, 1))
    ]

    assert torch.equal(noisy[0], augment(grey, ids, Recipe(noise=0.1), 1))
    assert not torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2])


def test_noisy_images_stay_in_the_unit_range():
    noisy = augment(IMAGES, torch.arange(40), Recipe(noise=2.0), 1)

    assert (0.0, 1.0) == (noisy.min().item(), noisy.max().item())


def test_a_shift_moves_without_turning():
    moved = augment(IMAGES[:1].repeat(16, 1, 1, 1), torch.arange(16), Recipe(shift=0.3), 1)

    assert 1 < len(torch.unique(moved, dim=0))


def test_adversarial_training_holds_where_plain_training_falls():
    plain, _ = trained(epochs=20, learning_rate=0.01)
    robust, _ = trained(epochs=20, learning_rate=0.01, adversarial_eps=0.3)

    def least_margin(net):
        weight, logits = net[1].weight, net(IMAGES)
        margin = (logits[:, 0] - logits[:, 1]) * (1 - 2 * LABELS)
        return (margin / (weight[0] - weight[1]).abs().sum()).min()

    assert least_margin(robust) > least_margin(plain)


def test_training_images_are_moved_to_the_edge_of_a_radius_that_grows():
    net = network()
    moved = {
        epoch: _attacked(
            net, IMAGES[:6], LABELS[:6], torch.arange(6), Recipe(adversarial_eps=0.2), epoch
        )
        for epoch in (4, 8, 16)
    }
    sizes = {epoch: float((images - IMAGES[:6]).abs().amax()) for epoch, images in moved.items()}

    assert {4: 0.1, 8: 0.2, 16: 0.2} == pytest.approx(sizes, abs=1e-6)
    assert all(images.min() >= 0 and images.max() <= 1 for images in moved.values())
    assert net.training
