"""What the pack adds to ComfyUI's start: CPU seconds and modules, on top of a host that is up.

Each round is a process of its own, with compiled modules at hand as from the second start on. The
host's own imports come first and do not count.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

from _measure import arguments

from environment import comfyui_folder
from pack import ROOT

BARRED = ("diffusers", "transformers")
CHILD = """
import asyncio, json, sys, time
sys.path.append(sys.argv[1])
from pack import register
register()
sys.argv = ["main.py", "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import utils.install_util, server, execution, nodes, comfy.sd, comfy.samplers, comfy_api.latest
before, start = set(sys.modules), time.process_time()
import longtake
extension = asyncio.run(longtake.comfy_entrypoint())
count = len(asyncio.run(extension.get_node_list()))
taken = time.process_time() - start
new = sorted({name.split(".")[0] for name in set(sys.modules) - before} - {"longtake"})
print(json.dumps({"seconds": taken, "nodes": count, "modules": new}))
"""


def main() -> None:
    options = arguments(__doc__, ())
    with tempfile.TemporaryDirectory() as compiled:
        rounds = [start(compiled) for _ in range(1 + options.rounds)][1:]
    seconds = statistics.median(r["seconds"] for r in rounds)
    first = rounds[0]
    print(f"{seconds:.2f} s of CPU for {first['nodes']} nodes; new to the host: {first['modules']}")
    row = {
        "what": "import of the pack over the host",
        "dtype": None,
        "ours_ms": round(1000 * seconds, 1),
        "core_ms": None,
        "diffusers_ms": None,
        "error": None,
        "all_seconds": [round(r["seconds"], 3) for r in rounds],
        "modules": first["modules"],
        "barred": [name for name in first["modules"] if name in BARRED],
    }
    print(json.dumps({"device": "cpu", "rounds": options.rounds, "rows": [row]}))


def start(compiled: str) -> dict:
    """One start of host and pack in a process of its own."""
    kept = {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
    child = subprocess.run(  # noqa: PLW1510 - its error is shown below
        [sys.executable, "-W", "ignore", "-c", CHILD, str(ROOT)],
        cwd=comfyui_folder(),
        env={**os.environ, **kept},
        capture_output=True,
        text=True,
    )
    if child.returncode:
        raise SystemExit(child.stderr)
    return json.loads(child.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
