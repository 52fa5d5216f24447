"""Several texts in one CONDITIONING: each latent frame listens to its own shot's.

An entry of CONDITIONING that is a storyboard carries, under SHOTS, every shot's text and the latent
frame at which it begins. Our transformer reads them; any other model reads the entry's own text,
which is one sentence for all shots. Core's samplers, their batching of prompts and their context
windows pass it on as it is. Where a node gave the entry another text (ConditioningZeroOut,
ConditioningAverage, ConditioningConcat), that text is what counts.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import comfy.conds
import torch
from torch import Tensor

from ...engine.take.cut_prompts import even_starts

SHOTS = "longtake_shots"
IMAGE, MASK = "concat_latent_image", "concat_mask"  # core's names of image channels
MEET = 0.35  # noise level; what it does is said at `of_shots`
Conditioning = list  # ComfyUI's: [[text (b, m, c), extras], ...]


class Prompts(NamedTuple):
    """What a video should show and what not."""

    positive: Conditioning
    negative: Conditioning

    def with_values(self, values: Mapping[str, Any]) -> "Prompts":
        """Both with more extras, see the function of that name."""
        return Prompts(*(with_values(prompt, values) for prompt in self))

    def from_frame(self, frame: int, frames: int) -> "Prompts":
        """Both for what begins at latent frame `frame` of a clip of `frames`."""
        return Prompts(*(from_frame(prompt, frame, frames) for prompt in self))

    def led_by(self, frames: int) -> "Prompts":
        """Both for so many latent frames more in front, which hear the first shot's text."""
        return Prompts(
            *([[text, _led_by(extras, frames)] for text, extras in prompt] for prompt in self)
        )


class ByFrame(comfy.conds.CONDRegular):
    """The number of the text that each latent frame listens to: (1, 1, t, 1, 1) int64.

    Prompts whose frames differ are not put into one batch, because a batch is attended to frame by
    frame.
    """

    def can_concat(self, other: "ByFrame") -> bool:
        return super().can_concat(other) and torch.equal(self.cond, other.cond)


class ShotTexts(comfy.conds.CONDList):
    """The texts (b, m, c) of several shots."""

    def size(self) -> list[int]:
        """[shots, the most tokens of one, channels], by which the host predicts memory."""
        return [len(self.cond), max(text.shape[1] for text in self.cond), self.cond[0].shape[2]]


def with_values(conditioning: Conditioning, values: Mapping[str, Any]) -> Conditioning:
    """CONDITIONING with more extras; those that a node put there before stay."""
    return [[text, {**values, **extras}] for text, extras in conditioning]


def of_shots(
    joint: Conditioning,
    texts: Sequence[Conditioning],
    starts: Sequence[int],
    meet: float = MEET,
) -> Conditioning:
    """One CONDITIONING for a clip of several shots.

    Args:
        joint: one sentence for all of them, for models that read only one text.
        texts: what each shot's prompt was encoded to.
        starts: the latent frame at which each begins, ascending from 0.
        meet: noise level at and below which shots see each other in self-attention: 1 always,
            0 never. A model that was never shown a cut between two texts makes one picture of
            shots that see each other while they still are noise.
    """
    shots = {"texts": [text[0][0] for text in texts], "starts": list(starts), "meet": meet}
    return [[text, {**extras, SHOTS: {**shots, "joint": text}}] for text, extras in joint]


def of_cuts(joint: Tensor, texts: Sequence[Tensor]) -> dict[str, Any]:
    """Extras for shots (b, m, c) that share a clip of any length evenly and see each other, as a
    model can that was trained so. joint: the entry's own text."""
    return {SHOTS: {"texts": list(texts), "starts": None, "meet": 1.0, "joint": joint}}


def as_one(conditioning: Conditioning) -> Conditioning:
    """The CONDITIONING without its shots: one text for all."""
    return [[text, {k: v for k, v in e.items() if k != SHOTS}] for text, e in conditioning]


def from_frame(conditioning: Conditioning, frame: int, frames: int) -> Conditioning:
    """The CONDITIONING for what begins at latent frame `frame` of a clip of `frames`."""
    return [[text, _moved(extras, frame, frames)] for text, extras in conditioning]


