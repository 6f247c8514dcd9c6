"""NAS-Bench-201 on a device: what a latency or an energy belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from holdfast.core.errors import unknown_name
from holdfast.search.spaces.base import SPACES, Encoding, Graph, Space, not_in_space
from holdfast.search.spaces.nb201 import NB201

if TYPE_CHECKING:
    from torch import nn

DEVICES = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
_CELLS = NB201()


@SPACES.register("nb201_hw")
@dataclass(frozen=True)
class HardwareNB201(Space):
    """Cells of NAS-Bench-201 with the device that runs them; the text is `CELL@DEVICE`.

    Source: Li et al. 2021, "HW-NAS-Bench"; conditioning on the device follows AG-Net (Lukasik et
    al. 2022).

    Attributes:
        device: The one device to search for; all six where None.
    """

    about: ClassVar[str] = (
        "NAS-Bench-201 with one of 6 devices (Li et al. 2021, HW-NAS-Bench): 93,750"
    )
    device: str | None = None

    vocabulary = NB201.vocabulary
    most_nodes = NB201.most_nodes

    def __post_init__(self) -> None:
        if self.device is not None and self.device not in DEVICES:
            raise unknown_name("device of HW-NAS-Bench", self.device, DEVICES)

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices of this space, in the benchmark's order."""
        return DEVICES if self.device is None else (self.device,)

    @property
    def size(self) -> int:
        """Cells times devices."""
        return _CELLS.size * len(self.devices)

    def split(self, arch: str) -> tuple[str, str]:
        """Cell and device of an architecture.

        Raises:
            BadValueError: No architecture of this space.
        """
        cell, mark, device = str(arch).strip().rpartition("@")
        if not mark:
            raise not_in_space(arch, self, f"expected CELL@DEVICE, one of {', '.join(DEVICES)}")
        if device not in DEVICES:
            raise not_in_space(arch, self, str(unknown_name("device", device, DEVICES)))
        if device not in self.devices:
            raise not_in_space(arch, self, f"it runs on {device}")
        return _CELLS.check(cell), device

    def check(self, arch: str) -> str:
        """Give back cell and device as printed; see `Space`."""
        return "@".join(self.split(arch))

    def sample(self, rng: np.random.Generator) -> str:
        """Draw cell and device uniformly."""
        cell = _CELLS.sample(rng)
        return f"{cell}@{self.devices[int(rng.integers(len(self.devices)))]}"

    def neighbours(self, arch: str) -> list[str]:
        """The cell's neighbours on the same device, then the cell on the other devices."""
        cell, device = self.split(arch)
        near = [f"{other}@{device}" for other in _CELLS.neighbours(cell)]
        return near + [f"{cell}@{other}" for other in self.devices if other != device]

    def canonical(self, arch: str) -> str:
        """The cell's representative, on the same device."""
        cell, device = self.split(arch)
        return f"{_CELLS.canonical(cell)}@{device}"

    def key(self, arch: str) -> str:
        """The cell's key on the same device."""
        cell, device = self.split(arch)
        return f"{_CELLS.key(cell)}@{device}"

    def cross(self, arch: str, other: str, rng: np.random.Generator) -> str:
        """Cross the cells; the device is the first one's."""
        cell, device = self.split(arch)
        return f"{_CELLS.cross(cell, self.split(other)[0], rng)}@{device}"

    def encode(self, arch: str, how: Encoding = "one_hot") -> np.ndarray:
        """The cell's encoding followed by one bit for each of the six devices."""
        cell, device = self.split(arch)
        place = np.array([known == device for known in DEVICES], dtype=np.float32)
        return np.concatenate((_CELLS.encode(cell, how), place))

    def graphs(self, arch: str) -> tuple[Graph, ...]:
        """The cell's graph; it does not tell the device, which has to be kept besides."""
        return _CELLS.graphs(self.split(arch)[0])

    def from_graphs(self, graphs: tuple[Graph, ...]) -> str | None:
        """The cell of a graph on the space's device; on the first device where it has several."""
        cell = _CELLS.from_graphs(graphs)
        return None if cell is None else f"{cell}@{self.devices[0]}"

    def everything(self) -> Iterator[str]:
        """All cells by their published ids on the first device, then on the next one."""
        return (f"{cell}@{device}" for device in self.devices for cell in _CELLS.everything())

    def build(
        self,
        arch: str,
        *,
        channels: int | None = None,
        cells: int | None = None,
        classes: int = 10,
    ) -> nn.Module:
        """Network of the cell, the same for every device."""
        cell, _ = self.split(arch)
        return _CELLS.build(cell, channels=channels, cells=cells, classes=classes)
