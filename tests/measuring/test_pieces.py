"""Finished samples are kept one by one: a killed attack goes on with the unfinished ones only."""

import multiprocessing
import signal
import time

import numpy as np
import pytest
import torch

from helpers import Textured
from holdfast.measuring import flow
from holdfast.measuring.flow import Earlier
from holdfast.records import RunBuilder, Store
from measuring.attacked import COUNT, CURVE, measure, row, stored

CUT = "1024"


class Dying(Textured):
    """Leaves the process, as a kill does, after some calls of any copy."""

    left = 10**9
    seen = 0

    def forward(self, images):
        type(self).left -= 1
        type(self).seen += len(images)
        if self.left < 0:
            raise KeyboardInterrupt
        return super().forward(images)


@pytest.fixture(autouse=True)
def _keep_at_once(monkeypatch):
    monkeypatch.setattr(flow, "_KEEP_SECONDS", 0.0)
    monkeypatch.setattr(Dying, "seen", 0)


def interrupted(store, calls, monkeypatch, perturb=CURVE):
    """Measure until the model has been called so often."""
    monkeypatch.setattr(Dying, "left", calls)
    with pytest.raises(KeyboardInterrupt):
        measure(perturb, model=Dying(), store=store, batch_size=5)
    monkeypatch.setattr(Dying, "left", 10**9)


def resumed(store, perturb=CURVE):
    return measure(perturb, model=Dying(), store=store, batch_size=5)


def kept(store):
    """Ids in the pieces of each partial run."""
    found = {}
    for path in sorted(store.glob("*.partial/piece-*.npz")):
        with np.load(path) as arrays:
            found.setdefault(path.parent.name, set()).update(arrays["sample_id"].tolist())
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "s"
    measure(CURVE, model=Dying(), store=path, batch_size=5)
    return stored(path)


def equal(one, other):
    return one.keys() == other.keys() and all(one[name].equals(other[name]) for name in one)


@pytest.mark.parametrize("calls", [12, 25, 35, 50])
def test_an_interrupted_curve_ends_as_an_undisturbed_one(calls, tmp_path, monkeypatch, undisturbed):
    interrupted(tmp_path / "s", calls, monkeypatch)
    resumed(tmp_path / "s")

    assert equal(undisturbed, stored(tmp_path / "s"))


def test_a_run_interrupted_twice_ends_as_an_undisturbed_one(tmp_path, monkeypatch, undisturbed):
    for calls in (30, 20):
        interrupted(tmp_path / "s", calls, monkeypatch)
    resumed(tmp_path / "s")

    assert equal(undisturbed, stored(tmp_path / "s"))


def test_finished_samples_are_not_attacked_again(tmp_path, monkeypatch):
    interrupted(tmp_path / "s", 40, monkeypatch)
    (done, *others) = kept(tmp_path / "s").values()
    given = []
    original = flow.PartFlow._unfinished

    def spy(self, batch):
        left = original(self, batch)
        if len(self._builders) == 3:
            given.extend(left.ids.tolist())
        return left

    monkeypatch.setattr(flow.PartFlow, "_unfinished", spy)
    resumed(tmp_path / "s")

    assert 0 < len(done) < COUNT
    assert [done, done] == others
    assert sorted(set(range(COUNT)) - done) == sorted(given)


def test_an_undisturbed_run_leaves_no_pieces(tmp_path):
    measure(CURVE, store=tmp_path / "s", batch_size=5)

    assert [] == list((tmp_path / "s").glob("*/piece-*"))
    assert [] == list((tmp_path / "s").glob("*.partial"))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_conditions_stay_in_step_when_a_piece_of_one_is_missing(
    place, tmp_path, monkeypatch, undisturbed
):
    interrupted(tmp_path / "s", 40, monkeypatch)
    folder = sorted((tmp_path / "s").glob("*.partial"))[place]
    min(folder.glob("piece-*")).unlink()
    resumed(tmp_path / "s")

    assert equal(undisturbed, stored(tmp_path / "s"))


def test_a_damaged_piece_is_measured_again(tmp_path, monkeypatch, undisturbed):
    interrupted(tmp_path / "s", 40, monkeypatch)
    folder = min((tmp_path / "s").glob("*.partial"))
    min(folder.glob("piece-*")).write_bytes(b"half")
    resumed(tmp_path / "s")

    assert equal(undisturbed, stored(tmp_path / "s"))


def test_a_missing_radius_after_an_interruption_takes_all_samples(tmp_path, monkeypatch):
    interrupted(tmp_path / "s", 40, monkeypatch)
    results = resumed(tmp_path / "s", "pgd(eps=0.002, steps=4)")

    assert COUNT == row(results)["count"]


def test_pictures_survive_an_interruption(tmp_path, monkeypatch):
    interrupted(tmp_path / "s", 40, monkeypatch)
    last = row(resumed(tmp_path / "s"))["run_id"]
    whole = row(measure(CURVE, model=Dying(), store=tmp_path / "t", batch_size=5))["run_id"]

    assert last == whole
    assert Store(tmp_path / "s").pictures(last).equals(Store(tmp_path / "t").pictures(last))


