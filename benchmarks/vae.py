"""Decoding latents to pixels: our VAE, ComfyUI's and diffusers', with the same weights and input.

Core's has no patch of 4 and one width for both halves in layout 2.1, so it sits out where the
case is beyond it. The error is ours against diffusers' in float32, relative L2.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import psutil
import torch
from _measure import DTYPES, compare, device, medians, row
from torch import Tensor, nn

from longtake.models.cpu import channels_last
from longtake.models.wan.config import VAE_PRESETS, VAEConfig
from longtake.models.wan.vae import WanVAE
from tests.models.reference import (
    core_vae,
    diffusers_vae,
    with_weights_of,
)
from tests.models.tiny import randomised, relative_error


class Case(NamedTuple):
    config: VAEConfig
    size: tuple[int, int, int]  # latent frames, rows, columns
    core: bool = True


# Few pixels, and some layouts at a fraction of their width, so that a run takes minutes.
NARROW_21 = replace(VAE_PRESETS["2.1"], width=32, decoder_width=32)
NARROW_22 = replace(VAE_PRESETS["2.2"], width=20, decoder_width=32)
HALF_22 = replace(VAE_PRESETS["2.2"], width=20, decoder_width=128)
WHOLE_22 = replace(VAE_PRESETS["2.2"], width=20)  # the decoder, that is
CASES = {
    "nano, 17 of 128x128": Case(VAE_PRESETS["nano"], (5, 8, 8), core=False),
    "2.1 / 3, 5 of 48x48": Case(NARROW_21, (2, 6, 6)),
    "2.2 / 8, 5 of 96x96": Case(NARROW_22, (2, 6, 6)),
    "2.1 whole, 5 of 64x64": Case(VAE_PRESETS["2.1"], (2, 8, 8)),
    "2.1 whole, 5 of 96x96": Case(VAE_PRESETS["2.1"], (2, 12, 12)),
    "2.1 whole, 17 of 64x64": Case(VAE_PRESETS["2.1"], (5, 8, 8)),  # a first frame is cheaper
    "2.2 / 2, 5 of 64x96": Case(HALF_22, (2, 4, 6)),
}
if psutil.virtual_memory().available > 12e9:  # three times the weights, and the work
    CASES["2.2 whole, 5 of 64x96"] = Case(WHOLE_22, (2, 4, 6))
    CASES["2.2 whole, 5 of 128x192"] = Case(WHOLE_22, (2, 8, 12))


def measure(name: str, case: Case, dtype_name: str, options) -> dict:
    rng, where, dtype = torch.Generator().manual_seed(0), device(), DTYPES[dtype_name]
    ours = randomised(WanVAE(case.config), rng)
    for p in ours.decoder.head[2].parameters():
        p.mul_(0.05)  # diffusers clamps to [-1, 1]; stay within
    networks = {"ours": ours, "diffusers": with_weights_of(ours, diffusers_vae(case.config))}
    if case.core:
        networks["core"] = with_weights_of(ours, core_vae(case.config))
    z = torch.randn(1, case.config.latent_channels, *case.size, generator=rng)
    truth = networks["diffusers"].decode(z).sample

    z = z.to(where, dtype)
    calls = {
        which: partial(decode, network.to(where, dtype), z) for which, network in networks.items()
    }
    if where.type == "cpu":
        channels_last.lay_out(ours)  # as LoadVAE does
    errors = {which: relative_error(call().float().cpu(), truth) for which, call in calls.items()}
    times = medians(calls, options.rounds, options.clock)
    more = {"core_error": float(f"{errors['core']:.2g}")} if case.core else {}
    return row(name, dtype_name, times, errors["ours"], **more)


def decode(network: nn.Module, z: Tensor) -> Tensor:
    decoded = network.decode(z)
    return decoded if isinstance(decoded, Tensor) else decoded.sample


if __name__ == "__main__":
    compare(__doc__, ("float32", "bfloat16"), CASES, measure)
