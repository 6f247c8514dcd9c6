"""The loop: what decides the weights, what does not, and what it says when it cannot go on."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from holdfast.core.errors import BadValueError
from holdfast.models import load_model
from holdfast.training.stepping import DivergedError
from holdfast.training.trainer import Trainer
from training_toys import Halves, data_for, linear, recipe, trained, trainer, with_norms


def weights(net):
    return torch.cat([one.detach().flatten() for one in net.state_dict().values()])


def accuracy(net):
    images, labels = data_for(recipe()).plain(range(40))
    return float((load_model(net, device="cpu")(images).argmax(1) == labels).float().mean())


def test_training_separates_what_is_separable():
    net, losses = trained(train={"epochs": 8})

    assert losses[-1] < 0.2 < losses[0]
    assert 1.0 == accuracy(net)


def test_a_step_is_what_torch_would_do_by_hand():
    settings = recipe(
        train={"max_steps": 3, "epochs": 1},
        optimizer={"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        schedule={"kind": "constant"},
    )
    own = trainer(settings)
    net = linear()
    decayed, plain = [net[1].weight], [net[1].bias]
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.01)
    for batch in list(own.data.batches(1, batch_size=8))[:3]:
        optimizer.zero_grad()
        F.cross_entropy(net(batch.images), batch.labels).backward()
        optimizer.step()
    list(own.run())

    torch.testing.assert_close(weights(own.classifier.net), weights(net), atol=1e-6, rtol=1e-6)


HOWS = [
    {},
    {"augment": ["flip", "crop(padding=1)", "mixup(alpha=0.3)"]},
    {"train": {"objective": "adversarial(attack=pgd(eps=0.1, steps=2))"}},
    {"train": {"objective": "gaussian_noise(sigma=0.2)"}},
    {"train": {"ema": 0.9}},
]


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_the_recipe_alone_decides_the_weights(how):
    torch.manual_seed(1)
    first, _ = trained(with_norms(), **copy.deepcopy(how))
    torch.manual_seed(2)
    second, _ = trained(with_norms(), **copy.deepcopy(how))
    other, _ = trained(with_norms(), seed=1, **copy.deepcopy(how))

    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    one = trainer(recipe(augment=["flip", "mixup(alpha=0.3)"]), with_norms())
    for _ in one.run():
        assert torch.equal(state, torch.get_rng_state())


def test_dropout_draws_anew_in_each_step():
    masks = []

    class Watched(nn.Dropout):
        def forward(self, images):
            kept = super().forward(torch.ones(64))
            masks.append(kept)
            return images

    trained(nn.Sequential(Watched(0.5), *linear()), train={"epochs": 1})

    # Five steps and the probe; the probe has no dropout.
    drawn = [mask for mask in masks if not torch.equal(mask, torch.ones(64))]
    assert 5 == len(drawn)
    assert 5 == len({tuple(mask.tolist()) for mask in drawn})


SAME = [
    ("trades(beta=0)", "cross_entropy"),
    ("adversarial(attack=pgd(eps=0, steps=3))", "cross_entropy"),
    ("mixture(beta=0, attack=pgd(eps=0.1, steps=2))", "cross_entropy"),
    (
        "mixture(beta=1, attack=pgd(eps=0.1, steps=2))",
        "adversarial(attack=pgd(eps=0.1, steps=2))",
    ),
    ("gaussian_noise(sigma=0)", "cross_entropy"),
    ("augmix_jsd(alpha=0)", "cross_entropy"),
]


@pytest.mark.parametrize(("objective", "other"), SAME, ids=str)
def test_objectives_that_are_one_give_the_same_weights(objective, other):
    one, _ = trained(with_norms(), train={"objective": objective})
    two, _ = trained(with_norms(), train={"objective": other})

    torch.testing.assert_close(weights(one), weights(two), atol=1e-6, rtol=0)


def test_an_attack_changes_the_weights():
    plain, _ = trained(with_norms())
    robust, _ = trained(
        with_norms(), train={"objective": "adversarial(attack=pgd(eps=0.1, steps=2))"}
    )

    assert (weights(plain) - weights(robust)).abs().max() > 1e-3


def test_adversarial_training_widens_the_margin():
    plain, _ = trained(train={"epochs": 20})
    robust, _ = trained(
        train={"epochs": 20, "objective": "adversarial(attack=pgd(eps=0.3, steps=3))"}
    )
    images, labels = data_for(recipe()).plain(range(40))

    def least_margin(net):
        weight, logits = net[1].weight, net(images)
        margin = (logits[:, 0] - logits[:, 1]) * (1 - 2 * labels)
        return (margin / (weight[0] - weight[1]).abs().sum()).min()

    assert least_margin(robust) > least_margin(plain)


def test_portions_of_a_batch_add_up():
    # 40 images in batches of 16 and 16 and 8: portions of 3 leave rests.
    whole, _ = trained(train={"batch_size": 16})
    portions, _ = trained(train={"batch_size": 16, "micro_batch": 3})

    torch.testing.assert_close(weights(whole), weights(portions), atol=1e-5, rtol=1e-5)


class Small(nn.Module):
    """Does not hold more than `most` images with gradients."""

    def __init__(self, net, most):
        super().__init__()
        self.net, self.most = net, most

    def forward(self, images):
        if len(images) > self.most and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("out of memory")
        return self.net(images)


def test_where_memory_is_full_the_batch_is_cut_and_the_weights_are_the_same():
    enough, _ = trained(nn.Sequential(*linear()), train={"batch_size": 16})
    short = trainer(recipe(train={"batch_size": 16}), Small(linear(), most=5))
    list(short.run())

    torch.testing.assert_close(weights(enough), weights(short.classifier.net), atol=1e-5, rtol=1e-5)
    assert 2 == len(short.notes)  # from 16 to 8, from 8 to 4
    assert "portions of 4" in short.notes[-1]


def test_running_statistics_do_not_count_the_try_that_failed():
    norms = with_norms()
    short = trainer(recipe(train={"batch_size": 20, "epochs": 1}), Late(norms, most=10))
    list(short.run())

    # Two batches in two portions each.
    assert 4 == int(norms[1].num_batches_tracked)


class Late(Small):
    """Full only after the network has passed."""

    def forward(self, images):
        found = self.net(images)
        if len(images) > self.most and torch.is_grad_enabled():
            raise RuntimeError("CUDA error: out of memory")
        return found


def test_memory_for_no_image_is_an_error():
    with pytest.raises(BadValueError, match="not hold even one image"):
        list(trainer(recipe(), Small(linear(), most=0)).run())


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    class Broken(nn.Module):
        calls = 0

        def __init__(self):
            super().__init__()
            self.net = linear()

        def forward(self, images):
            if torch.is_grad_enabled():
                raise RuntimeError("something else")
            return self.net(images)

    with pytest.raises(RuntimeError, match="something else"):
        list(trainer(recipe(), Broken()).run())


def test_a_loss_that_is_no_number_stops_before_the_weights_are_touched():
    one = trainer(recipe(), linear())
    before = weights(one.classifier.net).clone()
    real = one.data.batches

    def spoiled(*args, **kwargs):
        for batch in real(*args, **kwargs):
            batch.images.fill_(float("nan"))
            yield batch

    one.data.batches = spoiled
    with pytest.raises(DivergedError, match=r"step 1.*optimizer.lr"):
        list(one.run())

    assert torch.equal(before, weights(one.classifier.net))


def test_one_image_and_batch_normalization_do_not_go_together():
    with pytest.raises(BadValueError, match="single image"):
        trainer(recipe(train={"batch_size": 1}), with_norms())
    with pytest.raises(BadValueError, match="single image"):
        trainer(recipe(train={"micro_batch": 1}), with_norms())
    trainer(recipe(train={"batch_size": 1}, protocol={"freeze_bn": True}), with_norms())
    trainer(recipe(train={"batch_size": 1}), linear())


def test_frozen_batch_normalization_stays_frozen_though_others_call_train():
    net = with_norms()
    one = trainer(recipe(protocol={"freeze_bn": True}), net)
    before = {name: value.clone() for name, value in net[1].state_dict().items()}
    for _ in one.run():
        net.train()  # as a validation loop might
        one.student.resume()

    assert all(torch.equal(before[name], value) for name, value in net[1].state_dict().items())


CRAFTING = {"eval": (False, False), "batch": (True, False), "train": (True, True)}


@pytest.mark.parametrize("mode", CRAFTING)
def test_batch_normalization_while_crafting_is_what_the_recipe_says(mode):
    net = with_norms()
    one = trainer(recipe(train={"crafting": mode}), net)
    images = data_for(recipe()).plain(range(6))[0]
    running = net[1].running_mean.clone()
    together, alone = one.student.search(images), one.student.search(images[:3])
    uses_batch, updates = CRAFTING[mode]

    assert uses_batch == (not torch.allclose(together[:3], alone, atol=1e-4))
    assert updates == (not torch.equal(running, net[1].running_mean))
    assert isinstance(net[1].running_mean, torch.Tensor)
    assert (mode == "train") == net[3].training


ROBUST = "adversarial(attack=pgd(eps=0.1, steps=2))"


def test_images_are_crafted_on_the_weights_of_the_moment():
    one = trainer(recipe(train={"objective": ROBUST}, optimizer={"lr": 0.1}), with_norms())
    images = data_for(recipe()).plain(range(6))[0]
    before = one.student.search(images).detach()
    steps = one.run()
    for _ in range(3):
        next(steps)
    crafted_on = one.student.search(images).detach()

    torch.testing.assert_close(crafted_on, one.classifier(images).detach(), atol=1e-4, rtol=1e-4)
    assert (crafted_on - before).abs().max() > 1e-2


def test_an_image_is_attacked_from_other_points_in_each_epoch_whatever_its_batch():
    def drawn(size):
        one = trainer(recipe(train={"objective": ROBUST, "batch_size": size}))
        found, inner = {}, one._gradients

        def watched(objective, batch, keys, count):
            epoch = one.step // one.batches
            found.update(
                {(epoch, int(i)): int(w) for i, w in zip(batch.ids, keys.words, strict=True)}
            )
            return inner(objective, batch, keys, count)

        one._gradients = watched
        list(one.run())
        return found

    small, large = drawn(8), drawn(20)

    assert small == large
    assert 80 == len(small) == len(set(small.values()))


def test_the_linear_probe_leaves_all_but_the_head_as_it_is():
    net = with_norms()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trained(net, protocol={"kind": "linear_probe"})
    changed = {
        name for name, value in net.state_dict().items() if not torch.equal(before[name], value)
    }

    assert {"6.weight", "6.bias"} == changed


def test_lp_ft_is_a_probe_and_then_all():
    net = with_norms()
    one = trainer(recipe(train={"epochs": 3}, protocol={"kind": "lp_ft", "probe_epochs": 1}), net)
    first = net[0].weight.clone()
    moved = [not torch.equal(first, net[0].weight) for _ in one.run()]

    assert [False] * 5 + [True] * 10 == moved


def test_the_last_blocks_learn_and_no_others():
    net = with_norms()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trained(net, protocol={"kind": "last_k", "blocks": 1})
    changed = {
        name for name, value in net.named_parameters() if not torch.equal(before[name], value)
    }

    assert {f"{layer}.{kind}" for layer in "016" for kind in ("weight", "bias")} == changed


def test_more_blocks_than_there_are_is_an_error():
    with pytest.raises(BadValueError, match="1 blocks"):
        trainer(recipe(protocol={"kind": "last_k", "blocks": 9}), with_norms())


def test_averaged_weights_are_the_exponential_mean():
    one = trainer(recipe(train={"ema": 0.5, "max_steps": 3}), linear())
    seen = [weights(one.classifier.net).clone() for _ in one.run()]
    # AveragedModel takes the first weights as they are.
    expected = 0.5 * (0.5 * seen[0] + 0.5 * seen[1]) + 0.5 * seen[2]

    torch.testing.assert_close(weights(one.result.net), expected)


def test_gradients_are_clipped_to_the_norm():
    free = trainer(recipe(train={"max_steps": 1}, optimizer={"kind": "sgd", "lr": 1.0}), linear())
    cut = trainer(
        recipe(train={"max_steps": 1, "clip": 0.01}, optimizer={"kind": "sgd", "lr": 1.0}),
        linear(),
    )
    before = weights(linear())
    moves = []
    for one in (free, cut):
        list(one.run())
        moves.append(float((weights(one.classifier.net) - before).norm()))

    assert moves[0] > 0.05
    # Weight decay adds its part to the move.
    assert moves[1] == pytest.approx(0.01, abs=0.015)
    assert cut.sums.norm == pytest.approx(free.sums.norm)


def resumed(settings, net, step):
    """Weights of a run whose state is carried over into a fresh trainer at a step."""
    one = trainer(settings, copy.deepcopy(net))
    for stepped in one.run():
        if stepped.step == step:
            break
    tensors, numbers = one.state()
    tensors = {name: value.clone() for name, value in tensors.items()}
    two = trainer(settings, copy.deepcopy(net))
    two.restore(tensors, numbers)
    list(two.run())
    return two


RESUMES = [
    {},
    {"augment": ["flip", "cutmix"], "train": {"ema": 0.8, "epochs": 3}},
    {"train": {"epochs": 3}, "protocol": {"kind": "lp_ft", "probe_epochs": 1}},
    {
        "train": {
            "objective": "adversarial(attack=pgd(eps=0.1, steps=2))",
            "step": "free(replays=2)",
        },
        "optimizer": {"kind": "sgd", "lr": 0.05},
    },
    {"train": {"objective": "trades(beta=1, attack=pgd(eps=0.1, steps=2))", "crafting": "train"}},
    {"train": {"step": "awp(gamma=0.01)"}, "schedule": {"kind": "onecycle"}},
]


@pytest.mark.parametrize(
    "step", [pytest.param(1, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow), 7]
)
@pytest.mark.parametrize("how", RESUMES, ids=str)
def test_a_run_taken_up_again_ends_with_the_same_bits(how, step):
    settings = recipe(**copy.deepcopy(how))
    net = with_norms()
    whole = trainer(settings, copy.deepcopy(net))
    list(whole.run())
    again = resumed(settings, net, step)

    assert whole.step == again.step
    assert torch.equal(weights(whole.result.net), weights(again.result.net))
    assert whole.sums == again.sums


def test_max_steps_ends_within_an_epoch():
    one = trainer(recipe(train={"max_steps": 7}))
    steps = list(one.run())

    assert 7 == len(steps) == one.steps
    assert (2, 2) == (steps[-1].epoch, steps[-1].batch)


def test_float16_is_for_cuda():
    with pytest.raises(BadValueError, match="CUDA"):
        trainer(recipe(train={"precision": "float16"}))


def test_reduced_precision_trains_and_keeps_full_weights():
    net, losses = trained(train={"precision": "bfloat16", "epochs": 4})

    assert losses[-1] < losses[0] / 2
    assert {torch.float32} == {p.dtype for p in net.parameters()}


def test_free_training_moves_once_a_replay():
    moves = []
    net = linear()
    one = trainer(
        recipe(
            train={
                "objective": "adversarial(attack=pgd(eps=0.1, steps=1))",
                "step": "free(replays=3)",
                "max_steps": 2,
            }
        ),
        net,
    )
    step = one._optimizer.optimizer.step
    one._optimizer.optimizer.step = lambda *a, **k: (moves.append(1), step(*a, **k))[1]
    list(one.run())

    assert 6 == len(moves)


def test_the_trainer_takes_what_is_left_of_an_epoch():
    assert 5 == Trainer(recipe(), load_model(linear(), device="cpu"), data_for(recipe())).batches
    assert 40 == len(Halves())
