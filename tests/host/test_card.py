"""`dev.py card` on a machine without a card: tiny sizes, to see that it runs and what it says."""

import json
import subprocess
import sys

from environment import ROOT, comfyui_folder

MODE = "fp8 products"


def test_a_dry_run_ends_in_a_page_and_one_json_document(monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(comfyui_folder()))
    command = [sys.executable, ROOT / "benchmarks" / "card.py", "--dry", "--modes", MODE]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=280)
    *page, last = done.stdout.splitlines()
    found = json.loads(last)
    (rows,) = found["modes"].values()
    assert [row["what"].split(",")[0] for row in rows] == ["built-in model"] * 2 + ["a run"]
    assert all(row["ok"] for row in rows[:2]), rows  # the same video, after its weights were away
    assert rows[2]["error"] < 1e-2
    assert min(rows[2]["ours_bytes"], rows[2]["core_bytes"], rows[2]["asked_bytes"]) > 0
    assert page[0].startswith(f"device {found['device']}, torch {found['torch']}")
    assert sum(line.startswith("| ") and row["what"] in line for line in page for row in rows) == 3
