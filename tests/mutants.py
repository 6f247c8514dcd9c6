"""Injects known bugs into a copy of the package, one at a time; the tests must catch every one.

    python tests/mutants.py [WORD ...]     only bugs with one of these words in name or file

Prints a table, and exits with 1 if a bug survives its tests. A bug whose text is not found exactly
once, or whose tests do not pass without it, is refused: the list in `bugs.py` is to be mended.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from bugs import BUGS, Bug

ROOT = Path(__file__).resolve().parents[1]
_COPIED = "src", "tests", "pyproject.toml"
_COPIES = 2  # tests that run at a time
_LONGEST = 120  # seconds; a bug may make a loop endless, and that is noticed too
_PASSED, _FAILED = 0, 1  # exit status of pytest; others mean that it could not do its work
_FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) (?:tests/)?(\S+)", re.MULTILINE)
A = TypeVar("A")
B = TypeVar("B")


class MutantError(RuntimeError):
    """The check itself does not work, so that it says nothing about the tests."""


@dataclass(frozen=True)
class Copy:
    """A copy of the package and its tests."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Copy:
        """Copy the working tree and see to it that its package is the one imported."""
        for name in _COPIED:
            source, place = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)
        copy = cls(folder)
        # Compiled once, and never anew: a .pyc of the same second and length would hide a bug.
        copy.python("-m", "compileall", "-q", "src")
        told = copy.python("-c", "import holdfast; print(holdfast.__file__)")
        if not Path(told.stdout.strip()).is_relative_to(folder.resolve()):
            raise MutantError(f"expected the copy in {folder}, got {told.stdout}{told.stderr}")
        return copy

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this interpreter on the copy."""
        shared = os.environ.get("HOLDFAST_SHARED", str(ROOT.parent / "shared"))
        changes = {
            "PYTHONPATH": str((self.folder / "src").resolve()),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "HOLDFAST_SHARED": shared,
        }
        return subprocess.run(
            [sys.executable, *arguments],
            check=False,
            cwd=self.folder,
            env={**os.environ, **changes},
            capture_output=True,
            text=True,
            timeout=_LONGEST,
        )

    def test(self, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run tests to the first failure."""
        # Tests of real weights and images are as little needed as those with subprocesses.
        options = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-m", "not shared")
        return self.python("-m", "pytest", *options, *(f"tests/{test}" for test in tests))

    @contextmanager
    def bitten(self, bug: Bug) -> Iterator[None]:
        """The copy with a bug, and without it again."""
        path = self.folder / "src/holdfast" / bug.file
        whole = path.read_text()
        path.write_text(whole.replace(bug.old, bug.new))
        try:
            yield
        finally:
            path.write_text(whole)


def check_texts(bugs: Sequence[Bug]) -> None:
    """Refuse bugs whose text is not found exactly once, or that change nothing."""
    wrong = []
    for bug in bugs:
        count = (ROOT / "src/holdfast" / bug.file).read_text().count(bug.old)
        if count != 1 or bug.old == bug.new:
            wrong.append(f"{bug.name}: {count} times in {bug.file}: {bug.old!r}")
    if wrong:
        raise MutantError("texts must be found exactly once:\n" + "\n".join(wrong))


def check_whole(tests: str, copy: Copy) -> None:
    """Refuse tests that fail, or are not found, without any bug."""
    told = copy.test(tests.split())
    if told.returncode != _PASSED:
        raise MutantError(f"{tests} must pass without a bug:\n{told.stdout}{told.stderr}")


def catcher(bug: Bug, copy: Copy) -> tuple[str, float]:
    """First test that fails, empty where none does, and the seconds it took."""
    began = time.monotonic()
    with copy.bitten(bug):
        try:
            told = copy.test(bug.tests)
        except subprocess.TimeoutExpired:
            return f"no end within {_LONGEST} s", time.monotonic() - began
    seconds = time.monotonic() - began
    if told.returncode == _PASSED:
        return "", seconds
    first = _FIRST_FAILURE.search(told.stdout)
    if told.returncode != _FAILED or first is None:
        raise MutantError(f"{bug.name}: pytest broke down:\n{told.stdout}{told.stderr}")
    return first[1].rsplit("/", maxsplit=1)[-1], seconds


def each(
    work: Callable[[A, Copy], B], things: Sequence[A], copies: Sequence[Copy]
) -> Iterator[tuple[A, B]]:
    """Do work on things, each on a copy that is free."""
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def borrowed(thing: A) -> B:
        copy = free.get()
        try:
            return work(thing, copy)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        try:
            yield from zip(things, pool.map(borrowed, things), strict=True)
        except MutantError:
            pool.shutdown(cancel_futures=True)
            raise


def chosen(words: Sequence[str]) -> list[Bug]:
    """Bugs with one of the words in name or file; all without words."""
    found = [b for b in BUGS if not words or any(w in f"{b.name} {b.file}" for w in words)]
    if not found:
        raise MutantError(f"no bug has one of the words {', '.join(words)}")
    return found


def run(bugs: Sequence[Bug]) -> int:
    """Print a row a bug; how many survive."""
    check_texts(bugs)
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copies = [Copy.make(Path(folder) / str(place)) for place in range(_COPIES)]
        list(each(check_whole, sorted({" ".join(bug.tests) for bug in bugs}), copies))
        width = max(len(bug.name) for bug in bugs)
        print(f"{'bug':<{width}}  seconds  caught by", flush=True)
        for bug, (test, seconds) in each(catcher, bugs, copies):
            survivors += not test
            print(f"{bug.name:<{width}}  {seconds:7.1f}  {test or 'SURVIVES'}", flush=True)
    print(f"{len(bugs) - survivors} of {len(bugs)} caught")
    return survivors


if __name__ == "__main__":
    try:
        sys.exit(int(run(chosen(sys.argv[1:])) > 0))
    except MutantError as error:
        sys.exit(f"mutants: {error}")
