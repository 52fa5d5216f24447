"""What the nodes say, as ComfyUI's pages look it up in `locales/LANGUAGE/nodeDefs.json`.

    .venv/bin/python tests/nodes/locales.py

writes the English file out of the schemas. The others are written by people: `test_locales.py` says
which of their sentences are missing, or are of an input that is gone.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from pack import register

    register()

from environment import comfyui_folder  # noqa: E402

LOCALES = ROOT / "locales"
SYNTAX = "{}|@"  # of the pages' own messages: a text with any of these is left as the node has it


def texts_of(schema: Any) -> dict[str, Any]:
    """A node's texts: of itself, its inputs by name, its outputs by number."""
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": {i.id: texts(i.id, i.tooltip) for i in schema.inputs},
        "outputs": {str(n): texts(o.display_name, o.tooltip) for n, o in enumerate(schema.outputs)},
    }


def texts(name: str, tooltip: str) -> dict[str, str]:
    return {"name": name} | ({} if set(SYNTAX) & set(tooltip) else {"tooltip": tooltip})


def english() -> dict[str, Any]:
    """The texts of all nodes, by their ids, out of their schemas."""
    import longtake

    nodes = asyncio.run(asyncio.run(longtake.comfy_entrypoint()).get_node_list())
    schemas = [node.GET_SCHEMA() for node in nodes]
    return {schema.node_id: texts_of(schema) for schema in schemas}


def written(language: str) -> dict[str, Any]:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def leaves(tree: dict[str, Any], path: str = "") -> dict[str, str]:
    """Every text by its path, "LongtakeShot.inputs.seed.tooltip"."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        here = f"{path}.{key}".lstrip(".")
        found |= leaves(value, here) if isinstance(value, dict) else {here: value}
    return found


def main() -> None:
    from tests.in_process import import_comfyui

    with tempfile.TemporaryDirectory() as base:
        import_comfyui(comfyui_folder(), Path(base))
        text = json.dumps(english(), indent=2, ensure_ascii=False) + "\n"
    (LOCALES / "en" / "nodeDefs.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