def _moved(extras: Mapping[str, Any], frame: int, frames: int) -> dict[str, Any]:
    if SHOTS not in extras:
        return dict(extras)
    texts = extras[SHOTS]["texts"]
    starts = [start - frame for start in _starts(extras[SHOTS], frames)]
    first = max(i for i, start in enumerate(starts) if start <= 0)
    kept = {"texts": texts[first:], "starts": [max(0, start) for start in starts[first:]]}
    return {**extras, SHOTS: {**extras[SHOTS], **kept}}


def _led_by(extras: Mapping[str, Any], frames: int) -> dict[str, Any]:
    starts = extras.get(SHOTS, {}).get("starts")
    if not starts:
        return dict(extras)
    moved = [starts[0], *(start + frames for start in starts[1:])]
    return {**extras, SHOTS: {**extras[SHOTS], "starts": moved}}


def _starts(shots: Mapping[str, Any], frames: int) -> Sequence[int]:
    """The latent frame, of as many, at which each shot begins."""
    return even_starts(len(shots["texts"]), frames) if shots["starts"] is None else shots["starts"]


def shot_texts(extras: Mapping[str, Any]) -> list[Tensor]:
    """The texts (b, m, c) of the shots in the extras of an entry; none if it is no storyboard."""
    return list(extras.get(SHOTS, {}).get("texts", ()))


def texts_read(extras: Mapping[str, Any]) -> list[tuple[Tensor, int]]:
    """What our transformer reads of an entry: texts (b, m, c), each with its first latent frame.

    Args:
        extras: of the entry, with its text as `cross_attn`.
    """
    if SHOTS in extras and not was_changed(extras):
        texts = extras[SHOTS]["texts"]
        return list(zip(texts, extras[SHOTS]["starts"] or [0] * len(texts), strict=True))
    text = extras.get("cross_attn")
    return [] if text is None else [(text, 0)]


def shot_conds(extras: Mapping[str, Any]) -> dict[str, comfy.conds.CONDRegular]:
    """What `extra_conds` of a model adds for a storyboard; nothing for any other prompt.

    Args:
        extras: of the entry, with `noise` (b, c, t, h, w), `device` and the entry's text as
            `cross_attn`, as core adds them.
    """
    if SHOTS not in extras or was_changed(extras):
        return {}
    frames, device = extras["noise"].shape[2], extras["device"]
    numbers = numbers_of(_starts(extras[SHOTS], frames), frames, device)
    texts = [text.to(device) for text in extras[SHOTS]["texts"][: int(numbers.max()) + 1]]
    return {
        "shot_texts": ShotTexts(texts),
        "shot_frames": ByFrame(numbers.view(1, 1, -1, 1, 1)),
        "shots_meet": comfy.conds.CONDConstant(float(extras[SHOTS].get("meet", MEET))),
    }


def was_changed(extras: Mapping[str, Any]) -> bool:
    """Whether a node gave the entry another text than the shots' joint one."""
    text, joint = extras.get("cross_attn"), extras[SHOTS].get("joint")
    if text is None or joint is None or text is joint:
        return False
    return text.shape != joint.shape or not torch.equal(text.to(joint), joint)


def numbers_of(starts: Sequence[int], frames: int, device: Any = None) -> Tensor:
    """[0, 3] on 5 frames -> (0, 0, 0, 1, 1): which shot each latent frame belongs to."""
    edges = torch.tensor(starts[1:], device=device)
    return torch.bucketize(torch.arange(frames, device=device), edges, right=True)


def runs_of(shot_frames: Tensor, frames: int) -> list[tuple[int, int, int]]:
    """(start, stop, number) of frames that follow one another and listen to the same text.

    Args:
        shot_frames: (b, 1, t, 1, 1), the same for all of a batch.
        frames: t, or more if reference frames follow the video: they listen to the last text.
    """
    numbers = shot_frames[0].flatten().tolist()
    numbers += numbers[-1:] * (frames - len(numbers))
    runs, start = [], 0
    for number, group in groupby(numbers):
        stop = start + len(list(group))
        runs.append((start, stop, number))
        start = stop
    return runs
