"""What a crash left of a video becomes a video, without ComfyUI, by any Python that has PyAV.

    python salvage.py               lists unfinished videos in ComfyUI's output folder
    python salvage.py FOLDER        those in another, such as that of --output-directory
    python salvage.py FILE          recovers one; with --out, under that name

What a crash left and nobody can use is deleted from a folder that is looked into, after an hour.

Any Python that has PyAV and nothing else will do, such as ComfyUI's, in portable Windows the one in
python_embeded; from any folder.
"""

import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent


def output_folders() -> list[Path]:
    """Those that there are: ComfyUI's, if this lies in its custom_nodes or is linked there; those
    of dev.py."""
    places = Path(__file__).absolute().parent, ROOT
    hosts = [place.parent.parent for place in places if place.parent.name == "custom_nodes"]
    folders = [host / "output" for host in (*hosts, ROOT / ".host" / "ComfyUI", ROOT)]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


if __name__ == "__main__":
    # The pack under a name of our own; its folder has a nodes/ and must not be looked into.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.modules["longtake"] = pack = ModuleType("longtake")
    pack.__path__ = [str(ROOT)]
    from longtake.engine.container.salvage import main

    for stream in (sys.stdout, sys.stderr):  # which in an ASCII locale would refuse a name
        stream.reconfigure(errors="backslashreplace")
    found = sys.argv[1:] or [str(folder) for folder in output_folders()]
    main(found or sys.exit("salvage.py: there is no output folder here: name one."))
