"""Sampling: core's samplers on our noise, with known frames returned exactly."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import comfy.model_management as mm
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...engine.canvas.noise import check_seed, video_noise
from ...engine.canvas.passes import Pass
from ...models.errors import InputError, NotFiniteError
from ...models.wan.config import DiTConfig
from ..comfyui.conditioning import from_frame
from ..comfyui.latent import facts_of, mask_of, samples_of
from ..comfyui.node_text import show_text
from ..comfyui.progress import Playback, step_callback
from ..networks.transformer import check_channels, check_text, config_of, refuse_broken_weights
from . import image_channels

SAMPLERS: tuple[str, ...] = tuple(comfy.samplers.SAMPLER_NAMES)
Conditioning = list  # ComfyUI's: [[text (b, m, c), extras], ...]


class FrameNoise:
    """ComfyUI's NOISE: each latent frame has the noise of its place in the video.

    A LATENT that is a window of a longer video says so by the fact `first_frame`.
    """

    def __init__(self, seed: int):
        self.seed = check_seed(seed)

    def generate_noise(self, latent: Mapping[str, Any]) -> Tensor:
        """Noise on the CPU for a LATENT of (b, c, t, h, w), the same on every machine."""
        b, c, t, h, w = samples_of(latent).shape
        first = facts_of(latent).get("first_frame", 0)
        return video_noise(self.seed, range(first, first + t), (c, h, w), b)


def sample(
    model: ModelPatcher,
    positive: Conditioning,
    negative: Conditioning,
    latent: Mapping[str, Any],
    sigmas: Tensor,
    *,
    seed: int,
    cfg: float,
    sampler: str = "euler",
) -> dict[str, Any]:
    """Paint every latent frame that the mask does not keep.

    Args:
        model: any MODEL for videos, ours or core's.
        positive, negative: CONDITIONING.
        latent: LATENT; what its mask keeps comes back bit for bit.
        sigmas: (steps + 1,) decreasing noise levels. They are not changed.
        seed: 0 … 2⁶⁴ - 1.
        cfg: how far to go from the negative prompt to the positive one and beyond; 1 leaves the
            negative out.
        sampler: one of SAMPLERS.

    Returns:
        A LATENT with the same facts and mask.

    Raises:
        InputError: for anything that does not fit together, before weights are moved.
        NotFiniteError: for NaN or infinite latents, before or after.
    """
    check_sampling(sampler, sigmas, cfg)
    samples = comfy.sample.fix_empty_latent_channels(model, samples_of(latent))
    latent = {**latent, "samples": samples}
    check_fit(model, positive, negative, samples)
    mask = mask_of(latent)
    painted = in_passes(model, positive, negative, latent, mask, sigmas, cfg, sampler, seed)
    if not torch.isfinite(painted).all():
        refuse_broken_weights(model)
        raise NotFiniteError(
            f"sampling gave NaN or infinite latents at cfg {cfg} with {sampler}: lower cfg, take "
            f"more steps, or load the model in bf16 or fp32."
        )
    return {**latent, "samples": painted}


def in_passes(
    model: ModelPatcher,
    positive: Conditioning,
    negative: Conditioning,
    latent: Mapping[str, Any],
    mask: Tensor | None,
    sigmas: Tensor,
    cfg: float,
    sampler: str,
    seed: int,
) -> Tensor:
    """The whole canvas at once, or as the node that made it planned: (b, c, t, h, w).

    What one pass painted is known to the passes after it, in latents.
    """
    samples, config = latent["samples"], config_of(model)
    positive, negative = (with_rate(c, config, facts_of(latent)) for c in (positive, negative))
    route = image_channels.route_for(config)
    mask = image_channels.unheld(mask, latent, route)
    channels = image_channels.image_channels(latent, route)
    if note := image_channels.unseen(config, positive, channels and channels.clip_vision):
        show_text(note)
    noise = FrameNoise(seed).generate_noise(latent)
    whole = Pass(tuple(range(samples.shape[2])))
    passes = facts_of(latent).get("passes") or (whole,)
    if max(max(frames) for frames, _ in passes) >= samples.shape[2]:
        passes = (whole,)  # another node has cut the canvas since
    if len(passes) == 1 and passes[0] == whole:
        conds = image_channels.known_conds(positive, negative, channels, samples, mask)
        return run(model, *conds, samples, mask, noise, sigmas, cfg, sampler, seed)
    painted = samples.clone()
    left = torch.ones(1, 1, samples.shape[2], 1, 1) if mask is None else mask.clone()
    with Playback((len(sigmas) - 1) * len(passes)) as playback:
        for number, (frames, scratch) in enumerate(passes):
            at = list(frames)
            x, m = painted[:, :, at], left[:, :, at]
            conds = (from_frame(p, at[0], samples.shape[2]) for p in (positive, negative))
            conds = image_channels.known_conds(*conds, channels and channels.at(at), x, m)
            playback.begin(number * (len(sigmas) - 1))
            out = run(
                model, *conds, x, m, noise[:, :, at], sigmas, cfg, sampler, seed, playback
            ).to(painted)
            painted[:, :, at[scratch:]] = out[:, :, scratch:]
            left[:, :, at[scratch:]] = 0
    return painted


def with_rate(
    conditioning: Conditioning, config: DiTConfig | None, facts: Mapping[str, Any]
) -> Conditioning:
    """CONDITIONING with the frame rate, for checkpoints that are told it; one that is there stays.

    Args:
        facts: of a canvas, with "fps" if anybody said.
    """
    if config is None or not config.frame_rates or not facts.get("fps"):
        return conditioning
    rate = float(facts["fps"])  # as core's LTXVConditioning names it
    return [[text, {"frame_rate": rate, **extras}] for text, extras in conditioning]


def run(
    model: ModelPatcher,
    positive: Conditioning,
    negative: Conditioning,
    samples: Tensor,
    mask: Tensor | None,
    noise: Tensor,
    sigmas: Tensor,
    cfg: float,
    sampler: str,
    seed: int,
    playback: Playback | None = None,
) -> Tensor:
    """One run of core's guider and sampler: (b, c, t, h, w) -> the same shape.

    What the mask keeps comes back to the bit. `playback` is that of several runs.
    """
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    with nullcontext(playback) if playback else Playback(len(sigmas) - 1) as playback:
        painted = guider.sample(
            noise,
            samples,
            comfy.samplers.sampler_object(sampler),
            sigmas.clone(),  # uni_pc writes into them
            denoise_mask=mask,
            callback=step_callback(model, playback),
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=seed,
        )
    painted = painted.to(mm.intermediate_device())
    if mask is not None:  # scaling in and out rounds what was kept
        painted = torch.where(mask.to(painted.device) == 0, samples.to(painted), painted)
    return painted


def check_sampling(sampler: str, sigmas: Tensor, cfg: float) -> None:
    if sampler not in SAMPLERS:
        raise InputError(f"no sampler is called {sampler!r}: choose from {', '.join(SAMPLERS)}.")
    if sigmas.ndim != 1 or len(sigmas) < 2 or not (sigmas.diff() < 0).all():
        raise InputError(
            f"SIGMAS must be two or more numbers that decrease, got "
            f"{[round(s, 4) for s in sigmas.flatten().tolist()[:4]]} of shape "
            f"{tuple(sigmas.shape)}: connect the Schedule node."
        )
    if not abs(cfg) <= 1000:  # also false for NaN
        raise InputError(f"cfg {cfg}: choose a number around 1 to 10.")


def check_fit(
    model: ModelPatcher, positive: Conditioning, negative: Conditioning, samples: Tensor
) -> None:
    """Refuse prompts and latents made for another model, before its weights are moved."""
    config, texts = config_of(model), [entry[0] for entry in (*positive, *negative)]
    if not all(torch.isfinite(text).all() for text in texts if torch.is_tensor(text)):
        raise NotFiniteError(
            "the conditioning holds NaN or infinite numbers: check the weights in the prompt, such "
            "as (word:1.3), and the text encoder's file."
        )
    if config is None:
        return
    check_channels(samples, config)
    for text in texts:
        check_text(text, config)
