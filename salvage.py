"""What a crash left of a video becomes a video, without ComfyUI, by ComfyUI's own Python.

    python salvage.py               lists unfinished videos in ComfyUI's output folder
    python salvage.py FILE          recovers one; with --out, under that name

`python` is ComfyUI's, in portable Windows the one in python_embeded; from any folder.
"""

import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent


def output_folder() -> Path:
    """ComfyUI's, if this lies in its custom_nodes; else dev.py's."""
    comfyui = ROOT.parent.parent / "output"
    return comfyui if ROOT.parent.name == "custom_nodes" and comfyui.is_dir() else ROOT / "output"


if __name__ == "__main__":
    # The pack under a name of our own; its folder has a nodes/ and must not be looked into.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.modules["longtake"] = pack = ModuleType("longtake")
    pack.__path__ = [str(ROOT)]
    from longtake.engine.media.salvage import main

    main(sys.argv[1:] or [str(output_folder())])
