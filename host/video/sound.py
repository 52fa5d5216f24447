"""AUDIO <-> latents of sound, by the VAE that belongs to a model of pictures and sound."""

from fractions import Fraction
from math import ceil, gcd

import comfy.sd
import numpy as np
import torch
from scipy.signal import resample_poly
from torch import Tensor

from ...engine.canvas.sound_track import SoundLayout
from ...engine.media.sound import Sound
from ...models.errors import InputError, NotFiniteError


def check_audio_vae(audio_vae: comfy.sd.VAE, layout: SoundLayout) -> None:
    """Raises InputError if a VAE is not the one that packs sound like this."""
    network = audio_vae.first_stage_model
    if audio_vae.latent_dim == 3 or not hasattr(network, "output_sample_rate"):
        raise InputError(
            f"audio_vae is {type(network).__name__}, which is not for sound: connect the audio VAE "
            f"that belongs to the model."
        )
    if audio_vae.latent_channels != layout.tick[0]:
        raise InputError(
            f"audio_vae packs sound into {audio_vae.latent_channels} channels, and the canvas has "
            f"{layout.tick[0]}: connect the audio VAE that belongs to the model."
        )


def encoded_sound(
    audio_vae: comfy.sd.VAE, sound: Sound, layout: SoundLayout, seconds: Fraction
) -> Tensor:
    """Latents of sound, float32 on the CPU, as `layout` says.

    Args:
        audio_vae: see `check_audio_vae`.
        sound: one or two channels; of more the first two are taken.
        seconds: how much of it, from its beginning, at most.

    Raises:
        InputError: for the VAE of something else, or no samples.
    """
    check_audio_vae(audio_vae, layout)
    rate = int(getattr(audio_vae, "audio_sample_rate", 44100))
    samples = sound.samples[:2, : int(seconds * sound.rate)]
    if not samples.size:
        raise InputError("the sound is empty: connect one that lasts, or none.")
    if len(samples) == 1:
        samples = samples.repeat(2, axis=0)
    samples = resampled_sound(Sound(samples, sound.rate), rate).samples
    ticks = ceil(Fraction(samples.shape[1] * layout.rate, rate))
    # Core takes whole parts of so many samples only, from the middle.
    fill = -samples.shape[1] % int(audio_vae.downscale_ratio)
    waveform = torch.from_numpy(np.pad(samples, ((0, 0), (0, fill))).astype(np.float32))
    with torch.inference_mode():
        latents = audio_vae.encode(waveform[None].movedim(1, -1)).float().cpu()
    return latents.narrow(layout.axis, 0, min(ticks, latents.shape[layout.axis])).clone()


def resampled_sound(sound: Sound, rate: int) -> Sound:
    """The sound at another rate."""
    if rate == sound.rate:
        return sound
    most = gcd(rate, sound.rate)
    samples = resample_poly(sound.samples, rate // most, sound.rate // most, axis=1)
    return Sound(samples.astype(np.float32), rate)


def decoded_sound(audio_vae: comfy.sd.VAE, latents: Tensor, layout: SoundLayout) -> Sound:
    """The sound of latents of one video.

    Raises:
        InputError: for the VAE of something else.
        NotFiniteError: if a sample is NaN or infinite.
    """
    check_audio_vae(audio_vae, layout)
    with torch.inference_mode():
        waveform = audio_vae.decode(latents).movedim(-1, 1)[0].float().cpu()
    if not torch.isfinite(waveform).all():
        raise NotFiniteError(
            "the audio VAE gave NaN or infinite samples: its weights or the latents are damaged."
        )
    rate = int(audio_vae.first_stage_model.output_sample_rate)
    return Sound(waveform.clamp(-1, 1).numpy(), rate)
