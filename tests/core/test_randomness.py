"""Keyed random numbers: invariance first, then the laws they should follow."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from scipy import stats

from holdfast.core import randomness
from holdfast.core.randomness import Keys, keys_for

IDS = torch.tensor([5, 0, 123_456, 7, 2**40])
RARE = 0.001  # p-value below which a law is doubted; the keys are fixed, so this is no lottery
DRAWS = {
    "bits": lambda keys: keys.bits(3, 5),
    "integers": lambda keys: keys.integers(-3, 4, 3, 5),
    "normal": lambda keys: keys.normal(3, 5),
    "uniform": lambda keys: keys.uniform(3, 5, low=-1, high=2),
}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _keys(count=1, *, seed=0, stream="test"):
    return keys_for(torch.arange(count), seed=seed, stream=stream)


@pytest.fixture(params=sorted(DRAWS))
def draw(request):
    return DRAWS[request.param]


def test_words_are_those_of_splitmix64():
    # Output for the seed 1234567, as in many published implementations.
    wanted = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]

    words = Keys(torch.tensor([1234567])).bits(5)

    assert wanted == [word % 2**64 for word in words[0].tolist()]


def test_a_sample_alone_draws_what_it_draws_in_a_batch(draw):
    together = draw(keys_for(IDS, seed=3, stream="test"))
    alone = [draw(keys_for(IDS[i : i + 1], seed=3, stream="test")) for i in range(len(IDS))]

    assert torch.equal(torch.cat(alone), together)


def test_the_size_of_a_block_changes_no_number(draw, monkeypatch):
    keys = keys_for(IDS, seed=3, stream="test")
    whole = draw(keys)

    for words in (1, 4, 16, 33):
        monkeypatch.setattr(randomness, "_CACHED", words)
        assert torch.equal(whole, draw(keys))


def test_the_number_of_threads_changes_no_number():
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(_keys(3).normal(3, 97, 101))

    assert torch.equal(*found)


def test_a_draw_is_pure(draw):
    keys = _keys(4)

    assert torch.equal(draw(keys), draw(keys))


@pytest.mark.parametrize(
    "other",
    [
        keys_for(torch.arange(4), seed=1, stream="test"),
        keys_for(torch.arange(4), seed=0, stream="another"),
        keys_for(torch.arange(4) + 4, seed=0, stream="test"),
        keys_for(torch.arange(4), seed=0, stream="test").stream("inner"),
    ],
    ids=["seed", "stream", "id", "inner stream"],
)
def test_each_part_of_the_key_matters(draw, other):
    mine, theirs = draw(_keys(4)), draw(other)

    assert not any(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_take_selects_samples():
    keys = keys_for(IDS, seed=0, stream="test")

    assert torch.equal(keys.bits(4)[[3, 1]], keys.take(torch.tensor([3, 1])).bits(4))


def test_length_is_the_number_of_samples():
    assert 5 == len(keys_for(IDS, seed=0, stream="test"))


@pytest.mark.parametrize("seed", [-1, 0, 2**63, 2**64 + 1])
def test_any_whole_seed_is_taken(seed):
    assert torch.isfinite(_keys(seed=seed).normal(3)).all()


@pytest.mark.parametrize("shape", [(), (1,), (7,), (0,), (2, 3)])
def test_the_shape_follows_the_samples(shape):
    assert (5, *shape) == tuple(keys_for(IDS, seed=0, stream="test").normal(*shape).shape)


def test_no_samples_draw_nothing(draw):
    assert (0, 3, 5) == tuple(draw(_keys(0)).shape)


def test_the_global_generators_are_untouched(draw):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    draw(_keys(3))

    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert before[2] == random.getstate()


def test_normal_numbers_follow_the_normal_law():
    numbers = _keys(4).normal(50_000).flatten().numpy()

    assert stats.kstest(numbers, "norm").pvalue > RARE


def test_the_two_normal_numbers_of_a_word_are_independent():
    pair = _keys(4).normal(2, 50_000).double().transpose(0, 1).flatten(1)

    # Also of the squares: a shared radius would show there.
    assert abs(torch.corrcoef(pair)[0, 1].item()) < 4 / math.sqrt(pair.shape[1])
    assert abs(torch.corrcoef(pair.square())[0, 1].item()) < 4 / math.sqrt(pair.shape[1])


def test_normal_tails_reach_what_is_said():
    largest = _keys(8).normal(80_000).abs().max().item()

    # Of 640,000 numbers, about 40 exceed 4.
    assert 4 < largest <= 6.67


def test_uniform_numbers_follow_the_uniform_law():
    numbers = _keys(4).uniform(50_000, low=-1, high=2).flatten().numpy()

    assert stats.kstest(numbers, "uniform", args=(-1, 3)).pvalue > RARE


def test_uniform_numbers_are_float64():
    assert torch.float64 == _keys().uniform(2).dtype


def test_uniform_numbers_stay_below_the_upper_end():
    unit = randomness._unit(torch.tensor([-1, 0]), 53)

    assert [1 - 2.0**-53, 0.0] == unit.tolist()


def test_the_word_zero_gives_the_end_of_the_tail():
    # The finaliser maps 0 to 0, so this key meets the word 0 first.
    keys = Keys(torch.tensor([-randomness._GOLDEN]))

    assert torch.allclose(torch.tensor([[math.sqrt(64 * math.log(2)), 0.0]]), keys.normal(2))


def test_integers_are_uniform_and_stay_in_range():
    numbers = _keys(4).integers(-3, 4, 50_000).flatten()
    counts = torch.bincount(numbers + 3)

    assert 7 == len(counts)
    assert stats.chisquare(counts.numpy()).pvalue > RARE


def test_samples_are_uncorrelated():
    numbers = _keys(8).normal(20_000).double()
    off = torch.corrcoef(numbers) - torch.eye(8)

    assert off.abs().max().item() < 5 / math.sqrt(20_000)


def test_neighbors_in_a_sample_are_uncorrelated():
    numbers = _keys(4).normal(50_000).double()
    pairs = torch.stack([numbers[:, 1:].flatten(), numbers[:, :-1].flatten()])

    assert abs(torch.corrcoef(pairs)[0, 1].item()) < 5 / math.sqrt(200_000)


def test_the_streams_of_two_counters_share_no_word():
    keys = _keys(20)

    streams = [keys.at(torch.full((20,), count)).bits(50) for count in range(20)]

    assert 20 * 20 * 50 == len(torch.stack(streams).unique())


def test_a_counter_leads_to_neither_the_own_nor_a_named_stream():
    keys = _keys(20)
    others = torch.cat([keys.words, *(keys.stream(name).words for name in ("", "0", "test"))])

    numbered = torch.cat([keys.at(torch.full((20,), count)).words for count in range(50)])

    assert not torch.isin(numbered, others).any()


def test_counters_one_after_the_other_are_told_from_the_other_order():
    keys, (one, two) = _keys(3), (torch.full((3,), 1), torch.full((3,), 2))

    assert not torch.isin(keys.at(one).at(two).words, keys.at(two).at(one).words).any()


def test_each_sample_has_its_own_counter():
    keys, counters = _keys(4), torch.tensor([3, 0, -1, 2**40])

    together = keys.at(counters)

    alone = [keys.take(torch.tensor([i])).at(counters[i : i + 1]).words for i in range(4)]
    assert torch.equal(torch.cat(alone), together.words)


def test_counters_of_other_whole_types_lead_to_the_same_stream():
    keys, counters = _keys(3), torch.tensor([0, 1, 2])

    assert torch.equal(keys.at(counters).words, keys.at(counters.to(torch.int32)).words)


def test_counters_leave_the_keys_as_they_are():
    keys, counters = _keys(3), torch.tensor([0, 1, 2])
    before = keys.words.clone(), counters.clone()

    keys.at(counters)

    assert torch.equal(before[0], keys.words) and torch.equal(before[1], counters)


def test_numbers_of_neighboring_counters_are_uncorrelated():
    counters = torch.arange(20_000)
    keys = Keys(_keys().words.expand(20_001))

    numbers = keys.at(torch.arange(20_001)).uniform(1)[:, 0]

    assert RARE < stats.pearsonr(numbers[counters], numbers[counters + 1]).pvalue
    assert RARE < stats.kstest(numbers, "uniform").pvalue


def test_moving_to_a_device_keeps_the_words():
    keys = _keys(3)

    assert torch.equal(keys.words, keys.to("cpu").words)


@pytest.mark.gpu
def test_an_accelerator_draws_the_same_words():
    keys = _keys(3)

    assert torch.equal(keys.bits(1000), keys.to("cuda").bits(1000).cpu())
