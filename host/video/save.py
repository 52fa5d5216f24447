"""ComfyUI's VIDEO and its folders <-> files that we stream."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import comfy.sd
import comfy.utils
from comfy.cli_args import args
from comfy_api.latest import Input, InputImpl
from torch import Tensor

from ...engine.frames.prefetch import prefetch
from ...engine.frames.stream import frame_stream, without_first
from ...engine.media.formats import MP4, VISUALLY_LOSSLESS, Format, Quality
from ...engine.media.names import safe_name
from ...engine.media.publish import Finish, check_space, claim, hidden_file, publish, writing_bytes
from ...engine.media.reader import MOV, crf_in, media_facts, read_frames
from ...engine.media.sound import Sound
from ...engine.media.still import NONE, POSTER, write_still
from ...engine.media.writer import copy_video, write_video
from ...models.errors import OutputError
from ..comfyui.output import (
    fill_in_dates,
    folder_for,
    numbered_names,
    output_folder,
    temporary_file,
)
from ..comfyui.progress import cancel_within_networks, check_cancelled
from ..networks.vae import decoder, grid_of
from .clip import Footage, opened

PLAYED = ("yuv420p", "yuvj420p")  # by everything that plays h264: others have ten bits or 4:4:4


def film(
    vae: comfy.sd.VAE,
    latents: Tensor,
    fps: Fraction,
    quality: Quality = VISUALLY_LOSSLESS,
    skip: int = 0,
) -> Input.Video:
    """Decode one video, (1, c, t, h, w), straight into a file in ComfyUI's temp folder.

    `skip` of its frames are left out at the front.
    """
    grid = grid_of(vae)
    total = grid.frames(latents.shape[2]) - skip
    height, width = (side * grid.stride_hw for side in latents.shape[3:])
    path = temporary_file("longtake")
    check_space(path.parent, writing_bytes(total, width, height))
    chunks = prefetch(
        without_first(frame_stream(decoder(vae, latents), latents.split(1, dim=2)), skip)
    )
    with cancel_within_networks():
        write_video(path, counted(chunks, total), fps, quality=quality, check=check_cancelled)
    return InputImpl.VideoFromFile(str(path))


def counted(chunks: Iterable[Tensor], total: int) -> Iterator[Tensor]:
    """The chunks themselves, moving the progress bar and stopping at Cancel.

    If it is left early, so are the chunks.
    """
    bar = comfy.utils.ProgressBar(total)
    try:
        for chunk in chunks:
            check_cancelled()
            yield chunk
            bar.update(len(chunk))
    finally:
        if hasattr(chunks, "close"):
            chunks.close()


@dataclass(frozen=True)
class SaveOptions:
    """How a video shall be saved."""

    form: Format = MP4
    quality: Quality = VISUALLY_LOSSLESS
    sound: Sound | None = None  # instead of the video's own
    picture: str = NONE
    mark: Callable[[Iterable[Tensor]], Iterator[Tensor]] | None = None  # a stage in front of it all


class SavedVideo(NamedTuple):
    """What was saved; names are relative to the output folder."""

    path: Path
    name: PurePosixPath
    picture: PurePosixPath | None
    told: str  # what was decided, for people


def save(
    video: Input.Video,
    prefix: str,
    metadata: Mapping[str, Any],
    wish: SaveOptions = SaveOptions(),
    finish: Finish | None = None,
) -> SavedVideo:
    """Put a VIDEO into ComfyUI's output folder as a file that is whole or not there.

    Args:
        video: from any node. Pictures that are as wished already are copied, others encoded.
        prefix: the beginning of its name, perhaps in folders; a counter is added.
        metadata: to be embedded, JSON values by name.
        wish: how.
        finish: the last step before the file and the picture beside it get their names; see
            engine/media/publish.py.

    Raises:
        InputError: for a name that is not allowed, or a VIDEO that cannot be read.
        OutputError: if the disk does not take it.
    """
    with opened(video) as clip:
        name = safe_name(fill_in_dates(prefix, clip.width, clip.height))
        try:
            return _save(clip, name, metadata, wish, finish)
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"the file cannot be written: {error.strerror or error}") from error


def _save(
    clip: Footage,
    name: PurePosixPath,
    metadata: Mapping[str, Any],
    wish: SaveOptions,
    finish: Finish | None,
) -> SavedVideo:
    folder, stem, suffix = folder_for(name), name.name, wish.form.suffix
    check_space(folder, _bytes(clip))
    ready = folder / f".{stem[:40]}.{secrets.token_hex(4)}.ready{suffix}"
    still = ready.with_suffix(".png")
    try:
        if wish.picture != NONE:
            _beside_it(still, clip, wish.picture, metadata, finish)
        told = _write(clip, ready, metadata, wish, finish)
        path = claim(ready, numbered_names(folder, stem, suffix))
        picture = claim(still, _beside(path)) if still.exists() else None
    finally:
        ready.unlink(missing_ok=True)
        still.unlink(missing_ok=True)
    return SavedVideo(path, _relative(path), picture and _relative(picture), f"{path.name}: {told}")


def _beside_it(
    path: Path, clip: Footage, kind: str, metadata: Mapping[str, Any], finish: Finish | None
) -> None:
    """Write a picture that stands for a clip; it is signed as the clip is."""
    with hidden_file(path, "still", path.suffix) as draft:
        write_still(draft, prefetch(clip.stream()), clip.frames, clip.fps, kind, metadata)
        publish(draft, path, finish)


def _bytes(clip: Footage) -> int:
    """What a clip may take on the disk."""
    if clip.file is not None:
        return 2 * clip.file.stat().st_size
    return writing_bytes(clip.frames, clip.width, clip.height)


def _relative(path: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(output_folder()).as_posix())


def _beside(video: Path) -> Iterator[Path]:
    yield video.with_suffix(".png")
    yield from (video.with_name(f"{video.stem}{n}.png") for n in count(2))


def _write(
    clip: Footage, path: Path, metadata: Mapping[str, Any], wish: SaveOptions, finish: Finish | None
) -> str:
    """Write a clip as wished, and say how."""
    common = {
        "metadata": metadata,
        "form": wish.form,
        "finish": finish,
        "check": check_cancelled,
        "quality": wish.quality,
    }
    alike = wish.form.animation or may_be_copied(clip, wish)
    if clip.file is not None and alike and wish.mark is None:
        keep = not args.disable_metadata
        copy_video(clip.file, path, sound=wish.sound, keep=keep, **common)
        how = "made of its frames" if wish.form.animation else "copied without loss"
    else:
        frames = prefetch(clip.stream())
        chunks = counted(frames if wish.mark is None else wish.mark(frames), clip.frames)
        sound = clip.sound if wish.sound is None else wish.sound
        write_video(path, chunks, clip.fps, sound=sound, **common)
        crf = wish.form.visually_lossless if wish.quality.crf is None else wish.quality.crf
        how = f"encoded at crf {crf}, {wish.quality.preset}"
    silent = wish.form.animation or (wish.sound is None and clip.sound is None)
    return (
        f"{clip.frames} frames of {clip.width}×{clip.height}, {clip.seconds:.2f} s at "
        f"{float(clip.fps):.6g}/s, {wish.form.name}, {how}, {'no' if silent else 'with'} sound, "
        f"{path.stat().st_size / 2**20:.1f} MiB"
    )


def may_be_copied(clip: Footage, wish: SaveOptions) -> bool:
    """Whether a clip's own packets are what is wished, so that nothing is encoded twice."""
    facts = clip.facts
    if facts is None or clip.file is None or facts.container != MOV:
        return False
    if facts.codec != wish.form.codec or (facts.rotation and wish.form.suffix != ".mp4"):
        return False
    if wish.form == MP4 and facts.pixel_format not in PLAYED:
        return False
    return wish.quality.crf in (None, crf_in(clip.file))