class Purified(Dying):
    """Differentiates while it predicts, as long as it is told to."""

    purifies = True

    def forward(self, images):
        if self.purifies:
            with torch.enable_grad():
                leaf = images.detach().requires_grad_(True)
                torch.autograd.grad(leaf.sum(), leaf)
        return super().forward(images)


def test_flags_seen_before_the_interruption_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(Purified, "left", 40)
    with pytest.raises(KeyboardInterrupt):
        measure(CURVE, model=Purified(), store=tmp_path / "s", batch_size=5)
    monkeypatch.setattr(Purified, "left", 10**9)
    monkeypatch.setattr(Purified, "purifies", False)
    results = measure(CURVE, model=Purified(), store=tmp_path / "s", batch_size=5)

    assert "dynamic_defense" in row(results, 1)["flags"]


# Failures


def test_a_failed_run_goes_on_where_it_was(tmp_path, monkeypatch, undisturbed):
    class Tired(Dying):
        def forward(self, images):
            try:
                return super().forward(images)
            except KeyboardInterrupt:
                raise RuntimeError("too tired") from None

    monkeypatch.setattr(Dying, "left", 10**9)
    monkeypatch.setattr(Tired, "left", 40)
    failed = row(measure(CURVE, model=Tired(), store=tmp_path / "s", batch_size=5))
    partial = kept(tmp_path / "s")
    monkeypatch.setattr(Tired, "left", 10**9)
    monkeypatch.setattr(Tired, "seen", 0)
    again = row(measure(CURVE, model=Tired(), store=tmp_path / "s", batch_size=5))
    seen = Tired.seen
    measure(CURVE, model=Tired(), store=tmp_path / "t", batch_size=5)

    assert ("failed", "ok") == (failed["status"], again["status"])
    assert 3 == len(partial)
    assert seen < Tired.seen - seen
    assert equal(undisturbed, stored(tmp_path / "s"))
    assert [] == list((tmp_path / "s").glob("*.partial"))


# The store itself


def arrays(ids, **more):
    """A part or a piece; a part lists the `pieces` that it had before."""
    return {"sample_id": np.array(ids), "count": np.array(len(ids)), "pieces": [], **more}


def test_pieces_come_before_the_rest_of_their_part(tmp_path):
    with Store(tmp_path / "s").building("a") as builder:
        assert set() == builder.parts(CUT)
        builder.keep(0, 1, arrays([2]))
        builder.keep(0, 0, arrays([1]))
        builder.keep(1, 2, arrays([9]))
        builder.flush(0, arrays([3]))
        whole = [part["sample_id"].tolist() for part in builder.all_arrays(CUT)]

    assert [[1], [2], [3]] == whole


def test_only_common_parts_and_pieces_are_retained(tmp_path):
    store = Store(tmp_path / "s")
    with store.building("a") as one, store.building("b") as other:
        for builder in (one, other):
            builder.parts(CUT)
            builder.keep(0, 0, arrays([1, 2]))
        one.keep(0, 1, arrays([3]))
        one.flush(1, arrays([7, 8, 9]))
        earlier = Earlier.of([one, other], CUT)

        assert Earlier(frozenset(), frozenset({1, 2}), 2, frozenset({(0, 0)}), 2) == earlier
        assert {(0, 0)} == one.pieces() == other.pieces()
        assert set() == one.parts(CUT)


def test_a_whole_part_counts_with_its_pieces(tmp_path):
    with Store(tmp_path / "s").building("a") as builder:
        builder.parts(CUT)
        builder.keep(0, 0, arrays([1, 2]))
        builder.flush(0, arrays([3], pieces=[0]))

        assert Earlier(frozenset({0}), frozenset(), 3, frozenset(), 1) == Earlier.of([builder], CUT)


def test_a_part_that_lost_a_piece_is_measured_again(tmp_path):
    with Store(tmp_path / "s").building("a") as builder:
        builder.parts(CUT)
        builder.keep(0, 1, arrays([1, 2]))
        builder.flush(0, arrays([3], pieces=[0, 1]))

        assert frozenset() == Earlier.of([builder], CUT).parts
        assert set() == builder.parts(CUT)


def test_pieces_of_other_samples_are_dropped_in_all_runs(tmp_path):
    store = Store(tmp_path / "s")
    with store.building("a") as one, store.building("b") as other:
        for builder, ids in ((one, [1, 2]), (other, [1, 3])):
            builder.parts(CUT)
            builder.keep(0, 0, arrays(ids))
            builder.keep(0, 1, arrays([5]))
        earlier = Earlier.of([one, other], CUT)

        assert frozenset({5}) == earlier.ids
        assert {(0, 1)} == one.pieces() == other.pieces()


