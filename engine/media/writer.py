"""Frames to a video file that is complete or not there.

While it is written, the video is a fragmented mp4 under a hidden name beside its final one: what a
crash leaves of it can be played (see salvage.py). At the end its packets are copied into the file
that was asked for, with its index first; that may then be signed, is flushed to disk, and only then
gets its name.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from ...models.errors import InputError
from ..container.audio import packets_of
from ..container.formats import (
    MP4,
    VISUALLY_LOSSLESS,
    Format,
    Quality,
    check_format,
    encoder_of,
    encoder_options,
)
from ..container.publish import Finish, hidden_file, publish, refuse_existing
from ..container.remux import remux, tag, tags_of, text_of
from ..container.tracks import Track, copied_track, encoded_track, mux
from ..container.verify import check_complete
from ..files import hide
from ..frames.prefetch import Closed, abandoned, alongside
from .animation import check_animation, write_animation
from .displayed import BT709
from .reader import media_facts, read_frames
from .sound import Sound
from .sound_part import SoundPart

# empty_moov, the usual recipe, writes the index before the timing of the first packets is known
# and shifts it; delay_moov waits for them.
FRAGMENTED = {
    "movflags": "frag_keyframe+delay_moov+use_metadata_tags",
    "frag_duration": "125000",  # microseconds
    "flush_packets": "1",
}
INTERMEDIATE = Quality(crf=10, preset="veryfast")  # of the mp4 that an animation is made from


def write_video(
    path: Path,
    chunks: Iterable[Any],
    fps: Fraction,
    *,
    quality: Quality = VISUALLY_LOSSLESS,
    metadata: Mapping[str, Any] | None = None,
    form: Format = MP4,
    sound: Sound | SoundPart | Path | None = None,
    finish: Finish | None = None,
    check: Callable[[], Any] = lambda: None,
    part: Path | None = None,
) -> None:
    """Encode a frame stream.

    Args:
        path: of the new file, with the format's suffix; its folder must exist. Never overwritten.
        chunks: uint8 (frames, h, w, 3), tensors on the CPU or arrays, all of one size with even
            sides. It is closed at the end, also after an error.
        fps: frames per second.
        quality: of the encoder.
        metadata: JSON values by name, stored in the file's tags; from the names ComfyUI uses
            ("workflow", "prompt") its front-end restores the graph.
        form: container and codec.
        sound: samples or a part of a file's, cut off at the end of the last frame; or a file to
            copy it from.
        finish: see publish.Finish.
        check: called for every frame and packet, and again and again while one is encoded; an
            exception from it ends the writing.
        part: name beside which the unfinished video is hidden, where that is not `path`.

    Raises:
        InputError: if there are no frames, or they differ in size.
        OutputError: if the file exists, or it cannot be written.
        Whatever `chunks`, `finish` or `check` raises. Nothing is left behind then, once the frame
        that an encoder has at hand is done.
    """
    look = _unless_left(check)

    def write(chunks: Iterator[Any]) -> None:
        frames = _Frames(chunks, fps, form, look)
        with closing(frames), hidden_file(part or path, "part", ".mp4") as growing:
            track = None if form.animation else sound
            packets = _encode(growing, frames, form, quality, metadata or {}, track, look)
            check_complete(growing, path, packets)
            path.parent.mkdir(parents=True, exist_ok=True)  # a temp folder may be emptied any time
            if form.animation:
                _animated(growing, path, form, quality, look, finish=finish)
            else:
                remux(growing, path, form, finish=finish, check=look)

    try:
        refuse_existing(path)
        encoder_of(form)
        alongside(chunks, write, check)
    finally:
        if hasattr(chunks, "close"):  # now, not when the traceback of an error is dropped
            chunks.close()


def copy_video(
    source: Path,
    path: Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    form: Format = MP4,
    sound: Sound | None = None,
    finish: Finish | None = None,
    check: Callable[[], Any] = lambda: None,
    quality: Quality = VISUALLY_LOSSLESS,
    keep: bool = True,
) -> None:
    """The same video in a new file: its own packets, or an animation of its decoded frames.

    Args:
        source: as of remux; of any codec for an animation.
        quality: of an animation.
        The others, and what is raised: see remux.
    """
    options = {"metadata": metadata, "finish": finish, "keep": keep}
    if not form.animation:
        remux(source, path, form, sound=sound, check=check, **options)
        return
    refuse_existing(path)
    facts, look = media_facts(source), _unless_left(check)
    check_format(form, facts.width, facts.height, facts.fps)
    alongside((), lambda _: _animated(source, path, form, quality, look, **options), check)


def _animated(
    source: Path,
    path: Path,
    form: Format,
    quality: Quality,
    check: Callable[[], Any],
    *,
    metadata: Mapping[str, Any] | None = None,
    finish: Finish | None = None,
    keep: bool = True,
) -> None:
    with hidden_file(path, "whole", form.suffix) as whole:
        tags = {**(tags_of(source) if keep else {}), **(metadata or {})}
        _animate(source, whole, form, quality, tags, check)
        check_animation(whole, path)
        check()
        publish(whole, path, finish)


def _unless_left(check: Callable[[], Any]) -> Callable[[], Any]:
    """check, for a thread that ends when nobody waits for it any more."""

    def look() -> None:
        if abandoned():
            raise Closed
        check()

    return look


class _Frames:
    """The frames of a stream on their way into an encoder, all of the first one's size."""

    def __init__(
        self, chunks: Iterable[Any], fps: Fraction, form: Format, check: Callable[[], Any]
    ):
        arrays = (np.asarray(chunk) for chunk in chunks)
        first = next((chunk for chunk in arrays if len(chunk)), None)
        if first is None:
            raise InputError("a video needs at least 1 frame, and there is none.")
        self.height, self.width = _check_frames(first, first.shape)
        check_format(form, self.width, self.height, fps)
        self._chunks, self._shape = chain([first], arrays), first.shape
        self.fps, self.count, self._check = fps, 0, check
        self._encoder: av.VideoCodecContext | None = None

    def close(self) -> None:
        """Empty the encoder of what a writing that was stopped left in it.

        An encoder that is freed waits for the frames it has at hand, and PyAV frees it under
        Python's lock: no thread goes on for seconds. Emptied, it waits without the lock.
        """
        if self._encoder is not None and self._encoder.is_open:
            with suppress(av.FFmpegError):  # at the end of a whole video it is empty
                self._encoder.encode(None)

    def packets(self, stream: av.VideoStream) -> Iterator[av.Packet]:
        self._encoder = stream.codec_context
        for frame in _yuv_frames(self._chunks, self._shape):
            self._check()
            frame.pts, frame.time_base = self.count, 1 / self.fps
            self.count += 1
            yield from packets_of(stream, frame)
        yield from packets_of(stream, None)


