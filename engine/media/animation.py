"""gif and webp: animated images, for sharing short clips."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray
from PIL import Image

from ..container.formats import Format, Quality, encoder_of
from ..container.verify import incomplete
from ..files import patiently

Frames = Callable[[], Iterator[NDArray[np.uint8]]]
"""Gives the frames, (h, w, 3) each, from the first one at each call."""

HAS_EXIF = 0b1000  # among the flags of a VP8X chunk
EXIF_MODEL, EXIF_MAKE = (
    0x0110,
    0x010F,
)  # hold ComfyUI's prompt; and the first of the rest, downwards


def write_animation(
    frames: Frames,
    fps: Fraction,
    path: Path,
    form: Format,
    quality: Quality,
    metadata: Mapping[str, str],
) -> None:
    """Write an animation that repeats for ever.

    Args:
        frames: see Frames.
        fps: frames per second. gif counts in hundredths of a second, webp in thousandths.
        path: of the new file.
        form: gif or webp.
        quality: of webp; gif has none.
        metadata: text by name, stored in a webp as ComfyUI's own nodes do; a gif cannot hold any.
    """
    encoder_of(form)
    if form.name == "gif":
        _gif(frames, fps, path)
    else:
        _webp(frames, fps, path, quality)
        if metadata:
            _embed(path, metadata)


def _gif(frames: Frames, fps: Fraction, path: Path) -> None:
    """Goes through the frames twice: to choose 256 colours, and to draw with them."""
    palette = _palette(frames, fps)
    with av.open(path, "w", format="gif", options={"loop": "0"}) as container:
        stream = container.add_stream("gif", rate=fps)
        stream.pix_fmt, stream.time_base = "pal8", 1 / fps
        for frame in _in_palette(frames, fps, palette):
            _set_size(stream, frame)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _set_size(stream: av.VideoStream, first: av.VideoFrame) -> None:
    if not stream.codec_context.is_open:
        stream.width, stream.height = first.width, first.height


def _palette(frames: Frames, fps: Fraction) -> av.VideoFrame:
    graph, source = Graph(), None
    for frame in _numbered(frames, fps):
        if source is None:
            source, sink = _source(graph, frame), graph.add("buffersink")
            graph.link_nodes(source, graph.add("palettegen"), sink).configure()
        source.push(frame)
    source.push(None)
    return sink.pull()


def _in_palette(frames: Frames, fps: Fraction, palette: av.VideoFrame) -> Iterator[av.VideoFrame]:
    """The frames in a palette's colours."""
    graph, source = Graph(), None
    for frame in _numbered(frames, fps):
        if source is None:
            source, colours = _source(graph, frame), _source(graph, palette)
            dither, sink = graph.add("paletteuse", "dither=bayer"), graph.add("buffersink")
            source.link_to(dither, 0, 0)
            colours.link_to(dither, 0, 1)
            dither.link_to(sink)
            graph.configure()
            colours.push(palette)
            colours.push(None)
        source.push(frame)
        yield from _available(sink)
    source.push(None)
    yield from _available(sink)


def _source(graph: Graph, like: av.VideoFrame) -> Any:
    return graph.add_buffer(
        width=like.width, height=like.height, format=like.format.name, time_base=like.time_base
    )


def _available(sink: Any) -> Iterator[av.VideoFrame]:
    """The frames that a filter graph has finished so far."""
    with suppress(BlockingIOError, EOFError):
        while True:
            yield sink.pull()


def _numbered(frames: Frames, fps: Fraction) -> Iterator[av.VideoFrame]:
    for number, rgb in enumerate(frames()):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts, frame.time_base = number, 1 / fps
        yield frame


def _webp(frames: Frames, fps: Fraction, path: Path, quality: Quality) -> None:
    crf = 16 if quality.crf is None else quality.crf
    with av.open(path, "w", format="webp", options={"loop": "0"}) as container:
        stream = container.add_stream("libwebp_anim", rate=fps)
        stream.pix_fmt, stream.time_base = "yuv420p", 1 / fps
        stream.options = {"quality": str(max(5, 100 - 3 * crf // 2))}
        for frame in _numbered(frames, fps):
            _set_size(stream, frame)
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())


def _embed(path: Path, metadata: Mapping[str, str]) -> None:
    """Add an EXIF chunk to an animated webp.

    By hand: FFmpeg's muxer writes none, and Pillow only when it encodes all the frames itself.

    Source: https://developers.google.com/speed/webp/docs/riff_container, "Extended File Format".
    """
    exif, tag = Image.Exif(), EXIF_MAKE
    for name, value in metadata.items():
        if name == "prompt":
            exif[EXIF_MODEL] = f"prompt:{value}"
        else:
            exif[tag] = f"{name}:{value}"
            tag -= 1
    data = exif.tobytes()
    chunk = b"EXIF" + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)
    with Image.open(path) as picture:
        width, height = picture.size
    with patiently(lambda: path.open("r+b")) as file:
        whole = file.read()
        if whole[12:16] != b"VP8X":  # of a clip that does not move libwebp makes a plain picture
            sides = (side.to_bytes(3, "little") for side in (width - 1, height - 1))
            whole = (
                whole[:12]
                + b"VP8X"
                + (10).to_bytes(4, "little")
                + bytes(4)
                + b"".join(sides)
                + whole[12:]
            )
        whole = whole[:20] + bytes([whole[20] | HAS_EXIF]) + whole[21:] + chunk
        file.seek(0)
        file.write(whole[:4] + (len(whole) - 8).to_bytes(4, "little") + whole[8:])


def check_animation(file: Path, path: Path) -> None:
    """Raises OutputError, with the name `path`, if the end of a file is missing, or its last
    picture cannot be seen."""
    if not (file.is_file() and _is_complete(file)):
        raise incomplete(file, path)


def _is_complete(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            head = opened.read(8)
            size, end = opened.seek(-1, 2) + 1, opened.read()
        with Image.open(file) as picture:
            picture.seek(getattr(picture, "n_frames", 1) - 1)
            picture.load()
    except (OSError, EOFError, ValueError, SyntaxError):
        return False
    return end == b";" if head[:3] == b"GIF" else int.from_bytes(head[4:], "little") + 8 == size
