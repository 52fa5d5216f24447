"""Content Credentials within ComfyUI: signing what a graph saves, reading what a VIDEO holds."""

import logging
import os
from pathlib import Path
from typing import Any

import folder_paths

from ...engine.provenance import report, signing
from ...engine.provenance.certificate import find_certificate, local_root, trust_anchors
from ...engine.provenance.report import Report
from ...models.errors import InputError, LongtakeError
from ..comfyui.films import file_source
from ..comfyui.media_folders import check_there, in_media_folders
from .lineage import remember_saved, statement_of

CHOICES = ("auto", "off", "required")
_warned: set[str] = set()


def _certificates_folder() -> Path:
    """The folder of keys and certificates, in ComfyUI's user folder, which it does not serve."""
    return Path(folder_paths.get_system_user_directory("longtake")) / "credentials"


class Signing:
    """The last step of a save (see publish.Finish): signs the file, or notes why it cannot.

    Args:
        choice: one of CHOICES.
        hidden: a node's `hidden`, with `prompt` and `unique_id`.

    Attributes:
        note: afterwards, what was done.
    """

    def __init__(self, choice: str, hidden: Any):
        self.choice, self.note = choice, ""
        self._prompt = getattr(hidden, "prompt", None)
        self._node = getattr(hidden, "unique_id", None)

    def __call__(self, whole: Path) -> Path:
        """The file to publish: a signed copy, or the file itself.

        Raises:
            LongtakeError, OSError: if it cannot be signed and credentials are required. Otherwise
                the video is saved unsigned.
        """
        if self.choice == "off":
            return whole
        try:
            signed = self._signed(whole)
        except (LongtakeError, OSError) as error:
            if self.choice == "required":
                raise
            self.note = f"not signed: {error}"
            _warn_once(self.note)
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
                "there is nothing to declare: no model in this graph made the video, and no file "
                "from ComfyUI's folders went into it."
            )
        certificate = find_certificate(_certificates_folder(), os.environ)
        anchors = trust_anchors(_certificates_folder())
        return signing.sign(whole, statement, certificate, anchors)

    def saved(self, file: Path) -> None:
        """Remember where the video was saved, for nodes after this one."""
        remember_saved(self._prompt, self._node, file)


def check_choice(choice: str, suffix: str) -> None:
    """Refuse required credentials that are not possible, before anything is generated.

    Args:
        choice: one of CHOICES.
        suffix: of the file to be saved.

    Raises:
        InputError: if nothing can be signed on this computer, or no file of this kind.
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
        InputError: if c2pa-python is not installed.
    """
    problem = signing.why_unavailable()
    if problem:
        raise InputError(f"credentials cannot be read: {problem}.")
    folder = _certificates_folder()
    return report.read_report(file, trust_anchors(folder), local_root(folder))


def file_behind(video: Any) -> Path:
    """The file of a VIDEO.

    Raises:
        InputError: if it has none, or one outside ComfyUI's folders.
    """
    source = file_source(video)
    if not isinstance(source, str):
        raise InputError(
            "this VIDEO is not a file but frames in memory, which carry no credentials: connect "
            "Save Video or Load Video, or choose the file."
        )
    if not in_media_folders(Path(source)):
        raise InputError(
            f"{Path(source).name} is not in ComfyUI's input or output folder: copy it there first."
        )
    check_there(Path(source))
    return Path(source)


def _warn_once(note: str) -> None:
    """Log a warning the first time; the node shows it every time."""
    if note not in _warned:
        _warned.add(note)
        logging.getLogger(__name__).warning("Longtake: %s", note)
