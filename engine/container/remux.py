"""Packets of a file copied into another, with its index first."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from .audio import SoundSource
from .formats import Format
from .opening import open_media
from .publish import Finish, hidden_file, publish, refuse_existing
from .tracks import copied_track, encoded_track, mux
from .verify import check_complete

CONTAINER_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder"}


def remux(
    source: Path,
    path: Path,
    form: Format,
    *,
    metadata: Mapping[str, Any] | None = None,
    sound: SoundSource | None = None,
    finish: Finish | None = None,
    check: Callable[[], Any] = lambda: None,
    keep: bool = True,
    frames: int | None = None,
) -> None:
    """The same video stream, packet for packet, in a new file with its index first.

    Args:
        source: an mp4, mov, mkv or webm whose codec is the format's.
        path: of the new file, with the format's suffix; its folder must exist. Never overwritten.
        form: container and codec, of no animation.
        metadata: tags to add or replace, JSON values by name.
        sound: in place of the source's own.
        finish: see publish.Finish.
        check: called for every packet; an exception from it ends the writing.
        keep: whether to keep the source's tags.
        frames: copy only so many video packets, and the sound up to their end or the first damage.

    Raises:
        InputError: if the source is not a video, or its codec is not the format's.
        OutputError: if the file exists, or it cannot be written.
        Whatever `finish` or `check` raises. Nothing is left behind then.
    """
    refuse_existing(path)
    with hidden_file(path, "whole", form.suffix) as whole:
        tags = {**(tags_of(source) if keep else {}), **(metadata or {})}
        check_complete(whole, path, _copy(source, whole, form, sound, tags, check, frames))
        check()
        publish(whole, path, finish)


def tag(container: av.container.OutputContainer, metadata: Mapping[str, Any]) -> None:
    """Put JSON values by name into the tags of a file that is being written."""
    for name, value in metadata.items():
        container.metadata[name] = text_of(value)


def text_of(value: Any) -> str:
    """A JSON value as it stands in a tag."""
    return value if isinstance(value, str) else json.dumps(value)


def tags_of(source: Path) -> dict[str, str]:
    """The tags of a file, without those that say what container it is."""
    with open_media(source) as old:
        return {k: v for k, v in old.metadata.items() if k not in CONTAINER_TAGS}


def _copy(
    source: Path,
    whole: Path,
    form: Format,
    sound: SoundSource | None,
    metadata: Mapping[str, Any],
    check: Callable[[], Any],
    frames: int | None,
) -> int:
    with ExitStack() as stack:
        old = stack.enter_context(open_media(source))
        options = _container_options(form, old.streams.video[0].time_base)
        muxer = {".mp4": "mp4", ".mkv": "matroska", ".webm": "webm"}[form.suffix]
        new = stack.enter_context(av.open(whole, "w", format=muxer, options=options))
        tag(new, metadata)
        tracks = copied_track(stack, new, source, "video", (form.codec,))
        if sound is None:
            tracks += copied_track(stack, new, source, "audio", form.sound_codecs)
        else:
            tracks.append(encoded_track(new, sound, form))
        if frames is not None:
            tracks = [tracks[0].first(frames), *(track.until_damage() for track in tracks[1:])]
        return mux(new, tracks, cut=sound is not None or frames is not None, check=check)


def _container_options(form: Format, tick: Fraction) -> dict[str, str]:
    if form.suffix != ".mp4":
        return {"cues_to_front": "1"}
    # Older PyAV would round times to 1/90000 s, which cannot express 24000/1001 frames a second.
    return {
        "movflags": "faststart+use_metadata_tags",
        "video_track_timescale": str(tick.denominator),
    }