def test_each_run_keeps_its_own_pieces_of_a_part_that_is_whole_in_all(tmp_path):
    store = Store(tmp_path / "s")
    with store.building("a") as one, store.building("b") as other:
        for builder in (one, other):
            builder.parts(CUT)
        one.keep(0, 0, arrays([1, 2]))
        one.flush(0, arrays([3], pieces=[0]))
        other.keep(0, 4, arrays([1]))
        other.flush(0, arrays([2, 3], pieces=[4]))
        earlier = Earlier.of([one, other], CUT)

        assert Earlier(frozenset({0}), frozenset(), 3, frozenset(), 5) == earlier
        assert ({(0, 0)}, {(0, 4)}) == (one.pieces(), other.pieces())


def test_what_is_dropped_is_gone_for_the_next_process_too(tmp_path):
    store = Store(tmp_path / "s")
    with store.building("a") as one, store.building("b") as other:
        for builder, ids in ((one, [1, 2]), (other, [1, 3])):
            builder.parts(CUT)
            builder.keep(0, 0, arrays(ids))
        one.flush(1, arrays([7]))
        Earlier.of([one, other], CUT)
    with store.building("a") as again:
        assert (set(), set()) == (again.parts(CUT), again.pieces())


# Runs that were measured apart before


APART = ["pgd(eps=0.002, steps=4)", "pgd(eps=0.004, steps=4, after=0.002)"]
TOGETHER = "pgd(eps=[0.002, 0.004], steps=4)"
COSTS = ("forward_evals", "gradient_evals")


@pytest.mark.parametrize("size", [5, 8])
def test_runs_interrupted_apart_end_together_as_undisturbed_ones(size, tmp_path, monkeypatch):
    for perturb, batch_size, calls in zip(APART, (5, size), (20, 32), strict=True):
        monkeypatch.setattr(Dying, "left", calls)
        with pytest.raises(KeyboardInterrupt):
            measure(perturb, model=Dying(), store=tmp_path / "s", batch_size=batch_size)
    monkeypatch.setattr(Dying, "left", 10**9)
    apart = kept(tmp_path / "s")
    resumed(tmp_path / "s", TOGETHER)
    measure(TOGETHER, model=Dying(), store=tmp_path / "t", batch_size=5)

    assert 2 == len({tuple(sorted(ids)) for ids in apart.values()})
    one, other = (
        # A larger radius costs less where the smaller one was measured already.
        {name: samples.drop(COSTS) for name, samples in stored(tmp_path / place).items()}
        for place in ("t", "s")
    )
    assert equal(one, other)


def test_finished_samples_of_several_radii_are_kept_though_the_clock_is_slow(tmp_path, monkeypatch):
    now, add = [0.0], flow.PartFlow.add

    def later(self, outcome):
        now[0] += outcome.condition == 0  # all its time passes before the first radius
        add(self, outcome)

    monkeypatch.setattr(flow.PartFlow, "add", later)
    monkeypatch.setattr(flow.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(flow, "_KEEP_SECONDS", 1.0)
    interrupted(tmp_path / "s", 45, monkeypatch)

    assert 3 == len(kept(tmp_path / "s"))


def test_samples_that_are_lost_on_disk_are_a_failed_row_and_then_measured_anew(
    tmp_path, monkeypatch, undisturbed
):
    interrupted(tmp_path / "s", 40, monkeypatch)
    load = RunBuilder.load_piece

    def short(self, part, piece):
        found = load(self, part, piece)
        return {k: v[1:] if k.startswith("sample_") else v for k, v in found.items()}

    with monkeypatch.context() as patch:
        original = flow.Earlier.of.__func__

        def then_lost(cls, builders, cut):
            earlier = original(cls, builders, cut)
            patch.setattr(RunBuilder, "load_piece", short)
            return earlier

        patch.setattr(flow.Earlier, "of", classmethod(then_lost))
        last = row(resumed(tmp_path / "s"))

    assert "failed" == last["status"]
    assert "are missing" in last["error"]
    resumed(tmp_path / "s")
    assert equal(undisturbed, stored(tmp_path / "s"))


# A real kill


class Slow(Textured):
    """Slow enough to be killed in the middle."""

    def forward(self, images):
        time.sleep(0.05)
        return super().forward(images)


def work(store):
    flow._KEEP_SECONDS = 0.0
    measure(CURVE, model=Slow(), store=store, batch_size=5)


@pytest.mark.slow
def test_a_killed_attack_goes_on_where_it_was(tmp_path):
    context = multiprocessing.get_context("spawn")
    killed = context.Process(target=work, args=(tmp_path / "s",))
    killed.start()
    deadline = time.monotonic() + 120
    while not kept(tmp_path / "s") and killed.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.join()
    for store in (tmp_path / "s", tmp_path / "t"):
        process = context.Process(target=work, args=(store,))
        process.start()
        process.join()

    assert -signal.SIGKILL == killed.exitcode
    assert equal(stored(tmp_path / "t"), stored(tmp_path / "s"))
