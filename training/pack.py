"""Makes the pack importable as `longtake` when run from the repository root."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def register() -> None:
    """Import the repository root as the package `longtake`, once.

    The root itself must not be on `sys.path`-based imports of the pack: its `nodes/` would hide
    ComfyUI's `nodes.py`.
    """
    if "longtake" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "longtake", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["longtake"] = module
    spec.loader.exec_module(module)
