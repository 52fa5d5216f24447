"""The kinds of file a video can be: what each is made of, and how its encoder is asked."""

import os
from dataclasses import dataclass
from fractions import Fraction

import av

from ...models.errors import InputError

PRESETS = ("ultrafast", "veryfast", "fast", "medium", "slow", "veryslow")  # as x264 has them
_SVT = dict(zip(PRESETS, ("10", "9", "8", "6", "4", "2"), strict=True))
_VPX = dict(zip(PRESETS, ("5", "4", "3", "2", "1", "0"), strict=True))


@dataclass(frozen=True)
class Quality:
    """How an encoder spends bits and time."""

    crf: int | None = None  # lower is better and larger; None: what looks like the source
    preset: str = "medium"  # one of PRESETS: slower is smaller


CLEAR = Quality()


@dataclass(frozen=True)
class Format:
    """A container and the codec of its pictures."""

    name: str
    suffix: str
    codec: str  # as files that are read name it
    encoders: tuple[str, ...]  # the first that is there is used
    clear: int  # the crf that looks like the source
    coarsest: int  # the highest crf
    sounds: tuple[str, ...] = ()  # codecs its sound may have; the first is what we encode
    tag: str | None = None
    animation: bool = False  # made of whole pictures by engine/media/animation.py, without sound


# Matroska has no place for what AAC puts before time 0, and would start the pictures later.
_MP4, _MKV, _WEBM = ("aac", "mp3", "ac3"), ("opus", "flac"), ("opus", "vorbis")
_X264, _X265, _VP9 = ("libx264",), ("libx265",), ("libvpx-vp9",)
_AV1 = ("libsvtav1", "libaom-av1")

FORMATS = {
    entry.name: entry
    for entry in (
        Format("mp4 h264", ".mp4", "h264", _X264, 16, 51, _MP4),
        Format("mp4 h265", ".mp4", "hevc", _X265, 18, 51, _MP4, tag="hvc1"),  # for QuickTime
        Format("mp4 av1", ".mp4", "av1", _AV1, 20, 63, _MP4),
        Format("mkv h264", ".mkv", "h264", _X264, 16, 51, _MKV),
        Format("mkv h265", ".mkv", "hevc", _X265, 18, 51, _MKV),
        Format("webm vp9", ".webm", "vp9", _VP9, 18, 63, _WEBM),
        Format("webm av1", ".webm", "av1", _AV1, 20, 63, _WEBM),
        Format("gif", ".gif", "gif", ("gif",), 16, 51, animation=True),
        Format("webp", ".webp", "webp", ("libwebp_anim",), 16, 51, animation=True),
    )
}
MP4 = FORMATS["mp4 h264"]


def encoder_of(form: Format) -> str:
    """The encoder for a format. Raises InputError if the PyAV that is installed has none."""
    for name in form.encoders:
        if name in av.codecs_available:
            return name
    there = [
        other.name
        for other in FORMATS.values()
        if any(name in av.codecs_available for name in other.encoders)
    ]
    raise InputError(
        f"{form.name!r} needs the encoder {form.encoders[0]}, which the PyAV installed here lacks. "
        f"Choose from {', '.join(there)}."
    )


def check_quality(form: Format, quality: Quality) -> None:
    """Raises InputError for a crf or preset that there is not."""
    if quality.crf is not None and not 0 <= quality.crf <= form.coarsest:
        raise InputError(f"crf {quality.crf}: {form.name} takes 0 to {form.coarsest}.")
    if quality.preset not in PRESETS:
        raise InputError(f"preset {quality.preset!r}: choose from {', '.join(PRESETS)}.")


def encoder_options(form: Format, quality: Quality, fps: Fraction) -> dict[str, str]:
    """What the encoder of `form` is told, in its own words."""
    check_quality(form, quality)
    encoder = encoder_of(form)
    options = {
        "crf": str(form.clear if quality.crf is None else quality.crf),
        "g": str(max(1, round(fps))),  # a keyframe a second: at most that much is lost in a crash
    }
    # Frames that an encoder holds back are lost in a crash as well: what looks ahead, what works on
    # several frames at once and what reorders them gets a part of the second that may be lost.
    reordered, threads = (3 if fps >= 12 else 1), max(1, round(fps / 5))
    ahead = max(reordered + 1, round(fps / 4))
    if encoder == "libx264":
        held = {"rc-lookahead": str(ahead), "bf": str(reordered), "b_strategy": "1"}
        most = max(1, 3 * (os.cpu_count() or 1) // 2)  # which x264 would take
        return {**options, **held, "preset": quality.preset, "threads": str(min(threads, most))}
    if encoder == "libx265":
        held = f"rc-lookahead={ahead}:bframes={reordered}:frame-threads={min(threads, 2)}"
        return {**options, "preset": quality.preset, "x265-params": f"log-level=error:{held}"}
    if encoder == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # else it prints its settings at every start
        held = "lookahead=0:hierarchical-levels=2"
        return {**options, "preset": _SVT[quality.preset], "svtav1-params": held}
    speed = {"cpu-used": _VPX[quality.preset], "row-mt": "1", "b": "0"}
    if encoder == "libvpx-vp9":
        return {**options, **speed, "deadline": "good", "lag-in-frames": str(min(25, ahead))}
    return {**options, **speed}
