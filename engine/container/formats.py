"""The formats a video can be saved in, and the settings of their encoders."""

import os
from dataclasses import dataclass
from fractions import Fraction

import av

from ...models.errors import InputError
from ..rates import MAX_RATE

PRESETS = ("ultrafast", "veryfast", "fast", "medium", "slow", "veryslow")  # of x264
SVT_PRESETS = dict(zip(PRESETS, ("10", "9", "8", "6", "4", "2"), strict=True))
VPX_SPEEDS = dict(zip(PRESETS, ("5", "4", "3", "2", "1", "0"), strict=True))


@dataclass(frozen=True)
class Quality:
    """How an encoder spends bits and time.

    Attributes:
        crf: lower is better and larger; None: the format's visually lossless one.
        preset: one of PRESETS; slower is smaller.
    """

    crf: int | None = None
    preset: str = "medium"


VISUALLY_LOSSLESS = Quality()


@dataclass(frozen=True)
class Format:
    """A container and the codec of its video.

    Attributes:
        name: for menus.
        suffix: of its files, with the dot.
        codec: of its video, as reader.codec_of gives it.
        encoders: FFmpeg's names; the first that is available is used.
        visually_lossless: the crf of video that looks like its source.
        max_crf: the coarsest.
        sound_codecs: that it may hold; the first is used to encode.
        codec_tag: four characters in place of FFmpeg's own.
        least: pixels of the shorter side that its encoders take; some end the process below it.
        fastest: frames per second that they take, and that its container tells apart.
        animation: whether it is an image format (see animation.py), without sound.
    """

    name: str
    suffix: str
    codec: str
    encoders: tuple[str, ...]
    visually_lossless: int
    max_crf: int
    sound_codecs: tuple[str, ...] = ()
    codec_tag: str | None = None
    least: int = 2
    fastest: float = MAX_RATE
    animation: bool = False


# Matroska cannot store AAC's priming samples before time 0, and would start the video later.
MP4_SOUND, MKV_SOUND, WEBM_SOUND = ("aac", "mp3", "ac3"), ("opus", "flac"), ("opus", "vorbis")
X264, X265, VP9 = ("libx264",), ("libx265",), ("libvpx-vp9",)
AV1 = ("libsvtav1", "libaom-av1")
MAX_SIDE = 8192  # pixels: what is written can be read again
SVT_SIDE = 64  # pixels, the least that SVT-AV1 took before its version 3 (PyAV up to 15.0)
QUICKTIME = "hvc1"  # the tag by which QuickTime plays h265

FORMATS = {
    entry.name: entry
    for entry in (
        Format("mp4 h264", ".mp4", "h264", X264, 16, 51, MP4_SOUND),
        Format("mp4 h265", ".mp4", "hevc", X265, 18, 51, MP4_SOUND, QUICKTIME, 16),
        Format("mp4 av1", ".mp4", "av1", AV1, 20, 63, MP4_SOUND, least=16, fastest=240),
        Format("mkv h264", ".mkv", "h264", X264, 16, 51, MKV_SOUND),
        Format("mkv h265", ".mkv", "hevc", X265, 18, 51, MKV_SOUND, least=16),
        Format("webm vp9", ".webm", "vp9", VP9, 18, 63, WEBM_SOUND, fastest=240),
        Format("webm av1", ".webm", "av1", AV1, 20, 63, WEBM_SOUND, least=16, fastest=240),
        Format("gif", ".gif", "gif", ("gif",), 16, 51, animation=True, fastest=100),
        Format("webp", ".webp", "webp", ("libwebp_anim",), 16, 51, animation=True),
    )
}
MP4 = FORMATS["mp4 h264"]


def encoder_of(form: Format, side: int = SVT_SIDE) -> str:
    """The encoder for a format, for frames whose shorter side has so many pixels.

    Raises InputError if the installed PyAV has none.
    """
    found = [name for name in form.encoders if name in av.codecs_available]
    if found:
        return found[-1] if side < SVT_SIDE else found[0]
    available = [
        other.name
        for other in FORMATS.values()
        if any(name in av.codecs_available for name in other.encoders)
    ]
    raise InputError(
        f"{form.name!r} needs the encoder {form.encoders[0]}, which the PyAV installed here lacks. "
        f"Choose from {', '.join(available)}."
    )


def check_format(form: Format, width: int, height: int, fps: Fraction) -> None:
    """Raises InputError for frames that a format's encoders do not take, or that cannot be read."""
    if fps > form.fastest:
        raise InputError(
            f"{float(fps):g} frames per second as {form.name}: at most {form.fastest:g}. "
            f"Interpolate brings it to another rate, or choose {MP4.name}."
        )
    if form.least <= min(width, height) and max(width, height) <= MAX_SIDE:
        return
    others = [other.name for other in FORMATS.values() if other.least <= min(width, height)]
    instead = f", or choose {others[0]}" if others and max(width, height) <= MAX_SIDE else ""
    raise InputError(
        f"frames of {width}×{height} as {form.name}: its sides must be {form.least} to {MAX_SIDE} "
        f"pixels. Scale the video{instead}."
    )


def check_quality(form: Format, quality: Quality) -> None:
    """Raises InputError for a crf or preset that the format does not have."""
    if quality.crf is not None and not 0 <= quality.crf <= form.max_crf:
        raise InputError(f"crf {quality.crf}: {form.name} takes 0 to {form.max_crf}.")
    if quality.preset not in PRESETS:
        raise InputError(f"preset {quality.preset!r}: choose from {', '.join(PRESETS)}.")


def encoder_options(form: Format, encoder: str, quality: Quality, fps: Fraction) -> dict[str, str]:
    """Options for one of a format's encoders, by the encoder's own names."""
    check_quality(form, quality)
    options = {
        "crf": str(form.visually_lossless if quality.crf is None else quality.crf),
        "g": str(max(1, round(fps))),  # a keyframe a second: no more is lost in a crash
    }
    # Frames inside an encoder are lost in a crash as well. Its lookahead, its frame threads and its
    # B-frames each get a share of the second that may be lost.
    b_frames, threads = (3 if fps >= 12 else 1), max(1, round(fps / 5))
    lookahead = max(b_frames + 1, round(fps / 4))
    if encoder == "libx264":
        delay = {"rc-lookahead": str(lookahead), "bf": str(b_frames), "b_strategy": "1"}
        # Its bit rate control (mbtree) in AVX-512 gives now one file, now another for the same
        # frames. So it goes by plain arithmetic, which is the same on every CPU.
        delay["x264-params"] = "cpu-independent=1"
        default = max(1, 3 * (os.cpu_count() or 1) // 2)  # x264's own number of threads
        return {**options, **delay, "preset": quality.preset, "threads": str(min(threads, default))}
    if encoder == "libx265":
        delay = f"rc-lookahead={lookahead}:bframes={b_frames}:frame-threads={min(threads, 2)}"
        return {**options, "preset": quality.preset, "x265-params": f"log-level=error:{delay}"}
    if encoder == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # else it prints its settings at every start
        delay = "lookahead=0:hierarchical-levels=2"
        return {**options, "preset": SVT_PRESETS[quality.preset], "svtav1-params": delay}
    speed = {"cpu-used": VPX_SPEEDS[quality.preset], "row-mt": "1", "b": "0"}
    delay = {"lag-in-frames": str(min(25, lookahead))}
    return {**options, **speed, **delay, **({"deadline": "good"} if form.codec == "vp9" else {})}
