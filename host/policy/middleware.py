"""The gate at POST /prompt, before ComfyUI looks at a prompt: every text in it, of every node.

ComfyUI's own on_prompt handlers cannot refuse, since it goes on when one fails.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import server  # ComfyUI's

from ..comfyui.owner import PROMPT_PATHS
from .gate import BROKEN, Gate
from .negatives import Wiring

NOT_ASKED = {  # by how deep they are: of what is posted, and of a node
    0: {"extra_data", "client_id", "prompt_id"},
    2: {"_meta", "class_type"},
}
Handler = Callable[[Any], Awaitable[Any]]


class PostedText(NamedTuple):
    """A text in what was posted, and the node and input that it is of, as far as known."""

    node: str
    input: str
    text: str


def middleware_of(gate: Gate) -> Callable[[Any, Handler], Awaitable[Any]]:
    """A middleware of aiohttp that lets nothing to /prompt that the gate refuses."""

    async def guard(request: Any, handler: Handler) -> Any:
        route = getattr(request.match_info.route, "resource", None)
        if request.method != "POST" or getattr(route, "canonical", None) not in PROMPT_PATHS:
            return await handler(request)
        try:
            refused = await _answered(gate, await request.json())
        except Exception:  # noqa: BLE001 - a prompt that cannot be looked at is no reason to let it pass
            refused = _body(f"this prompt cannot be read by the server's policy: {BROKEN}.", None)
        if refused is None:
            return await handler(request)
        return server.web.json_response(refused, status=400)

    guard.__middleware_version__ = 1  # what aiohttp's decorator does
    return guard


async def _answered(gate: Gate, posted: Any) -> dict[str, Any] | None:
    """What `answer` says; a language model takes its time, and the server goes on meanwhile."""
    if gate.judge is None:
        return answer(gate, posted)
    return await asyncio.to_thread(answer, gate, posted)


def answer(gate: Gate, posted: Any) -> dict[str, Any] | None:
    """What ComfyUI's page is answered in place of a prompt's number; None if nothing is wrong."""
    known = posted.get("prompt") if isinstance(posted, dict) else None
    asked, unwanted = _sorted_by_use(list(texts_in(posted)), known)
    why = gate.refusal([one.text for one in asked], "prompt", [one.text for one in unwanted])
    if why is None:
        return None
    return _body(why, known if isinstance(known, dict) else None, _to_blame(gate, asked))


def _sorted_by_use(
    found: list[PostedText], graph: Any
) -> tuple[list[PostedText], list[PostedText]]:
    """Texts of what shall be seen, or may be; and those that are negative prompts alone."""
    wiring = Wiring(graph)
    rows: tuple[list[PostedText], list[PostedText]] = [], []
    for one in found:
        rows[wiring.holds(one.node, one.input, one.text)].append(one)
    return rows


def _to_blame(gate: Gate, found: list[PostedText]) -> PostedText | None:
    """The first text that would be refused by itself. It is not noted again."""
    return next((one for one in found if gate.breaks(one.text)), None)


def texts_in(posted: Any) -> Iterator[PostedText]:
    """Every text of a prompt, names of fields included, however deep it is."""
    waiting: list[tuple[Any, tuple[str, ...]]] = [(posted, ())]
    while waiting:
        value, path = waiting.pop()
        if isinstance(value, str):
            node = path[1] if len(path) > 1 and path[0] == "prompt" else ""
            yield PostedText(node, path[3] if len(path) > 3 else "", value)
        elif isinstance(value, dict):
            if len(path) > 3:  # of a value; names of inputs say nothing
                waiting.extend((key, path) for key in value)
            waiting.extend(
                (inner, (*path, str(key))[:4])
                for key, inner in value.items()
                if key not in NOT_ASKED.get(len(path), ())
            )
        elif isinstance(value, list):
            waiting.extend((inner, path) for inner in value)


def _body(
    why: str, prompt: dict[str, Any] | None, blamed: PostedText | None = None
) -> dict[str, Any]:
    """An answer in the form of ComfyUI's own refusals."""
    error = {"type": "policy", "message": why, "details": "", "extra_info": {}}
    nodes: dict[str, Any] = {}
    if prompt is not None and blamed is not None and isinstance(prompt.get(blamed.node), dict):
        extra = {"input_name": blamed.input} if blamed.input else {}
        nodes[blamed.node] = {
            "errors": [{**error, "extra_info": extra}],
            "dependent_outputs": [],
            "class_type": str(prompt[blamed.node].get("class_type", "")),
        }
    return {"error": error, "node_errors": nodes}
