"""A character and a clip that it performs, as a canvas."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

import comfy.sd
import torch
from torch import Tensor

from ...engine.canvas.aspect import fitting_size
from ...engine.canvas.canvas import Canvas
from ...engine.canvas.driving import Driving, FollowedClip, Words
from ...engine.canvas.guidance import Guidance
from ...engine.canvas.picture import fit_in_words, fitted
from ...engine.canvas.plan import Window, consecutive
from ...engine.frames.stream import FLAT
from ...engine.media.sound import Sound
from ...engine.rates import frame_rate
from ...engine.rounding import nearest
from ...engine.sampling.host_presets import MINIMAX_H3
from ...engine.take.fingerprint import digest
from ...models.errors import InputError
from ..comfyui.conditioning import Conditioning
from ..networks.codec import codec_for, defaults_of
from ..networks.text_encoder import encode_text, tokenized
from .followed import Wanted, beside, followed_clip, put_into
from .footage import Footage, footage_of, open_footage

REFERENCE, FIRST_FRAME = CHARACTER_IS = ("reference", "first frame")
FACE = 512, 512  # pixels, of the faces that Wan 2.2 Animate reads
TOLD_EACH = 12  # frames from one that a text encoder is shown to the next: half a second
LOOKED_AT = 5  # frames of a clip, to see whether anything is in it


@dataclass(frozen=True)
class Asked:
    """How a performance is asked for; 0 is left to the clip or the model.

    Attributes:
        seconds: how long it is.
        fps: frames per second.
        width, height: in pixels.
        fit: how the clip is brought to that size, one of picture.FITS.
        strength: how much the clip counts.
        character: one of CHARACTER_IS.
        clip_fps: of clips that are IMAGEs.
        replaces: the character takes somebody's place.
    """

    seconds: float = 0.0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    fit: str = "crop"
    strength: float = 1.0
    character: str = REFERENCE
    clip_fps: float = 0.0
    replaces: bool = False


class Others(NamedTuple):
    """What some checkpoints are shown besides; each may be missing.

    Attributes:
        face, masks: IMAGE or VIDEO, as long as the clip.
        character_mask: IMAGE.
        clip_vision: CLIP_VISION_OUTPUT of the character.
        text_encoder, words: CLIP of a model that is told of both, and the prompt that names them.
        background: IMAGE or VIDEO that the character is put into, as long as the clip; or one
            picture.
        background_mask: MASK of it, white where the character is painted.
    """

    face: Any = None
    masks: Any = None
    character_mask: Tensor | None = None
    clip_vision: Any = None
    text_encoder: comfy.sd.CLIP | None = None
    words: str = ""
    background: Any = None
    background_mask: Tensor | None = None


def driven_canvas(
    vae: comfy.sd.VAE, character: Tensor, clip: Any, asked: Asked, others: Others
) -> tuple[Canvas, dict[str, Any] | None]:
    """A canvas on which a character performs a clip.

    Args:
        character: IMAGE of any size, the first of a batch.
        clip: IMAGE or VIDEO of any size, length and rate.

    Returns:
        The canvas, sampled in windows that follow one another where it is long; and the clip's
        sound as AUDIO, or None.

    Raises:
        InputError: for a clip in which there is nothing, or a size that the VAE cannot pack.
    """
    codec = codec_for(vae)
    fps = frame_rate(asked.fps) if asked.fps else codec.fps
    clip_fps = frame_rate(asked.clip_fps) if asked.clip_fps else fps
    with open_footage(clip, clip_fps) as footage:
        size = size_for(asked, vae, footage)
        wanted = Wanted(fps, size, asked.fit)
        followed = followed_clip(clip, footage, clip_fps, wanted)
        notes = notes_on(footage, followed, fps, size, asked)
        seconds = asked.seconds or float(followed.frames / fps)
        sound = footage.samples()
        behind = others.background, others.background_mask
        behind = put_into(*behind, footage, wanted, followed)
        # Images beside a VIDEO are of its frames.
        its_fps = frame_rate(asked.clip_fps) if asked.clip_fps else footage.fps
    canvas = Canvas.empty(codec, seconds, fps, size[1], size[0])
    picture = fitted(still_of(character), *size, "crop")[0]
    if change := fit_in_words(tuple(character.shape[1:3]), *size, "crop"):
        notes.append(f"the character: {change}")
    face, masks = (
        other if other is None else beside(name, other, its_fps, at, followed)
        for name, other, at in (
            ("face", others.face, wanted._replace(size=FACE)),
            ("masks", others.masks, wanted),
        )
    )
    mask = others.character_mask
    driving = Driving(
        followed,
        picture,
        asked.strength,
        asked.character == REFERENCE,
        face,
        masks,
        None if mask is None else fitted(still_of(mask), *size, "crop")[0],
        asked.replaces,
        others.clip_vision,
        *words_for(others),
        background=behind[0],
        background_mask=behind[1],
    )
    canvas = replace(canvas, guidance=Guidance(codec, driving=driving), plan=plan_for(canvas))
    if asked.character == FIRST_FRAME:
        canvas = canvas.pin_image(picture[None], 0.0, "crop", others.clip_vision)
    return canvas.noted(*notes), as_audio(sound)


def still_of(image: Tensor) -> Tensor:
    """(1, h, w, 3) in [0, 1]: the first of an IMAGE. Raises InputError if there is none."""
    return next(footage_of(image, Fraction(1)).pictures())[:1]


def words_for(others: Others) -> tuple[Words | None, str]:
    """The words of a model that is told of character and clip, and what tells them from others.

    Raises:
        InputError: for words without a text encoder, or the reverse.
    """
    clip, words = others.text_encoder, others.words
    if clip is None and not words.strip():
        return None, ""
    if clip is None or not words.strip():
        raise InputError(
            "words and text_encoder belong together: connect the text encoder of MiniMax H3 and "
            "write what <Picture 1> and <Video 1> do, or leave both."
        )

    def told(character: Tensor, frames: Tensor) -> Conditioning:
        some = frames[::TOLD_EACH]
        seconds = [number * TOLD_EACH / MINIMAX_H3.fps for number in range(len(some))]
        items = [
            {"type": "image", "data": character[None]},
            {"type": "video", "data": some, "timestamps": seconds},
        ]
        return encode_text(clip, clip.tokenize(words, minimax_ref_items=items))

    return told, digest(words, encode_text(clip, tokenized(clip, words)))


def size_for(asked: Asked, vae: comfy.sd.VAE, footage: Footage) -> tuple[int, int]:
    """(height, width): as asked; what is 0, as the clip's shape says at the model's own pixels.

    Raises:
        SizeError: off the VAE's grid, with the nearest that fits.
    """
    grid, ratio = codec_for(vae).grid, Fraction(footage.width, footage.height)
    width, height, settings = asked.width, asked.height, defaults_of(vae)
    if not width and not height:
        width, height = fitting_size(grid, ratio, settings.width * settings.height)
    width = width or grid.nearest_size(round(height * ratio))
    height = height or grid.nearest_size(round(width / ratio))
    grid.check_size(width, height)
    return height, width


def notes_on(
    footage: Footage, clip: FollowedClip, fps: Fraction, size: tuple[int, int], asked: Asked
) -> list[str]:
    """What there is to say of a clip.

    Raises:
        InputError: for one in which nothing is, or that does not move on.
    """
    if footage.frames < 2:
        raise InputError(
            "the clip is a single picture: connect a VIDEO or a batch of frames, in which somebody "
            "moves."
        )
    look_at_it(clip)
    notes = [*footage.notes, f"{footage.frames} frames at {float(footage.fps):g} fps"]
    if footage.fps != fps:
        notes[-1] += f", taken at {float(fps):g}"
    if asked.seconds and (held := nearest(Fraction(asked.seconds) * fps) - clip.frames) > 0:
        notes.append(f"the clip ends {float(held / fps):.3g} s before the canvas: it is held")
    if change := fit_in_words((footage.height, footage.width), *size, asked.fit):
        notes.append(f"the clip: {change}")
    return notes


def look_at_it(clip: FollowedClip) -> None:
    """Refuse a clip of one colour, as preprocessors make it that find nobody, or of one picture."""
    last = clip.frames - 1
    numbers = sorted({last * n // (LOOKED_AT - 1) for n in range(LOOKED_AT)})
    seen = torch.cat([clip.read([number]) for number in numbers]).mul(255)
    at = ", ".join(str(number) for number in numbers)
    flat = (seen.amax((1, 2)) - seen.amin((1, 2))).amax() < FLAT
    if flat:
        raise InputError(
            f"there is nobody in the clip: its frames {at} are of one colour each. A preprocessor "
            f"makes such frames where it finds no pose; look at what it gives."
        )
    if (seen.amax(0) - seen.amin(0)).amax() < FLAT:
        raise InputError(
            f"nothing moves in the clip: its frames {at} are one picture. For a picture to be kept "
            f"in sight there is Pin Image."
        )


def plan_for(canvas: Canvas) -> tuple[Window, ...]:
    """The windows of a canvas that is longer than its model is shown at a time; else none."""
    total, window = canvas.timeline.latent_frames, canvas.codec.window
    return consecutive(total, window, canvas.codec.past(window)) if total > window else ()


def as_audio(sound: Sound | None) -> dict[str, Any] | None:
    """ComfyUI's AUDIO; None for no sound."""
    if sound is None or not sound.samples.size:
        return None
    return {"waveform": torch.from_numpy(sound.samples)[None], "sample_rate": sound.rate}
