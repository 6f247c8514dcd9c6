"""Checkpoints: what is written is what is read, and nothing else is taken for one."""

import copy
import json
import struct

import pytest
import safetensors.torch
import torch
from torch import nn

from holdfast.core.errors import BadValueError
from holdfast.models import read_weights
from holdfast.training.checkpoint import (
    optimizer_state,
    pack,
    read_tensors,
    restore_optimizer,
    save_tensors,
    unpack,
)
from training_toys import with_norms

TENSORS = {
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "whole": torch.arange(6).reshape(2, 3),
    "flags": torch.tensor([True, False]),
    "double": torch.tensor(1 / 3, dtype=torch.float64),
    "none": torch.empty(0, 3),
    "turned": torch.arange(6.0).reshape(2, 3).t(),
    "nan": torch.tensor([float("nan"), float("inf")]),
}


def same(one, other):
    return one.dtype == other.dtype and torch.equal(
        one.nan_to_num(7) if one.is_floating_point() else one,
        other.nan_to_num(7) if other.is_floating_point() else other,
    )


def test_tensors_and_numbers_come_back(tmp_path):
    numbers = {"step": 3, "rate": 1 / 3, "names": ["a", None], "deep": {"x": True}}
    save_tensors(tmp_path / "a.safetensors", TENSORS, numbers)
    tensors, found = read_tensors(tmp_path / "a.safetensors")

    assert numbers == found
    assert set(TENSORS) == set(tensors)
    assert all(same(TENSORS[name], tensors[name]) for name in TENSORS)


def test_numbers_may_be_left_out(tmp_path):
    save_tensors(tmp_path / "a.safetensors", {"a": torch.ones(1)})

    assert {} == read_tensors(tmp_path / "a.safetensors")[1]


def test_weights_that_share_memory_are_written_each(tmp_path):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    whole = torch.arange(10.0)
    save_tensors(tmp_path / "a.safetensors", {**net.state_dict(), "part": whole[2:5], "all": whole})
    tensors, _ = read_tensors(tmp_path / "a.safetensors")

    assert torch.equal(tensors["0.weight"], net[0].weight)
    assert torch.equal(tensors["1.weight"], net[0].weight)
    assert torch.equal(whole[2:5], tensors["part"])
    net.load_state_dict({k: v for k, v in tensors.items() if k not in ("part", "all")})


def test_weights_with_gradients_are_written_and_left_as_they_are(tmp_path):
    net = nn.Linear(2, 2)
    save_tensors(tmp_path / "a.safetensors", dict(net.named_parameters()))

    assert net.weight.requires_grad
    assert not read_tensors(tmp_path / "a.safetensors")[0]["weight"].requires_grad


def test_it_is_a_file_of_safetensors_and_no_pickle(tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, TENSORS, {"step": 1})
    body = path.read_bytes()
    (length,) = struct.unpack("<Q", body[:8])

    assert set(TENSORS) | {"__metadata__"} == set(json.loads(body[8 : 8 + length]))
    assert set(TENSORS) == set(safetensors.torch.load_file(path))
    assert set(TENSORS) == set(read_weights(path))


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": torch.ones(1000)})
    save_tensors(path, {"b": torch.ones(1)})

    assert ["b"] == list(read_tensors(path)[0])
    assert [path] == list(tmp_path.iterdir())


DAMAGE = {
    "empty": lambda body: b"",
    "short": lambda body: body[:-1],
    "header only": lambda body: body[:40],
    "pickle": lambda body: b"\x80\x04]\x94." + body[5:],
    "text": lambda body: b"not a checkpoint at all",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_named_with_what_to_do(how, tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, TENSORS, {"step": 1})
    body = DAMAGE[how](path.read_bytes())
    assert body != path.read_bytes()
    path.write_bytes(body)

    with pytest.raises(BadValueError, match=r"a.safetensors is not a checkpoint .*delete it") as e:
        read_tensors(path)
    assert "\n" not in str(e.value)


def test_numbers_that_cannot_be_read_are_damage_too(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"a": torch.ones(1)}, path, {"holdfast": '{"step": '})

    with pytest.raises(BadValueError, match="is not a checkpoint"):
        read_tensors(path)


def test_a_file_that_is_not_there_is_the_same_error(tmp_path):
    with pytest.raises(BadValueError, match="is not a checkpoint"):
        read_tensors(tmp_path / "a.safetensors")


def test_states_are_packed_and_taken_out_again():
    one, other = {"a": torch.ones(1), "b.c": torch.zeros(1)}, {"a": torch.full((1,), 2.0)}
    packed = pack(whole=one, whole2=other, empty={})

    assert {"whole.a", "whole.b.c", "whole2.a"} == set(packed)
    assert one == unpack(packed, "whole")
    assert other == unpack(packed, "whole2")
    assert {} == unpack(packed, "empty")


MAKES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd without memory": lambda p: torch.optim.SGD(p, lr=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1),
}


def steps(net, optimizer, seeds):
    for seed in seeds:
        images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        net.eval()(images).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", MAKES)
def test_an_optimizer_goes_on_to_the_same_bits(name, tmp_path):
    net = with_norms()
    optimizer = MAKES[name](net.parameters())
    steps(net, optimizer, range(3))
    memory, numbers = optimizer_state(optimizer)
    save_tensors(tmp_path / "a.safetensors", memory, numbers)
    twin = copy.deepcopy(net)
    steps(net, optimizer, range(3, 6))

    again = MAKES[name](twin.parameters())
    again.param_groups[0]["lr"] = 0.1
    restore_optimizer(again, *read_tensors(tmp_path / "a.safetensors"))
    steps(twin, again, range(3, 6))

    assert all(
        torch.equal(one, other)
        for one, other in zip(net.parameters(), twin.parameters(), strict=True)
    )


def test_the_rates_of_an_optimizer_stay_the_new_ones():
    old = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    new = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.7, momentum=0.9)
    restore_optimizer(new, *optimizer_state(old))

    assert 0.7 == new.param_groups[0]["lr"]
