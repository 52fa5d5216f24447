"""The pack from outside: how tests, benchmarks, training and dev.py import it.

    sys.path.insert(0, ROOT)   # or start Python in ROOT with -m
    from pack import register

    register()                 # from here on: import longtake, and all of NEIGHBOURS

    python pack.py longtake.engine.container.salvage FILE     runs one of its modules as a program

ComfyUI loads the pack under a name of its own choice; here it is `longtake`. Its folder must not
stay on sys.path, where its nodes/ would hide ComfyUI's nodes.py.
"""

import runpy
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# Beside the pack, not in it.
NEIGHBOURS = (
    *(
        "archive",
        "benchmarks",
        "dev",
        "environment",
        "headless",
        "matrix",
        "tests",
        "training",
        "worker",
    ),
)


class Finder:
    """Finds the pack as `longtake`, and what lies beside it under its own name."""

    @staticmethod
    def find_spec(name: str, path=None, target=None) -> ModuleSpec | None:
        if name == "longtake":
            init, folders = ROOT / "__init__.py", [str(ROOT)]
            return spec_from_file_location(name, init, submodule_search_locations=folders)
        return PathFinder.find_spec(name, [str(ROOT)]) if name in NEIGHBOURS else None


def register(keep_path: bool = False) -> None:
    """Make `longtake` and its neighbours importable.

    Args:
        keep_path: leave the pack's folder on sys.path, for a program started there with -m: the
            processes that it spawns look for its modules there before they know this finder.
    """
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)  # before a package of the name `tests` that is installed
    if not keep_path:
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]


if __name__ == "__main__":
    register()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
