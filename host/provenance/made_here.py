"""Everything that this installation can tell of where a video comes from."""

from pathlib import Path
from typing import Any

from comfy_api.latest import InputImpl

from ...engine.provenance.report import Report
from ...engine.recognition.evidence import DIGITS, Evidence
from ...models.errors import InputError
from .credentials import file_behind, report_on
from .ledger import look_up
from .mark import find_mark_in
from .reproduced import reproduced


def evidence_on(video: Any, file: Path | None = None, vae: Any = None) -> Evidence:
    """Look at a file's credentials, at its frames for the mark, and into the ledger.

    Args:
        video: VIDEO or IMAGE; None to read `file`.
        file: in one of ComfyUI's folders.
        vae: that it may have come out of, if this is to be looked at, too.

    Raises:
        InputError: if there are no frames that can be read.
    """
    credentials = _credentials(video, file)
    seen = InputImpl.VideoFromFile(str(file)) if file is not None else video
    mark, found = find_mark_in(seen), look_up(seen)
    carried = mark.present and mark.id is not None
    return Evidence(
        credentials,
        mark,
        found.picture,
        found.sound,
        found.lines,
        found.damaged,
        found.file_of(f"{mark.id:0{DIGITS}x}") if carried else None,
        None if vae is None else reproduced(vae, seen),
    )


def _credentials(video: Any, file: Path | None) -> Report | str:
    try:
        return report_on(file_behind(video) if file is None else file)
    except InputError as error:
        return f"not read: {error}"
