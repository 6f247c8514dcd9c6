"""Text of a NAS-Bench-201 cell: its edges, its operations, and how it is written."""

from __future__ import annotations

from holdfast.core.errors import BadValueError, unknown_name

# Edges of a cell as (from, to), in the order of the text; node 0 is the input, 3 the output.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NODES = 4
_SHOWN = 120


def parse_cell(text: str) -> tuple[str, ...]:
    """Operations of a cell string, six names in the order of `EDGES`.

    Raises:
        BadValueError: The string has another form, or names an operation that there is not.
    """
    nodes = [node.strip() for node in text.strip().split("+")]
    if len(nodes) != NODES - 1:
        raise _wrong(text, f"it has {len(nodes)} nodes")
    found: list[str] = []
    for place, node in enumerate(nodes, 1):
        if not (node.startswith("|") and node.endswith("|") and len(node) > 1):
            raise _wrong(text, f"node {place} does not stand between bars")
        edges = node[1:-1].split("|")
        if [edge.rpartition("~")[2] for edge in edges] != [str(start) for start in range(place)]:
            wanted = "|".join(f"OP~{start}" for start in range(place))
            raise _wrong(text, f"node {place} must be |{wanted}|, got {node}")
        found += [edge.rpartition("~")[0] for edge in edges]
    for name in found:
        if name not in OPERATIONS:
            raise _wrong(text, str(unknown_name("operation", name, OPERATIONS)))
    return tuple(found)


def format_cell(operations: tuple[str, ...]) -> str:
    """Cell string of six operations, in the order of `EDGES`."""
    texts = [f"{name}~{start}" for name, (start, _) in zip(operations, EDGES, strict=True)]
    return "+".join(f"|{'|'.join(node)}|" for node in (texts[:1], texts[1:3], texts[3:]))


def _wrong(text: str, why: str) -> BadValueError:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return BadValueError(
        f"{shown!r} is no NAS-Bench-201 cell: {why}; expected |OP~0|+|OP~0|OP~1|+|OP~0|OP~1|OP~2|"
    )
