"""gif and webp: pictures that move without being a video. For sharing short clips."""

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

from ...models.errors import InputError
from .formats import Format, Quality, encoder_of

Frames = Callable[[], Iterator[NDArray[np.uint8]]]  # (h, w, 3) each; from the beginning each time
WEBP_SIDE = 16_383
EXIF_MODEL, EXIF_MAKE = 0x0110, 0x010F  # where ComfyUI keeps the prompt, and from where the rest


def animate(
    frames: Frames,
    fps: Fraction,
    path: Path,
    form: Format,
    quality: Quality,
    metadata: Mapping[str, str],
) -> None:
    """Write frames as an animation that repeats for ever.

    Args:
        frames: gives the frames anew each time it is called.
        fps: frames per second. gif counts hundredths of a second, webp thousandths.
        path: of the new file.
        form: gif or webp.
        quality: of webp; gif has none.
        metadata: text by name, kept in a webp as ComfyUI's own nodes do. A gif has no place for it.
    """
    encoder_of(form)
    if form.name == "gif":
        _gif(frames, fps, path)
    else:
        _webp(frames, fps, path, quality)
        if metadata:
            _embed(path, metadata)


def _gif(frames: Frames, fps: Fraction, path: Path) -> None:
    """Twice through the frames: once to choose 256 colours, once to draw with them."""
    palette = _palette(frames, fps)
    with av.open(path, "w", format="gif", options={"loop": "0"}) as container:
        stream = container.add_stream("gif", rate=fps)
        stream.pix_fmt, stream.time_base = "pal8", 1 / fps
        for drawn in _drawn(frames, fps, palette):
            _set_size(stream, drawn)
            container.mux(stream.encode(drawn))
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


def _drawn(frames: Frames, fps: Fraction, palette: av.VideoFrame) -> Iterator[av.VideoFrame]:
    """The frames in the palette's colours."""
    graph, source = Graph(), None
    for frame in _numbered(frames, fps):
        if source is None:
            source, colours = _source(graph, frame), _source(graph, palette)
            painter, sink = graph.add("paletteuse", "dither=bayer"), graph.add("buffersink")
            source.link_to(painter, 0, 0)
            colours.link_to(painter, 0, 1)
            painter.link_to(sink)
            graph.configure()
            colours.push(palette)
            colours.push(None)
        source.push(frame)
        yield from _ready(sink)
    source.push(None)
    yield from _ready(sink)


def _source(graph: Graph, like: av.VideoFrame) -> Any:
    return graph.add_buffer(
        width=like.width, height=like.height, format=like.format.name, time_base=like.time_base
    )


def _ready(sink: Any) -> Iterator[av.VideoFrame]:
    """What has come out of a graph so far."""
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
            _check_side(max(frame.width, frame.height))
            _set_size(stream, frame)
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())


def _check_side(pixels: int) -> None:
    if pixels > WEBP_SIDE:
        raise InputError(f"a side of {pixels} pixels: webp has at most {WEBP_SIDE}.")


def _embed(path: Path, metadata: Mapping[str, str]) -> None:
    """Add an EXIF chunk to a webp whose first chunk says what it has, as animations' does."""
    exif, tag = Image.Exif(), EXIF_MAKE
    for name, value in metadata.items():
        if name == "prompt":
            exif[EXIF_MODEL] = f"prompt:{value}"
        else:
            exif[tag] = f"{name}:{value}"
            tag -= 1
    data = exif.tobytes()
    chunk = b"EXIF" + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)
    with path.open("r+b") as file:
        file.seek(20)
        flags = file.read(1)[0]
        file.seek(20)
        file.write(bytes([flags | 0b1000]))
        length = file.seek(0, 2)
        file.write(chunk)
        file.seek(4)
        file.write((length + len(chunk) - 8).to_bytes(4, "little"))
