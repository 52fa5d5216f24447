"""The sound of a take: sampled with its pictures, or a song that they are sampled to."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...engine.canvas.plan import Window
from ...engine.canvas.sound_track import SoundTrack, Ticks
from ...engine.files import discard
from ...engine.media.sound import Sound
from ...engine.media.writer import copy_video
from ...engine.take.splice import spliced_sound
from ..comfyui.films import temporary_file
from ..comfyui.progress import check_cancelled
from ..video.sound import decoded_sound, encoded_sound, resampled_sound
from .recipe import Recipe


def tracks_for(recipe: Recipe) -> list[SoundTrack | None]:
    """The sound of each clip before it is sampled; None where the model makes none.

    What the canvas knows is known, and all of the storyboard's sound where there is a VAE for it.
    """
    layout, grid, size = recipe.sound, recipe.codec.grid, recipe.size
    if layout is None:
        return [None] * len(recipe.take.clips)
    ticks = Ticks(grid, layout.rate / size.fps)
    known = [recipe.canvas.sound] if recipe.canvas and recipe.canvas.sound else []
    if recipe.audio_vae is not None and recipe.board.sound is not None:
        longest = max(clip.start + grid.frames(clip.latent_frames) for clip in recipe.take.clips)
        whole = SoundTrack.silent(layout, ticks, grid.enough(longest))
        seconds = Fraction(len(whole), layout.rate)
        latents = encoded_sound(recipe.audio_vae, recipe.board.sound, layout, seconds)
        known.append(whole.with_known(0, latents))
    tracks = []
    for clip in recipe.take.clips:
        track = SoundTrack.silent(layout, ticks, clip.latent_frames)
        for other in known:
            track = track.over(other, ticks.at(clip.start))
        tracks.append(track)
    return tracks


def known_sound(track: SoundTrack | None, window: Window) -> list[Tensor]:
    """What a window hears that is known before anything is sampled."""
    if track is None:
        return []
    part = track.at(window.frames)
    return [part.to_sample, part.latents]  # zeros where nothing is known


def with_sound(video: Path, recipe: Recipe, tracks: Sequence[SoundTrack | None]) -> Path:
    """A take's video with the sound that was sampled with it; as it is where there is none to add.

    Args:
        video: without sound, or with a song that ends before it does; it is deleted where another
            takes its place.
        tracks: of the clips that are there, as far as they have been sampled.
    """
    song, layout = recipe.board.sound, recipe.sound
    if layout is None or recipe.audio_vae is None:
        return video
    if song is not None and song.seconds >= recipe.take.frames / recipe.size.fps:
        return video
    there = [track for track in tracks if track is not None and (track.to_sample == 0).any()]
    sounds = [decoded_sound(recipe.audio_vae, track.latents, layout) for track in there]
    if not sounds:
        return video
    path = temporary_file("longtake")
    samples, rate = [sound.samples for sound in sounds], sounds[0].rate
    whole = Sound(spliced_sound(recipe.take, recipe.size.fps, samples, rate), rate)
    if song is not None:
        whole = followed_by(song, whole)
    copy_video(video, path, sound=whole, check=check_cancelled)
    discard(video)
    return path


def followed_by(song: Sound, sampled: Sound) -> Sound:
    """A song and, once it is over, what was sampled from there on."""
    rest = resampled_sound(sampled, song.rate).samples[:, song.samples.shape[1] :]
    channels = max(len(song.samples), len(rest))
    both = [as_many(part, channels) for part in (song.samples, rest)]
    return Sound(np.concatenate(both, axis=1), song.rate)


def as_many(samples: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """One channel on all, two in front of silence, or all of them."""
    if len(samples) == 1:
        return samples.repeat(channels, axis=0)
    return np.pad(samples, ((0, channels - len(samples)), (0, 0)))
