import numpy as np
import pytest
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

from holdfast.search.predictors import gaussian_process
from holdfast.search.predictors.gaussian_process import (
    condition,
    expected_improvement,
    fit,
    greedy_batch,
    kernel_matrix,
)


def data(rows=20, columns=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns))
    return x, np.sin(x[:, 0]) + x[:, 1] ** 2 + 0.1 * rng.normal(size=rows)


def test_matern_kernel_is_that_of_scikit_learn():
    x, _ = data()

    actual = kernel_matrix(x, x[:5], "matern", 1.7)

    assert actual == pytest.approx(kernels.Matern(1.7, nu=2.5)(x, x[:5]))


def test_hamming_kernel_counts_operations_that_differ():
    one, two = np.eye(3)[[0, 1, 2]].ravel(), np.eye(3)[[0, 2, 1]].ravel()

    actual = kernel_matrix(one[None], two[None], "hamming", 4.0)

    assert actual == pytest.approx(np.exp(-2 / 4))


def test_posterior_of_two_points_by_hand():
    x, y = np.array([[0.0], [1.0]]), np.array([1.0, 3.0])
    k, n = np.exp(-1 / 2), 0.5  # covariance of the two, and noise, for length 1

    gp = condition(x, y, "hamming", 1.0, n)
    mean, covariance = gp.posterior(np.array([[0.0]]))

    # y - 2 is (-1, 1), an eigenvector of [[1 + n, k], [k, 1 + n]] with eigenvalue 1 + n - k.
    variance = 1 / (1 + n - k)
    assert gp.variance == pytest.approx(variance)
    assert mean[0] == pytest.approx(2 - (1 - k) / (1 + n - k))
    shrunk = ((1 + n) * (1 + k**2) - 2 * k**2) / ((1 + n) ** 2 - k**2)
    assert covariance[0, 0] == pytest.approx(variance * (1 - shrunk))


def test_posterior_is_that_of_scikit_learn():
    x, y = data()
    at, _ = data(7, seed=1)
    gp = condition(x, y, "matern", 1.3, 0.05)

    mean, covariance = gp.posterior(at)

    kernel = kernels.ConstantKernel(gp.variance) * kernels.Matern(1.3, nu=2.5)
    judge = GaussianProcessRegressor(kernel, alpha=0.05 * gp.variance, optimizer=None)
    judge.fit(x, y - y.mean())
    expected_mean, expected_covariance = judge.predict(at, return_cov=True)
    assert mean == pytest.approx(expected_mean + y.mean(), rel=1e-6)
    assert covariance == pytest.approx(expected_covariance, rel=1e-5, abs=1e-8)


def test_marginal_likelihoods_differ_as_normal_densities_do():
    x, y = data()
    noises, centred = (0.02, 0.3), y - y.mean()
    matrix = kernel_matrix(x, x, "matern", 1.3)
    spectrum, basis = np.linalg.eigh(matrix)

    low, high = (
        gaussian_process._likelihood(spectrum + noise, (basis.T @ centred) ** 2) for noise in noises
    )

    variances = [condition(x, y, "matern", 1.3, noise).variance for noise in noises]
    expected_low, expected_high = (
        stats.multivariate_normal(cov=variance * (matrix + noise * np.eye(len(x)))).logpdf(centred)
        for noise, variance in zip(noises, variances, strict=True)
    )
    assert low - high == pytest.approx(expected_low - expected_high)


@pytest.mark.parametrize("kernel", ["matern", "hamming"])
def test_fit_takes_the_largest_marginal_likelihood(kernel):
    x, y = data()

    def likelihood(length, noise):
        gp = condition(x, y, kernel, length, noise)
        covariance = kernel_matrix(x, x, kernel, length) + noise * np.eye(len(x))
        mean = np.full(len(y), y.mean())
        return stats.multivariate_normal(mean, gp.variance * covariance).logpdf(y)

    chosen = fit(x, y, kernel)

    pairs = [(a, b) for a in gaussian_process.LENGTHS for b in gaussian_process.NOISES]
    assert (chosen.length, chosen.noise) == max(pairs, key=lambda pair: likelihood(*pair))


def test_equal_values_can_be_fitted():
    x, _ = data()

    picked = greedy_batch(fit(x, np.ones(len(x))), x[:4], 1.0, 2)

    assert len(set(picked)) == 2


def test_expected_improvement_is_the_mean_of_draws():
    mean, deviation, best = np.array([0.0, 1.0, -2.0]), np.array([1.0, 0.5, 2.0]), 0.7
    draws = mean + deviation * np.random.default_rng(0).normal(size=(400_000, 3))

    actual = expected_improvement(mean, deviation, best)

    assert actual == pytest.approx(np.maximum(draws - best, 0).mean(axis=0), abs=4e-3)


def test_expected_improvement_of_what_is_known():
    actual = expected_improvement(np.array([2.0, 0.0]), np.zeros(2), 1.5)

    assert actual.tolist() == [0.5, 0.0]


def test_the_first_of_a_batch_has_the_largest_expected_improvement():
    x, y = data()
    at, _ = data(50, seed=1)
    gp = fit(x, y)
    mean, covariance = gp.posterior(at)

    picked = greedy_batch(gp, at, y.max(), 3)

    gain = expected_improvement(mean, np.sqrt(np.diag(covariance)), y.max())
    assert picked[0] == np.argmax(gain)


def test_the_second_of_a_batch_is_the_first_of_a_process_that_believed():
    x, y = data()
    at, _ = data(50, seed=1)
    gp = fit(x, y)
    mean, _ = gp.posterior(at)

    first, second = greedy_batch(gp, at, y.max(), 2)

    joint = np.vstack([x, at[first]])
    covariance = kernel_matrix(joint, joint, gp.kernel, gp.length) + gp.noise * np.eye(len(joint))
    across = kernel_matrix(joint, at, gp.kernel, gp.length)
    told = 1 - (across * np.linalg.solve(covariance, across)).sum(axis=0)
    best = max(y.max(), mean[first])
    gain = expected_improvement(mean, np.sqrt(np.maximum(gp.variance * told, 0)), best)
    gain[first] = -np.inf
    assert second == np.argmax(gain)


def test_a_batch_asks_no_twin_of_what_it_asks():
    x, y = data()
    far = np.full((1, 4), 9.0)
    at = np.vstack([far, far, -far])

    picked = greedy_batch(condition(x, y, "matern", 1.0, 1e-6), at, y.max(), 2)

    assert 2 in picked
