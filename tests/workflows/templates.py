"""The template browser's table: what each workflow is called there, and what is said of it.

web/templates/index.json is the one place that has names, numbers and order. A page takes a file's
name as the title, so `text_to_video` lies in `workflows/Longtake 01 Text to video.json`.
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workflows"
INDEX = ROOT / "web" / "templates" / "index.json"
GROUPS = json.loads(INDEX.read_text(encoding="utf-8"))
TEMPLATES = {
    template["name"]: template for group in GROUPS for template in group["templates"]
}  # in the order in which people see them


def graph_file(name: str, suffix: str = ".json") -> Path:
    """The file that the browser opens, or by another suffix a picture of it."""
    return FOLDER / f"{TEMPLATES[name]['title']}{suffix}"


def prompt_file(name: str) -> Path:
    """The same graph for headless runs."""
    return FOLDER / "api" / f"{name}.json"
