"""Anatomies of many models of timm: on all cores, kept between runs, failures as rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import timm
import torch

from holdfast.core.processes import cores, workers
from holdfast.explain.anatomy.one import (
    Row,
    failed_row,
    structure_key,
    timm_anatomy,
    timm_structure,
)
from holdfast.explain.anatomy.structure import Structure
from holdfast.records.explanations import ANATOMY_COLUMNS

DEFINITIONS = 3  # of the columns of a structure; another one makes old caches void
_FEW = 24  # structures up to which a process more takes longer to begin than it saves


@dataclass(frozen=True)
class Progress:
    """How far a catalogue is: structures traced of those that were not known."""

    done: int
    total: int
    name: str


def timm_names(pattern: str = "") -> list[str]:
    """Pretrained names of timm, all or those that a pattern with `*` fits."""
    return list(timm.list_models(pattern, pretrained=True) if pattern else timm.list_pretrained())


def anatomies(
    names: Sequence[str], *, jobs: int = 0, cache: Path | None = None, fresh: bool = False
) -> Iterator[Progress | Row]:
    """Trace what is not known, telling progress; then a row a name, in the order of names.

    Names that differ by their tag alone share a structure. A structure that fails is tried again
    in the next run.

    Args:
        names: Of timm, with or without a tag.
        jobs: Processes; 0: as many as cores.
        cache: File of JSON lines; None takes `cache_file()`.
        fresh: Trace all again.
    """
    path = cache_file() if cache is None else cache
    known = {} if fresh else _read(path)
    wanted: dict[str, str] = {}
    failed: dict[str, BaseException] = {}
    for name in names:
        try:
            wanted.setdefault(structure_key(name), name)
        except Exception as error:  # noqa: BLE001 - a bad name is a row
            failed[name] = error
    missing = {key: name for key, name in wanted.items() if key not in known}
    errors: dict[str, BaseException] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    for done, (key, found) in enumerate(_traced(missing, jobs), 1):
        if isinstance(found, Structure):
            known[key] = found
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "structure": asdict(found)}) + "\n")
        else:
            errors[key] = found
        yield Progress(done, len(missing), missing[key])
    for name in names:
        if name in failed:
            yield failed_row(name, failed[name])
            continue
        key = structure_key(name)
        if key in errors:
            yield failed_row(name, errors[key])
            continue
        yield timm_anatomy(name, known)


def anatomy_frame(rows: Sequence[Row]) -> pl.DataFrame:
    """Rows as a table with the columns `ANATOMY_COLUMNS`."""
    return pl.DataFrame(list(rows), schema=ANATOMY_COLUMNS, orient="row")


def cache_file() -> Path:
    """Where structures are kept: HOLDFAST_CACHE, or ~/.cache/holdfast; one file a version."""
    folder = Path(os.environ.get("HOLDFAST_CACHE") or "~/.cache/holdfast").expanduser()
    return folder / "anatomy" / f"timm-{timm.__version__}-{DEFINITIONS}.jsonl"


def _read(path: Path) -> dict[str, Structure]:
    """Structures of a cache; a line that was cut off, or is of another version, is passed over."""
    found: dict[str, Structure] = {}
    if not path.is_file():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            body = json.loads(line)
            fields: dict[str, Any] = body["structure"]
            found[body["key"]] = Structure(**{**fields, "flags": tuple(fields["flags"])})
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _traced(missing: dict[str, str], jobs: int) -> Iterator[tuple[str, Structure | BaseException]]:
    jobs = min(jobs or cores(), len(missing))
    if jobs <= 1 or len(missing) <= _FEW:
        for key, name in missing.items():
            yield key, _try(name)
        return
    with workers(jobs, _begin) as pool:
        futures = {pool.submit(_try, name): key for key, name in missing.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _begin() -> None:
    torch.set_num_threads(1)  # shapes alone are computed


def _try(name: str) -> Structure | BaseException:
    try:
        return timm_structure(name)
    except Exception as error:  # noqa: BLE001 - a failure is a row
        return RuntimeError(str(error))
