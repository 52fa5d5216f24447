"""LTX-2's sound for hosts that have LTX-Video only: the same shapes, lengths and attributes.

A sound of 8 samples of one value each comes back from encoding and decoding as it was.
"""

from typing import Any, ClassVar

import comfy.latent_formats
import comfy.supported_models_base
import torch.nn.functional as F
from torch import Tensor, nn

from tests.host_models.stand_ins import JointModel, vae_around

HOP, VALUES = 240, 30  # samples of a hop, and what a hop is told by; a latent has four of them
CHANNELS, BINS = 8, 16


class AudioVAE(nn.Module):
    """A latent holds the means of 30 runs of 8 samples in each of four hops, of both sides as one.

    The first has one hop only, and so all are causal.
    """

    sample_rate, output_sample_rate = 16000, 24000
    latents_per_second = 25.0
    latent_channels, latent_frequency_bins = CHANNELS, BINS

    def num_of_latents_from_frames(self, frames_number: int, frame_rate: float) -> int:
        return round(frames_number / frame_rate * self.latents_per_second)

    def encode(self, audio: Tensor, sample_rate: int = 44100) -> Tensor:
        """(b, 1 or 2, samples) at 44.1 kHz to (b, 8, a, 16)."""
        length = round(audio.shape[-1] * self.output_sample_rate / sample_rate)
        sound = F.interpolate(audio.mean(1, keepdim=True), length, mode="linear")
        latents = 1 + length // (4 * HOP)
        filled = F.pad(sound, (3 * HOP, (4 * latents - 3) * HOP - length))
        hops = filled.unflatten(-1, (latents, 4, HOP))
        values = hops.unflatten(-1, (VALUES, -1)).mean(-1)[:, 0]
        rows = F.pad(values, (0, CHANNELS * BINS // 4 - VALUES)).flatten(2)
        return rows.unflatten(-1, (CHANNELS, BINS)).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """(b, 8, a, 16) to (b, 2, 960·a - 720) at 24 kHz."""
        values = latents.transpose(1, 2).flatten(2).unflatten(-1, (4, -1))[..., :VALUES]
        sound = values.flatten(1).repeat_interleave(HOP // VALUES, -1)[:, 3 * HOP :]
        return sound.unsqueeze(1).expand(-1, 2, -1).clamp(-1, 1)


class LTXAV(JointModel):
    pass


class Config(comfy.supported_models_base.BASE):
    unet_config: ClassVar = {"channels": (128, CHANNELS), "axes": (2, 2)}
    unet_extra_config: ClassVar = {}
    sampling_settings: ClassVar = {"shift": 2.37}
    latent_format = type("LTXAV", (comfy.latent_formats.LTXV,), {})
    memory_usage_factor = 0.1

    def get_model(self, state_dict: dict, prefix: str = "", device: Any = None) -> LTXAV:
        return LTXAV(self)


def ltxav_audio_vae() -> Any:
    return vae_around(
        AudioVAE(),
        latent_channels=CHANNELS,
        output_channels=2,
        pad_channel_value="replicate",
        audio_sample_rate=44100,
        audio_sample_rate_output=24000,
        latent_dim=2,
        extra_1d_channel=16,
        upscale_ratio=4096,
        downscale_ratio=4096,
        process_input=lambda audio: audio,
        process_output=lambda audio: audio,
    )
