"""Frames of a finished file, looked at before it gets its name, with a detector of others.

nudenet (PyPI) is not shipped and never fetched. Its metadata say MIT, the files of its licence say
AGPL-3.0: who offers a service with it should read them.
"""

import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from ...engine.files import patiently
from ...engine.media.reader import media_facts, read_frames
from ...engine.policy.frames import Detector, frames_to_look_at, seen_in
from ...engine.policy.rules import Verdict
from ...models.errors import InputError
from ..comfyui.file_hash import sha256_of
from ..comfyui.owner import owners_folder
from ..comfyui.progress import check_cancelled
from .gate import Gate, words_of

RULE = "frames"
MISSING = (
    "this server's policy asks for a look at each frame, and the Python package nudenet is not "
    "installed: nothing is saved. Its owner can install it, or take `frames` out of the policy."
)


def nudenet() -> Detector:
    """The detector of the package nudenet. Raises InputError if it is not there."""
    try:
        from nudenet import NudeDetector
    except Exception as error:  # also one that is there and does not load
        raise InputError(MISSING) from error
    network = NudeDetector()

    def detect(frame) -> Iterable[tuple[str, float]]:
        check_cancelled()
        found = network.detect(frame.flip(-1).contiguous().numpy())  # it takes BGR, as OpenCV does
        return [(str(one["class"]), float(one["score"])) for one in found]

    return detect


class FramesGate:
    """Looks at every video before it is published; loads its detector the first time."""

    def __init__(self, gate: Gate):
        self._gate, self._detector = gate, None

    def __call__(self, file: Path) -> None:
        """Raises InputError for a file that the policy does not allow, or that cannot be seen."""
        self._detector = self._detector or nudenet()
        policy = self._gate.policy.frames
        facts = media_facts(file)
        label = seen_in(frames_to_look_at(read_frames(file), facts.fps), self._detector, policy)
        if label is None:
            return
        mode = self._gate.policy.mode
        done = {"log": "logged", "withhold": "withheld"}.get(mode, "refused")
        self._gate.note(Verdict(f"{RULE}: {label}"), sha256_of(file), RULE, done)
        if mode == "log":
            return
        if self._gate.keeps_withheld:
            _withhold(file)
        raise InputError(words_of(RULE))


def _withhold(file: Path) -> None:
    """Move a file to where its owner can look at it, and nobody else."""
    folder = owners_folder() / "withheld"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{secrets.token_hex(8)}{file.suffix}"
    patiently(lambda: shutil.move(file, folder / name))  # it may be on another disk
