"""Text on the node that is running."""

from comfy_execution.utils import get_executing_context
from server import PromptServer


def show_text(text: str) -> None:
    """Show a text on the running node in the browser, if there is one."""
    context = get_executing_context()
    server = getattr(PromptServer, "instance", None)
    if context is not None and server is not None:
        server.send_progress_text(text, context.node_id)
