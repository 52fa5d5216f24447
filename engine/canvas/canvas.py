"""The canvas: latents of which a part is known; the rest is to be sampled.

Text to video, an image set in motion, extension, infill and loops are one operation on it; they
differ in which frames are known. A clip goes on its canvas to the bit: nothing is decoded and
encoded again. Put behind other frames it lacks one thing on most grids: its first latent frame
holds a single pixel frame and can stand only where a video begins. There a whole latent frame is
sampled instead, whose last pixel frame takes its place; the canvas notes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError
from ..levels import as_numbers
from ..opaque import opaque
from .codec import Codec
from .guidance import Guidance
from .known import Pins
from .masked import MaskedLatents, check_video
from .picture import fit_in_words, fitted
from .plan import Window, as_clips, backwards, between, forwards
from .regions import KeptPixels
from .sound_track import SoundLayout, SoundTrack
from .timeline import LONGEST, Placement, Timeline

DIRECTIONS = ("forwards", "backwards")
SAMPLE, HOLD = "paint", "hold"  # what becomes of latent frames that a clip fills a part of
EDGES = (SAMPLE, HOLD)


@dataclass(frozen=True, eq=False)
class Canvas:
    """A video of which a part is known, and what is to become of it.

    Attributes:
        video: its latents.
        codec: that of its latents; None where nobody has named a VAE yet.
        fps: frames per second; None where nobody has said.
        pins: its known pixels, for checkpoints that read those; None if there are none.
        guidance: what is to be followed on it, for VACE's checkpoints; None if there is nothing.
        plan: the windows it is to be sampled in, if they are more than one.
        skip: pixel frames at the front that are no part of the video: those of a loop.
        strength: how far back towards noise known latents go before they are sampled over.
        noise: level of the noise that is still in latents whose sampling was broken off.
        sound: beside the pictures, for models that make both.
        kept: the pixels that it keeps outside of its regions; None where it has none.
        notes: what there is to say of it, line by line.
    """

    video: MaskedLatents
    codec: Codec | None = None
    fps: Fraction | None = None
    pins: Pins | None = None
    guidance: Guidance | None = None
    plan: tuple[Window, ...] = ()
    skip: int = 0
    strength: float | None = None
    noise: float | None = None
    sound: SoundTrack | None = None
    kept: KeptPixels | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        if self.codec is not None:
            check_video(self.video.latents, self.codec.grid.channels)

    @classmethod
    def blank(
        cls, codec: Codec, frames: int, height: int, width: int, fps: Fraction, batch: int = 1
    ) -> "Canvas":
        """An empty canvas for `frames` pixel frames of height × width pixels.

        Its zeros take no memory until they are written on.

        Raises:
            FrameCountError, SizeError: if they are off the grid, with the nearest that fit.
        """
        shape = codec.grid.latent_shape(frames, height, width, batch)
        canvas = cls(MaskedLatents(torch.zeros(1).expand(shape)), codec, fps)
        return canvas.with_sound(codec.sound) if codec.sound else canvas

    @classmethod
    def empty(
        cls, codec: Codec, seconds: float, fps: Fraction, width: int, height: int, batch: int = 1
    ) -> "Canvas":
        """An empty canvas as long as the grid allows that is nearest to `seconds`; it notes that.

        Raises:
            InputError, SizeError: for no duration, or a size off the grid.
        """
        frames = codec.grid.nearest_frames(seconds, fps)
        canvas = cls.blank(codec, frames, height, width, fps, batch)
        t, h, w = canvas.video.latents.shape[2:]
        return canvas.noted(
            f"{width}×{height}, {frames} frames, {float(frames / fps):.2f} s",
            f"latent {t}×{h}×{w}, {t * h * w // codec.grid.patch**2} tokens",
        )

    @property
    def timeline(self) -> Timeline:
        fps = self.fps or self.codec.fps
        return Timeline(self.codec.grid, fps, self.video.latents.shape[2])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        h, w = (n * self.codec.grid.stride_hw for n in self.video.latents.shape[3:])
        return h, w

    @property
    def windows(self) -> tuple[Window, ...]:
        """The plan; one window for all where there is none, or another node has cut the canvas."""
        t = self.video.latents.shape[2]
        if self.plan and max(max(window.frames) for window in self.plan) < t:
            return self.plan
        return (Window(tuple(range(t))),)

    @property
    def left_out(self) -> int:
        """Pixel frames to leave out after decoding; none if another node has cut the canvas."""
        return self.skip if self.skip < self.timeline.frames else 0

    def with_sound(self, layout: SoundLayout) -> "Canvas":
        """With sound to be sampled beside its pictures; sound that is there stays."""
        if self.sound is not None:
            return self
        grid, fps = self.timeline.grid, self.timeline.fps
        return replace(self, sound=SoundTrack.beside(self.video.latents, grid, layout, fps))

    def keeping(self, kept: KeptPixels, latents: Tensor) -> "Canvas":
        """With regions to be sampled, all else being known.

        Args:
            kept: what is seen outside of them, and where that is.
            latents: (b, c, t, h, w) of it.
        """
        t, window = latents.shape[2], self.codec.window
        kept = replace(kept, codec=self.codec)
        cells = kept.cells(self.codec.grid, t)
        canvas = replace(self, video=MaskedLatents(latents, cells), kept=kept, pins=None, plan=())
        new = cells.flatten(3).amax((0, 1, 3)).nonzero().flatten().tolist()
        share = f"{100 * float(cells.mean()):.0f} % of all tokens to be sampled"
        if t <= window:
            return canvas.noted(share)
        plan = forwards(new[0], new[-1] + 1, window, self.codec.past(window))
        plan = as_clips((w for w in plan if {*w.new} & {*new}), self.codec.grid.shown)
        return replace(canvas, plan=plan).noted(share, count_of(plan))

    def noted(self, *notes: str) -> "Canvas":
        return replace(self, notes=(*self.notes, *notes))

    # Pinning: pixels that become known

    def pin_image(self, image: Tensor, at: float, fit: str, clip_vision: Any = None) -> "Canvas":
        """With an image at a time.

        Args:
            image: (1, h, w, 1, 3 or 4) in [0, 1], of any size.
            at: seconds.
            fit: how it is brought to the canvas's size, one of `picture.FITS`.
            clip_vision: core's CLIP_VISION_OUTPUT of it, which Wan 2.1 I2V also reads.

        Raises:
            InputError: for a time outside the canvas, no image or several.
        """
        timeline = self.timeline
        frame = timeline.frame_at("at", at)
        if image.ndim != 4 or image.shape[0] != 1:
            raise InputError(
                f"PinImage takes 1 image, not {image.shape[0]}: for the frames of a clip there is "
                f"PinVideo; ImageFromBatch picks one of several."
            )
        where = Placement(timeline, frame, 1)
        notes = [f"frame {frame} of {timeline.frames}, {float(frame / timeline.fps):.3g} s"]
        if where.partly:
            notes.append(f"it stands for {timeline.in_words(where.partly)}, one latent frame")
        if change := fit_in_words(tuple(image.shape[1:3]), *self.size, fit):
            notes.append(change)
        if image.shape[-1] == 4:
            notes.append("what is transparent became black")
        picture = fitted(opaque(image.cpu()), *self.size, fit)
        return self.pinned(picture, where, where.partly, clip_vision).noted(*notes)

    def pin_clip(self, pictures: Tensor, first: int, edges: str) -> "Canvas":
        """With the frames of a clip from pixel frame `first` on.

        Args:
            pictures: (n, h, w, 3) in [0, 1], of the canvas's size and rate.
            edges: one of EDGES: whether latent frames that the clip fills a part of are sampled,
                or known as if its nearest frame went on.

        Raises:
            InputError: for a clip that fills no latent frame.
        """
        timeline = self.timeline
        where = Placement(timeline, first, len(pictures))
        partly = where.partly if edges == HOLD else ()
        if not where.wholly and not partly:
            raise InputError(
                f"{where.count} frames from frame {first} on fill no latent frame, which is "
                f"{timeline.in_words(where.touched)}: set edges to hold, or take a longer clip."
            )
        notes = [f"frames {first}-{where.stop - 1} of {timeline.frames}"]
        if where.partly:
            rest = "its nearest frame goes on there" if partly else "they are sampled anew"
            notes.append(f"of {timeline.in_words(where.partly)} it fills a part only: {rest}")
        return self.pinned(pictures, where, partly).noted(*notes)

    def pinned(
        self,
        pictures: Tensor,
        where: Placement,
        partly: Sequence[int] = (),
        clip_vision: Any = None,
    ) -> "Canvas":
        """With a clip's latent frames known, and its pixels remembered.

        Args:
            pictures: (n, h, w, 3) in [0, 1], of the canvas's size.
            where: they go.
            partly: latent frames that they fill a part of, and that are known all the same.
        """
        known = sorted({*where.wholly, *partly})
        span = range(known[0], known[-1] + 1)
        frames, lead = where.to_encode(span)
        latents = self.codec.encode(pictures[frames])[:, :, lead : lead + len(span)]
        before = self.pins or Pins(self.codec)
        shown = range(where.first, where.stop)
        pixels = {**before.pixels, **dict(zip(shown, pictures, strict=False))}
        in_part = {
            k
            for k in {*before.partly, *partly}
            if not all(frame in pixels for frame in where.timeline.span(k))
        }
        vision = before.clip_vision or clip_vision
        return replace(
            self,
            video=self.video.with_known({span.start: latents}),
            pins=Pins(self.codec, pixels, frozenset(in_part), vision),
        )

    # Clips that go on: frames that are added

    def extend(
        self, direction: str, seconds: float, overlap: float = 0.0, window: float = 0.0
    ) -> "Canvas":
        """A clip and `seconds` more.

        Args:
            direction: one of DIRECTIONS, after or before it.
            overlap: seconds of the clip that each window goes on from; 0: the usual.
            window: seconds that the model is shown at a time; 0: what it was made for.

        Raises:
            InputError: for a window that the overlap fills, or no duration.
        """
        check_overlap_seconds(overlap, window)
        timeline = self.timeline
        n, alone = timeline.latent_frames, timeline.grid.alone
        forth = direction == "forwards"
        new = timeline.added(seconds, n if forth else 0, joins=not forth)
        length = timeline.latent_frames_in(window) if window else self.codec.window
        past = timeline.latent_frames_in(overlap) if overlap else self.codec.past(length)
        # Backwards, the first that a window samples may have to be sampled again by the next.
        least = 1 if forth or new + alone <= length - past else 1 + alone
        if length - past < least:
            usual = [float(timeline.grid.frames(count) / timeline.fps) for count in (past, length)]
            raise nothing_to_sample(overlap or usual[0], window or usual[1])
        past = min(past, n)
        total = n + new
        if forth:
            plan = forwards(n, total, length, past)
            canvas = self._arranged([*range(n), *[None] * new], plan)
        else:
            plan = backwards(new + alone, total, length, past, alone)
            canvas = self._arranged([*[None] * (new + alone), *range(alone, n)], plan)
        whole = canvas.timeline
        canvas = canvas.noted(
            f"{timeline.frames} + {whole.frames - timeline.frames} frames: "
            f"{float(whole.seconds):.3g} s",
            f"going on from {past} latent frames",
            count_of(plan),
            *self.notes,
        )
        if alone and not forth:
            stride = timeline.grid.stride_t
            canvas = canvas.noted(
                f"the clip's first frame is sampled anew, as the last of {stride}"
            )
        return canvas

    def fill(self, start: float, end: float, after: "Canvas | None" = None) -> "Canvas":
        """A clip whose frames from `start` to `end` are to be sampled anew.

        Args:
            start, end: seconds.
            after: the clip that begins at `end`; without it this one goes on.

        Raises:
            InputError: if there is no such time in the clip, or nothing is left of it.
        """
        check_gap(start, end)
        timeline = self.timeline
        if after is not None:
            kept = frames_before(timeline, start)
            return self._joined(after, kept, timeline.added(end - start, kept, joins=True))
        first, last = timeline.frame_at("start", start), timeline.frame_at("end", end)
        stop = timeline.frames if end * timeline.fps > timeline.frames - 1 else last
        gap = timeline.touched(first, max(stop, first + 1))
        n = timeline.latent_frames
        if len(gap) >= n:
            raise InputError(
                f"from {start:g} s to {end:g} s is all of a clip of {float(timeline.seconds):.4g} "
                f"s: leave something for the gap to fit."
            )
        plan = self._between(range(gap.start), gap, range(gap.stop, n))
        canvas = self._arranged([None if k in gap else k for k in range(n)], plan)
        return canvas.noted(f"sampling {timeline.in_words(gap)}", count_of(plan), *self.notes)

    def bridge(self, after: "Canvas", seconds: float) -> "Canvas":
        """This clip, `seconds` to be sampled, and the clip `after`."""
        n = self.timeline.latent_frames
        return self._joined(after, n, self.timeline.added(seconds, n, joins=True))

    def loop(self, seconds: float) -> "Canvas":
        """A clip and `seconds` that lead from its end to its beginning.

        What follows the clip's first frames stands once more at the end, so that any sampler sees
        where to arrive, and any decoder shows it as it looks when one comes from there. `skip` says
        how many pixel frames at the front are not of the loop. All others are decoded in the middle
        of a video, and the last goes over into the first as it did in the clip.
        """
        timeline = self.timeline
        n, grid = timeline.latent_frames, timeline.grid
        least = grid.left_out + max(2, grid.as_clip(1) + 1)
        if n < least:
            raise InputError(
                f"a clip of {timeline.frames} frames is too short for a loop: connect "
                f"{grid.frames(grid.enough(grid.frames(least)))} or more."
            )
        new = timeline.added(seconds, n, joins=True)
        tail = min(grid.repeated, n - grid.left_out - 1)
        plan = self._between(range(n), range(n, n + new), range(n + new, n + new + tail))
        order = [*range(n), *[None] * new, *range(grid.left_out, grid.left_out + tail)]
        skip = grid.frames(grid.left_out + tail)
        canvas = replace(self._arranged(order, plan), skip=skip)
        frames = canvas.timeline.frames - skip
        return canvas.noted(
            f"a loop of {frames} frames, {float(frames / timeline.fps):.3g} s",
            count_of(plan),
            f"with other nodes than ours, leave out the first {skip} frames after decoding",
            *self.notes,
        )

    def remix(self, strength: float) -> "Canvas":
        """A canvas that starts from a clip instead of from nothing."""
        timeline, window = self.timeline, self.codec.window
        said = f"{timeline.frames} frames to be sampled over, denoise {strength:g}"
        canvas = replace(self, strength=strength, kept=None, notes=(said, *self.notes))
        if timeline.latent_frames <= window:
            return canvas
        plan = forwards(0, timeline.latent_frames, window, self.codec.past(window))
        plan = as_clips(plan, timeline.grid.shown)
        return replace(canvas, plan=plan).noted(count_of(plan))

    def _joined(self, after: "Canvas", kept: int, new: int) -> "Canvas":
        """The first `kept` latent frames of a clip, `new` to be sampled, then the clip `after`."""
        a, b = self.video.latents, after.video.latents
        batch = check_joinable(self, after)
        both = torch.cat((a.expand(batch, -1, -1, -1, -1), b.expand(batch, -1, -1, -1, -1)), dim=2)
        n, alone = a.shape[2], self.codec.grid.alone
        # Where the other clip's first latent frame can stand only at the beginning, its one pixel
        # frame is the last of those sampled before it.
        order = [*range(kept), *[None] * new, *range(n + alone, n + b.shape[2])]
        gap = range(kept, kept + new)
        plan = self._between(range(kept), gap, range(gap.stop, len(order)))
        followed = self.guidance or after.guidance
        followed = followed and followed.followed_by(after.guidance)
        canvas = replace(self, video=MaskedLatents(both), guidance=followed)
        canvas = canvas._arranged(order, plan, after.sound, n)
        whole = canvas.timeline
        notes = [
            f"sampling {whole.in_words(gap)} of {whole.frames}",
            count_of(plan),
            *self.notes,
        ]
        if alone:
            notes.append(
                "the first frame after them is the second of its clip: the one before is sampled "
                "anew"
            )
        fps, other = self.timeline.fps, after.timeline.fps
        if fps != other:
            notes.append(f"{float(other):g} fps plays at {float(fps):g}")
        return canvas.noted(*notes, *after.notes)

    def _arranged(
        self,
        order: Sequence[int | None],
        plan: Sequence[Window],
        after: SoundTrack | None = None,
        split: int = 0,
    ) -> "Canvas":
        """Known latent frames, by their number in this canvas, and None, to be sampled.

        From number `split` on their sound is that of the clip `after`.
        """
        video = self.video.arranged(order)
        plan = as_clips(plan, self.codec.grid.shown)
        sound = self.sound and self.sound.arranged(order, after, split)
        guidance, said = self._handed_on(order, split or self.video.latents.shape[2])
        canvas = Canvas(
            video,
            self.codec,
            self.timeline.fps,
            guidance=guidance,
            plan=plan,
            sound=sound,
            notes=said,
        )
        return canvas.as_still_as(self.kept) if after is None and not split else canvas

    def _handed_on(
        self, order: Sequence[int | None], own: int
    ) -> tuple[Guidance | None, tuple[str, ...]]:
        """What is followed on frames in another order, and what there is to say of it.

        Args:
            order: as in `_arranged`.
            own: how many of the frames are this canvas's.
        """
        if self.guidance is None:
            return None, ()
        places = [(place, k) for place, k in enumerate(order[:own])]
        moved = any(k is not None and k < own and k != place for place, k in places)
        gap = [] if moved else [place for place, k in places if k is None]
        frames = {f for place in gap for f in self.timeline.span(place)}
        guidance = self.guidance.handed_to(frames)
        notes = []
        if guidance is not None and guidance.references:
            notes.append(f"references that go on: {len(guidance.references)}")
        if self.guidance.driving is not None:
            notes.append("the clip's performance ends with it")
        if self.guidance.control:
            there = [f for f in sorted(frames) if f in self.guidance.control]
            notes.append(
                f"the clip's control clip is followed in frames {there[0]}-{there[-1]}"
                if there
                else "the clip's control clip ends with it: for frames that are added, connect "
                "Control Video after this node"
            )
        return guidance, tuple(notes)

    def as_still_as(self, kept: KeptPixels | None) -> "Canvas":
        """With a picture that stands still outside of its regions, in all that is to be sampled."""
        if kept is None or not kept.still:
            return self
        total = self.timeline.frames
        kept = replace(kept, frames=total, areas=tuple(a.always(total) for a in kept.areas))
        picture = as_numbers(next(kept.backdrop.frames(lambda _: iter(()))))
        still = self.codec.encode(picture.expand(total, -1, -1, -1))
        known = self.video.to_sample == 0
        latents = torch.where(known, self.video.latents, still)
        mask = torch.where(known, 0.0, kept.cells(self.codec.grid, latents.shape[2]))
        return replace(self, video=MaskedLatents(latents, mask), kept=kept)

    def _between(
        self, before: Sequence[int], gap: Sequence[int], after: Sequence[int]
    ) -> tuple[Window, ...]:
        window, alone = self.codec.window, self.codec.grid.alone
        return between(before, gap, after, window, self.codec.past(window), alone)


def check_joinable(one: Canvas, after: Canvas) -> int:
    """How many videos a canvas of two clips is. Raises InputError if of none."""
    a, b = one.video.latents, after.video.latents
    if a.shape[3:] != b.shape[3:]:
        sizes = [f"{width}×{height}" for height, width in (one.size, after.size)]
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


def check_gap(start: float, end: float) -> None:
    if not 0 <= start < end <= LONGEST:
        raise InputError(
            f"from {start:g} s to {end:g} s there is nothing to fill: end must be after start."
        )


def check_overlap_seconds(overlap: float, window: float) -> None:
    if 0 < window <= overlap:
        raise nothing_to_sample(overlap, window)


def nothing_to_sample(overlap: float, window: float) -> InputError:
    """What to say of windows that the overlap fills, both in seconds."""
    return InputError(
        f"an overlap of {overlap:.4g} s in windows of {window:.4g} s leaves nothing to sample: "
        f"choose a shorter overlap or a longer window; 0 is the usual one."
    )


def frames_before(timeline: Timeline, seconds: float) -> int:
    """How many latent frames lie wholly before a time; 1 at least."""
    first = timeline.frame_at("start", seconds)
    before = next(k for k in range(timeline.latent_frames + 1) if timeline.span(k).stop > first)
    at_the_end = Fraction(seconds) * timeline.fps >= timeline.frames - 1
    return timeline.latent_frames if at_the_end else max(1, before)


def count_of(plan: Sequence[Window]) -> str:
    return "in one window" if len(plan) == 1 else f"in {len(plan)} windows"
