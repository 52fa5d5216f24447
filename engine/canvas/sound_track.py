"""Sound beside the pictures of a canvas: latents in ticks of their own, in step with the frames.

Models of pictures and sound sample both together. A node that does not speak of sound moves
it with its frames: each latent frame of pictures has the ticks that begin within it. Plain
tensors: a minute is some hundred kilobytes, so the whole of a video's sound is kept at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from ...models.errors import InputError
from ..rounding import nearest
from .grid import Grid
from .noise import frame_noise

STREAM = 2**31  # among the videos of a batch, where the noise of their sound begins


class SoundLayout(NamedTuple):
    """How a model packs sound into latents.

    Attributes:
        tick: shape of one tick's latents, (channels, rows).
        axis: of time in latents with a batch before them.
        rate: ticks a second.
    """

    tick: tuple[int, int]
    axis: int
    rate: int

    def shape(self, ticks: int, batch: int = 1) -> tuple[int, ...]:
        """Of the latents of so many ticks."""
        return (batch, *self.tick[: self.axis - 1], ticks, *self.tick[self.axis - 1 :])

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether latents of a shape are of this layout."""
        return len(shape) == 4 and tuple(shape) == self.shape(shape[self.axis], shape[0])


@dataclass(frozen=True)
class Ticks:
    """Which ticks of sound belong to which frames.

    Attributes:
        grid: of the pictures.
        per_frame: ticks that a pixel frame lasts.
    """

    grid: Grid
    per_frame: Fraction

    def at(self, frame: int) -> int:
        """The tick that begins nearest to a pixel frame."""
        return nearest(frame * self.per_frame)

    def count(self, latent_frames: int) -> int:
        """Ticks of a clip of so many latent frames."""
        return self.at(self.grid.first_frame(latent_frames))

    def of(self, latent_frame: int) -> range:
        """The ticks of one latent frame of a video."""
        first = self.grid.first_frame
        return range(self.at(first(latent_frame)), self.at(first(latent_frame + 1)))

    def shown(self, frames: Sequence[int]) -> list[int]:
        """The ticks of a video that belong to some of its latent frames, shown as a clip.

        As many as a clip of so many latent frames has. Its first latent frame may hold fewer pixel
        frames there than in the video, so what is shown begins with the last of its ticks.
        """
        first, ticks = self.grid.first_frame, []
        for at, run in stretches(frames):
            start = self.grid.begins(run[0]) if at == 0 else first(run[0])
            length = self.at(first(at + len(run))) - self.at(first(at))
            ticks += range(self.at(start), self.at(start) + length)
        return ticks


