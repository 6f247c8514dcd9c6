"""Kernels and their frequency responses as small PNG files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from holdfast.records.explanations import Response
from holdfast.report import numbers
from holdfast.report.blocks import Card, Gallery, Picture

_SIDE = 96  # pixels that a picture is enlarged to, at most
_NEGATIVE, _ZERO, _POSITIVE = (0, 114, 178), (255, 255, 255), (213, 94, 0)  # of the palette
Matrix = Sequence[Sequence[float]]
Color = tuple[int, int, int]


def png(rows: Sequence[Sequence[Color]]) -> bytes:
    """Write pixels as an 8-bit RGB file, each enlarged to a square where there is room.

    W3C "Portable Network Graphics", second edition, sections 5 and 11.
    """
    scale = max(1, _SIDE // max(len(rows), len(rows[0])))
    lines = [bytes(value for pixel in row for value in pixel * scale) for row in rows]
    body = b"".join((b"\0" + line) * scale for line in lines)
    header = struct.pack(">IIBBBBB", len(rows[0]) * scale, len(rows) * scale, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(body, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def weights_picture(kernel: Matrix) -> bytes:
    """Orange is positive, blue negative, white zero; the strongest weight has the full color."""
    most = max((abs(value) for row in kernel for value in row), default=0.0) or 1.0
    return png([[_between(value / most) for value in row] for row in kernel])


def _between(part: float) -> Color:
    end = _POSITIVE if part > 0 else _NEGATIVE
    mixed = [round(z + abs(part) * (e - z)) for z, e in zip(_ZERO, end, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def magnitude_picture(magnitude: Matrix) -> bytes:
    """Black is zero, white the largest."""
    most = max((value for row in magnitude for value in row), default=0.0) or 1.0
    return png([[(round(255 * value / most),) * 3 for value in row] for row in magnitude])


def gallery(responses: Sequence[Response]) -> Gallery:
    """One card a kernel: its weights, the magnitude of its response, and its gain."""
    cards = []
    for one in responses:
        size = f"{len(one.kernel)}x{len(one.kernel[0])}"
        weights = Picture(weights_picture(one.kernel), f"weights of {one.name}, {size}", "weights")
        passed = Picture(
            magnitude_picture(one.magnitude), f"frequencies that {one.name} passes", "|H(f)|"
        )
        told = f"noise gain {one.gain:.3g}"
        cards.append(Card(numbers.sentence(one.name), (weights, passed), told))
    about = f"Weights and frequency responses of {numbers.counted(len(cards), 'kernel')}"
    return Gallery("theory-kernels", about, cards)


def passed_low(one: Response) -> float:
    """Share of the energy of |H| at less than a quarter cycle a pixel, in both directions.

    White noise has a quarter of its energy there. NaN for a kernel of zeros.
    """
    side = len(one.magnitude)
    middle = (side - 1) / 2
    inner, whole = 0.0, 0.0
    for y, row in enumerate(one.magnitude[:-1]):  # both ends are the same frequency
        for x, value in enumerate(row[:-1]):
            whole += value**2
            if max(abs(y - middle), abs(x - middle)) < middle / 2:
                inner += value**2
    return inner / whole if whole else float("nan")
