import numpy as np
import pytest
import torch

from holdfast.search.predictors.ensemble import Ensemble, Training

SMALL = Training(layers=3, width=8, epochs=60)


def data(rows=40, columns=6, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.random((rows, columns)) < 0.5).astype(np.float32)
    return x, (x @ rng.normal(size=columns)).astype(np.float32)


def ensemble(members=3, training=SMALL, seed=0):
    return Ensemble(members, 6, training, np.random.default_rng(seed))


def error(one, x, y):
    return np.abs(one.predict(x) - y).mean(axis=1)


def test_training_lowers_the_error_of_every_member():
    x, y = data()
    before = error(ensemble(), x, y)

    after = error(ensemble().fit(x, y, np.random.default_rng(1)), x, y)

    assert (after < before / 3).all()


def test_training_predicts_rows_it_did_not_see():
    x, y = data(60)

    trained = ensemble().fit(x[:40], y[:40], np.random.default_rng(1))

    missed = np.abs(trained.predict(x[40:]).mean(axis=0) - y[40:]).mean()
    assert missed < 0.5 * np.abs(y[40:] - np.median(y[:40])).mean()


def test_members_differ():
    x, y = data()

    said = ensemble().fit(x, y, np.random.default_rng(1)).predict(1 - x)

    assert (said.std(axis=0) > 0).all()


def test_members_shuffle_for_themselves():
    x, y = data()
    twins = ensemble(2, Training(layers=2, width=8, epochs=3, batch=8))
    for stacked in [*twins.weights, *twins.biases]:
        stacked[1] = stacked[0]

    said = twins.fit(x, y, np.random.default_rng(1)).predict(x)

    assert not np.allclose(said[0], said[1])


def test_gradient_is_that_of_torch():
    x, y = data(12)
    one = ensemble()
    rng = np.random.default_rng(2)
    one.parameters[:] = rng.normal(scale=0.5, size=one.parameters.shape)
    rows = np.stack([rng.permutation(12) for _ in range(3)])
    actual = np.empty_like(one.parameters)
    one.gradient(x[rows], y[rows], one.views(actual))

    flat = torch.tensor(one.parameters, requires_grad=True)
    weights, biases = one.views(one.parameters)
    parts = torch.split(
        flat, [part.size for pair in zip(weights, biases, strict=True) for part in pair]
    )
    hidden = torch.tensor(x[rows])
    for layer in range(len(weights)):
        weight = parts[2 * layer].view(weights[layer].shape)
        hidden = torch.bmm(hidden, weight) + parts[2 * layer + 1].view(biases[layer].shape)
        hidden = hidden.relu() if layer < len(weights) - 1 else hidden
    (hidden[..., 0] - torch.tensor(y[rows])).abs().mean(dim=1).sum().backward()
    assert actual == pytest.approx(flat.grad.numpy(), abs=1e-5)


def test_stacked_training_is_that_of_each_member_by_itself_in_torch():
    x, y = data(20)
    training = Training(layers=2, width=8, epochs=4, batch=8)
    stacked = ensemble(3, training)
    starts = [[w.copy(), b.copy()] for w, b in zip(stacked.weights, stacked.biases, strict=True)]
    stacked.fit(x, y, np.random.default_rng(1))

    rng, order = np.random.default_rng(1), np.tile(np.arange(20), (3, 1))
    orders = []
    for _ in range(training.epochs):
        order = rng.permuted(order, axis=1)
        orders.append(order)
    for member in range(3):
        layers = [[torch.tensor(part[member], requires_grad=True) for part in p] for p in starts]
        flat = [part for layer in layers for part in layer]
        moments = [[torch.zeros_like(part) for part in flat] for _ in range(2)]
        step = 0
        for shuffled in orders:
            for start in range(0, 20, 8):
                here = shuffled[member, start : start + 8]
                hidden = torch.tensor(x[here])
                for weight, bias in layers[:-1]:
                    hidden = (hidden @ weight + bias).relu()
                output = hidden @ layers[-1][0] + layers[-1][1]
                loss = (output[:, 0] - torch.tensor(y[here])).abs().mean()
                step += 1
                with torch.no_grad():
                    slopes = torch.autograd.grad(loss, flat)
                    for part, slope, m, v in zip(flat, slopes, *moments, strict=True):
                        # Algorithm 1 of Kingma and Ba 2015, with the small term unscaled.
                        m.mul_(0.9).add_(0.1 * slope)
                        v.mul_(0.99).add_(0.01 * slope**2)
                        scale = (1 - 0.99**step) ** 0.5 / (1 - 0.9**step)
                        part.sub_(training.rate * scale * m / (v.sqrt() + 1e-7))
        for (weight, bias), ours, its in zip(layers, stacked.weights, stacked.biases, strict=True):
            assert ours[member] == pytest.approx(weight.detach().numpy(), abs=2e-3)
            assert its[member] == pytest.approx(bias.detach().numpy(), abs=2e-3)


def test_same_seed_same_ensemble():
    x, y = data()

    first, second = (
        ensemble().fit(x, y, np.random.default_rng(1)).predict(x).tolist() for _ in range(2)
    )

    assert first == second
