"""MiniMax H3 for hosts that do not have it: the same shapes, grid, blocks and attributes.

Its maps are linear, so that what goes in can be told from what comes out: a picture that stands
still, of cells of 8 × 8 pixels of one colour each, and a sound of 25 samples of one value each
come back from encoding and decoding as they were.
"""

from typing import Any, ClassVar

import comfy.latent_formats
import comfy.supported_models_base
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.host_models.stand_ins import JointModel, vae_around

CLIP, TOKENS, DROPPED = 17, 5, 3  # frames encoded on their own, tokens of these, of the last ones
OVERLAP = TOKENS - DROPPED
PER_TOKEN = 4  # frames that a token is decoded to; a clip's first has one, the last of its four
BLEND = OVERLAP * PER_TOKEN - (PER_TOKEN - 1)
CELL, PART = 16, 8  # pixels of a latent, and of a part of it that has a colour of its own
COLOURS = 3 * (CELL // PART) ** 2


class MiniMaxH3VideoVAE(nn.Module):
    """A latent holds the colours of a cell's four parts, and how each changes over its frames.

    Decoding lets the changes of a window of seven tokens glimmer through all of it, as a
    network that sees the window would: this is what the blended frames differ by.
    """

    comfy_has_chunked_io = True
    clip_length, token_drop = CLIP, DROPPED
    tokens_chunk_size, token_overlap = TOKENS, OVERLAP
    frame_overlap, frame_pre_padding = BLEND, PER_TOKEN - 1
    vae_ratio, vae_ratio_t = CELL, PER_TOKEN

    def encode(self, x: Tensor, device: Any = None) -> Tensor:
        """(b, 3, f, h, w) in [-1, 1] to (b, 24, t, h/16, w/16)."""
        parts = F.pixel_unshuffle(F.avg_pool2d(x.transpose(1, 2).flatten(0, 1), PART), CELL // PART)
        colours = parts.unflatten(0, (len(x), -1)).transpose(1, 2)  # (b, 12, f, h/16, w/16)
        if colours.shape[2] == 1:
            return self._token(colours)
        tokens = []
        for clip in colours.split(CLIP, 2):
            rest = clip[:, :, -1:].expand(-1, -1, CLIP - clip.shape[2], -1, -1)
            groups = torch.cat([clip, rest], 2).split([1] + [PER_TOKEN] * (TOKENS - 1), 2)
            tokens += [self._token(frames) for frames in groups]
        return torch.cat(tokens, 2)[:, :, :-DROPPED]

    def decode(self, z: Tensor, output_buffer: Any = None) -> Tensor:
        """(b, 24, t, h, w) to (b, 3, f, 16·h, 16·w) in [0, 1]."""
        out = torch.empty(self.decode_output_shape(z.shape)) if output_buffer is None else None
        sink = out if output_buffer is None else output_buffer
        at, frames = 0, sink.shape[2]
        for piece in self._pieces(z):
            given = piece[:, :, : frames - at]
            if given.shape[2]:
                sink[:, :, at : at + given.shape[2]].copy_(given)
            at += given.shape[2]
        return sink

    def decode_output_shape(self, shape: tuple) -> tuple:
        b, _, t, h, w = shape
        frames = sum(1 if n % TOKENS == 0 else PER_TOKEN for n in range(t))
        return (b, 3, frames, h * CELL, w * CELL)

    @staticmethod
    def _token(frames: Tensor) -> Tensor:
        """One latent frame: the mean, and the mean change from frame to frame."""
        change = frames[:, :, 1:] - frames[:, :, :-1]
        slope = change.mean(2, keepdim=True) if change.shape[2] else 0 * frames
        return torch.cat([frames.mean(2, keepdim=True), slope], 1)

    def _pieces(self, z: Tensor):
        if z.shape[2] == 1:
            yield self._window(z)[:, :, PER_TOKEN - 1 :]
            return
        windows = max(1, -(-(z.shape[2] + DROPPED) // TOKENS) - 1)
        missing = max(0, (windows + 1) * TOKENS - DROPPED - z.shape[2])
        z = torch.cat([z, z[:, :, -1:].expand(-1, -1, missing, -1, -1)], 2)
        before = None
        for n in range(windows):
            decoded = self._window(z[:, :, n * TOKENS : (n + 1) * TOKENS + OVERLAP])
            body, tail = decoded.split([TOKENS * PER_TOKEN, OVERLAP * PER_TOKEN], 2)
            body, tail = body[:, :, PER_TOKEN - 1 :].clone(), tail[:, :, PER_TOKEN - 1 :]
            if before is not None:
                new = torch.arange(BLEND).view(-1, 1, 1) / BLEND
                body[:, :, :BLEND] = before * (1 - new) + body[:, :, :BLEND] * new
            before = tail
            yield body
        yield before

    @staticmethod
    def _window(z: Tensor) -> Tensor:
        """Four frames of each token."""
        colours, slopes = z[:, :COLOURS], z[:, COLOURS:]
        when = torch.arange(PER_TOKEN) - (PER_TOKEN - 1) / 2
        moving = slopes.unsqueeze(3) * when.view(-1, 1, 1)
        first = torch.arange(z.shape[2]).view(-1, 1, 1, 1) % TOKENS == 0  # its mean is of one frame
        frames = colours.unsqueeze(3) + torch.where(first, 0.0, moving)
        frames = frames + 0.2 * slopes.mean(2, keepdim=True).unsqueeze(3)
        b, _, t, n, h, w = frames.shape
        images = frames.permute(0, 2, 3, 1, 4, 5).reshape(b * t * n, COLOURS, h, w)
        pixels = F.pixel_shuffle(images, CELL // PART).repeat_interleave(PART, 2)
        pixels = pixels.repeat_interleave(PART, 3)
        return ((pixels.unflatten(0, (b, t * n)).transpose(1, 2) + 1) / 2).clamp(0, 1)


class MiniMaxH3AudioVAE(nn.Module):
    """A latent holds the means of 32 runs of 25 samples, for the left and for the right."""

    sample_rate = output_sample_rate = 32000
    hop_length = samples_per_latent = 800
    latents_per_second = 40

    def encode(self, waveform: Tensor) -> Tensor:
        """(b, 1 or 2, samples) to (b, 32, 2, a); silence fills the last latent up."""
        both = waveform.expand(-1, 2, -1)
        padded = F.pad(both, (0, -both.shape[-1] % 800))
        return padded.unflatten(-1, (-1, 32, 25)).mean(-1).permute(0, 3, 1, 2)

    def decode(self, z: Tensor) -> Tensor:
        """(b, 32, 2, a) to (b, 2, 800·a)."""
        return z.permute(0, 2, 3, 1).flatten(2).repeat_interleave(25, -1).clamp(-1, 1)


class MiniMaxH3AV(comfy.latent_formats.LatentFormat):
    latent_channels = 32  # of the stream that has more
    latent_dimensions = 3
    spacial_downscale_ratio, temporal_downscale_ratio = CELL, PER_TOKEN


class MiniMaxH3(JointModel):
    pass


class Config(comfy.supported_models_base.BASE):
    unet_extra_config: ClassVar = {}
    unet_config: ClassVar = {"channels": (24, 32), "axes": (2, 3)}
    sampling_settings: ClassVar = {"shift": 12.0}
    latent_format = MiniMaxH3AV
    memory_usage_factor = 0.1

    def get_model(self, state_dict: dict, prefix: str = "", device: Any = None) -> MiniMaxH3:
        return MiniMaxH3(self)


def minimax_vae() -> Any:
    return vae_around(
        MiniMaxH3VideoVAE(),
        latent_channels=24,
        latent_dim=3,
        upscale_ratio=(lambda t: max(1, (t - 2) // 5 * 17 + 5), 16, 16),
        downscale_ratio=(lambda f: max(1, (f - 5) // 17 * 5 + 2) if f > 1 else 1, 16, 16),
        upscale_index_formula=(4, 16, 16),
        downscale_index_formula=(4, 16, 16),
        handles_tiling=True,
        process_output=lambda image: image,
    )


def minimax_audio_vae() -> Any:
    return vae_around(
        MiniMaxH3AudioVAE(),
        latent_channels=32,
        output_channels=2,
        pad_channel_value="replicate",
        audio_sample_rate=32000,
        latent_dim=2,
        upscale_ratio=800,
        downscale_ratio=800,
        process_input=lambda audio: audio,
        process_output=lambda audio: audio,
    )
