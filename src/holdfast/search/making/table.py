"""From stacks of networks to the file that ships: in blocks, so that a run can be stopped."""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import torch

from holdfast.core.identity import digest_json
from holdfast.core.version import VERSION
from holdfast.models.cost import count_multiply_adds, count_parameters
from holdfast.models.nb201 import build_nb201
from holdfast.search.making.cells import SPACE, representatives
from holdfast.search.making.measure import Laboratory, Setting
from holdfast.search.making.stack import Cell, Size
from holdfast.search.tables.schema import frame_of

DATASET = "digits"
_BLOCK = 16  # networks a stack
_ABOUT = (
    "Cells of NAS-Bench-201 with the operations none, skip_connect and nor_conv_3x3, one of each "
    "class of equal cells, trained on scikit-learn's digits by `python -m holdfast.search.making`."
)


def blocks(cells: Mapping[str, Cell]) -> list[dict[str, Cell]]:
    """The cells in stacks of at most 16, in their order."""
    listed = list(cells.items())
    return [dict(listed[start : start + _BLOCK]) for start in range(0, len(listed), _BLOCK)]


class Making:
    """A table in the making; each finished block is a file in the work folder.

    Args:
        work: Folder; what another setting left there is not touched.
        setting: Recipes, sizes and conditions.
        cells: Networks by text; all classes of the space if not given.
    """

    def __init__(
        self, work: Path, setting: Setting | None = None, cells: Mapping[str, Cell] | None = None
    ) -> None:
        self.setting = setting or Setting()
        self.cells = dict(representatives() if cells is None else cells)
        what = {"setting": dataclasses.asdict(self.setting), "cells": list(self.cells)}
        self.folder = work / digest_json(what)[:12]

    def run(self, seeds: Sequence[int], tell: Callable[[str], None]) -> Iterator[int]:
        """Make what is missing of the seeds, one after the other; yields each that is whole."""
        laboratory: Laboratory | None = None
        all_blocks = blocks(self.cells)
        missing = [
            (seed, place)
            for seed in seeds
            for place in range(len(all_blocks))
            if not self.path(seed, place).is_file()
        ]
        start = time.monotonic()
        for seed in seeds:
            for place, block in enumerate(all_blocks):
                if (seed, place) not in missing:
                    continue
                laboratory = laboratory or Laboratory(self.setting, tell)
                self._keep(pl.DataFrame(list(laboratory.rows(block, seed=seed))), seed, place)
                done = missing.index((seed, place)) + 1
                left = (time.monotonic() - start) / done * (len(missing) - done) / 60
                tell(f"seed {seed}, block {place + 1} of {len(all_blocks)}; {left:.0f} min to go")
            yield seed

    def _keep(self, frame: pl.DataFrame, seed: int, place: int) -> None:
        path = self.path(seed, place)
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".tmp")
        frame.write_parquet(part)
        part.replace(path)

    def path(self, seed: int, place: int) -> Path:
        """File of a block."""
        return self.folder / f"seed{seed}_block{place:02d}.parquet"

    def frame(self, seeds: Sequence[int]) -> pl.DataFrame:
        """The whole table, sorted; every block of the seeds must be there."""
        places = range(len(blocks(self.cells)))
        parts = [pl.read_parquet(self.path(seed, place)) for seed in seeds for place in places]
        parts.append(pl.DataFrame(list(costs(self.cells, self.setting.size))))
        whole = pl.concat(parts, how="vertical_relaxed").with_columns(
            space=pl.lit(SPACE.spec), dataset=pl.lit(DATASET)
        )
        order = {arch: place for place, arch in enumerate(self.cells)}
        return frame_of(
            whole.sort(
                "training",
                "condition",
                "split",
                "seed",
                pl.col("arch").replace_strict(order),
                maintain_order=True,
            )
        )

    def write(self, out: Path, seeds: Sequence[int]) -> None:
        """Write the table, with what made it in the file's metadata."""
        table = self.frame(seeds).to_arrow()
        about = {
            "about": _ABOUT,
            "setting": json.dumps(dataclasses.asdict(self.setting)),
            "seeds": json.dumps(list(seeds)),
            "made_with": json.dumps(made_with()),
        }
        table = table.replace_schema_metadata(about)
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_suffix(".tmp")
        pq.write_table(table, part, compression="zstd", compression_level=19)
        part.replace(out)


def costs(cells: Mapping[str, Cell], size: Size) -> Iterator[dict[str, Any]]:
    """Parameters and multiply-adds of each network, as rows."""
    for arch in cells:
        net = build_nb201(
            arch, channels=size.channels, cells=1, classes=size.classes, in_channels=1
        )
        found = {
            ("params", "params"): count_parameters(net),
            ("flops", "multiply_adds"): count_multiply_adds(net, (1, size.side, size.side)),
        }
        for (condition, metric), value in found.items():
            yield {
                "arch": arch,
                "split": "none",
                "training": "none",
                "epochs": None,
                "condition": condition,
                "metric": metric,
                "seed": None,
                "value": float(value),
            }


def made_with() -> dict[str, str]:
    """Versions and processor: sums round differently on another."""
    return {
        "holdfast": VERSION,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }
