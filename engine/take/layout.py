"""A take laid out: its shots on the frames, its clips, and the windows they are sampled in.

Pure arithmetic, no tensors: the plan of an hour can be shown before its first step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from ...models.errors import InputError
from ..canvas.grid import Grid
from ..canvas.plan import Window, consecutive
from ..rounding import nearest
from ..written import clock
from .storyboard import Shot, StoryboardError


class Span(NamedTuple):
    """From latent frame `start` of its clip on, shot number `shot` (from 0) is seen."""

    start: int
    shot: int


@dataclass(frozen=True)
class Clip:
    """A piece of a take that is sampled without a break and decoded as one causal stream.

    Attributes:
        start: frame of the take that it begins with.
        frames: how many of its frames are shown, those under the next clip's dissolve included.
        dissolve: how many of them shine through the clip before.
        latent_frames: what is sampled, a few frames more than are shown.
        spans: its shots.
        windows: in which it is sampled.
    """

    start: int
    frames: int
    dissolve: int
    latent_frames: int
    spans: tuple[Span, ...]
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Take:
    """All clips of a take, in order; together they show `frames` frames."""

    frames: int
    clips: tuple[Clip, ...]

    @property
    def windows(self) -> int:
        return sum(len(clip.windows) for clip in self.clips)


class Windowing(NamedTuple):
    """In what windows a take is to be sampled.

    Attributes:
        length: of a window, in latent frames.
        overlap: latent frames that each window goes on from.
        together: shots that follow one another by a cut share their windows and see each other,
            rather than each being a clip of its own.
        even: all windows of a clip go on from as many frames, so that the last gives a few more
            than are shown, where it would else begin sooner.
    """

    length: int
    overlap: int
    together: bool = False
    even: bool = False

    def sampled_for(self, latent_frames: int) -> int:
        """How many latent frames are sampled so that `latent_frames` are there."""
        more = latent_frames - self.length
        if not self.even or more <= 0:
            return latent_frames
        stride = self.length - self.overlap
        return self.length + -(-more // stride) * stride


def plan_take(
    shots: Sequence[Shot], frames: int, fps: Fraction, grid: Grid, windowing: Windowing
) -> Take:
    """Lay `shots` out on `frames` frames.

    A shot begins on the frame nearest to its time, to the frame where it is a clip of its own, and
    on the nearest latent frame where it shares one.

    Raises:
        InputError: if two shots fall on the same frame, or the windows make no sense.
    """
    starts = frame_starts(shots, frames, fps)
    groups = _clips_of(shots, windowing.together)
    clips = []
    for i, group in enumerate(groups):
        start = starts[group[0]]
        follower = groups[i + 1][0] if i + 1 < len(groups) else None
        stop = frames if follower is None else starts[follower]
        if follower is not None:
            stop += _dissolve_frames(shots, starts, frames, follower, fps)
        latent_frames = windowing.sampled_for(grid.enough(stop - start))
        spans = spans_of([(starts[shot] - start, shot) for shot in group], grid, shots)
        windows = consecutive(latent_frames, windowing.length, windowing.overlap)
        dissolve = _dissolve_frames(shots, starts, frames, group[0], fps)
        clips.append(Clip(start, stop - start, dissolve, latent_frames, spans, windows))
    return Take(frames, tuple(clips))


def check_end(shots: Sequence[Shot], seconds: Fraction) -> None:
    """Raises StoryboardError for a shot or a dissolve that is not over in so many seconds."""
    for shot in shots:
        if shot.start >= seconds:
            raise StoryboardError(
                shot.where,
                f"this shot starts at {clock(shot.start)}, past the end at {clock(seconds)}: "
                f"start it sooner, or make the take longer than {clock(shot.start)}.",
            )
    if shots[-1].start + shots[-1].dissolve > seconds:
        raise StoryboardError(
            shots[-1].where,
            f"a dissolve of {clock(shots[-1].dissolve)} from {clock(shots[-1].start)} on is not "
            f"over at the end, {clock(seconds)}: take at most {clock(seconds - shots[-1].start)}.",
        )


def frame_starts(shots: Sequence[Shot], frames: int, fps: Fraction) -> list[int]:
    """The frame each shot begins on. Raises StoryboardError if two share one."""
    starts = [nearest(shot.start * fps) for shot in shots]
    for i, shot in enumerate(shots):
        if i and starts[i] <= starts[i - 1]:
            raise StoryboardError(
                shot.where,
                f"at {float(fps):g} frames per second this shot begins on the same frame as the "
                f"one before: start it at least {clock(1 / fps)} later.",
            )
        if starts[i] >= frames:
            raise StoryboardError(
                shot.where,
                f"this shot starts at {clock(shot.start)}, but the take has only {frames} frames, "
                f"{clock(frames / fps)}: start it sooner or make the take longer.",
            )
    return starts


def noise_frames(clip: Clip, shots: Sequence[Shot], seed: int, grid: Grid) -> list[tuple[int, int]]:
    """(seed, number of the frame) of each latent frame's noise, see `engine.canvas.noise`.

    A shot without a seed of its own has the take's noise at its place in the take. A shot with one
    has that seed's noise from frame 0 on, so that it looks the same wherever it stands.
    """
    base, noise = grid.latent_frame_of(clip.start), []
    for at in range(clip.latent_frames):
        span = [span for span in clip.spans if span.start <= at][-1]
        own = shots[span.shot].seed
        noise.append((seed, base + at) if own is None else (own, at - span.start))
    return noise


def shots_in(clip: Clip, window: Window) -> list[Span]:
    """The shots seen in a window, with latent frames counted from its beginning."""
    first, last = window.frames[0], window.frames[-1]
    stops = [*(span.start for span in clip.spans[1:]), clip.latent_frames]
    return [
        Span(max(0, span.start - first), span.shot)
        for span, stop in zip(clip.spans, stops, strict=True)
        if span.start <= last and stop > first
    ]


def _clips_of(shots: Sequence[Shot], together: bool) -> list[list[int]]:
    """Numbers of the shots that make up each clip.

    A dissolve needs two clips, since for a while both are seen; an image needs to be a clip's
    first frame.
    """
    groups: list[list[int]] = []
    for i, shot in enumerate(shots):
        if i and together and shot.transition == "cut" and shot.image is None:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _dissolve_frames(
    shots: Sequence[Shot], starts: Sequence[int], frames: int, shot: int, fps: Fraction
) -> int:
    """For how many frames a shot shines through the one before: at most as long as it lasts."""
    if not shots[shot].dissolve:
        return 0
    lasts = [*starts, frames][shot + 1] - starts[shot]
    return min(max(1, nearest(shots[shot].dissolve * fps)), lasts)


def spans_of(
    places: Sequence[tuple[int, int]], grid: Grid, shots: Sequence[Shot]
) -> tuple[Span, ...]:
    """(frame within the clip, shot) -> spans on latent frames.

    Raises:
        StoryboardError: if two shots begin on the same latent frame.
    """
    spans: list[Span] = []
    for frame, shot in places:
        start = grid.nearest_latent_frame(frame)
        if spans and start <= spans[-1].start:
            raise StoryboardError(
                shots[shot].where,
                f"shots that share a window are at least one latent frame, {grid.stride_t} frames, "
                f"long, and the one before this is not: make it longer, or sample each shot on "
                f"its own.",
            )
        spans.append(Span(start, shot))
    return tuple(spans)


def check_windowing(windowing: Windowing, grid: Grid) -> Windowing:
    """The windowing. Raises InputError if windows cannot hand over, counted in pixel frames."""
    if windowing.length < 2 or windowing.overlap >= windowing.length:
        raise InputError(
            f"windows of {grid.frames(windowing.length)} frames with an overlap of "
            f"{grid.frames(windowing.overlap)}: a window has {grid.frames(2)} frames or more, and "
            f"at least {grid.stride_t} more than its overlap."
        )
    return windowing
