"""Writes down what graphs saved with this version rely on: python dev.py freeze.

To tests/released/VERSION/, which is never edited afterwards.
"""

import asyncio
import importlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from environment import comfyui_folder
from pack import register
from tests.workflows.templates import TEMPLATES, graph_file, prompt_file


def relied_on() -> dict[str, dict]:
    """Types of the inputs and outputs of each node in their order, and the choices of menus."""
    samplers = importlib.import_module("comfy.samplers").KSampler
    extension = asyncio.run(importlib.import_module("longtake").comfy_entrypoint())
    schemas = [node.GET_SCHEMA() for node in asyncio.run(extension.get_node_list())]
    hosts = (samplers.SAMPLERS, samplers.SCHEDULERS)  # which ComfyUI may change
    return {
        schema.node_id: {
            "inputs": {i.id: entry(i, hosts) for i in schema.inputs},
            "outputs": [output.io_type for output in schema.outputs],
        }
        for schema in schemas
    }


def entry(widget: Any, hosts: tuple) -> dict:
    options = getattr(widget, "options", None)
    known = {} if options is None or list(options) in map(list, hosts) else {"options": [*options]}
    return {"type": widget.io_type, **known}


def main() -> None:
    register()
    signing = importlib.import_module("longtake.engine.provenance.signing")
    folder = Path(__file__).parent / signing.version()
    folder.mkdir()
    copy_workflows(folder / "workflows")
    with tempfile.TemporaryDirectory() as base:  # without anybody's files in the menus
        for name in ("custom_nodes", "input", "output", "models"):
            (Path(base) / name).mkdir()
        host = importlib.import_module("tests.in_process")
        host.import_comfyui(comfyui_folder(), Path(base))
        text = json.dumps(relied_on(), indent=1)
    (folder / "nodes.json").write_text(text + "\n", encoding="utf-8")
    print(folder)


def copy_workflows(target: Path) -> None:
    """Both forms of each, under the name of its prompt."""
    (target / "api").mkdir(parents=True)
    for name in TEMPLATES:
        shutil.copy(graph_file(name), target / f"{name}.json")
        shutil.copy(prompt_file(name), target / "api")


if __name__ == "__main__":
    main()
