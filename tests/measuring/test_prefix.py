"""Anytime evaluation counts the images of a prefix of the fixed order, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.measuring.stopping import Stopping
from holdfast.metrics import bernoulli_sequence

SIZE, POPULATION = 100, 100_000


class Kept:
    """Finished parts of a run, each with its share of right images."""

    def __init__(self, shares):
        self.shares = shares

    def parts(self, cut):
        return set(self.shares)

    def all_arrays(self, cut, only):
        right = np.arange(SIZE) < self.shares[only] * SIZE
        return [{"sample_correct": right}]


def stopping(*shares, halfwidth):
    return Stopping([Kept(one) for one in shares], "cut", POPULATION, halfwidth)


def halfwidth_after(parts, share=0.5):
    interval = bernoulli_sequence(share * SIZE * parts, SIZE * parts, population=POPULATION)
    return (interval.high - interval.low) / 2


def test_without_a_halfwidth_all_parts_count_and_nothing_is_enough():
    every = stopping(dict.fromkeys(range(50), 0.5), halfwidth=None)

    assert (False, [None]) == (every.enough(), every.prefixes)


@pytest.mark.parametrize("needed", [1, 4])
def test_the_shortest_prefix_that_is_narrow_enough_counts(needed):
    parts = stopping(dict.fromkeys(range(9), 0.5), halfwidth=halfwidth_after(needed))

    assert (True, [needed]) == (parts.enough(), parts.prefixes)


def test_parts_beyond_a_gap_do_not_count():
    parts = stopping({0: 0.5, 1: 0.5, 3: 0.5, 4: 0.5, 5: 0.5}, halfwidth=halfwidth_after(3))

    assert (False, [2]) == (parts.enough(), parts.prefixes)


def test_of_several_runs_each_is_cut_at_its_own_prefix():
    easy, hard = dict.fromkeys(range(9), 1.0), dict.fromkeys(range(9), 0.5)
    parts = stopping(easy, hard, halfwidth=halfwidth_after(5))

    alone = stopping(easy, halfwidth=halfwidth_after(5))

    assert (True, True) == (parts.enough(), alone.enough())
    assert [*alone.prefixes, 5] == parts.prefixes
    assert alone.prefixes[0] < 5


def test_a_run_that_is_wide_still_is_not_enough():
    parts = stopping({0: 1.0, 1: 1.0}, {0: 0.5, 1: 0.5}, halfwidth=halfwidth_after(3))

    assert not parts.enough()


def test_asking_again_changes_nothing():
    parts = stopping(dict.fromkeys(range(9), 0.5), halfwidth=halfwidth_after(3))

    assert [(True, [3])] * 2 == [(parts.enough(), parts.prefixes) for _ in range(2)]
