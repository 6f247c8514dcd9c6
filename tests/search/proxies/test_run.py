"""Evaluations: progress, failures as rows, resume."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
import torch

from holdfast.core.errors import BadValueError, StoreError
from holdfast.models.cost import count_parameters
from holdfast.search.proxies import Proxy, parse_proxies
from holdfast.search.proxies.run import SCHEMA, Networks, batch_of, evaluate, frame_of
from holdfast.search.proxies.sampling import open_batch
from holdfast.search.spaces import space_of
from search.proxies.nets import Toy

ARCHS = ["a", "broken", "b"]
SIZES = Networks(channels=2, cells=1, classes=3)


@pytest.fixture
def batch():
    images = torch.randint(256, (4, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    return batch_of(images.to(torch.uint8), torch.arange(4) % 3)


@pytest.fixture
def proxies():
    return parse_proxies("params, snip(batch=4), nwot(batch=4)")


def run(batch, proxies, out=None, archs=ARCHS, sizes=SIZES):
    return list(evaluate(Toy(), archs, proxies, batch, networks=sizes, out=out))


def kept(out):
    """All that a file holds; of rows computed again the last."""
    rows = map(json.loads, out.read_text().splitlines())
    return frame_of({(row["arch"], row["proxy"], row["digest"]): row for row in rows}.values())


def test_a_row_an_architecture_and_proxy(batch, proxies):
    steps = run(batch, proxies)
    frame = frame_of(row for step in steps for row in step.rows)

    assert [(1, 3, "a", 0), (2, 3, "broken", 3), (3, 3, "b", 0)] == [
        (step.done, step.total, step.arch, step.failed) for step in steps
    ]
    assert pl.Schema(SCHEMA) == frame.schema
    assert ["params", "snip(batch=4)", "nwot(batch=4)"] * 3 == frame["proxy"].to_list()
    assert [None, 4, 4] * 3 == frame["batch"].to_list()


def test_a_failure_is_a_row(batch, proxies):
    broken = run(batch, proxies)[1].rows

    assert [None] * 3 == [row["value"] for row in broken]
    assert {"RuntimeError: the moon is in the wrong phase"} == {row["error"] for row in broken}


def test_no_finite_value_is_a_row(batch):
    flat = batch_of(torch.zeros(4, 3, 6, 6), torch.arange(4) % 3)
    (step,) = run(flat, parse_proxies("ntk_condition(batch=4)"), archs=["a"])

    assert (None, "not finite") == (step.rows[0]["value"], step.rows[0]["error"])


def test_the_seed_decides_the_weights_and_images_the_score(batch, proxies):
    again = batch_of(batch.images.clone(), batch.labels)
    other = batch_of(batch.images.clone(), batch.labels, seed=1)
    random = torch.random.get_rng_state()

    def values(one):
        return [row["value"] for step in run(one, proxies) for row in step.rows]

    assert values(batch) == values(again)
    assert values(batch)[1] != values(other)[1]
    assert torch.equal(random, torch.random.get_rng_state())


def test_what_is_finished_is_not_computed_again(batch, proxies, tmp_path, monkeypatch):
    out = tmp_path / "deep" / "scores.jsonl"
    first = [step.rows for step in run(batch, proxies, out, ["a", "b"])]
    asked = []
    monkeypatch.setattr(Proxy, "score", lambda self, net, batch: asked.append(self) or 1.0)
    second = [step.rows for step in run(batch, proxies, out, ["a", "b"])]

    assert first == second
    assert [] == asked
    assert 6 == len(out.read_text().splitlines())


def test_a_run_that_was_killed_goes_on(batch, proxies, tmp_path):
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    run(batch, proxies, whole)
    steps = evaluate(Toy(), ARCHS, proxies, batch, networks=SIZES, out=cut)
    next(steps)
    steps.close()
    with cut.open("a") as file:
        file.write('{"arch": "b", "pro')  # in the middle of a line
    run(batch, proxies, cut)

    same = [name for name in SCHEMA if name != "seconds"]
    assert kept(whole).select(same).equals(kept(cut).select(same))


def test_another_seed_image_size_or_setting_is_computed(batch, proxies, tmp_path):
    out = tmp_path / "scores.jsonl"
    run(batch, proxies, out, ["a"])
    run(batch_of(batch.images, batch.labels, seed=1), proxies, out, ["a"])
    run(batch_of(1 - batch.images, batch.labels), proxies, out, ["a"])
    run(batch, proxies, out, ["a"], Networks(channels=3, cells=1, classes=3))
    run(batch, parse_proxies("snip(batch=3)"), out, ["a"])

    assert 3 * 4 + 1 == len(kept(out))


def test_a_failure_is_tried_again(batch, proxies, tmp_path):
    out = tmp_path / "scores.jsonl"
    run(batch, proxies, out, ["broken"])
    run(batch, proxies, out, ["broken"])

    assert 6 == len(out.read_text().splitlines())
    assert 3 == len(kept(out))


def test_numbers_come_back_as_they_were(batch, proxies, tmp_path):
    out = tmp_path / "scores.jsonl"
    rows = [row for step in run(batch, proxies, out) for row in step.rows]

    assert frame_of(rows).equals(kept(out))
    assert all(not math.isnan(v) for v in kept(out)["value"].drop_nulls())


def test_proxies_share_a_network_but_for_the_size_they_want(batch):
    proxies = parse_proxies("params, ntk_smallest(batch=4, channels=1), linear_regions(crops=9)")
    (step,) = run(batch, proxies, archs=["a"])

    assert [None] * 3 == [row["error"] for row in step.rows]


@pytest.mark.parametrize(
    ("archs", "text", "sizes", "words"),
    [
        ([], "params", SIZES, "at least one"),
        (["a"], "snip(batch=5)", SIZES, "looks at 5 images, got 4"),
        (["a"], "params", Networks(classes=2), "labels go up to 2"),
    ],
)
def test_refused_before_anything_is_computed(batch, archs, text, sizes, words):
    with pytest.raises(BadValueError, match=words):
        evaluate(Toy(), archs, parse_proxies(text), batch, networks=sizes)


@pytest.mark.parametrize("arch", ["a", "broken"])
def test_sizes_that_the_space_refuses_end_the_evaluation(batch, arch, monkeypatch):
    def refuse(self, arch, *, channels=None, cells=None, classes=10):
        raise BadValueError(f"no network of {cells} cells")

    steps = evaluate(Toy(), ["a", "broken"], parse_proxies("params"), batch, networks=SIZES)
    monkeypatch.setattr(Toy, "build", refuse)

    with pytest.raises(BadValueError, match="no network of 1 cells"):
        evaluate(Toy(), [arch], parse_proxies("params"), batch, networks=SIZES)
    with pytest.raises(BadValueError, match="no network of 1 cells"):
        next(steps)


def test_sizes_of_the_benchmark_unless_others_are_asked_for():
    images = batch_of(torch.rand(2, 3, 8, 8), torch.arange(2))
    (step,) = evaluate(space_of("macro"), ["10010010"], parse_proxies("params"), images)
    published = count_parameters(space_of("macro").build("10010010"))

    assert [published] == [row["value"] for row in step.rows]
    with pytest.raises(BadValueError, match="macro has 8 blocks, not cells=5"):
        evaluate(
            space_of("macro"),
            ["10010010"],
            parse_proxies("params"),
            images,
            networks=Networks(cells=5),
        )


@pytest.mark.parametrize("name", ["nlp", "nares"])
def test_a_space_without_networks_is_refused_at_once(name, batch):
    space = space_of(name)
    arch = space.sample(np.random.default_rng(0))

    with pytest.raises(BadValueError, match=f"{name} has no networks"):
        evaluate(space, [arch], parse_proxies("params"), batch)


def darts_cells(operation):
    """Genotype whose normal cell has one operation everywhere; the reduction cell stays."""
    sources, nodes = (0, 1, 0, 2, 1, 3, 2, 4), [2, 3, 4, 5]
    normal = [(operation, source) for source in sources]
    reduce = [("skip_connect", source) for source in sources]
    return f"Genotype({normal=}, normal_concat={nodes}, {reduce=}, reduce_concat={nodes})"


@pytest.mark.parametrize(
    ("name", "archs"),
    [
        ("macro", ["11111111", "11111112"]),
        ("darts", [darts_cells("skip_connect"), darts_cells("sep_conv_3x3")]),
    ],
)
def test_a_proxy_of_thin_networks_sees_all_of_an_architecture(name, archs):
    pixels = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = batch_of(pixels, torch.arange(4))
    thin = parse_proxies("ntk_condition(batch=4, channels=2, cells=1)")
    steps = evaluate(space_of(name), archs, thin, images)
    rows = [row for step in steps for row in step.rows]

    assert [None, None] == [row["error"] for row in rows]
    assert rows[0]["value"] != rows[1]["value"]


def test_files_of_something_else(batch, proxies, tmp_path):
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(json.dumps({"arch": "a"}) + "\n")
    with pytest.raises(StoreError, match=r"line 1 of .*wrong\.jsonl"):
        run(batch, proxies, wrong)
    with pytest.raises(StoreError, match="cannot write"):
        run(batch, proxies, wrong.parent.joinpath("wrong.jsonl", "below"), ["a"])


@pytest.mark.slow  # two processes import torch
def test_processes_find_what_one_process_finds(tmp_path):
    space = space_of("nb201")
    archs = [space.from_id(number) for number in (1, 2, 3)]
    batch, classes = open_batch("digits", count=16)
    sizes = Networks(channels=4, cells=1, classes=classes)
    wanted = parse_proxies("params,nwot(batch=16),snip(batch=16)")

    def values(jobs):
        steps = evaluate(space, archs, wanted, batch, networks=sizes, jobs=jobs)
        return [(row["arch"], row["proxy"], row["value"]) for step in steps for row in step.rows]

    assert values(2) == values(1)
