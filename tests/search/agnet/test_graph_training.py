"""Pretraining: it reaches the entropy of the space, and its files are read or refused."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import save_file

from holdfast.core.errors import BadValueError, MissingError, StoreError
from holdfast.search.predictors import graph_training
from holdfast.search.predictors.graph_generator import GraphGenerator, Layout, reconstruction
from holdfast.search.predictors.graph_training import (
    Recipe,
    cells_of,
    layout_of_file,
    load,
    main,
    pretrain,
    pretrained,
    quality,
    save,
    support_of,
)
from holdfast.search.spaces import space_of

NB201 = space_of("nb201")
SMALL = space_of("nb201(operations=[none, skip_connect, nor_conv_3x3])")
FAST = Recipe(instances=6_400, batch=64, rate=2e-3)


def mean_loss(model, space, count=2_000):
    random = torch.Generator().manual_seed(0)
    labels, edges = cells_of(space)
    rows = torch.randint(len(labels), (count,), generator=random)
    with torch.no_grad():
        logits = model(torch.randn(count, model.latent, generator=random))
        return float(reconstruction(logits, labels[rows], edges[rows]).mean())


def test_pretraining_reaches_the_entropy_of_the_space():
    """Six of eight labels are free; edges and the others can be known."""
    told = []
    model = pretrain(SMALL, FAST, lambda *what: told.append(what))

    assert mean_loss(model, SMALL) == pytest.approx(0.75 * math.log(3), rel=0.05)
    assert [instances for instances, _ in told] == [6_400]


def test_the_seed_decides_the_pretraining():
    before = torch.get_rng_state()
    short = Recipe(instances=64, batch=32)
    one, same = (pretrain(SMALL, short).message for _ in range(2))
    other = pretrain(SMALL, Recipe(instances=64, batch=32, seed=1)).message

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_weights_that_ship_know_the_space():
    model = pretrained(NB201)
    found = quality(model, NB201, 4_000)

    assert mean_loss(model, NB201) == pytest.approx(0.75 * math.log(5), rel=0.01)
    assert found.valid > 0.99
    assert found.distinct > 0.8  # 4,000 fair draws of 15,625 give 0.88
    assert found.covered == pytest.approx(found.distinct * 4_000 / 15_625)
    assert quality(model, NB201, 2_000, support_of(NB201)).valid == 1.0


def test_the_weights_that_ship_are_small():
    (path,) = (graph_training.Path(graph_training.__file__).parent).glob(graph_training.SHIPPED)

    assert path.stat().st_size < 700_000


def test_each_search_gets_its_own_copy():
    one, other = pretrained(NB201), pretrained(NB201)
    with torch.no_grad():
        one.message.zero_()

    assert other.message.abs().sum() > 0


def test_a_space_on_a_device_shares_the_weights():
    assert torch.equal(pretrained(space_of("nb201_hw")).message, pretrained(NB201).message)


def test_a_space_without_weights_is_learned_once(monkeypatch):
    space = space_of("macro")
    trained = []

    def train(*what):
        trained.append(what)
        return GraphGenerator(Layout.of(space), seed=5)

    monkeypatch.setattr(graph_training, "pretrain", train)
    one, other = pretrained(space), pretrained(space)

    assert len(trained) == 1
    assert torch.equal(one.message, other.message)
    assert one.message is not other.message


@pytest.mark.slow
def test_samples_of_darts_are_valid_within_its_columns():
    """Independent edges alone almost never give every node its two sources."""
    space = space_of("darts")
    model = GraphGenerator(Layout.of(space))

    assert quality(model, space, 200).valid == 0.0
    assert quality(model, space, 200, support_of(space)).valid > 0.05


def test_the_script_writes_what_a_search_reads(tmp_path, capsys):
    out = tmp_path / "w.safetensors"
    main(["--space", "nb201", "--out", str(out), "--instances", "64", "--samples", "500"])
    told = capsys.readouterr().out

    assert "64 instances, loss" in told
    assert "1.0000 valid" in told
    assert layout_of_file(out) == Layout.of(NB201)
    assert torch.equal(
        pretrained(NB201, str(out)).message, pretrain(NB201, Recipe(instances=64)).message
    )


def test_files_that_are_no_weights_of_these_graphs_are_refused(tmp_path):
    layout = Layout.of(NB201)
    path = tmp_path / "w.safetensors"
    with pytest.raises(MissingError, match="graph_training --space"):
        load(path, layout)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(BadValueError, match="no weights of a graph generator"):
        load(path, layout)
    save_file({"message": torch.zeros(1)}, path)
    with pytest.raises(BadValueError, match="other graphs"):
        load(path, layout)
    save(GraphGenerator(Layout.of(space_of("macro"))), path)
    with pytest.raises(BadValueError, match="other graphs"):
        load(path, layout)
    with pytest.raises(StoreError, match="cannot write"):
        save(GraphGenerator(layout), tmp_path / "none" / "w.safetensors")
