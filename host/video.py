"""ComfyUI's VIDEO and its folders <-> files that we stream."""

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import comfy.sd
import comfy.utils
import folder_paths
from comfy.cli_args import args
from comfy_api.latest import Input, InputImpl, Types
from torch import Tensor

from ..engine.file_name import safe_name
from ..engine.size import frame_rate
from ..engine.stream import frame_stream, image_stream
from ..engine.video_file import copy_video, write_video
from ..models.errors import InputError, OutputError
from .progress import check_cancelled
from .vae import decoder, grid_of

DATE = {  # what ComfyUI fills into names, as strftime spells it
    "year": "%Y",
    "month": "%m",
    "day": "%d",
    "hour": "%H",
    "minute": "%M",
    "second": "%S",
}


def film(vae: comfy.sd.VAE, latents: Tensor, fps: Fraction) -> Input.Video:
    """Decode one video, (1, c, t, h, w), straight into a file in ComfyUI's temp folder."""
    total = grid_of(vae).frames(latents.shape[2])
    path = temporary("longtake")
    write_video(path, counted(frame_stream(decoder(vae, latents), latents), total), fps)
    return InputImpl.VideoFromFile(str(path))


def counted(chunks: Iterable[Tensor], total: int) -> Iterator[Tensor]:
    """The chunks themselves, moving the progress bar and stopping at Cancel."""
    bar = comfy.utils.ProgressBar(total)
    for chunk in chunks:
        check_cancelled()
        yield chunk
        bar.update(len(chunk))


def save(
    video: Input.Video, prefix: str, metadata: Mapping[str, Any]
) -> tuple[Path, PurePosixPath]:
    """Put a VIDEO into ComfyUI's output folder as an mp4 that is whole or not there.

    Args:
        video: from any node. h264 is copied as it is, anything else encoded by ComfyUI.
        prefix: the beginning of its name, perhaps in folders; a counter is added.
        metadata: to be embedded, JSON values by name.

    Returns:
        The file, and its name relative to the output folder.

    Raises:
        InputError: for a name that is not allowed.
        OutputError: if the disk does not take it.
    """
    name = safe_name(filled_in(prefix, *video.get_dimensions()))
    try:
        path = put(video, folder_for(name), name.name, metadata)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"the video cannot be written: {error.strerror or error}") from error
    return path, PurePosixPath(path.relative_to(output_folder()).as_posix())


def put(video: Input.Video, folder: Path, stem: str, metadata: Mapping[str, Any]) -> Path:
    """The VIDEO as a new file in `folder`, and nothing else there, whatever happens."""
    part = folder / f".{secrets.token_hex(6)}.part.mp4"
    try:
        write_part(video, part)
        return published(part, folder, stem, metadata)
    finally:
        part.unlink(missing_ok=True)


def write_part(video: Input.Video, part: Path) -> None:
    """A VIDEO as h264 in an mp4."""
    if isinstance(video, InputImpl.VideoFromComponents):
        whole = video.get_components()
        if whole.audio is None:
            chunks = counted(image_stream(whole.images), len(whole.images))
            write_video(part, chunks, frame_rate(float(whole.frame_rate)))
            return
    # Only ComfyUI knows what else a VIDEO can be: a file, a part of one, tensors with sound.
    video.save_to(str(part), format=Types.VideoContainer.MP4, codec=Types.VideoCodec.H264)


def published(part: Path, folder: Path, stem: str, metadata: Mapping[str, Any]) -> Path:
    """The part under the first name that is free: stem_00001_.mp4 and so on."""
    for number in count(highest(folder, stem) + 1):
        path = folder / f"{stem}_{number:05}_.mp4"
        try:
            copy_video(part, path, metadata=metadata)
        except OutputError:
            if not path.exists():  # else somebody was quicker
                raise
        else:
            return path
    raise AssertionError("numbers do not end")


def folder_for(name: PurePosixPath) -> Path:
    """The folder of an output, which is made if need be.

    Raises:
        InputError: if a link leads out of the output folder.
    """
    folder = output_folder() / name.parent
    if not folder.resolve().is_relative_to(output_folder()):
        raise InputError(
            f"'{name}' is no name for a file: a link in it leads out of the output folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def filled_in(prefix: str, width: int, height: int) -> str:
    """%year%, %width% and so on replaced, as ComfyUI's own nodes do."""
    size = prefix.replace("%width%", str(width)).replace("%height%", str(height))
    for word, code in DATE.items():
        size = size.replace(f"%{word}%", time.strftime(code))
    return size


def highest(folder: Path, stem: str) -> int:
    """The highest number that a file of that name has; 0 if there is none."""
    names = (file.name for file in folder.iterdir() if file.name.startswith(f"{stem}_"))
    numbers = (name[len(stem) + 1 :].split("_")[0] for name in names)
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def graph_in(hidden: Any) -> dict[str, Any]:
    """What a node is told of the graph it is in, for embedding; nothing under --disable-metadata.

    Args:
        hidden: a node's `hidden`, with `prompt` and `extra_pnginfo`.
    """
    if args.disable_metadata:
        return {}
    graph = dict(hidden.extra_pnginfo or {})
    return graph if hidden.prompt is None else {**graph, "prompt": hidden.prompt}


def output_folder() -> Path:
    return Path(folder_paths.get_output_directory()).resolve()


def temporary(stem: str) -> Path:
    """A new name for an mp4 in ComfyUI's temp folder, which it empties when it starts."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{stem}_{secrets.token_hex(8)}.mp4"
