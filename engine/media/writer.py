"""Frames to a video file that is whole or not there.

While it is being made, the video is a fragmented mp4 under a hidden name beside its later one: what
there is of it after a crash can be played (see salvage.py). At the end its packets are copied into
the file that was asked for, with its index first; that may be signed, is put on disk, and only then
given its name.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from ...models.errors import InputError
from .animation import animate
from .formats import CLEAR, MP4, Format, Quality, encoder_of, encoder_options
from .publish import Finish, hidden, publish, refuse_existing
from .reader import media_facts, open_media, read_frames
from .sound import Sound
from .tracks import Track, copied_track, encoded_track, mux
from .verify import check_written

# empty_moov, the usual recipe, writes the index before the timing of the first packets is known
# and shifts it; delay_moov waits for them.
_WHILE_MADE = {
    "movflags": "frag_keyframe+delay_moov+use_metadata_tags",
    "frag_duration": "125000",  # microseconds
    "flush_packets": "1",
}
BT709 = 1  # the number of this standard in each of a stream's three colour tags
_OF_THE_CONTAINER = {"major_brand", "minor_version", "compatible_brands", "encoder"}
_FOR_ANIMATION = Quality(crf=10, preset="veryfast")  # of the part, whose packets are not copied


class VideoFacts(NamedTuple):
    """What is in a video file that was written."""

    frames: int
    width: int
    height: int


def nothing() -> None:
    """A check that finds nothing."""


def write_video(
    path: Path,
    chunks: Iterable[Any],
    fps: Fraction,
    *,
    quality: Quality = CLEAR,
    metadata: Mapping[str, Any] | None = None,
    form: Format = MP4,
    sound: Sound | Path | None = None,
    finish: Finish | None = None,
    check: Callable[[], Any] = nothing,
) -> VideoFacts:
    """Encode a frame stream.

    Args:
        path: where to, with the format's ending; its folder must exist. Never overwritten.
        chunks: uint8 (frames, h, w, 3), tensors on the CPU or arrays, all of one even size.
            Anything it raises ends the writing, and is raised.
        fps: frames per second.
        quality: of the encoder.
        metadata: JSON values by name, to be found in the file's tags; with the names ComfyUI
            uses ("workflow", "prompt") its front-end restores the graph from the file.
        form: container and codec.
        sound: samples, which are cut at the end of the pictures, or a file whose sound is taken.
        finish: see publish.Finish.
        check: is called for every frame and packet; what it raises ends the writing.

    Raises:
        InputError: for no frames, or frames that do not fit what went before.
        OutputError: if the file exists, or the disk does not take it.
    """
    refuse_existing(path)
    encoder_of(form)
    try:
        with hidden(path, "part", ".mp4") as part:
            pictures = _Pictures(chunks, fps, check)
            track = None if form.animation else sound
            written = _encode(part, pictures, form, quality, metadata or {}, track)
            check_written(part, path, written)
            copy_video(part, path, form=form, finish=finish, check=check, quality=quality)
    finally:
        if hasattr(chunks, "close"):  # now, and not when the last traceback is forgotten
            chunks.close()
    return VideoFacts(pictures.frames, pictures.width, pictures.height)


def copy_video(
    source: Path,
    path: Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    form: Format = MP4,
    sound: Sound | None = None,
    finish: Finish | None = None,
    check: Callable[[], Any] = nothing,
    quality: Quality = CLEAR,
    keep: bool = True,
    frames: int | None = None,
) -> None:
    """The same pictures, packet for packet, in a new file with its index first.

    Args:
        source: an mp4 or mov whose pictures are of the format's codec; of any codec for an
            animation, which is made of the pictures themselves.
        path: where to, with the format's ending; its folder must exist. Never overwritten.
        metadata: tags to add or replace, JSON values by name.
        form: container and codec.
        sound: instead of the source's own.
        finish: see publish.Finish.
        check: is called for every packet; what it raises ends the writing.
        quality: of an animation.
        keep: also the tags of the source.
        frames: only so many packets of its pictures, and as much of its sound, however damaged.

    Raises:
        InputError: if the source is no video.
        OutputError: if the file exists, or the disk does not take it.
    """
    refuse_existing(path)
    with hidden(path, "whole", form.suffix) as whole:
        tags = {**(_tags_of(source) if keep else {}), **(metadata or {})}
        if form.animation:
            _animate(source, whole, form, quality, tags, check)
            check_written(whole, path)
        else:
            check_written(whole, path, _remux(source, whole, form, sound, tags, check, frames))
        publish(whole, path, finish)


class _Pictures:
    """The frames of a stream for an encoder, counted; the first says how large all must be."""

    def __init__(self, chunks: Iterable[Any], fps: Fraction, check: Callable[[], Any]):
        arrays = (np.asarray(chunk) for chunk in chunks)
        first = next((chunk for chunk in arrays if len(chunk)), None)
        if first is None:
            raise InputError("a video needs at least 1 frame, and there is none.")
        self.height, self.width = _checked(first, first.shape)
        self._chunks, self._shape = chain([first], arrays), first.shape
        self.fps, self.frames, self._check = fps, 0, check

    def packets(self, stream: av.VideoStream) -> Iterator[av.Packet]:
        for frame in _yuv_frames(self._chunks, self._shape):
            self._check()
            frame.pts, frame.time_base = self.frames, 1 / self.fps
            self.frames += 1
            yield from stream.encode(frame)
        yield from stream.encode()


def _encode(
    part: Path,
    pictures: _Pictures,
    form: Format,
    quality: Quality,
    metadata: Mapping[str, Any],
    sound: Sound | Path | None,
) -> int:
    if form.animation:
        form, quality = MP4, _FOR_ANIMATION
    with ExitStack() as stack:
        container = stack.enter_context(av.open(part, "w", format="mp4", options=_WHILE_MADE))
        _tag(container, metadata)
        stream = _picture_stream(container, pictures, form, quality)
        tracks = [Track(stream, pictures.packets(stream))]
        if isinstance(sound, Path):
            tracks += copied_track(stack, container, sound, "audio", form.sounds)
        elif sound is not None:
            tracks.append(encoded_track(container, sound.frames(), sound.rate, sound.layout, form))
        return mux(container, tracks, cut=isinstance(sound, Sound))


def _checked(chunk: NDArray[Any], first: tuple[int, ...]) -> tuple[int, int]:
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


def _picture_stream(
    container: av.container.OutputContainer, pictures: _Pictures, form: Format, quality: Quality
) -> av.VideoStream:
    options = encoder_options(form, quality, pictures.fps)
    stream = container.add_stream(encoder_of(form), rate=pictures.fps)
    stream.width, stream.height, stream.pix_fmt = pictures.width, pictures.height, "yuv420p"
    stream.time_base = 1 / pictures.fps
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = ColorRange.MPEG
    if form.tag:
        context.codec_tag = form.tag
    stream.options = options
    return stream


def _yuv_frames(
    chunks: Iterable[NDArray[np.uint8]], first: tuple[int, ...]
) -> Iterator[av.VideoFrame]:
    convert = VideoReformatter()
    for chunk in chunks:
        _checked(chunk, first)
        for rgb in chunk:
            yield convert.reformat(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )


def _tag(container: av.container.OutputContainer, metadata: Mapping[str, Any]) -> None:
    for name, value in metadata.items():
        container.metadata[name] = _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _tags_of(source: Path) -> dict[str, str]:
    with open_media(source) as old:
        return {k: v for k, v in old.metadata.items() if k not in _OF_THE_CONTAINER}


def _remux(
    source: Path,
    whole: Path,
    form: Format,
    sound: Sound | None,
    metadata: Mapping[str, Any],
    check: Callable[[], Any],
    frames: int | None,
) -> int:
    with ExitStack() as stack:
        old = stack.enter_context(open_media(source))
        options = _finished(form, old.streams.video[0].time_base)
        muxer = {".mp4": "mp4", ".mkv": "matroska", ".webm": "webm"}[form.suffix]
        new = stack.enter_context(av.open(whole, "w", format=muxer, options=options))
        _tag(new, metadata)
        tracks = copied_track(stack, new, source, "video", (form.codec,))
        if sound is None:
            tracks += copied_track(stack, new, source, "audio", form.sounds)
        else:
            tracks.append(encoded_track(new, sound.frames(), sound.rate, sound.layout, form))
        if frames is not None:
            tracks = [tracks[0].first(frames), *(track.until_damage() for track in tracks[1:])]
        return mux(new, tracks, cut=sound is not None or frames is not None, check=check)


def _finished(form: Format, ticks: Fraction) -> dict[str, str]:
    if form.suffix != ".mp4":
        return {"cues_to_front": "1"}
    # Older PyAV would round times to 1/90000 s, which has no place for 24000/1001 frames a second.
    return {
        "movflags": "faststart+use_metadata_tags",
        "video_track_timescale": str(ticks.denominator),
    }


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

    animate(
        frames,
        media_facts(source).fps,
        whole,
        form,
        quality,
        {name: _text(value) for name, value in metadata.items()},
    )
