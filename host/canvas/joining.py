"""Clips continued on either side, mended, joined and closed: canvases of which most is known.

A clip that is a LATENT goes on its canvas to the bit: nothing is decoded and encoded again. Put
behind other frames, it lacks one thing: its first latent frame holds a single pixel frame and can
stand only where a video begins. There, four pixel frames are painted instead, of which the last
takes its place; the node says so.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import comfy.sd
import torch
from torch import Tensor

from ...engine.canvas.passes import Pass, backwards, between, forwards, usual_overlap
from ...engine.canvas.timeline import Timeline, in_words
from ...models.errors import InputError
from ..comfyui.latent import with_facts
from ..networks.vae import grid_of
from ..video.frames_of import as_latent, rate_of, timeline_of, window_of
from .pinning import Noted

DIRECTIONS = ("forwards", "backwards")
LONGEST = 3600.0  # seconds
# Latent frames at a clip's beginning that look right only there, and so are not part of a loop:
# the first and, after anything else than it, the second.
LEFT = 2
# Latent frames after those that stand at a loop's end too, for the decoder's memory: frames come
# out at 28 to 32 dB of what they were in the clip after one of them, and above 35 after two.
REPEATED = 3


def extend(
    clip: Any,
    vae: comfy.sd.VAE,
    direction: str,
    seconds: float,
    overlap: float = 0.0,
    window: float = 0.0,
    fps: float = 0.0,
) -> Noted:
    """A canvas of a clip and `seconds` more, after or before it.

    Args:
        clip: LATENT, IMAGE or VIDEO.
        overlap: seconds of the clip that each pass goes on from; 0: the usual.
        window: seconds that the model is given at a time; 0: what it was made for.
        fps: of an IMAGE; 0: what the model was made for.

    Raises:
        InputError: for a window that the overlap fills, or no duration.
    """
    if 0 < window <= overlap:  # told before the clip is read
        raise nothing_to_paint(overlap, window)
    latent, notes = as_latent(clip, vae, fps)
    timeline = timeline_of(latent, vae)
    n, new = timeline.latent_frames, steps_of(seconds, timeline)
    length = in_latent_frames(window, timeline) if window else window_of(vae)
    past = in_latent_frames(overlap, timeline) if overlap else usual_overlap(length)
    # Backwards, the first that a pass paints is painted again by the next.
    least = 2 if direction == "backwards" and new + 1 > length - past else 1
    if length - past < least:
        usual = [float(timeline.grid.frames(count) / timeline.fps) for count in (past, length)]
        raise nothing_to_paint(overlap or usual[0], window or usual[1])
    past = min(past, n)
    total = n + new
    if direction == "forwards":
        passes = forwards(n, total, length, past)
        canvas = canvas_of(latent, [*range(n), *[None] * new], passes)
    else:
        passes = backwards(new + 1, total, length, past)
        canvas = canvas_of(latent, [*[None] * (new + 1), *range(1, n)], passes)
        notes.append("the clip's first frame is painted anew, as the last of 4")
    whole = timeline_of(canvas, vae)
    added = whole.frames - timeline.frames
    return canvas, [
        f"{timeline.frames} + {added} frames: {float(whole.seconds):.3g} s",
        f"going on from {past} latent frames",
        in_how_many(passes),
        *notes,
    ]


def fill_gap(
    clip: Any, vae: comfy.sd.VAE, start: float, end: float, after: Any = None, fps: float = 0.0
) -> Noted:
    """A canvas on which the frames from `start` to `end` are painted anew.

    Args:
        clip: LATENT, IMAGE or VIDEO: what is there before `start`.
        start, end: seconds.
        after: the clip that begins at `end`; without it, `clip` itself goes on.

    Raises:
        InputError: if there is no such time in the clip, or nothing is left of it.
    """
    if not 0 <= start < end <= LONGEST:
        raise InputError(
            f"from {start:g} s to {end:g} s there is nothing to fill: end must be after start."
        )
    latent, notes = as_latent(clip, vae, fps)
    timeline = timeline_of(latent, vae)
    if after is not None:
        kept = start_of_gap(timeline, start)
        steps = steps_of(end - start, timeline)
        return joined(latent, after, vae, kept, steps, fps, notes)
    first, last = timeline.frame_at("start", start), timeline.frame_at("end", end)
    stop = timeline.frames if end * timeline.fps > timeline.frames - 1 else last
    gap = timeline.touched(first, max(stop, first + 1))
    n = timeline.latent_frames
    if len(gap) >= n:
        raise InputError(
            f"from {start:g} s to {end:g} s is all of a clip of {float(timeline.seconds):.4g} s: "
            f"leave something for the gap to fit."
        )
    before, rest = tuple(range(gap.start)), tuple(range(gap.stop, n))
    passes = passes_between(before, tuple(gap), rest, vae)
    canvas = canvas_of(latent, [None if k in gap else k for k in range(n)], passes)
    return canvas, [f"painting {in_words(gap, timeline)}", in_how_many(passes), *notes]


def bridge(clip: Any, after: Any, vae: comfy.sd.VAE, seconds: float, fps: float = 0.0) -> Noted:
    """A canvas of one clip, `seconds` to be painted, and another clip."""
    latent, notes = as_latent(clip, vae, fps)
    timeline = timeline_of(latent, vae)
    steps = steps_of(seconds, timeline)
    return joined(latent, after, vae, timeline.latent_frames, steps, fps, notes)


def joined(
    latent: dict[str, Any],
    after: Any,
    vae: comfy.sd.VAE,
    kept: int,
    steps: int,
    fps: float,
    notes: list[str],
) -> Noted:
    """The first `kept` latent frames of a clip, `steps` to paint, then the clip `after`."""
    other, other_notes = as_latent(after, vae, fps)
    a, b = latent["samples"], other["samples"]
    batch = check_joinable(a, b, grid_of(vae).stride_hw)
    if rate_of(latent) != rate_of(other):
        notes.append(f"{float(rate_of(other)):g} fps plays at {float(rate_of(latent)):g}")
    sources = torch.cat((a.expand(batch, -1, -1, -1, -1), b.expand(batch, -1, -1, -1, -1)), dim=2)
    n, rest = a.shape[2], b.shape[2] - 1
    # The other clip's first latent frame is 1 pixel frame: the last of the 4 painted in its place.
    order = [*range(kept), *[None] * steps, *range(n + 1, n + 1 + rest)]
    gap = tuple(range(kept, kept + steps))
    passes = passes_between(tuple(range(kept)), gap, tuple(range(gap[-1] + 1, len(order))), vae)
    canvas = canvas_of({**latent, "samples": sources}, order, passes)
    whole = timeline_of(canvas, vae)
    return canvas, [
        f"painting {in_words(gap, whole)} of {whole.frames}",
        in_how_many(passes),
        "the first frame after them is the second of its clip: the one before is painted anew",
        *notes,
        *other_notes,
    ]


def check_joinable(a: Tensor, b: Tensor, cell: int) -> int:
    """How many videos a canvas of two clips (b, c, t, h, w) is. Raises InputError if of none.

    Args:
        cell: pixels along a side of a latent cell.
    """
    if a.shape[3:] != b.shape[3:]:
        sizes = [f"{x.shape[4] * cell}×{x.shape[3] * cell}" for x in (a, b)]
        raise InputError(
            f"the clips are of {sizes[0]} and {sizes[1]}: bring both to one size, for example with "
            f"core's ImageScale."
        )
    if b.shape[2] < 2:
        raise InputError(
            "the clip after the gap is 1 frame: connect one of 5 or more, or pin it with PinImage."
        )
    batch = max(len(a), len(b))
    if not {len(a), len(b)} <= {1, batch}:
        raise InputError(
            f"the clips are batches of {len(a)} and {len(b)}: make both of one size, or one of "
            f"them a single clip, for example with core's LatentFromBatch."
        )
    return batch


def loop(clip: Any, vae: comfy.sd.VAE, seconds: float, fps: float = 0.0) -> Noted:
    """A canvas of a clip and `seconds` that lead from its end to its beginning.

    What follows the clip's first frames stands once more at the end, so that any sampler sees where
    to arrive, and any decoder shows it as it looks when one comes from there. The fact "skip" says
    how many pixel frames at the front are not of the loop; Decode leaves them out. All others are
    decoded in the middle of a film, and the last goes over into the first as it did in the clip.
    """
    latent, notes = as_latent(clip, vae, fps)
    timeline = timeline_of(latent, vae)
    n = timeline.latent_frames
    if n < LEFT + 2:
        raise InputError(
            f"a clip of {timeline.frames} frames is too short for a loop: connect "
            f"{timeline.grid.frames(LEFT + 2)} or more."
        )
    steps = steps_of(seconds, timeline)
    gap = tuple(range(n, n + steps))
    tail = min(REPEATED, n - LEFT - 1)
    after = tuple(range(n + steps, n + steps + tail))
    passes = passes_between(tuple(range(n)), gap, after, vae)
    order = [*range(n), *[None] * steps, *range(LEFT, LEFT + tail)]
    skip = timeline.grid.frames(LEFT + tail)
    canvas = with_facts(canvas_of(latent, order, passes), skip=skip)
    frames = timeline_of(canvas, vae).frames - skip
    return canvas, [
        f"a loop of {frames} frames, {float(frames / timeline.fps):.3g} s",
        in_how_many(passes),
        f"with other nodes than ours, leave out the first {skip} frames after decoding",
        *notes,
    ]


def remix(clip: Any, vae: comfy.sd.VAE, strength: float, fps: float = 0.0) -> Noted:
    """A canvas that starts from a clip instead of from nothing; Schedule reads its strength."""
    latent, notes = as_latent(clip, vae, fps)
    timeline, window = timeline_of(latent, vae), window_of(vae)
    canvas = with_facts(latent, denoise=strength)
    if timeline.latent_frames > window:
        passes = forwards(0, timeline.latent_frames, window, usual_overlap(window))
        canvas = with_facts(canvas, passes=passes)
        notes.append(in_how_many(passes))
    return canvas, [f"{timeline.frames} frames to be painted over, denoise {strength:g}", *notes]


def canvas_of(
    latent: Mapping[str, Any], order: Sequence[int | None], passes: Sequence[Pass]
) -> dict[str, Any]:
    """A LATENT of known latent frames, by their number in `latent`, and of None, to be painted."""
    source = latent["samples"]
    b, c, _, h, w = source.shape
    samples = source.new_zeros(b, c, len(order), h, w)
    known = [k for k, frame in enumerate(order) if frame is not None]
    samples[:, :, known] = source[:, :, [order[k] for k in known]]
    mask = torch.ones(1, 1, len(order), 1, 1)
    mask[:, :, known] = 0
    out = {"samples": samples, "noise_mask": mask}
    return with_facts(out, fps=rate_of(latent), passes=tuple(passes))


def passes_between(
    before: tuple[int, ...], gap: tuple[int, ...], after: tuple[int, ...], vae: comfy.sd.VAE
) -> tuple[Pass, ...]:
    window = window_of(vae)
    return between(before, gap, after, window, usual_overlap(window))


def steps_of(seconds: float, timeline: Timeline) -> int:
    """Latent frames nearest to a duration, 1 or more."""
    if not 0 < seconds <= LONGEST:  # also false for NaN
        raise InputError(f"{seconds} seconds: choose a duration above 0, up to {LONGEST:g}.")
    return max(1, round(Fraction(seconds) * timeline.fps / timeline.grid.stride_t))


def in_latent_frames(seconds: float, timeline: Timeline) -> int:
    """Latent frames of an overlap or a window of so many seconds, 1 or more."""
    return max(1, round(Fraction(seconds) * timeline.fps / timeline.grid.stride_t))


def start_of_gap(timeline: Timeline, start: float) -> int:
    """How many latent frames are kept whole before a time."""
    first = timeline.frame_at("start", start)
    kept = next(k for k in range(timeline.latent_frames + 1) if timeline.span(k).stop > first)
    ends = Fraction(start) * timeline.fps >= timeline.frames - 1
    return timeline.latent_frames if ends else max(1, kept)


def nothing_to_paint(overlap: float, window: float) -> InputError:
    """What to say of windows that the overlap fills, both in seconds."""
    return InputError(
        f"an overlap of {overlap:.4g} s in windows of {window:.4g} s leaves nothing to paint: "
        f"choose a shorter overlap or a longer window; 0 is the usual one."
    )


def in_how_many(passes: Sequence[Pass]) -> str:
    one = len(passes) == 1
    return "in one pass" if one else f"in {len(passes)} passes"
