"""Gives the tests the names they import by, and the fixtures they share.

The pack is `longtake`; beside it there are `training`, `tests`, `dev` and `headless`. The
repository root is kept off sys.path, because the pack's own nodes/ would hide ComfyUI's nodes.py
there.
"""

import importlib.machinery
import importlib.util
import signal
import sys
from pathlib import Path

import hypothesis

ROOT = Path(__file__).resolve().parent.parent


def register(name: str, file: Path) -> None:
    """Import `file` as the module `name`; a folder's __init__.py (if any) as a package."""
    if name in sys.modules:
        return
    if file.is_file():
        folders = [str(file.parent)] if file.name == "__init__.py" else None
        spec = importlib.util.spec_from_file_location(
            name, file, submodule_search_locations=folders
        )
    else:  # a folder without __init__.py
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(file.parent)]
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if spec.loader:
        spec.loader.exec_module(module)


sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
register("longtake", ROOT / "__init__.py")
register("training", ROOT / "training" / "__init__.py")
register("tests", ROOT / "tests" / "__init__.py")
register("headless", ROOT / "headless.py")
register("dev", ROOT / "dev.py")

from tests.in_process import comfyui, host  # noqa: E402, F401
from tests.server import server  # noqa: E402, F401

# A kill ends the tests as Ctrl-C does: with their fixtures torn down and no server left behind.
signal.signal(signal.SIGTERM, signal.default_int_handler)

# The same examples on every run: a test that fails today fails tomorrow. Time limits per example
# would only measure how busy the machine is.
hypothesis.settings.register_profile(
    "longtake", derandomize=True, deadline=None, max_examples=25, print_blob=True
)
hypothesis.settings.load_profile("longtake")
