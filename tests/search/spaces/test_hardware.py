"""NAS-Bench-201 on devices: the cell's laws hold, the device stays."""

from __future__ import annotations

import numpy as np
import pytest

from holdfast.core.errors import BadValueError, UnknownNameError
from holdfast.search.spaces import space_of
from holdfast.search.spaces.hardware import DEVICES, HardwareNB201
from holdfast.search.spaces.nb201 import NB201

SPACE, CELLS = HardwareNB201(), NB201()
CELL = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"


def test_there_are_six_devices_for_each_cell():
    assert (93_750, 15_625) == (SPACE.size, space_of("nb201_hw(device=fpga)").size)


def test_a_step_changes_an_operation_or_the_device():
    near = SPACE.neighbours(f"{CELL}@pixel3")
    assert [f"{other}@pixel3" for other in CELLS.neighbours(CELL)] == near[:24]
    assert {f"{CELL}@{device}" for device in DEVICES if device != "pixel3"} == set(near[24:])


def test_a_fixed_device_stays():
    space = space_of("nb201_hw(device=raspi4)")
    rng = np.random.default_rng(0)
    archs = [space.sample(rng) for _ in range(20)]
    archs += space.neighbours(archs[0])
    archs += [space.mutate(archs[0], rng), space.cross(archs[0], archs[1], rng)]
    assert {"raspi4"} == {arch.rpartition("@")[2] for arch in archs}


def test_all_devices_are_drawn():
    rng = np.random.default_rng(0)
    assert set(DEVICES) == {SPACE.sample(rng).rpartition("@")[2] for _ in range(100)}


def test_the_representative_keeps_the_device():
    assert f"{CELLS.canonical(CELL)}@eyeriss" == SPACE.canonical(f"{CELL}@eyeriss")


def test_the_device_is_six_bits_after_the_cell():
    encoded = SPACE.encode(f"{CELL}@edgetpu", "path")
    assert [*CELLS.encode(CELL, "path"), 0, 0, 1, 0, 0, 0] == encoded.tolist()


def test_a_graph_is_the_cells_and_comes_back_on_the_spaces_device():
    space = space_of("nb201_hw(device=edgetpu)")
    assert CELLS.graphs(CELL) == space.graphs(f"{CELL}@edgetpu")
    assert f"{CELL}@edgetpu" == space.from_graphs(CELLS.graphs(CELL))


def test_everything_is_each_cell_on_each_device():
    archs = list(SPACE.everything())
    assert 93_750 == len(set(archs))
    assert f"{CELLS.from_id(3)}@raspi4" == archs[15_625 + 3]


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        (CELL, "expected CELL@DEVICE"),
        (f"{CELL}@gpu", "no device named 'gpu'"),
        (f"{CELL}@edgegpu", "it runs on edgegpu"),
        ("|none~0|@fpga", "no architecture of nb201"),
        (None, "expected CELL@DEVICE"),
    ],
)
def test_what_is_no_cell_on_the_device_is_refused(arch, why):
    with pytest.raises(BadValueError, match=why):
        space_of("nb201_hw(device=fpga)").check(arch)


def test_an_unknown_device_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean raspi4"):
        space_of("nb201_hw(device=raspi)")
