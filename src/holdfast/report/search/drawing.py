"""A cell as a picture: layers from left to right, an operation a box, inside the page as SVG."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

from holdfast.core.errors import BadValueError
from holdfast.records.searches import Cell
from holdfast.report.blocks import Swatch
from holdfast.report.figures import PALETTE

_LETTER = 6.1  # pixels, width of a letter of 11 pixels on average
_PAD = 14  # pixels, of a box's text on both sides together
_BOX, _ROW, _GAP = 24, 38, 34  # pixels: height of a box, of a row, between two layers
_LONGEST = 16  # letters of a box
_SWEEPS = 6  # over the layers, forth and back, to straighten edges
_ENDS = "#8A8A8A"
_FAINT = ("none", "zero", "zeroize")  # an operation that passes nothing on
# What is common to many spaces has a fixed color; the rest take the others in turn.
_KNOWN = (
    ("conv", PALETTE[0]),
    ("pool", PALETTE[2]),
    ("skip", PALETTE[4]),
    ("identity", PALETTE[4]),
)
_SHORT = {"nor_conv_3x3": "conv 3x3", "nor_conv_1x1": "conv 1x1", "skip_connect": "skip"}


def swatches(cells: Iterable[Cell]) -> list[Swatch]:
    """A color for each operation of some cells, in the order of their names.

    Convolutions come in shades of one hue, so that their sizes tell apart.
    """
    names = {name for cell in cells for name in cell.nodes if not _is_end(name)}
    taken: dict[str, int] = defaultdict(int)
    others = iter(_others(len(names)))
    found = []
    for name in sorted(names, reverse=True):  # large kernels get the full color
        base = next((color for part, color in _KNOWN if part in name.lower()), "")
        if name.lower() in _FAINT:
            color = _ENDS
        elif base:
            color = _shade(base, taken[base])
            taken[base] += 1
        else:
            color = next(others)
        found.append(Swatch(_title(name), color))
    return found[::-1]


def draw(cell: Cell, colors: Mapping[str, str]) -> Markup:
    """A cell as SVG; `colors` maps the titles of operations to colors, as `swatches` has them.

    Boxes stand in layers by their longest way from an input; edges that pass a layer get a place
    in it (Sugiyama et al. 1981, "Methods for visual understanding of hierarchical system
    structures").

    Raises:
        BadValueError: Edges that do not run from earlier to later nodes.
    """
    plan = _Plan(cell)
    box = max(len(_title(name)) for name in cell.nodes) * _LETTER + _PAD
    step = box + _GAP
    width = step * (plan.depth - 1) + box + 4
    height = _ROW * plan.breadth + 4
    spots = {
        node: (2 + box / 2 + step * layer, 2 + _ROW * (plan.breadth / 2 + plan.heights[node]))
        for node, layer in plan.layers.items()
    }
    lines = "".join(_edge([spots[node] for node in way], box) for way in plan.ways)
    boxes = "".join(_box(name, spots[place], box, colors) for place, name in enumerate(cell.nodes))
    said = escape(f"Cell with {', '.join(map(_title, cell.nodes))}")
    return Markup(  # noqa: S704 - labels are escaped, the rest are numbers
        f'<svg class="cell" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="max-width:{width:.0f}px" role="img" aria-label="{said}">{lines}{boxes}</svg>'
    )


class _Plan:
    """Where boxes and passing edges stand: layer across, height in rows about the middle."""

    def __init__(self, cell: Cell) -> None:
        count = len(cell.nodes)
        if any(not 0 <= start < end < count for start, end in cell.edges):
            raise BadValueError(
                f"the edges of a cell of {count} nodes must run from an earlier to a later node"
            )
        depth = _longest_ways(cell)
        self.layers: dict[int, int] = dict(enumerate(depth))
        self.depth = max(depth, default=0) + 1
        self.ways = [self._way(edge) for edge in cell.edges]
        self._rows: list[list[int]] = [[] for _ in range(self.depth)]
        for node, layer in self.layers.items():
            self._rows[layer].append(node)
        self._straighten()
        self.breadth = max(map(len, self._rows))
        self.heights = {
            node: place - (len(row) - 1) / 2 for row in self._rows for place, node in enumerate(row)
        }

    def _way(self, edge: tuple[int, int]) -> list[int]:
        """The edge as a chain with a place in each layer that it passes."""
        start, end = edge
        way = [start]
        for layer in range(self.layers[start] + 1, self.layers[end]):
            place = len(self.layers)
            self.layers[place] = layer
            way.append(place)
        return [*way, end]

    def _straighten(self) -> None:
        """Order each layer by the mean place of its neighbours in the one before, and back."""
        near: dict[int, list[int]] = defaultdict(list)
        for way in self.ways:
            for one, other in itertools.pairwise(way):
                near[one].append(other)
                near[other].append(one)
        for sweep in range(_SWEEPS):
            step = 1 if sweep % 2 == 0 else -1
            for layer in range(self.depth)[::step]:
                self._sort(layer, layer - step, near)

    def _sort(self, layer: int, by: int, near: Mapping[int, Sequence[int]]) -> None:
        if not 0 <= by < self.depth:
            return
        row = self._rows[by]
        places = {node: place - (len(row) - 1) / 2 for place, node in enumerate(row)}

        def middle(node: int) -> float:
            known = [places[other] for other in near[node] if other in places]
            return sum(known) / len(known) if known else 0.0

        self._rows[layer].sort(key=middle)


def _longest_ways(cell: Cell) -> list[int]:
    depth = [0] * len(cell.nodes)
    for start, end in sorted(cell.edges, key=lambda edge: edge[1]):
        depth[end] = max(depth[end], depth[start] + 1)
    return depth


def _edge(spots: Sequence[tuple[float, float]], box: float) -> str:
    """A smooth line from the right side of the first box to the left side of the last."""
    half = box / 2
    first, last = spots[0], spots[-1]
    points = [(first[0] + half, first[1])]
    for x, y in spots[1:-1]:
        points += [(x - half, y), (x + half, y)]
    points.append((last[0] - half, last[1]))
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (x0 + x1) / 2
        path += f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    x, y = points[-1]
    head = f"M{x - 6:.1f} {y - 3.5:.1f}L{x:.1f} {y:.1f}L{x - 6:.1f} {y + 3.5:.1f}"
    return f'<path d="{path}{head}"/>'


def _box(name: str, spot: tuple[float, float], box: float, colors: Mapping[str, str]) -> str:
    title = _title(name)
    color = _ENDS if _is_end(name) else colors.get(title, _ENDS)
    x, y = spot
    dash = ' stroke-dasharray="4 3"' if name.lower() in _FAINT else ""
    opacity = "0" if name.lower() in _FAINT else ("0.12" if _is_end(name) else "0.28")
    return (
        f'<rect x="{x - box / 2:.1f}" y="{y - _BOX / 2:.1f}" width="{box:.1f}" height="{_BOX}" '
        f'rx="{_BOX / 2 if _is_end(name) else 5}" fill="{color}" fill-opacity="{opacity}" '
        f'stroke="{color}"{dash}/><text x="{x:.1f}" y="{y:.1f}">{escape(title)}</text>'
    )


def in_words(text: str) -> str:
    """`text` with the operations that every space has under their short names."""
    for name, short in _SHORT.items():
        text = text.replace(name, short)
    return text


def _is_end(name: str) -> bool:
    return name == "output" or name.startswith("input")


def _title(name: str) -> str:
    text = _SHORT.get(name, name.replace("_", " "))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def _others(count: int) -> list[str]:
    free = [PALETTE[place] for place in (1, 3, 5)]
    return [_shade(free[place % len(free)], place // len(free)) for place in range(count)]


def _shade(color: str, number: int) -> str:
    """The color itself, then lighter ones."""
    part = 0.28 * (number % 3)
    levels = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(level + (255 - level) * part):02X}" for level in levels)
