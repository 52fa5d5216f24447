"""Text on the node that is running.

Nodes that are drawn on the canvas show two lines of it, and the rest when one scrolls; Nodes 2.0
read it as Markdown, in which the end of a line is a blank unless two blanks stand before it. So
what matters most comes first, in `SEEN` characters or less.
"""

from typing import Any

from comfy_execution.utils import get_executing_context
from server import PromptServer

SEEN = 80  # characters, about two lines on a node of usual width
BREAK = "  \n"
_latest: list[
    tuple[tuple[str, str], str]
] = []  # of which node of which prompt, and it: or none yet


def show_text(text: str) -> None:
    """Show a text on the running node in the browser, if there is one; lines stay lines."""
    context = get_executing_context()
    server = getattr(PromptServer, "instance", None)
    if context is not None and server is not None:
        # In a locale that is not UTF-8 names of files may hold what no text can.
        plain = text.encode("utf-8", "replace").decode()
        shown = BREAK.join(plain.splitlines())
        server.send_progress_text(shown, context.node_id)
        _latest[:] = [((context.prompt_id, context.node_id), shown)]


def shown_text() -> dict[str, Any]:
    """The latest text of the running node as its `ui`, which comes again with cached outputs."""
    context = get_executing_context()
    for node, shown in _latest:
        if context is not None and node == (context.prompt_id, context.node_id):
            return {"text": (shown,)}
    return {}


def show_output(output: dict[str, Any]) -> None:
    """Show on the running node what it made, although it does not finish: a stopped take, say.

    Args:
        output: as a node's `ui`.
    """
    context = get_executing_context()
    server = getattr(PromptServer, "instance", None)
    if context is not None and server is not None and server.client_id is not None:
        node, told = context.node_id, {"output": output, "prompt_id": context.prompt_id}
        event = {"node": node, "display_node": node, **told}
        server.send_sync("executed", event, server.client_id)
