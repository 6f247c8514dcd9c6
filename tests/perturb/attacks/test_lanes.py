"""Lanes: tensors that are taken and joined together."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from holdfast.perturb.attacks._lanes import Lanes


@dataclass
class Pair(Lanes):
    """Two columns of different shape and dtype."""

    ids: Tensor
    images: Tensor


@dataclass
class Triple(Pair):
    """A column more, as attacks add them."""

    loss: Tensor


def pair(*ids):
    column = torch.tensor(ids, dtype=torch.int64)
    return Pair(column, column.float()[:, None].expand(-1, 3).clone())


def test_the_length_is_that_of_the_columns():
    assert 3 == len(pair(4, 5, 6))


def test_no_lanes_have_length_zero():
    assert 0 == len(pair())


def test_indices_take_lanes_in_their_order_and_again():
    taken = pair(4, 5, 6).take(torch.tensor([2, 0, 2]))

    assert [6, 4, 6] == taken.ids.tolist()
    assert [6.0, 4.0, 6.0] == taken.images[:, 2].tolist()


def test_a_mask_takes_lanes():
    taken = pair(4, 5, 6).take(torch.tensor([True, False, True]))

    assert [4, 6] == taken.ids.tolist()
    assert [4.0, 6.0] == taken.images[:, 0].tolist()


def test_no_lanes_may_be_taken():
    taken = pair(4, 5).take(torch.tensor([False, False]))

    assert (0, (0, 3)) == (len(taken), tuple(taken.images.shape))


@pytest.mark.parametrize("index", [torch.tensor([0, 1]), torch.tensor([True, True])], ids=str)
def test_lanes_taken_are_copies(index):
    lanes = pair(4, 5)

    lanes.take(index).images.zero_()

    assert [4.0, 5.0] == lanes.images[:, 0].tolist()


def test_joined_lanes_stand_in_the_order_of_the_parts():
    joined = Pair.concat([pair(7), pair(), pair(1, 2)])

    assert [7, 1, 2] == joined.ids.tolist()
    assert [7.0, 1.0, 2.0] == joined.images[:, 1].tolist()


def test_joining_what_was_parted_gives_the_whole_again():
    whole = pair(3, 1, 4, 1, 5)
    parts = [whole.take(torch.tensor([0, 1])), whole.take(torch.tensor([2, 3, 4]))]

    joined = Pair.concat(parts)

    assert torch.equal(whole.ids, joined.ids) and torch.equal(whole.images, joined.images)


def test_a_subclass_stays_itself_and_keeps_its_columns():
    lanes = Triple(*vars(pair(4, 5)).values(), loss=torch.tensor([0.5, 1.5]))

    joined = Lanes.concat([lanes.take(torch.tensor([1])), lanes])

    assert isinstance(joined, Triple)
    assert [1.5, 0.5, 1.5] == joined.loss.tolist()
