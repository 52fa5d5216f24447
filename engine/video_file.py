"""Frames to an mp4 that is whole or not there.

While it is being made, the video is a fragmented mp4 under a hidden name beside its later one: what
there is of it after a crash can be played. At the end its packets are copied into an ordinary mp4
whose index comes first; that is put on disk, and only then given its name.
"""

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from ..models.errors import InputError, OutputError

# empty_moov, the usual recipe, writes the index before the timing of the first packets is known
# and shifts it; delay_moov waits for them.
_WHILE_MADE = {"movflags": "frag_keyframe+delay_moov+use_metadata_tags", "flush_packets": "1"}
BT709 = 1  # the number of this standard in each of a stream's three colour tags
_OF_THE_CONTAINER = {"major_brand", "minor_version", "compatible_brands", "encoder"}


@dataclass(frozen=True)
class Quality:
    """How x264 spends bits and time."""

    crf: int = (
        16  # 0 (lossless, but for the colour's half resolution) … 51; 16 looks like the source
    )
    preset: str = "medium"


CLEAR = Quality()


class VideoFacts(NamedTuple):
    """What is in a video file that was written."""

    frames: int
    width: int
    height: int


def write_video(
    path: Path,
    chunks: Iterable[Any],
    fps: Fraction,
    *,
    quality: Quality = CLEAR,
    metadata: Mapping[str, Any] | None = None,
) -> VideoFacts:
    """Encode a frame stream as h264 in mp4.

    Args:
        path: where to, ending in .mp4; its folder must exist. Never overwritten.
        chunks: uint8 (frames, h, w, 3), tensors on the CPU or arrays, all of one even size.
            Anything it raises ends the writing, and is raised.
        fps: frames per second.
        quality: of the encoder.
        metadata: JSON values by name, to be found in the file's tags; with the names ComfyUI
            uses ("workflow", "prompt") its front-end restores the graph from the file.

    Raises:
        InputError: for no frames, or frames that do not fit what went before.
        OutputError: if the file exists, or the disk does not take it.
    """
    with _hidden(path, "part") as part:
        facts = _encode(part, chunks, fps, quality, metadata or {})
        copy_video(part, path)
    return facts


def copy_video(source: Path, path: Path, *, metadata: Mapping[str, Any] | None = None) -> None:
    """The same packets in a new mp4 with its index first; nothing is decoded.

    Args:
        source: a video file; its tags are kept.
        path: where to, ending in .mp4; its folder must exist. Never overwritten.
        metadata: tags to add or replace, JSON values by name.

    Raises:
        OutputError: if the file exists, or the disk does not take it.
    """
    _refuse_existing(path)
    with _hidden(path, "whole") as whole:
        _remux(source, whole, metadata or {})
        _to_disk(whole)
        _publish(whole, path)


@contextmanager
def _hidden(path: Path, stage: str) -> Iterator[Path]:
    """A new name beside `path` that is gone afterwards; disk errors say which file they are of."""
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.{stage}.mp4")
    try:
        yield temporary
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path.name} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _encode(
    part: Path,
    chunks: Iterable[Any],
    fps: Fraction,
    quality: Quality,
    metadata: Mapping[str, Any],
) -> VideoFacts:
    chunks = (np.asarray(chunk) for chunk in chunks)
    first = next((chunk for chunk in chunks if len(chunk)), None)
    if first is None:
        raise InputError("a video needs at least 1 frame, and there is none.")
    height, width = _check(first, first.shape)
    with av.open(part, "w", options=_WHILE_MADE) as container:
        _tag(container, metadata)
        stream = _h264(container, width, height, fps, quality)
        frames = 0
        for frame in _yuv_frames(chain([first], chunks), first.shape):
            frame.pts, frame.time_base = frames, 1 / fps
            container.mux(stream.encode(frame))
            frames += 1
        container.mux(stream.encode())
    return VideoFacts(frames, width, height)


def _check(chunk: NDArray[Any], first: tuple[int, ...]) -> tuple[int, int]:
    if chunk.dtype != np.uint8 or chunk.ndim != 4 or chunk.shape[3] != 3:
        raise InputError(
            f"frames must be uint8 of shape (frames, height, width, 3), "
            f"not {chunk.dtype} of shape {chunk.shape}."
        )
    height, width = chunk.shape[1:3]
    if chunk.shape[1:] != first[1:]:
        raise InputError(f"frames of {width}×{height} after frames of {first[2]}×{first[1]}.")
    if width % 2 or height % 2 or not width or not height:
        even = f"{max(2, width - width % 2)}×{max(2, height - height % 2)}"
        raise InputError(
            f"frames of {width}×{height} cannot be h264 with half-size colour: both sides "
            f"must be even. Nearest: {even}."
        )
    return height, width


def _h264(
    container: av.container.OutputContainer,
    width: int,
    height: int,
    fps: Fraction,
    quality: Quality,
) -> av.VideoStream:
    stream = container.add_stream("libx264", rate=fps)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.time_base = 1 / fps
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = ColorRange.MPEG
    stream.options = {
        "crf": str(quality.crf),
        "preset": quality.preset,
        "g": str(max(1, round(fps))),  # a keyframe a second: at most that much is lost in a crash
    }
    return stream


def _yuv_frames(
    chunks: Iterable[NDArray[np.uint8]], first: tuple[int, ...]
) -> Iterator[av.VideoFrame]:
    convert = VideoReformatter()
    for chunk in chunks:
        _check(chunk, first)
        for rgb in chunk:
            yield convert.reformat(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )


def _tag(container: av.container.OutputContainer, metadata: Mapping[str, Any]) -> None:
    for name, value in metadata.items():
        container.metadata[name] = value if isinstance(value, str) else json.dumps(value)


def _remux(source: Path, whole: Path, metadata: Mapping[str, Any]) -> None:
    with av.open(source) as old, av.open(whole, "w", options=_finished(old, source)) as new:
        kept = {k: v for k, v in old.metadata.items() if k not in _OF_THE_CONTAINER}
        _tag(new, {**kept, **metadata})
        copies = {
            stream.index: new.add_stream_from_template(stream, opaque=True)
            for stream in old.streams
            if stream.type in ("video", "audio")
        }
        for packet in old.demux([old.streams[index] for index in copies]):
            if packet.dts is not None:  # the last packet of a stream is empty
                packet.stream = copies[packet.stream.index]
                new.mux(packet)


def _finished(old: av.container.InputContainer, source: Path) -> dict[str, str]:
    if not old.streams.video:
        raise InputError(f"{source.name} has no pictures in it, so it is not a video.")
    # Older PyAV would round times to 1/90000 s, which has no place for 24000/1001 frames a second.
    ticks = old.streams.video[0].time_base.denominator
    return {"movflags": "faststart+use_metadata_tags", "video_track_timescale": str(ticks)}


def _to_disk(file: Path) -> None:
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise OutputError(
            f"{path.name} exists already and is never overwritten: choose another name."
        )


def _publish(whole: Path, path: Path) -> None:
    """Give a finished file its name, in one step and only if nothing has it."""
    try:
        os.link(whole, path)  # unlike a rename, this fails if the name is taken
    except FileExistsError:
        _refuse_existing(path)
    except OSError:  # a file system without hard links
        _refuse_existing(path)
        whole.rename(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
