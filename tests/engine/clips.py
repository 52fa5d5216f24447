"""Video files of every kind that a stranger may hand over, made with PyAV; and their sound."""

import io
import struct
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
import torch

from longtake.engine.container.audio import LAYOUTS
from longtake.engine.media.sound import Sound

STEP = 7  # levels from one frame to the next


def level(number: int) -> int:
    return 20 + STEP * (number % 32)


def grey(number: int, width: int = 38, height: int = 22) -> np.ndarray:
    """Frame `number` of a clip: grey, with a white corner at the top left."""
    frame = np.full((height, width, 3), level(number), np.uint8)
    frame[: height // 2, : width // 4] = 255
    return frame


def reencoded(frames, crf, codec="libx264", fps=24):
    """Frames (n, h, w, 3) as an encoder leaves them."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=fps, options={"crf": str(crf)})
        stream.height, stream.width = frames.shape[1:3]
        for frame in frames.numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return torch.from_numpy(np.stack(shown))


def clip(
    path,
    times=range(9),
    fps=Fraction(24),
    *,
    codec="libx264",
    pixels="yuv420p",
    size=(38, 22),
    muxer=None,
    rotation=0,
    options=None,
    sound=False,
    alpha=255,
):
    """A clip whose frame n is shown at times[n] / fps."""
    opened = av.open(path, "w", format=muxer, options=options or {})
    with opened as container:
        stream = container.add_stream(codec, rate=fps)
        (stream.width, stream.height), stream.pix_fmt = size, pixels
        stream.time_base = 1 / fps
        stream.options = {"crf": "4"} if codec.startswith("libx") else {}
        track = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        container.start_encoding()
        for number, time in enumerate(times):
            rgb = grey(number, *size)
            rgba = np.dstack([rgb, np.full(rgb.shape[:2], alpha, np.uint8)])
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pixels)
            frame.pts, frame.time_base = time, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track:
            for start in range(0, 8000, 1024):
                piece = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                piece.sample_rate, piece.pts = 8000, start
                piece.time_base = Fraction(1, 8000)
                container.mux(track.encode(piece))
            container.mux(track.encode())
    if rotation:
        turn(path, rotation)
    return path


def turn(path: Path, degrees: int) -> None:
    """Say in an mp4 that it is to be shown turned by so many degrees counterclockwise.

    By hand: PyAV can since version 17 only. The matrix stands 48 bytes after the start of the
    track's header, in numbers of 16.16 bits (ISO/IEC 14496-12, 8.3.2).
    """
    data = path.read_bytes()
    at = data.index(b"tkhd") - 4 + 48
    cos, sin = {90: (0, 1), 180: (-1, 0), -90: (0, -1)}[degrees]
    matrix = struct.pack(">9i", cos << 16, -sin << 16, 0, sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:at] + matrix + data[at + 36 :])


def read_sound(path: Path) -> Sound | None:
    """The sound of a video, from its first frame on; None if it has none."""
    with av.open(path) as container:
        if not container.streams.audio:
            return None
        video, audio = container.streams.video[0], container.streams.audio[0]
        rate = audio.sample_rate
        resampler = av.AudioResampler("fltp", LAYOUTS[audio.layout.nb_channels], rate)
        frames = list(container.decode(audio))
        pieces = chain.from_iterable(resampler.resample(frame) for frame in (*frames, None))
        samples = np.concatenate([piece.to_ndarray() for piece in pieces], axis=1)
        begins = (video.start_time or 0) * float(video.time_base)
        at = round((frames[0].time - begins) * rate)
    silence = np.zeros((len(samples), max(0, at)), np.float32)
    return Sound(np.concatenate([silence, samples[:, max(0, -at) :]], axis=1), rate)
