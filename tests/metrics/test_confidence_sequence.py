"""Intervals that hold at all counts at once, by simulation and by exact enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from holdfast.core.errors import BadValueError
from holdfast.metrics.accuracy import wilson
from holdfast.metrics.confidence_sequence import bernoulli_sequence
from holdfast.metrics.intervals import uniforms

RUNS, LENGTH = 2000, 2000
SHARES = [0.05, 0.5, 0.93]
# Three standard errors of a share of 5 % over the runs.
ALLOWED = 0.05 + 3 * math.sqrt(0.05 * 0.95 / RUNS)
SOME = np.unique(np.concatenate([np.arange(1, 30), np.geomspace(30, LENGTH, 60).astype(int)]))


def simulated(share):
    """Successes so far in independent runs, int [RUNS, LENGTH]."""
    draws = uniforms(np.arange(RUNS), seed=2, stream=f"sequence {share}", draws=LENGTH)
    return np.cumsum(np.stack([column < share for column in draws], axis=1), axis=1)


def bounds(successes, counts, interval=bernoulli_sequence):
    """Lower and upper bounds of each run at some counts, each [RUNS, counts]."""
    edges = np.empty((2, len(successes), len(counts)))
    for place, count in enumerate(counts):
        values, where = np.unique(successes[:, count - 1], return_inverse=True)
        table = np.array([interval(int(value), int(count)) for value in values])
        edges[:, :, place] = table[where].T
    return edges


@pytest.mark.parametrize("share", SHARES)
def test_stopping_when_the_truth_is_excluded_succeeds_one_time_in_twenty(share):
    low, high = bounds(simulated(share), SOME)

    failed = ((share < low) | (high < share)).any(axis=1).mean()

    # Some do fail: endless intervals would pass the bound as well.
    assert 0.002 <= failed <= ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
def test_looking_more_often_changes_nothing(share):
    low, high = bounds(simulated(share), np.arange(1, LENGTH + 1, 4))

    failed = ((share < low) | (high < share)).any(axis=1).mean()

    assert 0.005 <= failed <= ALLOWED


@pytest.mark.parametrize("half", [0.03, 0.06])
@pytest.mark.parametrize("share", SHARES)
def test_stopping_when_narrow_misses_at_most_one_time_in_twenty(share, half):
    low, high = bounds(simulated(share), SOME)
    narrow = high - low <= 2 * half
    narrow[:, -1] = True
    rows, stop = np.arange(RUNS), narrow.argmax(axis=1)

    missed = (share < low[rows, stop]) | (high[rows, stop] < share)

    assert missed.mean() <= ALLOWED


def test_an_interval_for_one_count_fails_when_it_is_looked_at_again_and_again():
    low, high = bounds(simulated(0.5), SOME, interval=wilson)

    assert ((low > 0.5) | (high < 0.5)).any(axis=1).mean() > 0.25


@pytest.mark.parametrize(("successes", "count"), [(0, 7), (3, 10), (50, 60), (400, 1000)])
def test_a_bound_is_a_share_at_which_the_mixture_is_twenty_times_as_likely(successes, count):
    failures = count - successes

    def density(angle):
        # The prior is uniform in the angle whose squared sine is the share.
        return 2 / math.pi * math.sin(angle) ** (2 * successes) * math.cos(angle) ** (2 * failures)

    peak = math.asin(math.sqrt(successes / count))
    mixture = integrate.quad(density, 0, math.pi / 2, points=[peak], epsabs=0, epsrel=1e-10)[0]
    edges = [edge for edge in bernoulli_sequence(successes, count) if edge not in (0, 1)]

    for edge in edges:
        assert mixture / 20 == pytest.approx(edge**successes * (1 - edge) ** failures, rel=1e-7)
    assert (1 if successes == 0 else 2) == len(edges)


def test_one_trial_by_hand():
    # The mixture gives 1/2 to either outcome, and a fortieth excludes.
    assert (0.0, 0.975) == pytest.approx(bernoulli_sequence(0, 1))
    assert (0.025, 1.0) == pytest.approx(bernoulli_sequence(1, 1))
    assert (0.0, 0.75) == pytest.approx(bernoulli_sequence(0, 1, level=0.5))


def test_before_the_first_trial_all_is_possible():
    assert (0.0, 1.0) == bernoulli_sequence(0, 0)
    assert (0.0, 1.0) == bernoulli_sequence(0, 0, population=5)


@pytest.mark.parametrize("population", [None, 500])
def test_failures_mirror_successes(population):
    for successes in (0, 1, 40, 100, 199, 200):
        low, high = bernoulli_sequence(successes, 200, population=population)
        mirrored = bernoulli_sequence(200 - successes, 200, population=population)

        assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-15)


@pytest.mark.parametrize("population", [None, 150])
def test_more_successes_lift_both_ends(population):
    edges = np.array([bernoulli_sequence(s, 100, population=population) for s in range(101)])
    steps = np.diff(edges, axis=0)

    if population is None:
        # An end that is at 0 or 1 stays there.
        assert (steps[1:, 0] > 0).all() and (steps[:-1, 1] > 0).all()
    assert (steps >= 0).all()
    assert 0 == edges[0, 0] and 1 == edges[-1, 1]


@pytest.mark.parametrize("count", [1, 10, 100, 10_000])
def test_the_share_seen_is_inside_and_wilson_is_narrower(count):
    for successes in {0, count // 3, count // 2, count}:
        low, high = bernoulli_sequence(successes, count)
        fixed = wilson(successes, count)

        assert low <= successes / count <= high
        assert fixed.high - fixed.low < high - low


def test_a_higher_level_is_wider():
    narrow, wide = bernoulli_sequence(30, 100, level=0.9), bernoulli_sequence(30, 100, level=0.99)

    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_width_shrinks_like_the_root_of_log_n_over_n(share):
    for count in (10**4, 10**6):
        low, high = bernoulli_sequence(int(share * count), count)
        half = (high - low) / 2

        # Laplace's approximation of the mixture, and two hits of log 20.
        expected = share * (1 - share) / count * math.log(400 * math.pi / 2 * count)
        assert expected == pytest.approx(half**2, rel=0.01)


def test_tiny_shares_keep_their_digits():
    low, high = bernoulli_sequence(1, 10**6)

    assert 0 < low < 1e-9
    log_mixture = special.betaln(1.5, 10**6 - 0.5) - special.betaln(0.5, 0.5)
    for edge in (low, high):
        likelihood = math.log(edge) + (10**6 - 1) * math.log1p(-edge)
        assert log_mixture - math.log(20) == pytest.approx(likelihood, abs=1e-8)


def test_a_used_up_set_has_its_share_alone():
    assert (0.3, 0.3) == bernoulli_sequence(3, 10, population=10)
    assert (0.0, 0.0) == bernoulli_sequence(0, 10, population=10)


def test_a_large_set_is_like_a_distribution():
    expected = bernoulli_sequence(70, 100)

    assert expected == pytest.approx(bernoulli_sequence(70, 100, population=10**7), abs=1e-5)


@pytest.mark.parametrize("seen", [100, 500, 900])
def test_a_finite_set_has_a_narrower_interval(seen):
    finite = bernoulli_sequence(seen // 2, seen, population=1000)
    endless = bernoulli_sequence(seen // 2, seen)

    assert endless.low < finite.low <= 0.5 <= finite.high < endless.high


@pytest.mark.parametrize("count", [1, 7, 15, 22, 23, 24])
@pytest.mark.parametrize("level", [0.6, 0.95])
def test_a_finite_set_has_the_totals_that_the_hypergeometric_law_does_not_exclude(count, level):
    population = 24
    totals = np.arange(population + 1)
    for successes in range(count + 1):
        mixture = special.beta(successes + 0.5, count - successes + 0.5) / math.pi
        likelihood = stats.hypergeom.pmf(successes, population, totals, count)
        likelihood /= math.comb(count, successes)

        plausible = np.flatnonzero(likelihood > (1 - level) * mixture) / population

        assert (plausible[0], plausible[-1]) == bernoulli_sequence(
            successes, count, level=level, population=population
        )


@pytest.mark.parametrize("level", [0.6, 0.9])
def test_in_all_orders_of_a_small_set_the_truth_is_covered_often_enough(level):
    size = 9
    table = {
        (s, n): bernoulli_sequence(s, n, level=level, population=size)
        for n in range(1, size + 1)
        for s in range(n + 1)
    }
    covered = []
    for total in range(size + 1):
        held = []
        for places in itertools.combinations(range(size), total):
            seen = np.cumsum(np.isin(np.arange(size), places))
            intervals = [table[int(s), n + 1] for n, s in enumerate(seen)]
            held.append(all(low <= total / size <= high for low, high in intervals))
        covered.append(np.mean(held))

    assert min(covered) >= level
    assert min(covered) < 1


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((5, 4), {}, "successes must lie in 0..4"),
        ((-1, 4), {}, "successes must lie in 0..4"),
        ((1, 4), {"level": 95}, "level must lie between 0 and 1"),
        ((1, 4), {"population": 3}, "population must be at least 4"),
        ((1.5, 4), {"population": 9}, "must be whole"),
    ],
)
def test_impossible_counts_are_refused(arguments, options, message):
    with pytest.raises(BadValueError, match=message):
        bernoulli_sequence(*arguments, **options)
