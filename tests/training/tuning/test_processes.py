"""Several processes, and processes that are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.core.errors import StoreError
from holdfast.training.tuning import Tuning, TuningOptions
from holdfast.training.tuning.journal import JOURNAL_FILE, Journal, Trial
from training.tuning.toys import SPACE, Toy, recipe, work

TRIALS = 13  # three more than TPE draws at random


def tuning(folder, *, runner=None, trials=TRIALS, **options):
    base = recipe(epochs=4)
    return Tuning(base, SPACE, folder, TuningOptions(trials=trials, **options), runner or Toy())


def finish(folder, **options):
    one = tuning(folder, **options)
    for _ in one.run():
        pass
    return one.result()


def drawn(result):
    return result.trials.drop("seconds").rows()


@pytest.fixture(scope="module", autouse=True)
def _no_wait_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of a run that nobody killed, and its trials."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, drawn(finish(folder))


def _resumed_at(line, half, whole, folder):
    """Trials of a folder whose journal ends after a line, and half a line more."""
    lines = (whole / JOURNAL_FILE).read_bytes().splitlines(keepends=True)
    shutil.copytree(whole, folder)
    torn = lines[line][: len(lines[line]) // 2] if half else b""
    (folder / JOURNAL_FILE).write_bytes(b"".join(lines[:line]) + torn)
    return drawn(finish(folder))


def _lines(folder):
    return len((folder / JOURNAL_FILE).read_bytes().splitlines())


def test_a_journal_that_ends_anywhere_goes_on_to_the_same_trials(whole, tmp_path):
    folder, expected = whole
    count = _lines(folder)

    # The last trials are those that TPE drew; each change of theirs is a line.
    for line in [1, 2, 3, 4, *range(count - 19, count, 3)]:
        half = line % 2 == 0
        assert expected == _resumed_at(line, half, folder, tmp_path / str(line)), line


@pytest.mark.slow
def test_a_journal_that_ends_after_each_of_its_lines_goes_on_to_the_same_trials(whole, tmp_path):
    folder, expected = whole

    for line in range(_lines(folder)):
        half = line % 2 == 0
        assert expected == _resumed_at(line, half, folder, tmp_path / str(line)), line


@pytest.mark.slow
def test_processes_share_the_trials(tmp_path):
    result = finish(tmp_path, jobs=2, runner=Toy(seconds=0.01))

    assert list(range(TRIALS)) == sorted(result.trials["number"])
    assert {"complete", "pruned"} == set(result.trials["status"])
    assert work(tmp_path) == result.trials["epochs"].sum()  # nothing was run twice
    assert TRIALS == len(set(result.trials["optimizer.lr"]))


@pytest.mark.slow
def test_an_error_in_a_process_ends_all_at_once(tmp_path):
    begun = time.monotonic()
    with pytest.raises(OSError, match="is not writable"):
        finish(tmp_path, jobs=2, runner=full)

    assert time.monotonic() - begun < 60


def full(one, folder):
    raise StoreError(f"{folder} is not writable")
    yield


@pytest.mark.slow
def test_a_killed_process_loses_and_doubles_no_trial(tmp_path):
    # SIGKILL as the ninth epoch of all has been written down and not yet been handed over.
    with pytest.raises(StoreError, match="run the same command again"):
        finish(tmp_path, jobs=2, runner=Toy(kill_at=9))
    found = tuning(tmp_path).journal.trials()
    assert any("unfinished" == one.status for one in found)

    result = finish(tmp_path, jobs=1)
    assert TRIALS == len(result.trials)
    assert {"complete", "pruned"} == set(result.trials["status"])
    assert work(tmp_path) == result.trials["epochs"].sum()


_COMMAND = """
import sys
from pathlib import Path
from training.tuning.test_processes import finish
from training.tuning.toys import Toy
finish(Path(sys.argv[1]), runner=Toy(seconds=0.05))
"""


def _started(folder):
    tests = Path(__file__).parents[2]
    paths = [str(tests), *filter(None, sys.path)]
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.PIPE,
    )


def _killed(process, folder, epochs):
    """Kill a process when all trials have taken so many epochs."""
    until = time.monotonic() + 60
    while work(folder) < epochs and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 6, 12, 17])
def test_killed_at_any_moment_a_command_goes_on_exactly(whole, tmp_path, epochs):
    _killed(_started(tmp_path), tmp_path, epochs)

    assert whole[1] == drawn(finish(tmp_path))
    assert work(tmp_path) == work(whole[0])


@pytest.mark.slow
def test_a_second_command_takes_over_from_a_killed_one(tmp_path):
    first, second = _started(tmp_path), _started(tmp_path)
    _killed(first, tmp_path, 5)
    _, told = second.communicate(timeout=120)

    assert 0 == second.returncode, told.decode()
    result = tuning(tmp_path).result()
    assert TRIALS == len(result.trials)
    assert {"complete", "pruned"} == set(result.trials["status"])
    assert work(tmp_path) == result.trials["epochs"].sum()


def _journal(folder):
    return Journal(folder, TuningOptions(trials=3), SPACE, seed=0)


def test_two_claims_are_two_trials_and_a_free_one_is_taken_again(tmp_path):
    first, second = _journal(tmp_path), _journal(tmp_path)
    with first.claim() as one:
        with second.claim() as other:
            assert (0, 1) == (one.number, other.number)
            assert one.values != other.values
        with second.claim() as again:
            assert other == again
    with second.claim() as free:
        assert one == free


def test_a_trial_whose_end_was_half_written_is_ended_and_not_run_again(tmp_path, monkeypatch):
    killed = _journal(tmp_path)
    monkeypatch.setattr(killed, "_tell", lambda trial: None)
    with killed.claim() as trial:
        killed.end(Trial(0, trial.values, "complete", 0.5, 4))
    other = _journal(tmp_path)

    assert [0] == other._running()
    with other.claim() as following:
        assert 1 == following.number
    assert [1] == other._running()


def test_no_more_than_the_wanted_trials_are_claimed(tmp_path):
    journals = [_journal(tmp_path) for _ in range(4)]
    with journals[0].claim(), journals[1].claim(), journals[2].claim(), journals[3].claim() as last:
        assert last is None


def test_half_a_line_is_cut_off_by_the_next_writer(tmp_path):
    _journal(tmp_path).spend("a", 1.0)
    path = tmp_path / JOURNAL_FILE
    with path.open("ab") as file:
        file.write(b'{"op_code": 5, "tr')
    _journal(tmp_path).spend("b", 2.0)

    assert 3.0 == _journal(tmp_path).spent()
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_trial_is_read_back_as_it_was_written(tmp_path):
    with _journal(tmp_path).claim() as trial:
        known = Trial(0, trial.values, "unfinished", 0.5, 2, 1.5, (0.4, 0.5))
        _journal(tmp_path).report(known, 0.5)

    assert [known] == _journal(tmp_path).trials()
