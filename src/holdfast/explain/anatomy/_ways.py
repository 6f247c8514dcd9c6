"""Ways through a graph: the longest one, the shortcuts of its sums, and its first steps."""

from __future__ import annotations

from holdfast.explain.anatomy._states import States
from holdfast.explain.anatomy.graph import Graph, Step

_SHORT = 64  # operations of a shortcut at most
_PASSING = ("shape", "pick", "norm", "activation", "other")


def main_way(graph: Graph, states: States, end: int | None = None) -> list[Step]:
    """Steps from the image to a tensor, by the input with most layers behind it each time.

    Args:
        graph: Whose steps.
        states: Of the graph.
        end: Number of the tensor; None is the output.
    """
    makers = graph.makers()
    way: list[Step] = []
    number = graph.output if end is None else end
    while number in makers:
        step = makers[number]
        way.append(step)
        open_ways = [one for one in step.inputs if not states.of[one].pooled] or list(step.inputs)
        if states.of[number].pooled:
            open_ways = list(step.inputs)
        if step.operation.kind in ("product", "attention"):
            open_ways = list(step.inputs[:1])  # the query, whose resolution goes on
        number = max(open_ways, key=lambda one: (states.of[one].depth, one))
    return way[::-1]


def shortcuts(graph: Graph, states: States, way: list[Step]) -> list[list[Step]]:
    """Steps of the shorter side of each sum on a way, back to where the way was left."""
    makers = graph.makers()
    on_way = {number for step in way for number in step.outputs} | {0}
    found = []
    for step in way:
        if step.operation.kind != "sum" or len(step.inputs) < 2:
            continue
        shorter = [number for number in step.inputs if number not in on_way]
        for begin in shorter:
            side: list[Step] = []
            number = begin
            while number in makers and number not in on_way and len(side) < _SHORT:
                side.append(makers[number])
                number = max(side[-1].inputs, key=lambda one: (states.of[one].depth, one))
            found.append(side[::-1])
    return found


def first_steps(graph: Graph) -> tuple[list[Step], bool]:
    """Steps from the image to the first fork, and whether there was a fork.

    A tensor forks where two modules take it; what one module does with it twice is its own
    affair. The image itself may go several ways; the widest convolution is followed then.
    A convolution of groups ends the stem as a fork does.
    """
    users = graph.users()
    steps: list[Step] = []
    number = 0
    while True:
        takers = users.get(number, [])
        if not takers:
            return steps, False
        if number and len({step.module for step in takers}) > 1:
            return steps, True
        step = _chosen(takers) if not number else _last(takers)
        grouped = step.operation.groups > 1 and step.operation.learned
        if step.operation.kind == "conv" and grouped and steps:
            return steps, True
        steps.append(step)
        number = step.outputs[0]


def _chosen(takers: list[Step]) -> Step:
    convs = [step for step in takers if step.operation.kind == "conv"]
    return max(convs, key=lambda step: max(step.operation.kernel)) if convs else takers[0]


def _last(takers: list[Step]) -> Step:
    """Of the steps of one module, the one from which its result comes."""
    work = [step for step in takers if step.operation.kind not in _PASSING]
    return (work or takers)[-1]
