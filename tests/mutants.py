"""Injects known bugs into a copy of the package, one at a time; the tests must catch every one.

    python tests/mutants.py [WORD ...]     only bugs with one of these words in name or file

Prints a table, and exits with 1 if a bug survives its tests. A bug whose text is not found exactly
once, or whose tests do not pass without it, is refused: the list in `bugs.py` is to be mended.

Each run of tests is a fork of this process, which has imported what takes long but not the package.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bug import Bug
from bugs import BUGS

ROOT = Path(__file__).resolve().parents[1]
_COPIED = "src", "tests", "pyproject.toml"
_COPIES = 2  # tests that run at a time
_LONGEST = 240  # seconds; a bug may make a loop endless, and that is noticed too
# Exit status: pytest's, of which others say that it could not do its work, and ours.
_PASSED, _FAILED, _FOREIGN, _BROKEN = 0, 1, 98, 99
_FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) tests/(?:\w+/)*(.+?)(?: - .*)?$", re.MULTILINE)
_HEAVY = "torch", "torchvision", "timm", "scipy.optimize", "scipy.special", "polars", "hypothesis"


class MutantError(RuntimeError):
    """The check itself does not work, so that it says nothing about the tests."""


@dataclass(frozen=True)
class Job:
    """Tests to run, with a bug or without.

    Attributes:
        tests: Below tests.
        bug: None: the package as it is.
    """

    tests: tuple[str, ...]
    bug: Bug | None = None


@dataclass(frozen=True)
class Told:
    """What came of a job."""

    status: int
    output: str
    seconds: float

    @property
    def first(self) -> str:
        """First test that failed."""
        found = _FIRST_FAILURE.search(self.output)
        return found[1] if found else ""


class Copy:
    """A copy of the package and its tests, in which one job runs at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began = 0.0
        self._restore: tuple[Path, str] | None = None
        folder.mkdir()
        for name in _COPIED:
            if (ROOT / name).is_dir():
                # A .pyc of the same second and length would hide a bug.
                skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(ROOT / name, folder / name, ignore=skip)
            else:
                shutil.copy(ROOT / name, folder)

    def begin(self, job: Job) -> int:
        """Put the bug in and fork; the number of the process."""
        if job.bug is not None:
            path = self._folder / "src/holdfast" / job.bug.file
            whole = path.read_text()
            self._restore = path, whole
            path.write_text(whole.replace(job.bug.old, job.bug.new))
        self._began = time.monotonic()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            status = _BROKEN
            try:
                status = self._test(job.tests)
            finally:
                os._exit(status)  # whatever happens: the rest is the parent's business
        return child

    def end(self, status: int) -> Told:
        """Take the bug out, and say what came of it."""
        if self._restore is not None:
            path, whole = self._restore
            path.write_text(whole)
            self._restore = None
        output = (self._folder / "output.txt").read_text(errors="replace")
        return Told(status, output, time.monotonic() - self._began)

    def _test(self, tests: Sequence[str]) -> int:
        """In the fork: run tests to the first failure."""
        signal.alarm(_LONGEST)
        with (self._folder / "output.txt").open("w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        os.chdir(self._folder)
        source = str(self._folder / "src")
        sys.path.insert(0, source)
        os.environ |= {"PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = True
        if not importlib.import_module("holdfast").__file__.startswith(source):
            return _FOREIGN
        # What is already imported cannot be rewritten; -m: no test needs real images here.
        quiet = ("-W", "ignore::pytest.PytestAssertRewriteWarning", "-m", "not shared")
        options = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider", *quiet)
        return int(pytest.main([*options, *(f"tests/{test}" for test in tests)]))


def results(jobs: Sequence[Job], copies: Sequence[Copy]) -> Iterator[tuple[Job, Told]]:
    """Run all jobs, one a copy at a time; they come as they end."""
    ahead, free = list(jobs), list(copies)
    running: dict[int, tuple[Job, Copy]] = {}
    while ahead or running:
        while ahead and free:
            job, copy = ahead.pop(0), free.pop()
            running[copy.begin(job)] = job, copy
        child, status = os.wait()
        job, copy = running.pop(child)
        told = copy.end(os.waitstatus_to_exitcode(status))
        free.append(copy)
        yield job, told


def check_texts(bugs: Sequence[Bug]) -> None:
    """Refuse bugs whose text is not found exactly once, or that change nothing."""
    wrong = []
    for bug in bugs:
        count = (ROOT / "src/holdfast" / bug.file).read_text().count(bug.old)
        if count != 1 or bug.old == bug.new:
            wrong.append(f"{bug.name}: {count} times in {bug.file}: {bug.old!r}")
    if wrong:
        raise MutantError("each text must be found exactly once:\n" + "\n".join(wrong))


def check_whole(bugs: Sequence[Bug], copies: Sequence[Copy]) -> None:
    """Refuse tests that fail, or are not found, without any bug."""
    jobs = [Job(tests) for tests in sorted({bug.tests for bug in bugs})]
    for job, told in results(jobs, copies):
        if told.status == _FOREIGN:
            raise MutantError("the package that was imported is not that of the copy")
        if told.status != _PASSED:
            raise MutantError(f"{' '.join(job.tests)} must pass without a bug:\n{told.output}")


def catcher(bug: Bug, told: Told) -> str:
    """First test that failed; empty where none did."""
    if told.status == -signal.SIGALRM:
        return f"no end within {_LONGEST} s"
    if told.status == _PASSED:
        return ""
    if told.status != _FAILED or not told.first:
        raise MutantError(f"{bug.name}: pytest broke down ({told.status}):\n{told.output}")
    return told.first


def chosen(words: Sequence[str]) -> list[Bug]:
    """Bugs with one of the words in name or file; all without words."""
    found = [b for b in BUGS if not words or any(w in f"{b.name} {b.file}" for w in words)]
    if not found:
        raise MutantError(f"no bug has one of the words {', '.join(words)}")
    return found


def run(bugs: Sequence[Bug]) -> int:
    """Print a row a bug; how many survive."""
    check_texts(bugs)
    for name in _HEAVY:
        importlib.import_module(name)
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copies = [Copy(Path(folder).resolve() / str(place)) for place in range(_COPIES)]
        check_whole(bugs, copies)
        width = max(len(bug.name) for bug in bugs)
        print(f"{'bug':<{width}}  seconds  caught by", flush=True)
        for job, told in results([Job(bug.tests, bug) for bug in bugs], copies):
            test = catcher(job.bug, told)
            survivors += not test
            row = f"{job.bug.name:<{width}}  {told.seconds:7.1f}  {test or 'SURVIVES'}"
            print(row, flush=True)
    print(f"{len(bugs) - survivors} of {len(bugs)} caught")
    return survivors


if __name__ == "__main__":
    # Before torch is imported.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("HOLDFAST_SHARED", str(ROOT.parent / "shared"))
    try:
        sys.exit(int(run(chosen(sys.argv[1:])) > 0))
    except MutantError as error:
        sys.exit(f"mutants: {error}")
