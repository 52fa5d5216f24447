"""Content Credentials within ComfyUI: whose key, what to say of a graph's video, what to tell."""

import logging
import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import InputImpl

from ...engine.provenance import report, signing
from ...engine.provenance.certificate import find_certificate, local_root, trust_anchors
from ...engine.provenance.report import Report
from ...models.errors import InputError, LongtakeError
from ..comfyui.media_folders import in_media_folders
from .lineage import remember_saved, statement_of

CHOICES = ("auto", "off", "required")
_told: set[str] = set()


def folder() -> Path:
    """Where keys and certificates lie: in ComfyUI's user folder, where its server never looks."""
    return Path(folder_paths.get_system_user_directory("longtake")) / "credentials"


class Signing:
    """The last step of a save: signs the finished file, or notes why not.

    Hand it to `save` as `finish`; `note` says afterwards what it did.
    """

    def __init__(self, choice: str, hidden: Any):
        self.choice, self.note = choice, ""
        self._prompt = getattr(hidden, "prompt", None)
        self._node = getattr(hidden, "unique_id", None)

    def __call__(self, whole: Path) -> Path:
        """The file to be published: signed, or as it was.

        Raises:
            LongtakeError: only if credentials are required; else the video is saved unsigned.
        """
        if self.choice == "off":
            return whole
        try:
            signed = self._signed(whole)
        except (LongtakeError, OSError) as error:
            if self.choice == "required":
                raise
            self.note = f"not signed: {error}"
            warn_once(self.note)
            return whole
        self.note = "signed with Content Credentials"
        return signed

    def _signed(self, whole: Path) -> Path:
        problem = signing.why_unavailable()
        if problem:
            raise InputError(f"{problem}.")
        statement = statement_of(self._prompt, self._node)
        if statement.empty:
            raise InputError(
                "there is nothing to declare, because no model in this graph made the video and "
                "no file of ComfyUI's folders went into it."
            )
        identity = find_certificate(folder(), os.environ)
        return signing.sign(whole, statement, identity, trust_anchors(folder()))

    def saved(self, file: Path) -> None:
        """Note where the video went, for the nodes after."""
        remember_saved(self._prompt, self._node, file)


def check_choice(choice: str, suffix: str) -> None:
    """Refuse, before anything is generated, credentials that are required and cannot be had.

    Args:
        choice: one of CHOICES.
        suffix: of the file to be saved.

    Raises:
        InputError: if nothing can be signed here, or no file of this kind.
    """
    if choice != "required":
        return
    if problem := signing.why_unavailable():
        raise InputError(f"credentials are required, but {problem}.")
    if suffix not in signing.SIGNABLE:
        raise InputError(
            f"credentials are required, but {suffix} files cannot carry any: choose a format in "
            f"{', '.join(signing.SIGNABLE)}, or set credentials to auto."
        )


def report_on(file: Path) -> Report:
    """What the credentials in a file say.

    Raises:
        InputError: if c2pa-python is not there.
    """
    problem = signing.why_unavailable()
    if problem:
        raise InputError(f"credentials cannot be read: {problem}.")
    return report.read_report(file, trust_anchors(folder()), local_root(folder()))


def file_behind(video: Any) -> Path:
    """The file behind a VIDEO, as it lies on the disk.

    Raises:
        InputError: if there is none, or it is not in ComfyUI's folders.
    """
    source = video.get_stream_source() if isinstance(video, InputImpl.VideoFromFile) else None
    if not isinstance(source, str):
        raise InputError(
            "this VIDEO is no file but frames in memory, and frames carry no credentials: connect "
            "Save Video or Load Video, or choose the file."
        )
    if not in_media_folders(Path(source)):
        raise InputError(
            f"{Path(source).name} is not in ComfyUI's input or output folder: put it there first."
        )
    return Path(source)


def warn_once(note: str) -> None:
    """Into the log, once; the node says it each time."""
    if note not in _told:
        _told.add(note)
        logging.getLogger(__name__).warning("Longtake: %s", note)
