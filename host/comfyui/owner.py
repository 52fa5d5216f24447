"""What the owner of the server has set, out of reach of workflows."""

import os
from collections.abc import Callable
from pathlib import Path

import folder_paths

TEXT_CHECKS: list[Callable[[str, str], None]] = []
"""Called with each text that a node of ours is given and the node's id; may raise InputError."""

FILE_CHECKS: list[Callable[[Path], None]] = []
"""Called with each video that is complete and has no name yet; may raise InputError."""

POLICY = "LONGTAKE_POLICY"  # a policy file, or a mode


def owners_folder() -> Path:
    """The pack's part of ComfyUI's user folder, which its server does not serve."""
    return Path(folder_paths.get_system_user_directory("longtake"))


def policy_choice() -> str | Path | None:
    """The policy that is asked for: a mode or a path; None for none."""
    named, file = os.environ.get(POLICY, "").strip(), owners_folder() / "policy.json"
    return named or (file if os.path.lexists(file) else None)
