"""Storyboards in a graph: shots with their encoded prompts, and what is made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate
from typing import Any

import comfy.sd
from torch import Tensor

from ...engine.canvas.grid import CausalGrid
from ...engine.media.sound import Sound
from ...engine.take.beats import rhythm, snapped
from ...engine.take.layout import check_end, frame_starts, spans_of
from ...engine.take.storyboard import (
    LONGEST_PROMPT,
    Shot,
    StoryboardError,
    checked,
    clock,
    joint_prompt,
    moved,
)
from ...models.errors import InputError
from ..comfyui.conditioning import MEET, Conditioning, as_one, of_shots
from ..comfyui.progress import check_cancelled
from ..networks.text_encoder import encode_text, looks, tokenized, tokens_in
from ..video.footage import heard, sound_from

LONGEST_JOINT = 1024  # tokens of the sentence for all shots; models read 512 of them
JOINING = 4  # tokens, at most, of what joins two shots


@dataclass(frozen=True, eq=False)
class Board:
    """A storyboard as it goes from node to node.

    Attributes:
        shots: in order.
        prompts: CONDITIONING of each shot.
        joint: one sentence for all of them, for models that read one.
        seconds: when the last shot ends; 0 where that is left open.
        fps: frames per second; 0 where that is left open.
        meet: see `conditioning.of_shots`.
        sound: from the first frame on.
    """

    shots: tuple[Shot, ...]
    prompts: tuple[Conditioning, ...]
    joint: Conditioning
    seconds: Fraction
    fps: Fraction
    meet: float = MEET
    sound: Sound | None = None

    @property
    def images(self) -> dict[int, Tensor]:
        """The images that shots begin with, by number of the shot."""
        return {i: shot.image for i, shot in enumerate(self.shots) if shot.image is not None}


def board_of(
    clip: comfy.sd.CLIP,
    shots: Sequence[Shot],
    seconds: Fraction,
    fps: Fraction,
    *,
    meet: float,
    snap: float,
    audio: Mapping[str, Any] | None = None,
) -> tuple[Board, str]:
    """Shots as a storyboard, and what to say of it: cuts on beats, then its shots, a line each.

    Args:
        clip: CLIP, to encode their prompts.
        shots: in order.
        seconds: when the last one ends.
        fps: frames per second.
        meet: see `conditioning.of_shots`.
        snap: by how many seconds a cut may move to fall on a beat.
        audio: AUDIO, on whose beats they cut and which becomes the take's sound.

    Raises:
        StoryboardError: at the first shot that does not fit.
    """
    check_end(checked(shots), seconds)
    sound, note = None, ""
    if audio is not None:
        shots, sound, note = on_beats(shots, audio, snap, seconds)
        check_end(checked(shots), seconds)
    board = encoded(clip, shots, seconds, fps, meet, sound)
    return board, f"{note}\n{shots_in_words(board)}".strip()


def encoded(
    clip: comfy.sd.CLIP,
    shots: Sequence[Shot],
    seconds: Fraction,
    fps: Fraction,
    meet: float,
    sound: Sound | None = None,
) -> Board:
    """Encode the prompts of shots; a prompt that comes twice, once.

    Raises:
        StoryboardError: at the first shot whose prompt is too long, before any is encoded.
    """
    tokens = _tokens_of(clip, shots)
    known = {asked: encode_text(clip, found) for asked, found in tokens.items()}
    prompts = tuple(known[asked_of(clip, shot)] for shot in shots)
    joint = prompts[0]
    if len(shots) > 1:
        # One model reads no more than one window's text: of a long storyboard its first shots.
        lengths = accumulate(tokens_in(tokens[asked_of(clip, shot)]) + JOINING for shot in shots)
        first = max(1, sum(length <= LONGEST_JOINT for length in lengths))
        joint = as_one(encode_text(clip, clip.tokenize(joint_prompt(shots[:first]))))
    return Board(tuple(shots), prompts, joint, seconds, fps, meet, sound)


def asked_of(clip: comfy.sd.CLIP, shot: Shot) -> tuple[str, int]:
    """What is encoded of a shot: its prompt, and which picture that a text encoder looks at."""
    return shot.prompt, id(shot.image) if shot.image is not None and looks(clip) else 0


def _tokens_of(
    clip: comfy.sd.CLIP, shots: Sequence[Shot]
) -> dict[tuple[str, int], Mapping[str, Any]]:
    """The tokens of each prompt that there is."""
    found: dict[tuple[str, int], Mapping[str, Any]] = {}
    for shot in shots:
        check_cancelled()
        if len(shot.prompt) > LONGEST_PROMPT:
            raise StoryboardError(
                shot.where,
                f"this shot's prompt is {len(shot.prompt)} characters long: at most "
                f"{LONGEST_PROMPT} are allowed.",
            )
        if (asked := asked_of(clip, shot)) not in found:
            try:
                found[asked] = tokenized(clip, shot.prompt, shot.image if asked[1] else None)
            except InputError as error:
                raise StoryboardError(shot.where, str(error)) from None
    return found


def on_beats(
    shots: Sequence[Shot], audio: Mapping[str, Any], most: float, seconds: Fraction
) -> tuple[tuple[Shot, ...], Sound, str]:
    """The shots with their cuts on beats, the sound, and a line that says what was done."""
    sound = sound_from(audio)
    found = rhythm(sound.samples, sound.rate, check_cancelled)
    if not len(found.beats):
        return tuple(shots), sound, "no beat was found in the audio: the cuts stay"
    before = [shot.start for shot in shots]
    starts = snapped(before, found.beats, most, seconds)
    count = sum(a != b for a, b in zip(before, starts, strict=True))
    note = f"{found.tempo:.1f} beats a minute; {count} of {len(shots) - 1} cuts moved to a beat"
    return moved(shots, starts), sound, note


def in_one_window(board: Board) -> Conditioning:
    """A storyboard for samplers that sample it all in one window.

    One sentence for all where two shots begin on the same latent frame: LongTake can sample them,
    each by itself, but one window cannot.
    """
    grid = CausalGrid(1)  # of all Wan VAEs in time
    frames = grid.nearest_frames(float(board.seconds), board.fps)
    starts = frame_starts(board.shots, frames, board.fps)
    if len(board.shots) == 1:
        return board.prompts[0]
    try:
        spans = spans_of([(start, shot) for shot, start in enumerate(starts)], grid, board.shots)
    except StoryboardError:
        return board.joint
    return of_shots(board.joint, board.prompts, [span.start for span in spans], board.meet)


def shots_in_words(board: Board) -> str:
    """The shots, a line each, for the node."""
    return "\n".join(
        f"{clock(shot.start)} {'' if not shot.start else shot.transition + ' '}"
        f"{shot.words if len(shot.words) <= 60 else shot.words[:57] + '...'}"
        for shot in board.shots
    )


def one_shot(positive: Conditioning) -> Board:
    """A storyboard of one shot, already encoded, of any length and rate."""
    shot = Shot(Fraction(0), "the prompt", where="the prompt")
    return Board((shot,), (positive,), positive, Fraction(0), Fraction(0))


def with_audio(board: Board, audio: Mapping[str, Any] | None) -> Board:
    """The storyboard with another sound, AUDIO; its own where there is none."""
    return board if audio is None else replace(board, sound=heard(audio))
