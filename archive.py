"""What the ComfyUI registry ships: the files that git knows, less those that .comfyignore names."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

from environment import ROOT

IGNORED = ROOT / ".comfyignore"


def shipped_files() -> list[Path]:
    """Relative to the root, sorted."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    )
    left_out = ignored()
    files = map(Path, filter(None, listed.stdout.split("\0")))
    return sorted(file for file in files if not left_out & {file, *file.parents})


def ignored() -> set[Path]:
    """Files and folders of .comfyignore, which has no patterns: a line names one of them."""
    lines = IGNORED.read_text(encoding="utf-8").splitlines()
    return {Path(line.strip("/")) for line in lines if line and not line.startswith("#")}


def write_archive(target: Path) -> None:
    """A zip of what is shipped, as the registry hands it out: no folder around the files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in shipped_files():
            archive.write(ROOT / file, file.as_posix())
