"""VIDEOs side by side, as one."""

from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction

from comfy_api.latest import Input

from ...engine.container.publish import check_space, writing_bytes
from ...engine.frames.prefetch import prefetch
from ...engine.frames.sheet import shape_of_sheet, sheet
from ...engine.media.writer import write_video
from ...models.errors import InputError
from ..comfyui.films import film, temporary_file
from ..comfyui.progress import check_cancelled, with_progress
from .footage import Footage, open_video

SIDES = ("height", "width")


def side_by_side(videos: Sequence[Input.Video]) -> Input.Video:
    """Videos in a grid, numbered, as a VIDEO in ComfyUI's temp folder, with the first one's sound.

    Raises:
        InputError: if their frame rates differ, or one of them cannot be read.
        OutputError: if the file cannot be written.
    """
    with ExitStack() as stack:
        footages = [stack.enter_context(open_video(video)) for video in videos]
        rate = _common_rate(footages)
        height, width = (max(_even(getattr(f, side)) for f in footages) for side in SIDES)
        total = max(footage.frames for footage in footages)
        columns, rows = shape_of_sheet(len(footages))
        path = temporary_file("side_by_side")
        check_space(path.parent, writing_bytes(total, columns * width, rows * height))
        frames = sheet([footage.stream() for footage in footages], height, width)
        sound = footages[0].sound
        shown = with_progress(prefetch(frames), total)
        write_video(path, shown, rate, sound=sound, check=check_cancelled)
    return film(path)


def _even(side: int) -> int:
    return side + side % 2


def _common_rate(footages: Sequence[Footage]) -> Fraction:
    rates = [footage.fps for footage in footages]
    if len(set(rates)) > 1:
        told = ", ".join(f"{float(rate):g}" for rate in rates)
        raise InputError(
            f"these videos have {told} frames a second: bring them to one rate with Interpolate."
        )
    return rates[0]
