"""What a crash left of videos in ComfyUI's output folder, by the names they have in a menu."""

from pathlib import Path

from comfy_api.latest import Input, InputImpl

from ...engine.container.salvage import Salvaged, clean, salvage, unfinished
from ...models.errors import InputError
from ..comfyui.media_folders import media_named
from ..comfyui.output import output_folder


def unfinished_menu() -> list[str]:
    """Names for `find_unfinished`, newest first; none that may still be written to."""
    folder = output_folder()
    return [file.relative_to(folder).as_posix() for file in reversed(unfinished(folder))]


def find_unfinished(name: str) -> Path:
    """A file of the output folder. Raises InputError if there is none of that name."""
    if (file := media_named(f"{name} [output]")) is None:
        raise InputError(f"there is no file {name[:120]!r} in ComfyUI's output folder.")
    return file


def salvaged_video(name: str) -> tuple[Input.Video, Salvaged]:
    """An unfinished video as a VIDEO, a new file beside it; what nobody can mend is deleted.

    Args:
        name: one of `unfinished_menu`, or of any mp4 whose end is missing; empty for the newest.

    Raises:
        InputError: if there is none, or no intact frame in it.
        OutputError: if the result cannot be written.
    """
    if not name and not (menu := unfinished_menu()):
        raise InputError(
            "there is no unfinished video in ComfyUI's output folder; one that changed in the last "
            "minute may still be written to."
        )
    clean(output_folder())
    saved = salvage(find_unfinished(name or menu[0]))
    return InputImpl.VideoFromFile(str(saved.path)), saved
