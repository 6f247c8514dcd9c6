"""What is kept of a part's outcomes merges to the same numbers in any grouping."""

import torch

from holdfast.measuring.scores import PartScores, RunScores
from holdfast.perturb.base import Batch, forward_once

CLASSES = 1000
LOGITS = 3 * torch.randn(12, CLASSES, generator=torch.Generator().manual_seed(0))


def scored(rows):
    batch = Batch(torch.zeros(len(rows), 1, 2, 2), torch.tensor(rows), torch.tensor(rows))
    scores = PartScores(CLASSES)
    scores.add(forward_once(batch, batch.images, lambda _: LOGITS[rows]))
    return scores.arrays([], 0.0)


def test_class_wise_bins_of_pieces_add_up_to_those_of_the_whole():
    whole = RunScores([scored(list(range(12)))]).classwise.to_arrays()
    pieces = RunScores([scored([0]), scored(list(range(1, 12)))]).classwise.to_arrays()

    assert 12 == whole["count"][0].sum()
    assert 12 == whole["correct"].sum()
    assert all((whole[name] == pieces[name]).all() for name in whole)


def test_a_piece_of_one_sample_is_small_though_there_are_many_classes():
    assert sum(array.nbytes for array in scored([3]).values()) < 40 * CLASSES


def test_a_piece_without_samples_adds_nothing():
    empty = PartScores(CLASSES).arrays([], 0.0)

    assert 12 == RunScores([empty, scored(list(range(12)))]).classwise.samples
