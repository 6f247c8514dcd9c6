"""Scores of many architectures by many proxies: in order, with progress, never twice.

What is finished is kept in a file of JSON lines, flushed after each architecture: a run that was
stopped goes on where it was. A row is known by architecture, proxy and a digest of all else
that decides its value.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import polars as pl
import torch
from torch import Tensor, nn

from holdfast.core.errors import BadValueError, StoreError
from holdfast.core.identity import digest_json
from holdfast.core.processes import workers
from holdfast.models.weights import digest_state
from holdfast.search.proxies._networks import Standardized, drawn
from holdfast.search.proxies.base import Batch, Proxy, spec_of
from holdfast.search.spaces.base import Space

SCHEMA: dict[str, Any] = {
    "arch": pl.String,
    "proxy": pl.String,  # canonical spec
    "sign": pl.Int8,  # +1: larger promises better
    "seed": pl.Int64,
    "batch": pl.Int32,  # images looked at; null where the proxy looks at none
    "value": pl.Float64,  # null where there is no finite one
    "seconds": pl.Float64,  # what proxies share is paid for by the first
    "error": pl.String,  # why there is no value
}
_NOT_FINITE = "not finite"
_ERROR_LENGTH = 300
Row = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """Where an evaluation stands after an architecture.

    Attributes:
        done: Architectures finished, those of an earlier call included.
        total: Architectures asked for.
        arch: The one just finished.
        rows: Its rows, one a proxy, in the columns of `SCHEMA`.
        failed: Rows without a value among them.
        seconds: Spent on it now; 0 where all of it was finished before.
    """

    done: int
    total: int
    arch: str
    rows: tuple[Row, ...]
    failed: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Networks:
    """How architectures become networks.

    Attributes:
        channels: Of the first stage; None: as published.
        cells: A stage, or as the space counts them; None: as published.
        classes: Number of logits.
        standardize: Whether pixels reach the network with mean 0 and deviation 1 a channel, by
            the images given; otherwise in [0, 1].
    """

    channels: int | None = None
    cells: int | None = None
    classes: int = 10
    standardize: bool = True


@dataclass
class _Task:
    """All that decides a value but the architecture and the proxy."""

    space: Space
    batch: Batch
    networks: Networks
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        batch = self.batch
        content = {"images": batch.images, "labels": batch.labels, "ids": batch.ids}
        sizes = self.networks
        self.digest = digest_json(
            {
                "space": self.space.spec,
                "content": digest_state(content),
                "seed": batch.seed,
                "networks": [sizes.channels, sizes.cells, sizes.classes, sizes.standardize],
            }
        )[:20]

    def build(self, arch: str, proxy: Proxy) -> nn.Module:
        """Network that a proxy wants, with weights keyed by the seed.

        Raises:
            BadValueError: Sizes that the space has no networks of.
        """
        sizes = self.networks
        cells = proxy.cells and max(proxy.cells, self.space.fewest_cells)

        def make() -> nn.Module:
            return self.space.build(
                arch,
                channels=proxy.channels or sizes.channels,
                cells=cells or sizes.cells,
                classes=sizes.classes,
            )

        net = drawn(make, self.batch.seed).to(self.batch.images.device)
        return Standardized(net, self.batch.images) if sizes.standardize else net

    def try_sizes(self, arch: str, proxies: Sequence[Proxy]) -> None:
        """Build each size once, so that sizes which no network has are refused before all else.

        Raises:
            BadValueError: Sizes that the space has no networks of.
        """
        for proxy in {(one.channels, one.cells): one for one in proxies}.values():
            with suppress(_ForeignError):
                self.network(arch, proxy, {})

    def network(self, arch: str, proxy: Proxy, known: dict[Any, nn.Module]) -> nn.Module:
        """Network that a proxy wants, built where it is not yet among the known ones."""
        size = (proxy.channels, proxy.cells)
        if size not in known:
            try:
                known[size] = self.build(arch, proxy)
            except BadValueError:
                raise
            except Exception as problem:
                raise _ForeignError(_told(problem)) from problem
        return known[size]

    def value(self, arch: str, proxy: Proxy, known: dict[Any, nn.Module]) -> float:
        """Score; NaN where there is no finite one."""
        network = self.network(arch, proxy, known)
        try:
            return proxy.score(network, self.batch)
        except Exception as problem:
            raise _ForeignError(_told(problem)) from problem

    def rows(self, arch: str, proxies: Sequence[Proxy]) -> tuple[list[Row], float]:
        """Scores of one architecture, with the seconds of all."""
        start = time.perf_counter()
        known: dict[Any, nn.Module] = {}
        rows = [self.row(arch, proxy, known) for proxy in proxies]
        return rows, time.perf_counter() - start if rows else 0.0

    def row(self, arch: str, proxy: Proxy, known: dict[Any, nn.Module]) -> Row:
        """Score of one architecture by one proxy; what goes wrong is a row too."""
        start, value, error = time.perf_counter(), None, None
        try:
            value = self.value(arch, proxy, known)
            if math.isnan(value):
                value, error = None, _NOT_FINITE
        except _ForeignError as problem:
            error = str(problem)[:_ERROR_LENGTH]
        return {
            "arch": arch,
            "proxy": spec_of(proxy),
            "sign": proxy.sign,
            "seed": self.batch.seed,
            "batch": getattr(proxy, "batch", None),
            "value": value,
            "seconds": round(time.perf_counter() - start, 4),
            "error": error,
        }


class _ForeignError(Exception):
    """What must not end the rest: a network that cannot be built, or a score that fails."""


def _told(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"


def evaluate(  # noqa: PLR0913 - what, by what, on what, and how
    space: Space,
    archs: Iterable[str],
    proxies: Sequence[Proxy],
    batch: Batch,
    *,
    networks: Networks | None = None,
    out: Path | None = None,
    jobs: int = 1,
) -> Iterator[Progress]:
    """Score architectures, one `Progress` each, in the order given.

    Weights are drawn from the batch's seed. With `out`, rows that stand there are not computed
    again, except those of a proxy that failed with an error.

    Args:
        space: Whose architectures they are; it must build networks.
        archs: What to score; each once.
        proxies: By what.
        batch: Images, labels and seed.
        networks: Sizes of the networks; a proxy may want others, see `Proxy.channels`.
        out: File of JSON lines, made where it is not there.
        jobs: Processes, on a CPU; each works on one architecture with one thread.

    Raises:
        BadValueError: No architecture, no proxy, labels beyond the classes, a string that is
            no architecture of the space, sizes that its networks do not have, or a space
            without networks.
        StoreError: `out` cannot be read or written.
    """
    sizes = networks or Networks()
    wanted = list(dict.fromkeys(map(space.check, archs)))
    _check(wanted, proxies, batch, sizes)
    task = _Task(space, batch, sizes)
    task.try_sizes(wanted[0], proxies)
    kept = {} if out is None else _finished(_opened(out), task.digest)
    missing = {
        arch: [one for one in proxies if (arch, spec_of(one)) not in kept] for arch in wanted
    }
    fresh = _fresh(task, missing, jobs)
    return _evaluate(task, wanted, proxies, (kept, fresh), out)


def _check(archs: list[str], proxies: Sequence[Proxy], batch: Batch, sizes: Networks) -> None:
    if not archs or not proxies:
        raise BadValueError("expected at least one architecture and one proxy")
    if int(batch.labels.max()) >= sizes.classes:
        raise BadValueError(
            f"labels go up to {int(batch.labels.max())}, but networks of {sizes.classes} classes "
            "were asked for: set classes"
        )
    most = max(getattr(one, "batch", 0) for one in proxies)
    if most > len(batch):
        raise BadValueError(f"a proxy looks at {most} images, got {len(batch)}: give more")


def _evaluate(
    task: _Task,
    archs: list[str],
    proxies: Sequence[Proxy],
    found: tuple[dict[tuple[str, str], Row], Iterator[tuple[list[Row], float]]],
    out: Path | None,
) -> Iterator[Progress]:
    kept, fresh = found
    for done, arch in enumerate(archs, 1):
        new, seconds = next(fresh)
        if out is not None and new:
            _append(out, new, task.digest)
        kept |= {(arch, row["proxy"]): row for row in new}
        rows = [kept[arch, spec_of(proxy)] for proxy in proxies]
        failed = sum(row["value"] is None for row in rows)
        yield Progress(done, len(archs), arch, tuple(rows), failed, seconds)


def _fresh(
    task: _Task, missing: dict[str, list[Proxy]], jobs: int
) -> Iterator[tuple[list[Row], float]]:
    """Rows of what is not known, an architecture at a time in their order, with its seconds."""
    work = [(arch, proxies) for arch, proxies in missing.items() if proxies]
    if jobs < 2 or len(work) < 2 or task.batch.images.device.type != "cpu":
        for arch, proxies in missing.items():
            yield task.rows(arch, proxies)
        return
    batch = task.batch
    parts = (batch.images.numpy(), batch.labels.numpy(), batch.ids.numpy(), batch.seed)
    with workers(min(jobs, len(work)), _begin, task.space, parts, task.networks) as pool:
        waiting = {arch: pool.submit(_work, arch, proxies) for arch, proxies in work}
        for arch in missing:
            yield waiting[arch].result() if arch in waiting else ([], 0.0)


_WORKER: list[_Task] = []  # of a worker process: what it was begun with


def _begin(space: Space, parts: tuple[Any, ...], networks: Networks) -> None:
    torch.set_num_threads(1)
    images, labels, ids, seed = parts
    batch = Batch(torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(ids), seed)
    _WORKER[:] = [_Task(space, batch, networks)]


def _work(arch: str, proxies: list[Proxy]) -> tuple[list[Row], float]:
    return _WORKER[0].rows(arch, proxies)


def _opened(out: Path) -> list[Row]:
    """Rows of a file; what a killed run left of a line is cut off."""
    if not out.exists():
        return []
    rows, whole = _read(out)
    try:
        size = out.stat().st_size
        if not rows and size:
            raise StoreError(f"{out} is no file of scores by proxies: choose another --out")
        if whole < size:
            with out.open("r+b") as file:
                file.truncate(whole)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror}") from None
    return rows


def _read(out: Path) -> tuple[list[Row], int]:
    """Rows, and the length in bytes of the whole lines."""
    try:
        body = out.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {out}: {error.strerror}") from None
    rows, whole = [], body.rfind(b"\n") + 1
    for number, line in enumerate(body[:whole].splitlines(), 1):
        try:
            row = json.loads(line)
            rows.append({"digest": row["digest"], **{name: row[name] for name in SCHEMA}})
        except (ValueError, KeyError, TypeError):
            raise StoreError(
                f"line {number} of {out} is no score of a proxy: take another file, or remove "
                "the line"
            ) from None
    return rows, whole


def _finished(rows: list[Row], digest: str) -> dict[tuple[str, str], Row]:
    """Rows that need not be computed again; a failure other than no finite value is tried anew."""
    found = {}
    for row in rows:
        if row["digest"] == digest and (row["value"] is not None or row["error"] == _NOT_FINITE):
            found[row["arch"], row["proxy"]] = {name: row[name] for name in SCHEMA}
    return found


def _append(out: Path, rows: list[Row], digest: str) -> None:
    lines = [json.dumps({**row, "digest": digest}, allow_nan=False) for row in rows]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a", encoding="utf-8") as file:
            _write(file, lines)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror}") from None


def _write(file: TextIO, lines: list[str]) -> None:
    file.write("".join(f"{line}\n" for line in lines))
    file.flush()


def frame_of(rows: Iterable[Row]) -> pl.DataFrame:
    """Rows as a table in the columns of `SCHEMA`."""
    return pl.DataFrame([{name: row[name] for name in SCHEMA} for row in rows], schema=SCHEMA)


def batch_of(images: Tensor, labels: Tensor, *, seed: int = 0) -> Batch:
    """Batch of images in their order, with their places as ids.

    Args:
        images: uint8 or float [B, C, H, W] in 0..255 or [0, 1].
        labels: Whole numbers [B].
        seed: Of weights and of everything drawn.

    Raises:
        BadValueError: Shapes that do not fit, or labels below 0.
    """
    pixels = images.float() / 255 if images.dtype == torch.uint8 else images.float()
    return Batch(pixels, labels.to(torch.int64), torch.arange(len(pixels)), seed)
