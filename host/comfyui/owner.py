"""What the owner of the server has set, out of reach of workflows."""

import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import folder_paths

TEXT_CHECKS: list[Callable[[str, str, str], None]] = []
"""Called with each text that a node of ours is given, the node's class, and the input's name; may
raise InputError."""

FILE_CHECKS: list[Callable[[Path], None]] = []
"""Called with each video that is complete and has no name yet; may raise InputError."""

PROMPT_PATHS = ("/prompt", "/api/prompt")  # of the host's server
WORKER = "LONGTAKE_WORKER"  # set where a ComfyUI samples clips of other machines' takes
POLICY = "LONGTAKE_POLICY"  # a policy file, or a mode


def owners_folder() -> Path:
    """The pack's part of ComfyUI's user folder, which its server does not serve."""
    return Path(folder_paths.get_system_user_directory("longtake"))


def policy_choice() -> str | Path | None:
    """The policy that is asked for: a mode or a path; None for none."""
    named, file = os.environ.get(POLICY, "").strip(), owners_folder() / "policy.json"
    return named or (file if os.path.lexists(file) else None)


def refuse_every_prompt(cause: Exception) -> None:
    """Close POST /prompt where a policy is asked for and its gate cannot be put up.

    It needs nothing of the pack, of which something is broken.

    Raises:
        RuntimeError: where there is no server to close.
    """
    import server  # ComfyUI's

    why = "this server refuses every prompt: its policy's gate could not be loaded, see its log."
    logging.getLogger(__name__).error(
        "Longtake: the owner's policy cannot be put in force, so every prompt is refused until "
        "Longtake is installed anew or the policy is taken away: %r", cause, exc_info=cause
    )  # fmt: skip
    error = {"type": "policy", "message": why, "details": "", "extra_info": {}}

    async def closed(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        resource = getattr(request.match_info.route, "resource", None)
        if request.method == "POST" and getattr(resource, "canonical", None) in PROMPT_PATHS:
            return server.web.json_response({"error": error, "node_errors": {}}, status=400)
        return await handler(request)

    closed.__middleware_version__ = 1  # what aiohttp's decorator does
    running = getattr(server.PromptServer, "instance", None)
    if running is None:
        raise RuntimeError(why) from cause
    running.app.middlewares.append(closed)


def is_worker() -> bool:
    """Whether this ComfyUI was started by `dev.py worker`."""
    return bool(os.environ.get(WORKER))
