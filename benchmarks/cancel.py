"""How long nodes work on large frames between two looks at Cancel, in CPU seconds.

Whoever presses Cancel waits for the next look, so that the longest time without one is what
counts. Each node runs once, in a process of its own, on pictures of a size that people have by
mistake; after so many seconds it is cancelled itself, and the time from there to its end counts as
well. CPU time is that of all threads, so that other work on the machine adds nothing, and what an
encoder's threads do counts twice or more.
"""

import argparse
import contextlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from _measure import BUILT_IN, machine
from _takes import apart, start_comfyui

from longtake.engine.container.formats import FORMATS
from longtake.engine.frames.prefetch import ALONGSIDE
from tests import host_models
from tests.in_process import Host, load_pack

Graph = dict[str, dict[str, Any]]
FILE, SOUND = "large.mp4", "hour.wav"
SEEN = 7  # frames of a stack that are told


class Looks:
    """Stands in for ComfyUI's question whether Cancel was pressed, and presses it at the end.

    Args:
        most: CPU seconds after which it does.
    """

    def __init__(self, most: float):
        self.most, self.gaps, self.on = most, [], False
        self._last: dict[int, tuple[float, list]] = {}
        self._any: tuple[float, list] = (0.0, [])

    def begin(self) -> None:
        self._any, self.on = (time.process_time(), []), True
        self._last = {threading.get_ident(): (time.thread_time(), [])}
        self._until = self._any[0] + self.most

    def look(self) -> None:
        """In a thread of its own all time counts that it worked; without any, that of all."""
        name = threading.current_thread().name
        if not self.on or name == f"longtake-{ALONGSIDE}":  # which nobody waits for
            return
        where, thread = places(), threading.get_ident()
        now, own = time.process_time(), time.thread_time()
        before, there = self._last.get(thread, (own, where))
        self.gaps.append((own - before, there, where))
        self.gaps.append((now - self._any[0], self._any[1], where))
        self._last[thread], self._any = (time.thread_time(), where), (time.process_time(), where)
        if now > self._until:
            import comfy.model_management as mm

            self._until = float("inf")
            raise mm.InterruptProcessingException

    def end(self) -> None:
        if self.on:
            with contextlib.suppress(BaseException):
                self.look()
            self.on = False


def places() -> list[tuple[str, int]]:
    """Where the pack is at this moment, inmost last."""
    frame, found = sys._getframe(2), []
    while frame is not None and len(found) < SEEN:
        file = frame.f_code.co_filename
        if "/lib/python" not in file:
            found.append((file, frame.f_lineno))
        frame = frame.f_back
    return found[::-1]


def said(where: list[tuple[str, int]]) -> list[str]:
    return [f"{Path(file).stem}:{line}" for file, line in where]


