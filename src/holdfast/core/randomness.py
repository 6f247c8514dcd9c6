"""Random numbers keyed by what is drawn, not by when.

A draw depends on (seed, stream name, sample id, counter) alone, so a sample gets the same noise
in any batch size, order, process or resume. Each 64-bit word is a counter run through the
finaliser of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA, "Fast splittable pseudorandom number
generators"), offset by a key that is itself a hash of seed, stream and id. Everything is
vectorised over samples; the global generators are never touched.

Transcendental functions run in float64 so that a last-bit difference between vector and scalar
code cannot reach an 8-bit pixel. Work goes in blocks that stay in the cache, which is worth a
factor of ten; the size of a block changes no number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.core import mixing
from holdfast.core.errors import BadValueError


def _signed(word: int) -> int:
    """Two's-complement value of an unsigned 64-bit word, as torch's int64 wants it."""
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


_GOLDEN, _MIX_1, _MIX_2 = (_signed(word) for word in (mixing.GOLDEN, mixing.MIX_1, mixing.MIX_2))
_LOW_32 = 0xFFFFFFFF
_CACHED = 1 << 15  # words a core works on at a time


def _shift_right(words: Tensor, bits: int, out: Tensor | None = None) -> Tensor:
    """Logical right shift; torch's `>>` on int64 copies the sign bit."""
    return torch.bitwise_right_shift(words, bits, out=out).bitwise_and_((1 << (64 - bits)) - 1)


def _mix_(words: Tensor) -> Tensor:
    """Finalise in place."""
    shifted = torch.empty_like(words)
    words.bitwise_xor_(_shift_right(words, 30, shifted)).mul_(_MIX_1)
    words.bitwise_xor_(_shift_right(words, 27, shifted)).mul_(_MIX_2)
    return words.bitwise_xor_(_shift_right(words, 31, shifted))


def _mix(words: Tensor) -> Tensor:
    return _mix_(words.clone())


@dataclass(frozen=True)
class Keys:
    """One random stream a sample; every method returns a tensor whose first axis is the sample.

    Build with `keys_for`. Methods are pure: the same call gives the same numbers, so two
    quantities that must differ are drawn from two `stream`s.
    """

    words: Tensor  # [B] int64

    def __len__(self) -> int:
        return len(self.words)

    def stream(self, name: str) -> Keys:
        """Derive an independent stream for the same samples."""
        return Keys(_mix(self.words ^ _name_word(name)))

    def to(self, device: torch.device | str) -> Keys:
        """Move to the device on which the numbers are wanted."""
        return Keys(self.words.to(device))

    def take(self, index: Tensor) -> Keys:
        """Keys of some of the samples."""
        return Keys(self.words[index])

    def at(self, counters: Tensor) -> Keys:
        """Derive one more independent stream a sample, keyed by a counter int64 [B]."""
        return Keys(_mix(self.words ^ _mix(counters.to(torch.int64) * _GOLDEN + 1)))

    def bits(self, *shape: int) -> Tensor:
        """Uniform 64-bit words, int64 [B, *shape]."""
        words = self._empty(math.prod(shape), torch.int64)
        for rows, columns, block in self._blocks(words.shape[1]):
            words[rows, columns] = block
        return words.view(len(self), *shape)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers in [low, high), float64 [B, *shape], 53 random bits each."""
        unit = self._empty(math.prod(shape), torch.float64)
        for rows, columns, words in self._blocks(unit.shape[1]):
            unit[rows, columns] = _unit(words, 53).mul_(high - low).add_(low)
        return unit.view(len(self), *shape)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Integers in [low, high), int64 [B, *shape].

        The bias of the modulus is below 2^-31 for ranges under 2^32.
        """
        whole = self._empty(math.prod(shape), torch.int64)
        for rows, columns, words in self._blocks(whole.shape[1]):
            whole[rows, columns] = _shift_right(words, 1).remainder_(high - low).add_(low)
        return whole.view(len(self), *shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float32 [B, *shape], by Box and Muller (1958).

        One 64-bit word gives two numbers, which lie half the numbers apart; the tail reaches 6.66.
        """
        count = math.prod(shape)
        normal = self._empty(count, torch.float32)
        half = (count + 1) // 2
        first, second = normal[:, :half], normal[:, half:]
        for rows, columns, words in self._blocks(half):
            radius = _unit(words, 32).add_(2.0**-32).log_().mul_(-2.0).float().sqrt_()
            angle = words.bitwise_and_(_LOW_32).double().mul_(2.0 * math.pi * 2.0**-32)
            torch.mul(radius, angle.cos().float(), out=first[rows, columns])
            kept = second[rows, columns]  # one column less at the end of an odd count
            torch.mul(
                radius[:, : kept.shape[1]], angle.sin_()[:, : kept.shape[1]].float(), out=kept
            )
        return normal.view(len(self), *shape)

    def _empty(self, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(len(self), count, dtype=dtype, device=self.words.device)

    def _blocks(self, count: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Words [rows, columns] of `count` a sample, in blocks that fit the cache of a core."""
        room = max(1, len(self) * count)
        if self.words.device.type == "cpu":
            room = min(room, _CACHED * torch.get_num_threads())
        width = max(1, min(count, room))
        height = room // width
        for left in range(0, count, width):
            right = min(left + width, count)
            counter = torch.arange(left + 1, right + 1, device=self.words.device) * _GOLDEN
            for top in range(0, len(self), height):
                block = self.words[top : top + height, None] + counter
                yield slice(top, top + height), slice(left, right), _mix_(block)


def _unit(words: Tensor, bits: int) -> Tensor:
    """The upper bits as a number in [0, 1), float64."""
    return _shift_right(words, 64 - bits).double().mul_(2.0**-bits)


def _name_word(name: str) -> int:
    return _signed(mixing.name_word(name))


def checked_seed(seed: Any) -> int:
    """Give back a seed that is a whole number of 64 bits.

    Raises:
        BadValueError: Anything else.
    """
    if type(seed) is not int or not -(2**63) <= seed < 2**63:
        raise BadValueError(f"seed must be a whole number of 64 bits, got {seed!r}")
    return seed


def keys_for(ids: Tensor, *, seed: int, stream: str) -> Keys:
    """Key one stream a sample.

    Args:
        ids: What identifies the samples, int64 [B]; any device.
        seed: The run's seed.
        stream: What the numbers are for, such as "fog".
    """
    root = _mix(torch.tensor([_signed(seed) ^ _name_word(stream)], device=ids.device))
    return Keys(_mix(_mix(ids.to(torch.int64) * _GOLDEN + 1) ^ root))
