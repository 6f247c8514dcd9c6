"""`python -m holdfast.search.making --out FILE`: make the table, or check a row of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from holdfast.core.errors import HoldfastError
from holdfast.perturb.attacks.evaluator import keep_freed_memory
from holdfast.search.making.checking import differences
from holdfast.search.making.table import Making


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 is done or equal, 1 is a difference, 2 a wrong input."""
    wanted = _parser().parse_args(arguments)
    torch.set_num_threads(1)  # one order of summing, whatever the machine
    keep_freed_memory()
    start = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{(time.monotonic() - start) / 60:6.1f} min] {text}", flush=True)  # noqa: T201

    try:
        if wanted.check:
            return _check(wanted.out, wanted.check, wanted.seeds[:1], wanted.tolerance)
        making = Making(wanted.work)
        done: list[int] = []
        for seed in making.run(wanted.seeds, tell):
            done.append(seed)
            making.write(wanted.out, done)
            tell(f"seed {seed} is whole; wrote {wanted.out} ({wanted.out.stat().st_size:,} B)")
    except HoldfastError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m holdfast.search.making", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the table, a Parquet file")
    parser.add_argument("--work", type=Path, default=Path("making"), help="folder for blocks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one network each")
    parser.add_argument("--check", metavar="ARCH", help="train this cell again and compare")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="accuracy by which a checked row may differ"
    )
    return parser


def _check(out: Path, arch: str, seeds: Sequence[int], tolerance: float) -> int:
    found = differences(out, arch, seed=seeds[0], tolerance=tolerance)
    for text in found.listed:
        print(text)  # noqa: T201
    print(  # noqa: T201
        f"{found.rows} rows of {found.arch}: {len(found.listed)} differ by more than {tolerance}, "
        f"the largest difference is {found.largest:.4f}"
    )
    return 1 if found.listed else 0


if __name__ == "__main__":
    sys.exit(main())
