"""Numbers of NAS-Bench-201 cells, as published tables use them for keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import BadValueError
from holdfast.search.spaces.nb201 import NB201
from holdfast.search.tables.sources import as_dict, read_json, some

SPACE = NB201()


@dataclass(frozen=True)
class Meta:
    """What a `meta.json` says of the numbers of cells.

    Attributes:
        archs: String of each number, which is text in the files.
        first: Number under which the class of a number was measured.
        epsilons: Radii of each attack in 255ths.
        source: For messages.
    """

    archs: Mapping[str, str]
    first: Mapping[str, str]
    epsilons: Mapping[str, tuple[float, ...]]
    source: str

    @property
    def measured(self) -> list[str]:
        """Numbers that must have scores: one a class."""
        return [uid for uid in self.archs if self.first[uid] == uid]

    def names(self, uids: Iterable[str], where: str) -> list[str]:
        """Strings of numbers.

        Raises:
            BadValueError: A number that is not listed, or that is not its class's.
        """
        uids = list(uids)
        unknown = [uid for uid in uids if uid not in self.archs]
        if unknown:
            raise BadValueError(
                f"{where} has the number {some(unknown)}, which {self.source} does not know"
            )
        return [self.archs[uid] for uid in uids]

    def complete(self, uids: Iterable[str], where: str) -> None:
        """Refuse scores that leave out a class.

        Raises:
            BadValueError: A class has no scores.
        """
        there = set(uids)
        absent = [uid for uid in self.measured if uid not in there]
        if absent:
            raise BadValueError(
                f"{where} lacks {len(absent):,} of {len(self.measured):,} architectures (numbers "
                f"{some(absent)}); the file is not whole"
            )


def read_meta(path: Path) -> Meta:
    """Read a `meta.json`: `ids` with `nb201-string` and `isomorph`, and `epsilons`.

    Raises:
        MissingError: No such file.
        BadValueError: Another layout, or a string that is no cell.
    """
    found = as_dict(read_json(path), str(path))
    archs: dict[str, str] = {}
    first: dict[str, str] = {}
    for uid, entry in as_dict(found.get("ids"), f"ids in {path}").items():
        try:
            archs[uid], first[uid] = SPACE.check(entry["nb201-string"]), str(entry["isomorph"])
        except (KeyError, TypeError):
            raise BadValueError(f"{path}: number {uid} has not nb201-string and isomorph") from None
    lost = sorted({uid for uid in first.values() if uid not in archs})
    if lost:
        raise BadValueError(f"{path}: the isomorph {some(lost)} is not among its ids")
    grids = found.get("epsilons", {})
    epsilons = {key: tuple(map(float, grid)) for key, grid in grids.items()}
    return Meta(archs, first, epsilons, str(path))


def published_meta() -> Meta:
    """Numbers and classes of NAS-Bench-201 itself, for tables that come without a `meta.json`."""
    archs = {str(number): arch for number, arch in enumerate(SPACE.everything())}
    numbers = {arch: uid for uid, arch in archs.items()}
    first = {uid: numbers[SPACE.canonical(arch)] for uid, arch in archs.items()}
    return Meta(archs, first, {}, "NAS-Bench-201")


def find_meta(path: Path) -> Path | None:
    """A `meta.json` beside or above a path, also under the name of the robustness dataset."""
    folder = path if path.is_dir() else path.parent
    for place in (folder, folder.parent):
        for name in ("meta.json", "robustness-dataset-meta.json"):
            if (place / name).is_file():
                return place / name
    return None
