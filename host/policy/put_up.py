"""Puts the gate up: at POST /prompt, at our nodes, and, if frames are looked at, where we save."""

import logging
from pathlib import Path

from server import PromptServer

from ..comfyui.owner import FILE_CHECKS, TEXT_CHECKS
from .frames import FramesGate
from .gate import Gate
from .middleware import middleware_of


def put_up_gate(choice: str | Path) -> None:
    """Once, while the pack loads; afterwards ComfyUI's list of middlewares is closed.

    Args:
        choice: a mode, or the path of a policy file.
    """
    gate = None if TEXT_CHECKS else Gate.from_choice(choice)
    if gate is None:
        return
    TEXT_CHECKS.append(gate.check_text)
    if gate.policy.frames is not None:
        FILE_CHECKS.append(FramesGate(gate))
    server = getattr(PromptServer, "instance", None)
    middlewares = getattr(getattr(server, "app", None), "middlewares", None)
    if middlewares is None:
        logging.getLogger(__name__).warning("Longtake: no server, so only nodes have the policy.")
    else:
        middlewares.append(middleware_of(gate))