def _encode(
    growing: Path,
    frames: _Frames,
    form: Format,
    quality: Quality,
    metadata: Mapping[str, Any],
    sound: Sound | SoundPart | Path | None,
    check: Callable[[], Any],
) -> int:
    if form.animation:
        form, quality = MP4, INTERMEDIATE
    with ExitStack() as stack:
        container = stack.enter_context(av.open(growing, "w", format="mp4", options=FRAGMENTED))
        tag(container, metadata)
        stream = _video_stream(container, frames, form, quality)
        tracks = [Track(stream, frames.packets(stream))]
        if isinstance(sound, Path):
            tracks += copied_track(stack, container, sound, "audio", form.sound_codecs)
        elif sound is not None:
            tracks.append(encoded_track(container, sound, form))
        container.start_encoding()
        hide(growing)
        return mux(container, tracks, cut=not isinstance(sound, Path), check=check)


def _check_frames(chunk: NDArray[Any], first: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of a chunk, which must be as the first one's shape says."""
    if chunk.dtype != np.uint8 or chunk.ndim != 4 or chunk.shape[3] != 3:
        raise InputError(
            f"frames must be uint8 of shape (frames, height, width, 3), "
            f"not {chunk.dtype} of shape {chunk.shape}."
        )
    height, width = chunk.shape[1:3]
    if chunk.shape[1:] != first[1:]:
        raise InputError(
            f"frames of {width}×{height} after frames of {first[2]}×{first[1]}: all frames of a "
            f"video must be of one size."
        )
    if width % 2 or height % 2 or not width or not height:
        even = f"{max(2, width - width % 2)}×{max(2, height - height % 2)}"
        raise InputError(
            f"frames of {width}×{height} cannot be encoded: colour is stored for blocks of 2×2 "
            f"pixels (4:2:0), so both sides must be even. Nearest: {even}."
        )
    return height, width


def _video_stream(
    container: av.container.OutputContainer, frames: _Frames, form: Format, quality: Quality
) -> av.VideoStream:
    encoder = encoder_of(form, min(frames.width, frames.height))
    options = encoder_options(form, encoder, quality, frames.fps)
    stream = container.add_stream(encoder, rate=frames.fps)
    stream.width, stream.height, stream.pix_fmt = frames.width, frames.height, "yuv420p"
    stream.time_base = 1 / frames.fps
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = ColorRange.MPEG
    if form.codec_tag:
        context.codec_tag = form.codec_tag
    stream.options = options
    return stream


def _yuv_frames(
    chunks: Iterable[NDArray[np.uint8]], first: tuple[int, ...]
) -> Iterator[av.VideoFrame]:
    convert = VideoReformatter()
    for chunk in chunks:
        _check_frames(chunk, first)
        for rgb in chunk:
            yield convert.reformat(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24"),
                format="yuv420p",
                dst_colorspace=BT709,
                dst_color_range=ColorRange.MPEG,
            )


def _animate(
    source: Path,
    whole: Path,
    form: Format,
    quality: Quality,
    metadata: Mapping[str, Any],
    check: Callable[[], Any],
) -> None:
    def frames() -> Iterator[NDArray[np.uint8]]:
        for chunk in read_frames(source):
            for frame in chunk:
                check()
                yield frame.numpy()

    write_animation(
        frames,
        media_facts(source).fps,
        whole,
        form,
        quality,
        {name: text_of(value) for name, value in metadata.items()},
    )
