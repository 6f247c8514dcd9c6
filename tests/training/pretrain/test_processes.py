"""Two processes with half a batch each give the loss and the gradients of the whole batch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from holdfast.training.objectives import parse_objective
from training.pretrain.toys import SMALL, Fixed, normal

HALF = """
import sys
import torch
from torch import distributed
import holdfast.training.pretrain
from holdfast.training.objectives import parse_objective

rank, folder, names = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
whole = torch.load(f"{folder}/whole.pt")
found = {}
for name in names:
    half = whole[:, 4 * rank : 4 * rank + 4].clone().requires_grad_()
    loss = parse_objective(name).batch_loss(lambda images: half.flatten(0, 1), torch.zeros(2, 4, 1))
    loss.backward()
    found[name] = (loss.detach(), half.grad)
torch.save(found, f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_are_one_batch(tmp_path):
    first = normal(2, 4, 3, dtype=torch.float64)
    # The same rows in another order: Barlow Twins normalizes by each process' own statistics.
    second = torch.stack([first[0, [1, 0, 3, 2]], first[1, [3, 2, 0, 1]]])
    whole = torch.cat([first, second], 1)
    torch.save(whole, tmp_path / "whole.pt")
    names = sorted(set(SMALL) - {"dino"})
    running = [
        subprocess.Popen([sys.executable, "-c", HALF, str(rank), str(tmp_path), *names])
        for rank in range(2)
    ]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name in names:
        z = whole.clone().requires_grad_()
        loss = parse_objective(name).batch_loss(Fixed(z), torch.zeros(2, 8, 1))
        loss.backward()
        # Gradients are averaged over the processes, as data-parallel training does.
        mean = (halves[0][name][0] + halves[1][name][0]) / 2
        torch.testing.assert_close(mean, loss.detach())
        if name != "barlow_twins":
            grads = torch.cat([halves[0][name][1], halves[1][name][1]], 1) / 2
            torch.testing.assert_close(grads, z.grad)
