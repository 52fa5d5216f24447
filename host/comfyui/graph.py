"""The graph at hand: while it is queued, in the names of files, and embedded in them."""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from comfy.cli_args import args
from comfy_execution.utils import get_executing_context
from server import PromptServer, web

from ...models.errors import InputError
from .owner import PROMPT_PATHS

VALUE = re.compile(r"%([^%./]+)\.([^%./]+)%")  # %Sample.seed%
NOT_IN_NAMES = re.compile(r'[/\\?<>:*|"\x00-\x1f\x7f]')
MAX_VALUE = 40  # bytes
OURS = "custom_validation_failed"  # what `validate_inputs` of a node said
NOTE = "is_changed"  # where the host keeps a node's fingerprint, in the graph itself

_queued: ContextVar[Mapping | None] = ContextVar("longtake_queued", default=None)


def watch_queue() -> None:
    """See each graph that is sent to the server, before its nodes validate their inputs."""
    server = getattr(PromptServer, "instance", None)
    if server is not None and _on_queued not in server.on_prompt_handlers:
        server.add_on_prompt_handler(_on_queued)
        server.app.middlewares.append(tell_once)


@web.middleware
async def tell_once(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
    """A middleware of aiohttp: each fault of a node of ours is told once where a graph is queued.

    ComfyUI repeats what a node's `validate_inputs` said under each input that it looks at.
    """
    response = await handler(request)
    if (
        request.method != "POST"
        or request.path not in PROMPT_PATHS
        or response.status not in (200, 400)
    ):
        return response  # 200: some of the graph's ends can be reached
    with suppress(AttributeError, KeyError, TypeError, ValueError):  # not as ComfyUI answers
        answer = json.loads(response.body)
        for node in answer["node_errors"].values():
            if node["class_type"].startswith("Longtake"):
                node["errors"] = list(told_once(node["errors"]))
        return web.json_response(answer, status=response.status)
    return response


def told_once(errors: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of ComfyUI's errors of a node each fault once, under the input that it names first."""
    known = {_input_of(error) for error in errors if error["type"] != OURS}
    said: dict[str, list[dict[str, Any]]] = {}
    for error in errors:
        if error["type"] != OURS:
            yield error
        else:
            said.setdefault(error["details"].partition(" - ")[2], []).append(error)
    for text, alike in said.items():
        error = min(alike, key=lambda one: _place_of(_input_of(one), text))
        if _input_of(error) not in known:  # else ComfyUI has said that it is of another type
            yield error


def _input_of(error: Mapping[str, Any]) -> str:
    return error["extra_info"].get("input_name", "")


def _place_of(name: str, text: str) -> int:
    found = re.search(rf"\b{re.escape(name)}\b", text)
    return found.start() if found else len(text)


def queued_graph() -> Mapping[str, Mapping[str, Any]] | None:
    """The graph, in API form, whose inputs are being validated; None if it came another way."""
    return _queued.get()


def running_node() -> tuple[Mapping[str, Mapping[str, Any]] | None, str]:
    """The graph, in API form, whose node is being executed, and that node's key in it.

    None and "" where the host does not say: outside of its server, or in a node that another node
    has put in.
    """
    context, server = get_executing_context(), getattr(PromptServer, "instance", None)
    queue = getattr(server, "prompt_queue", None)
    if context is None or queue is None:
        return None, ""
    for item in list(getattr(queue, "currently_running", {}).values()):
        if item[1] == context.prompt_id and context.node_id in item[2]:
            return item[2], context.node_id
    return None, ""


def fill_in_values(prefix: str, graph: Mapping[str, Mapping[str, Any]] | None) -> str:
    """Replace %Sample.seed% by the value of that widget of the node with that title or class.

    Args:
        prefix: what the user typed; what is not in the graph stays as it is.
        graph: in API form.

    Raises:
        InputError: for a prefix that is no text.
    """
    if not isinstance(prefix, str):
        raise InputError(f"a file's name must be text, not {type(prefix).__name__}.")

    def widget_value(found: re.Match[str]) -> str:
        for node in (graph or {}).values():
            value = node.get("inputs", {}).get(found[2])
            if found[1] in _names_of(node) and isinstance(value, str | int | float):
                short = NOT_IN_NAMES.sub("_", str(value)).encode("utf-8", "replace")[:MAX_VALUE]
                return short.decode("utf-8", "ignore").strip(" .")
        return found[0]

    return VALUE.sub(widget_value, prefix)


def graph_metadata(hidden: Any) -> dict[str, Any]:
    """The graph to embed, by the names that ComfyUI uses; none under --disable-metadata."""
    if args.disable_metadata:
        return {}
    graph = dict(hidden.extra_pnginfo or {})
    return graph if hidden.prompt is None else {**graph, "prompt": without_notes(hidden.prompt)}


def without_notes(graph: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A graph as it was queued, without the fingerprints that the host has put into its nodes.

    With them in it, a graph that comes back out of a file would never be looked at anew: the host
    believes the note, and a node would not learn that its file has changed or its film is gone.
    """
    return {
        key: {name: value for name, value in node.items() if name != NOTE}
        for key, node in graph.items()
    }


def _names_of(node: Mapping[str, Any]) -> tuple[Any, Any]:
    """The title and class of a node; only the browser gives it a title."""
    meta = node.get("_meta")
    return meta.get("title") if isinstance(meta, Mapping) else None, node.get("class_type")


def _on_queued(request: dict[str, Any]) -> dict[str, Any]:
    """The server's own handlers call each other so: the body of a request in, and out again."""
    graph = request.get("prompt")
    whole = isinstance(graph, dict) and all(isinstance(node, dict) for node in graph.values())
    graph = without_notes(graph) if whole else None  # else the host says what is wrong with it
    _queued.set(graph)
    return {**request, "prompt": graph} if whole else request