class Picture:
    """A node that gives large pictures, alike but for their brightness."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "made", "bench"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {n: ("INT", {}) for n in ("width", "height", "count")}}

    def made(self, width: int, height: int, count: int) -> tuple[torch.Tensor]:
        images = torch.empty(count, height, width, 3)
        rows, columns = torch.arange(height)[:, None] / 97, torch.arange(width)[None] / 89
        for k, image in enumerate(images):
            for channel in range(3):
                torch.add(rows.sin(), (columns * (1 + channel)).cos(), out=image[..., channel])
            image.mul_(0.2).add_(0.5 + k / 100)
        return (images,)


def large_file(path: Path, width: int, height: int, frames: int = 3) -> None:
    """A film of grey frames, quickly."""
    import av

    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(frames):
            grey = av.VideoFrame(width, height, "yuv420p")
            for plane in grey.planes:
                plane.update(bytes([100 + k]) * plane.buffer_size)
            grey.pts, grey.time_base = k, Fraction(1, 8)
            container.mux(stream.encode(grey))
        container.mux(stream.encode(None))


def hour_of_sound(path: Path, seconds: int = 3600, rate: int = 44_100) -> None:
    import wave

    import numpy as np

    with wave.open(str(path), "wb") as file:
        file.setnchannels(2), file.setsampwidth(2), file.setframerate(rate)
        second = (8000 * np.sin(np.arange(2 * rate) / 40)).astype("<i2").tobytes()
        for _ in range(seconds):
            file.writeframes(second)


class Graphs:
    """A graph for each node, which is its last.

    Args:
        width, height: of pictures.
        strip: height of what is sampled and decoded, which takes long.
    """

    def __init__(self, width: int, height: int, strip: int):
        self.width, self.height, self.strip = width, height, strip

    def node(self, kind: str, **inputs: Any) -> dict[str, Any]:
        """A node with its defaults."""
        import nodes

        given = {}
        types = nodes.NODE_CLASS_MAPPINGS[kind].INPUT_TYPES()
        for name, (what, *more) in itertools.chain(
            *(types.get(part, {}).items() for part in ("required", "optional"))
        ):
            options = more[0] if more else {}
            choices = what if isinstance(what, list) else options.get("options")
            if "default" in options or choices:
                given[name] = options.get("default", choices[0] if choices else None)
        return {"class_type": kind, "inputs": given | inputs}

    def ours(self, kind: str, **inputs: Any) -> dict[str, Any]:
        return self.node(f"Longtake{kind}", **inputs)

    def picture(self, count: int = 1) -> dict[str, Any]:
        size = {"width": self.width, "height": self.height, "count": count}
        return {"class_type": "BenchPicture", "inputs": size}

    def shared(self) -> Graph:
        """What the nodes below are connected to."""
        node, ours = self.node, self.ours
        half = (self.width // 2, self.height // 2)
        mask = {"destination": ["none", 0], "source": ["all", 0], "operation": "add"}
        return {
            "model": ours("LoadModel", file=BUILT_IN),
            "clip": ours("LoadTextEncoder", file=BUILT_IN),
            "vae": ours("LoadVAE", file=BUILT_IN),
            "text": ours("Prompt", clip=["clip", 0], text="a ball"),
            "sigmas": ours("Schedule", model=["model", 0], steps=1),
            "image": self.picture(),
            "images": self.picture(2),
            "video": node("CreateVideo", images=["images", 0], fps=8.0),
            "film": node("LoadVideo", file=FILE),
            "none": node("SolidMask", value=0.0, width=self.width, height=self.height),
            "all": node("SolidMask", value=1.0, width=half[0], height=half[1]),
            "mask": node("MaskComposite", x=64, y=64, **mask),
            "canvas": self.canvas(self.height),
            "wan21": {"class_type": host_models.NODE, "inputs": {"name": "wan21_from_an_image"}},
            "older": self.canvas(self.height, "wan21", 2),
            "strip": self.canvas(self.strip),
            "song": ours("LoadAudio", audio=SOUND),
        }

    def canvas(self, height: int, vae: str = "vae", out: int = 0) -> dict[str, Any]:
        size = {"width": self.width, "height": height}
        return self.ours("Canvas", vae=[vae, out], seconds=0.1, fps=8.0, **size)

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        ours = self.ours
        image, images, film, vae = (
            {"clip": ["image", 0]}, {"clip": ["images", 0]}, {"clip": ["film", 0]},
            {"vae": ["vae", 0]},
        )  # fmt: skip
        rate = {"fps": 8.0}
        yield "Canvas", self.canvas(self.height)
        yield "Pin Image", ours("PinImage", latent=["canvas", 0], image=["image", 0], **vae)
        yield "Pin Video", ours("PinVideo", latent=["canvas", 0], **film, **vae)
        yield "Encode", ours("Encode", image=["image", 0], **vae, **rate)
        yield "Extend Video", ours("ExtendVideo", **images, **vae, **rate)
        yield "Extend Video, file", ours("ExtendVideo", **film, **vae)
        yield "Remix", ours("Remix", **image, **vae, **rate)
        yield "Region", ours("Region", **image, **vae, mask=["mask", 0], grow=64, feather=64)
        yield "Expand Canvas", ours("ExpandCanvas", **image, **vae, **rate, left=64)
        yield (
            "Reference Images",
            ours("ReferenceImages", latent=["canvas", 0], images=["image", 0], **vae),
        )
        yield "Control Video", ours("ControlVideo", latent=["canvas", 0], **film, **vae)
        yield "Camera Path", ours("CameraPath", **image)
        conditions = {"positive": ["text", 0], "negative": ["text", 0]}
        yield "Motion Brush", ours(
            "MotionBrush", **conditions, image=["image", 0], latent=["older", 0], vae=["wan21", 2],
            brush="[0s to 0.1s] 0.2,0.2 -> 0.6,0.6", masks=["mask", 0],
        )  # fmt: skip
        sampled = {"model": ["model", 0], **conditions, "sigmas": ["sigmas", 0]}
        yield "Sample", ours("Sample", **sampled, latent=["strip", 0])
        yield "Decode", ours("Decode", latent=["strip", 0], **vae, **rate)
        yield "Decode Frames", ours("DecodeFrames", latent=["strip", 0], **vae)
        yield "Interpolate", ours("Interpolate", video=["video", 0], fps=24.0)
        yield "Interpolate, file", ours("Interpolate", video=["film", 0], fps=24.0)
        yield "Side by Side", ours("SideBySide", video=["film", 0])
        for form in FORMATS:
            yield (
                f"Save Video, {form}",
                ours("SaveVideo", video=["video", 0], filename_prefix="bench", format=form),
            )
        yield "Save Video, copy", ours("SaveVideo", video=["film", 0], filename_prefix="bench")
        yield (
            "Save Video, mark",
            ours("SaveVideo", video=["film", 0], filename_prefix="bench", mark=True, remember=True),
        )
        yield "Read Mark", ours("ReadMark", video=["film", 0])
        yield "Made Here", ours("MadeHere", file="", video=["film", 0], **vae)
        yield "Read Credentials", ours("ReadCredentials", file="", video=["film", 0])
        yield "Load Audio, an hour", ours("LoadAudio", audio=SOUND)
        yield (
            "Save Video, an hour",
            ours("SaveVideo", video=["film", 0], filename_prefix="bench", audio=["song", 0]),
        )
        yield (
            "Storyboard, an hour",
            ours("Storyboard", clip=["clip", 0], text="[0s] a ball", audio=["song", 0], snap=0.5),
        )


def watched(host: Host, graph: Graph, looks: Looks) -> str | None:
    """Run a graph, looking at its last node; returns the error."""
    executor, (*_, last) = host.executor(), graph
    send = executor.server.send_sync

    def sent(event: str, data: Any, sid: str | None = None) -> None:
        send(event, data, sid)
        if isinstance(data, dict) and data.get("node") == last:
            (looks.begin if event == "executing" else looks.end)()
        elif event == "executing":
            looks.end()

    executor.server.send_sync = sent
    run = host.run(graph, want=[last], executor=executor)
    looks.end()
    return run.error


def row(name: str, host: Host, graph: Graph, most: float) -> dict[str, Any]:
    """Figures of one node; its threads stay one, which other work on the machine cannot hold up."""
    import comfy.model_management as mm

    torch.set_num_threads(1)
    looks = Looks(most)
    mm.throw_exception_if_processing_interrupted = looks.look
    error = watched(host, graph, looks)
    longest = sorted(looks.gaps, key=lambda gap: -gap[0])[:3]
    return {
        "node": name,
        "longest_s": round(longest[0][0], 2) if longest else None,
        "looks": len(looks.gaps) // 2,
        "longest": [(round(took, 2), said(a), said(b)) for took, a, b in longest],
        "error": (error or "")[:200],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="2048", help="a side in pixels, or 8192x4608")
    parser.add_argument("--strip", type=int, default=768, help="height of what Decode is given")
    parser.add_argument("--most", type=float, default=60, help="CPU seconds, then it is cancelled")
    parser.add_argument("--only", default="", help="nodes whose name contains this")
    parser.add_argument("--where", action="store_true", help="tell where the longest times lay")
    options = parser.parse_args()
    width, _, height = options.size.partition("x")
    width, height = int(width), int(height or width)
    base = start_comfyui()
    with contextlib.redirect_stdout(sys.stderr):
        load_pack()
    import nodes

    nodes.NODE_CLASS_MAPPINGS["BenchPicture"] = Picture
    host_models.register_tiny_models()
    large_file(base / "input" / FILE, width, height)
    hour_of_sound(base / "input" / SOUND)
    host, graphs, rows = Host(base), Graphs(width, height, options.strip), []
    os.chdir(base)
    for name, node in graphs.all():
        if options.only not in name:
            continue
        graph = graphs.shared() | {"last": node}
        measured = apart(lambda n=name, g=graph: row(n, host, g, options.most))
        found = {**measured.pop("result"), **measured}
        stacks = found.pop("longest")
        print(json.dumps(found), flush=True)
        for took, before, after in stacks if options.where else ():
            print(f"  {took:6.2f}  {' '.join(before)}\n     ->  {' '.join(after)}", flush=True)
        rows.append(found)
    longest = max((r["longest_s"] or 0 for r in rows), default=0)
    print(json.dumps({**machine(), "size": [width, height], "longest_s": longest, "rows": rows}))


if __name__ == "__main__":
    main()
