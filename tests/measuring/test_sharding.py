"""Several devices give what one gives, and an error on one of them ends all."""

import threading
import time
from dataclasses import dataclass

import pytest
import torch

from helpers import Textured
from holdfast.core.errors import BadTypeError, BadValueError
from holdfast.measuring.sharding import Replica, replicate, run_sharded, split_devices
from holdfast.models import load_model
from holdfast.perturb.base import Batch, Outcome, Perturbation, forward_once
from holdfast.perturb.clean import Clean
from measuring.attacked import CURVE, IMAGES, LABELS, MODEL, attacked, measure, row

CPU = torch.device("cpu")


def batches(size=3):
    for rows in torch.arange(len(IMAGES)).split(size):
        yield Batch(IMAGES[rows], LABELS[rows], rows)


def replicas(*models):
    return [Replica(model, CPU) for model in models]


def told(outcomes):
    found = {}
    for outcome in outcomes:
        found |= dict(zip(outcome.ids.tolist(), outcome.logits.tolist(), strict=True))
    return found


@pytest.fixture(autouse=True)
def _no_thread_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("devices", ["cpu,cpu", "cpu, cpu, cpu"])
def test_shards_give_the_rows_of_one_device(devices):
    one, several = measure(CURVE), measure(CURVE, device=devices)

    assert list(one.samples) == list(several.samples)
    for place in range(4):
        assert attacked(one, place).equals(attacked(several, place))


def test_shards_are_the_same_run():
    one, several = measure(CURVE), measure(CURVE, device="cpu,cpu")

    assert one.measurements["run_id"].equals(several.measurements["run_id"])


def test_more_devices_than_batches_do_no_harm():
    one, several = measure("clean"), measure("clean", device="cpu,cpu,cpu", batch_size=24)

    assert attacked(one, 0)["prediction"].equals(attacked(several, 0)["prediction"])


def test_every_device_gets_a_share():
    seen = [0, 0]
    both = threading.Barrier(2, timeout=20)

    def model(place):
        def forward(images):
            if not seen[place]:
                both.wait()  # until the other has a batch too
            seen[place] += len(images)
            return MODEL(images)

        return forward

    found = told(run_sharded(Clean(), batches(), replicas(model(0), model(1)), 0))

    assert len(IMAGES) == len(found) == sum(seen)
    assert min(seen) > 0


class Failing(Textured):
    """Fails at one image, on whichever replica it comes."""

    def forward(self, images):
        if len(images) and bool((images == IMAGES[20]).flatten(1).all(1).any()):
            raise RuntimeError("no luck on this device")
        return super().forward(images)


def test_an_error_in_a_shard_ends_the_run_as_a_failed_row():
    last = row(measure("clean", model=Failing(), device="cpu,cpu", batch_size=3))

    assert ("failed", "RuntimeError: no luck on this device") == (last["status"], last["error"])


def test_an_error_in_a_shard_is_the_callers():
    def broken(images):
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        list(run_sharded(Clean(), batches(), replicas(MODEL, broken), 0))


def test_an_error_in_the_stream_is_the_callers():
    def stream():
        yield from list(batches())[:2]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(run_sharded(Clean(), stream(), replicas(MODEL, MODEL), 0))


def test_a_reader_that_stops_early_stops_the_shards():
    given = []

    def stream():
        for batch in batches(1):
            given.append(batch)
            yield batch

    for _ in run_sharded(Clean(), stream(), replicas(MODEL, MODEL), 0):
        break

    assert len(given) < len(IMAGES)


@dataclass(frozen=True)
class Endless(Perturbation):
    """Asks the model, or its twin, for six seconds; on the first batch alone."""

    spec = "endless"
    kind = "attack"

    def run(self, batches, classifier, seed):
        asked = getattr(classifier, "search", classifier)
        for batch in batches:
            if 0 not in batch.ids:
                yield forward_once(batch, batch.images, classifier)
            end = time.monotonic() + 6
            while 0 in batch.ids and time.monotonic() < end:
                asked(batch.images)


class Twin:
    """A model with a twin to search."""

    search = staticmethod(MODEL)

    def __call__(self, images):
        return MODEL(images)


@pytest.mark.parametrize("model", [MODEL, Twin()])
def test_a_shard_that_is_deep_in_an_attack_ends_within_a_call_of_the_model(model):
    outcomes = run_sharded(Endless(), batches(), replicas(model, model), 0)
    next(outcomes)
    before = time.monotonic()
    outcomes.close()

    assert time.monotonic() - before < 3


def test_an_error_is_told_while_another_shard_is_deep_in_an_attack():
    def stream():
        yield from list(batches())[:4]
        raise OSError("disk gone")

    before = time.monotonic()
    with pytest.raises(OSError, match="disk gone"):
        list(run_sharded(Endless(), stream(), replicas(MODEL, MODEL), 0))

    assert time.monotonic() - before < 3


def test_a_shard_sees_the_twin_where_there_is_one():
    seen = []

    class Counted(Twin):
        @staticmethod
        def search(images):
            seen.append(images)
            raise KeyError("twin")

    with pytest.raises(KeyError, match="twin"):
        list(run_sharded(Endless(), batches(), replicas(Counted(), Counted()), 0))
    assert seen


@dataclass(frozen=True)
class Held(Perturbation):
    """Gives all outcomes at the end of the stream."""

    spec = "held"
    kind = "attack"

    def run(self, batches, classifier, seed):
        yield from [forward_once(batch, batch.images, classifier) for batch in list(batches)]


def test_what_holds_samples_back_gives_them_at_its_end():
    found = told(run_sharded(Held(), batches(), replicas(MODEL, MODEL), 0))

    assert set(range(len(IMAGES))) == set(found)


@dataclass(frozen=True)
class Looking(Perturbation):
    """Tells where the images are."""

    spec = "looking"
    kind = "clean"

    def run(self, batches, classifier, seed):
        for batch in batches:
            yield Outcome.only_flags(frozenset({batch.images.device.type}))


def test_images_come_to_a_replica_on_its_device():
    meta = Replica(MODEL, torch.device("meta"))
    found = list(run_sharded(Looking(), batches(), [meta, meta], 0))

    assert [{"meta"}] * 8 == [outcome.flags for outcome in found]


def test_a_replica_has_weights_of_its_own():
    classifier = load_model(Textured(), device="cpu")
    twin = replicate(classifier, "cpu")
    with torch.no_grad():
        before = twin(IMAGES[:2])
        for weight in classifier.net.parameters():
            weight.zero_()

    assert torch.equal(before, twin(IMAGES[:2]))
    assert not torch.equal(before, classifier(IMAGES[:2]))


def test_a_model_that_cannot_be_copied_is_told():
    class Single(Textured):
        def __deepcopy__(self, memo):
            raise RuntimeError("there can be only one")

    with pytest.raises(BadTypeError, match="measure it on one device"):
        replicate(load_model(Single(), device="cpu"), "cpu")


def test_devices_are_split_at_commas():
    assert ["cuda:0", "cuda:1"] == split_devices(" cuda:0, cuda:1,")


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_no_device_at_all_is_refused(text):
    with pytest.raises(BadValueError, match="device must be"):
        split_devices(text)