@dataclass(frozen=True, eq=False)
class SoundTrack:
    """The sound of a canvas, and what of it is known.

    Attributes:
        latents: as `layout` says.
        layout: of the latents.
        ticks: how they lie beside the pictures.
        mask: (ticks,), 1 = to be sampled, 0 = known; None where nothing is.
    """

    latents: Tensor
    layout: SoundLayout
    ticks: Ticks
    mask: Tensor | None = None

    @classmethod
    def silent(
        cls, layout: SoundLayout, ticks: Ticks, latent_frames: int, batch: int = 1
    ) -> "SoundTrack":
        """Nothing yet, beside so many latent frames of pictures."""
        return cls(torch.zeros(layout.shape(ticks.count(latent_frames), batch)), layout, ticks)

    @classmethod
    def beside(
        cls, pictures: Tensor, grid: Grid, layout: SoundLayout, fps: Fraction
    ) -> "SoundTrack":
        """Nothing yet, beside latents of pictures (b, c, t, h, w) at so many frames per second."""
        ticks = Ticks(grid, layout.rate / fps)
        return cls.silent(layout, ticks, pictures.shape[2], len(pictures))

    def __len__(self) -> int:
        return self.latents.shape[self.layout.axis]

    @property
    def to_sample(self) -> Tensor:
        """The mask, (ticks,)."""
        return torch.ones(len(self)) if self.mask is None else self.mask

    def at(self, frames: Sequence[int]) -> "SoundTrack":
        """What belongs to some latent frames, as the sound of a clip of them."""
        return self._picked(self.ticks.shown(frames))

    def of(self, frames: Sequence[int]) -> Tensor:
        """The latents of the ticks of some latent frames, one after another."""
        return self.latents.index_select(self.layout.axis, self._ticks_of(frames))

    def filled(self, frames: Sequence[int], latents: Tensor) -> "SoundTrack":
        """With latents as `of` gives them; what was known stays."""
        into, mask = self._ticks_of(frames), self.to_sample.clone()
        new = (mask[into] > 0).nonzero().flatten()
        axis, own = self.layout.axis, self.latents.clone()
        own.index_copy_(axis, into[new], latents.to(own).index_select(axis, new))
        mask[into] = 0
        return replace(self, latents=own, mask=mask)

    def _ticks_of(self, frames: Sequence[int]) -> Tensor:
        ticks = [tick for k in frames for tick in self.ticks.of(k) if tick < len(self)]
        return torch.tensor(ticks, dtype=torch.long)

    def with_new(self, shown: Sequence[int], new: Sequence[int], latents: Tensor) -> "SoundTrack":
        """With what was sampled; what was known stays.

        Args:
            shown: latent frames that the model was shown.
            new: those of them that are new.
            latents: of the sound of a clip of all that was shown.
        """
        where, to_sample = {t: n for n, t in enumerate(self.ticks.shown(shown))}, self.to_sample
        # Rounding may leave out a tick, where a window begins off one: its neighbour stands in.
        sources = {
            tick: where.get(tick, where.get(tick - 1, where.get(tick + 1)))
            for k in new
            for tick in self.ticks.of(k)
            if tick < len(self) and to_sample[tick] > 0
        }
        into = [tick for tick, n in sources.items() if n is not None]
        taken = torch.tensor([sources[tick] for tick in into], dtype=torch.long)
        own, mask = self.latents.clone(), self.to_sample.clone()
        axis = self.layout.axis
        heard = latents.to(own).index_select(axis, taken)
        own.index_copy_(axis, torch.tensor(into, dtype=torch.long), heard)
        mask[into] = 0
        return replace(self, latents=own, mask=mask)

    def with_known(self, start: int, latents: Tensor) -> "SoundTrack":
        """With latents from tick `start` on that stay as they are, up to the end."""
        room = min(len(self) - start, latents.shape[self.layout.axis])
        if room < 1:
            raise InputError(
                f"the sound begins at tick {start} of a canvas of {len(self)}: start it sooner."
            )
        own, mask = self.latents.clone(), self.to_sample.clone()
        own.narrow(self.layout.axis, start, room).copy_(latents.narrow(self.layout.axis, 0, room))
        mask[start : start + room] = 0
        return replace(self, latents=own, mask=mask)

    def over(self, other: "SoundTrack", start: int) -> "SoundTrack":
        """With all that is known of another, whose tick `start` is this one's first."""
        known = (other.to_sample == 0).nonzero().flatten()
        known = known[(known >= start) & (known < start + len(self))]
        axis, own, mask = self.layout.axis, self.latents.clone(), self.to_sample.clone()
        own.index_copy_(axis, known - start, other.latents.to(own).index_select(axis, known))
        mask[known - start] = 0
        return replace(self, latents=own, mask=mask)

    def arranged(
        self, order: Sequence[int | None], after: "SoundTrack | None" = None, split: int = 0
    ) -> "SoundTrack":
        """The sound of latent frames in another order; None stands for one to be sampled.

        Args:
            order: numbers of latent frames of this video; from `split` on those of the one `after`.
        """
        batch = max(len(self.latents), len(after.latents) if after else 1)
        out = SoundTrack.silent(self.layout, self.ticks, len(order), batch)
        own, mask = out.latents, torch.ones(len(out))
        first = self.ticks.grid.first_frame
        for at, run in stretches(order):
            if run[0] is None:
                continue
            other = split and run[0] >= split
            track, k = (after, run[0] - split) if other else (self, run[0])
            if track is None:
                continue
            begin = self.ticks.grid.begins(k) if at == 0 and k else first(k)
            start, into = track.ticks.at(begin), self.ticks.at(first(at))
            count = min(self.ticks.at(first(at + len(run))) - into, len(track) - start)
            if count > 0:
                axis = self.layout.axis
                own.narrow(axis, into, count).copy_(track.latents.narrow(axis, start, count))
                mask[into : into + count] = track.to_sample[start : start + count]
        return replace(out, latents=own, mask=mask)

    def known(self) -> "SoundTrack":
        """As that of a clip that is there: all of it known."""
        return replace(self, mask=torch.zeros(len(self)))

    def beside_others(self, latent_frames: int) -> "SoundTrack":
        """The same ticks beside another number of latent frames, if they do not fit these."""
        if self.ticks.count(latent_frames) == len(self):
            return self
        per_frame = Fraction(len(self), self.ticks.grid.frames(latent_frames))
        return replace(self, ticks=Ticks(self.ticks.grid, per_frame))

    def _picked(self, ticks: Sequence[int]) -> "SoundTrack":
        picked = torch.tensor([min(max(t, 0), len(self) - 1) for t in ticks])
        latents = self.latents.index_select(self.layout.axis, picked)
        return replace(self, latents=latents, mask=None if self.mask is None else self.mask[picked])


@dataclass(frozen=True)
class SoundNoise:
    """The noise of the sound of a clip: that of each latent frame, as its pictures'.

    Attributes:
        frames: the seed and the number of each latent frame, see `frame_noise`.
        layout: of the latents.
        ticks: how they lie beside the pictures.
        videos: how many.
    """

    frames: Sequence[tuple[int, int]]
    layout: SoundLayout
    ticks: Ticks
    videos: int = 1

    def drawn(self, draw: int = 0, check: Callable[[], object] = lambda: None) -> Tensor:
        """float32 on the CPU; `draw` and `check` as in `WindowNoise`."""
        return torch.stack([self._of(video, draw, check) for video in range(self.videos)])

    def _of(self, video: int, draw: int, check: Callable[[], object]) -> Tensor:
        most = ceil(self.ticks.grid.stride_t * self.ticks.per_frame) + 1
        parts = []
        for k, (seed, number) in enumerate(self.frames):
            check()
            of_frame = frame_noise(seed, number, (most, *self.layout.tick), STREAM + video, draw)
            count = self.ticks.count(k + 1) - self.ticks.count(k)
            parts.append(of_frame[most - count :])  # the last of them, as `shown` begins with
        return torch.cat(parts).movedim(0, self.layout.axis - 1)


def stretches(order: Sequence[int | None]) -> Iterator[tuple[int, list]]:
    """[4, 5, None, None, 0] -> (0, [4, 5]), (2, [None, None]), (4, [0]): with where each begins."""
    numbered = list(enumerate(order))
    for _, group in groupby(numbered, lambda pair: None if pair[1] is None else pair[1] - pair[0]):
        found = list(group)
        yield found[0][0], [frame for _, frame in found]
