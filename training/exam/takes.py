"""What the network makes of a partly known clip, and the trivial answers to compare it with."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from .trials import GIVEN, Trial, pixel_frame

if TYPE_CHECKING:  # questions can be asked without the networks
    from ..pipeline import Pipeline

WINDOW = 5  # latent frames


@torch.inference_mode()
def encode_pixels(pipeline: "Pipeline", pixels: Tensor) -> Tensor:
    """Pixels (b, 3, frames, h, w) -> latents, float32."""
    dtype = next(pipeline.vae.parameters()).dtype
    return pipeline.vae.encode(pixels.to(dtype)).float()


@torch.inference_mode()
def decode_latents(pipeline: "Pipeline", latents: Tensor) -> Tensor:
    """Latents -> pixels (b, 3, frames, h, w) in [-1, 1], float32."""
    dtype = next(pipeline.vae.parameters()).dtype
    return pipeline.vae.decode(latents.to(dtype)).float().clamp(-1, 1)


def complete(
    pipeline: "Pipeline", prompts: list[str], seeds: list[int], latents: Tensor, known: Tensor
) -> Tensor:
    """Latents with their unknown frames sampled, in as many windows as that takes.

    Args:
        latents: (b, c, t, h, w), used where known: (t,) bool. Where one window is not enough, they
            go from the past on, each given the last GIVEN latent frames before it.
    """
    x, known = latents.clone(), known.clone()
    while not known.all():
        start = int((~known).nonzero()[0]) - GIVEN
        start = max(0, min(start, len(known) - WINDOW))  # a whole window, if there is one
        span = slice(start, min(start + WINDOW, len(known)))
        noise = pipeline_noise(pipeline, seeds, x, span)
        x[:, :, span] = pipeline.sample(prompts, noise, x[:, :, span], known[span]).float()
        known[span] = True
    return x


def pipeline_noise(pipeline: "Pipeline", seeds: list[int], x: Tensor, span: slice) -> Tensor:
    """The noise that the nodes would draw for these latent frames."""
    stride = pipeline.vae.config.stride_hw
    frames = 4 * (span.stop - span.start) - 3
    return pipeline.noise(seeds, frames, x.shape[3] * stride, x.shape[4] * stride, span.start)


def answers(pipeline: "Pipeline", trials: list[Trial], batch: int = 5) -> Tensor:
    """Pixels (n, 3, frames, h, w) that the network makes of the trials, all of one length."""
    made = []
    for at in range(0, len(trials), batch):
        part = trials[at : at + batch]
        latents = given(pipeline, part)
        prompts, seeds = [t.prompt for t in part], [t.seed for t in part]
        sampled = complete(pipeline, prompts, seeds, latents, part[0].known)
        made.append(decode_latents(pipeline, sampled))
    return torch.cat(made)


def given(pipeline: "Pipeline", trials: list[Trial]) -> Tensor:
    """The trials' known latent frames, zero elsewhere, encoded without a look at the answer.

    Where something unknown comes first, the encoder gets the trivial answer in its place.
    """
    known = trials[0].known
    stop = int(known.nonzero()[-1]) + 1
    pixels = torch.stack([trivial(trial)[:, : pixel_frame(stop)] for trial in trials])
    return pad(encode_pixels(pipeline, pixels), (0, 0, 0, 0, 0, len(known) - stop))


def through_vae(pipeline: "Pipeline", trials: list[Trial], batch: int = 5) -> Tensor:
    """The trials' own pixels after a round trip through the VAE: the best there can be."""
    return torch.cat(
        [
            decode_latents(pipeline, encode_pixels(pipeline, torch.stack([t.pixels for t in part])))
            for part in (trials[at : at + batch] for at in range(0, len(trials), batch))
        ]
    )


def known_pixels(known: Tensor) -> Tensor:
    """(t,) -> (frames,) bool."""
    return torch.cat((known[:1], known[1:].repeat_interleave(4)))


def trivial(trial: Trial) -> Tensor:
    """The last known frame for ever, or a cross-fade where a known frame comes later.

    (3, frames, h, w); what is known stays as it is.
    """
    known = known_pixels(trial.known)
    pixels, at = trial.pixels.clone(), known.nonzero()[:, 0].tolist()
    for f in (~known).nonzero()[:, 0].tolist():
        before = max(k for k in at if k < f)
        after = min((k for k in at if k > f), default=None)
        share = 0.0 if after is None else (f - before) / (after - before)
        end = trial.pixels[:, before if after is None else after]
        pixels[:, f] = trial.pixels[:, before] * (1 - share) + end * share
    return pixels


def psnr(a: Tensor, b: Tensor, where: Tensor | None = None) -> float:
    """PSNR in dB of pixels (3, frames, h, w) in [-1, 1]; where: (frames,) bool, which count."""
    error = (a - b).square().mean((0, 2, 3))
    return float(10 * torch.log10(4 / (error if where is None else error[where]).mean()))
