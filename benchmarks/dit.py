"""One denoising step: our transformer, ComfyUI's and diffusers', with the same weights and input.

All three get the same random weights. Ours reads the text once per prompt, beforehand, as it does
while sampling; the others make its keys and values at every step, and embed it too, which is left
out where one block stands for many. Of core's
two attention kernels the faster counts. In float32 the error is ours against diffusers', relative
L2; in other dtypes each is compared with diffusers' in float32. Beside the times stands the floor:
the same matrix products alone, each by the fastest way that this machine has, see `_floor`.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from _floor import beside_floor, floor_of
from _measure import DTYPES, compare, core_attention, device, medians, row
from torch import Tensor, nn

from longtake.models.attention import sdpa
from longtake.models.wan.config import DIT_PRESETS, DiTConfig
from longtake.models.wan.dit import WanDiT
from tests.models.reference import core_dit, diffusers_dit, with_weights_of
from tests.models.tiny import randomised, relative_error


class Case(NamedTuple):
    config: DiTConfig
    size: tuple[int, int, int]  # latent frames, rows, columns
    by_frame: bool = False  # a noise level for each latent frame
    part: bool = False  # a block of many, for which the text embedding does not count


CASES = {
    "nano": Case(DIT_PRESETS["nano"], (5, 8, 8), by_frame=True),
    "1.3B, a block": Case(replace(DIT_PRESETS["1.3b"], depth=1), (5, 16, 26), part=True),
    "1.3B, a block, 1560 tokens": Case(
        replace(DIT_PRESETS["1.3b"], depth=1), (5, 24, 52), part=True
    ),
    "1.3B, a block, 6240 tokens": Case(
        replace(DIT_PRESETS["1.3b"], depth=1), (5, 48, 104), part=True
    ),
    "5B, a block": Case(replace(DIT_PRESETS["5b"], depth=1), (3, 16, 26), by_frame=True, part=True),
}


def measure(name: str, case: Case, dtype_name: str, options) -> dict:
    rng, where, dtype = torch.Generator().manual_seed(0), device(), DTYPES[dtype_name]
    ours = randomised(as_hosted(case.config), rng)
    core = with_weights_of(ours, core_dit(case.config))
    diffusers = with_weights_of(ours, diffusers_dit(case.config))
    x, context, levels, by_token = inputs(case, rng)
    truth = diffusers(x, by_token, context).sample

    def there(thing):
        return thing.to(where, dtype)

    ours, core, diffusers = (module.to(where, dtype) for module in (ours, core, diffusers))
    core.patch_embedding.float()  # as core makes it, whatever the rest is
    x, context, levels, by_token = map(there, (x, context, levels, by_token))
    text = ours.read_text(context)
    if case.part:
        context = embedded_beforehand(context, core, diffusers)
    calls = calls_of(ours, text, core, diffusers, x, context, levels, by_token)
    outputs = {which: call().float().cpu() for which, call in calls.items()}
    errors = {which: relative_error(out, truth) for which, out in outputs.items()}
    times = medians(calls, options.rounds, options.clock)
    more = beside_floor(times, least(case, dtype, options))
    if dtype_name != "float32":
        more["core_error"] = float(f"{errors['core pytorch']:.2g}")
    return row(name, dtype_name, times, errors["ours"], **more)


def least(case: Case, dtype: torch.dtype, options) -> dict:
    """The floor of a step, the text having been read."""
    network = WanDiT(case.config, device="meta", dtype=dtype)
    x, context, levels, _ = (t.to("meta") for t in inputs(case, torch.Generator()))
    text = network.read_text(context.to(dtype))
    return floor_of(network, lambda: network(x.to(dtype), levels, text), dtype, options)


def as_hosted(config: DiTConfig) -> WanDiT:
    """Our transformer with the layers that it has in ComfyUI."""
    import comfy.ops

    from longtake.host.networks.layers import layers_from

    network = WanDiT(config, operations=layers_from(comfy.ops.disable_weight_init))
    return network.requires_grad_(False)


def inputs(case: Case, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, text, and noise levels by latent frame (or one) and by token, for diffusers."""
    config, (t, h, w) = case.config, case.size
    x = torch.randn(1, config.in_channels, t, h, w, generator=rng)
    context = torch.randn(1, config.text_length, config.text_width, generator=rng)
    if not case.by_frame:
        level = torch.tensor([733.0])
        return x, context, level, level
    levels = torch.linspace(0, 733, t)[None]
    return x, context, levels, levels.repeat_interleave(h * w // 4, dim=1)


def embedded_beforehand(context: Tensor, core: nn.Module, diffusers: nn.Module) -> Tensor:
    """The text as core and diffusers hand it to their blocks; they take it as it is from now on."""
    embedded = core.text_embedding(context)
    core.text_embedding = diffusers.condition_embedder.text_embedder = nn.Identity()
    return embedded


def calls_of(ours, text, core, diffusers, x, context, levels, by_token) -> dict:
    from comfy.ldm.wan import model

    from longtake.host.networks.forward import own_kernel

    own = own_kernel(x) or sdpa
    kernels = core_attention(model)

    def core_with(kernel: str) -> Tensor:
        kernels[kernel]()
        return core(x, levels, context)

    return {
        "ours": lambda: ours(x, levels, text, attention=own),
        "core pytorch": lambda: core_with("pytorch"),
        "core sub_quad": lambda: core_with("sub_quad"),
        "diffusers": lambda: diffusers(x, by_token, context).sample,
    }


if __name__ == "__main__":
    compare(__doc__, ("float32", "bfloat16"), CASES, measure)