def graph_in(hidden: Any) -> dict[str, Any]:
    """What a node is told of the graph it is in, for embedding; nothing under --disable-metadata.

    Args:
        hidden: a node's `hidden_file`, with `prompt` and `extra_pnginfo`.
    """
    if args.disable_metadata:
        return {}
    graph = dict(hidden.extra_pnginfo or {})
    return graph if hidden.prompt is None else {**graph, "prompt": hidden.prompt}


def ui_of(saved: SavedVideo, form: Format) -> dict[str, Any]:
    """What the browser shows of a saved video, and the files that were made.

    Of a kind that browsers do not play, a frame is shown.
    """
    files = [saved.name] + ([saved.picture] if saved.picture else [])
    made = [_entry(file, "output") for file in files]
    if form.suffix == ".mkv" or form.codec == "hevc":
        return {"images": [_entry(_poster(saved.path), "temp")], "files": made}
    moves = {} if form.name == "gif" else {"animated": (True,)}  # a gif moves by itself
    return {"images": made[:1], **moves, "files": made}


def _poster(video: Path) -> PurePosixPath:
    path, facts = temporary_file("preview", ".png"), media_facts(video)
    write_still(path, read_frames(video), facts.frames, facts.fps, POSTER, {})
    return PurePosixPath(path.name)


def _entry(file: PurePosixPath, kind: str) -> dict[str, str]:
    folder = "" if str(file.parent) == "." else str(file.parent)
    return {"filename": file.name, "subfolder": folder, "type": kind}
