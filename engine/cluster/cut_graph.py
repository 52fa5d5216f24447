"""The part of a graph that one node needs, which is all of it that goes to another machine."""

from collections.abc import Iterator, Mapping
from typing import Any

ApiGraph = Mapping[str, Mapping[str, Any]]
Plain = bool | int | float | str


def link_in(value: Any, graph: ApiGraph) -> str | None:
    """The id of the node that an input comes from, or None if it is a value."""
    linked = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
    return value[0] if linked and value[0] in graph else None


def values_in_place(graph: ApiGraph, node: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a node, with what came over a link as a plain value written in its place.

    A seed that Variations counts up, or a length that another node computes, is the one of this
    run; and the node that it came from need not run again.

    Args:
        values: the arguments that the node was called with.
    """
    inputs = dict(graph[node].get("inputs", {}))
    for name, value in inputs.items():
        if link_in(value, graph) is not None and isinstance(values.get(name), Plain):
            inputs[name] = values[name]
    return inputs


def cut(graph: ApiGraph, node: str, inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A graph of a node with these inputs and all that it depends on, and of nothing else.

    Titles and notes stay behind: what is not needed does not travel.
    """
    changed = {**graph, node: {**graph[node], "inputs": dict(inputs)}}
    found = {key: changed[key] for key in ancestors(changed, node)}
    return {
        key: {"class_type": one["class_type"], "inputs": dict(one.get("inputs", {}))}
        for key, one in found.items()
    }


def ancestors(graph: ApiGraph, node: str) -> Iterator[str]:
    """The ids of a node and of all that it depends on, each once."""
    seen, waiting = {node}, [node]
    for key in waiting:  # grows
        yield key
        for value in graph[key].get("inputs", {}).values():
            source = link_in(value, graph)
            if source is not None and source not in seen:
                seen.add(source)
                waiting.append(source)
