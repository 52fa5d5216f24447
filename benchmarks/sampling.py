"""A whole run of ComfyUI's KSampler: our MODEL and core's, with the same weights, noise and text.

1.3B's widths with two of its thirty blocks, a few steps of euler with CFG. The text embedding,
which core makes at every step and we once, weighs more here than with all blocks: by 1 or 2 %.
Core runs with each of its attention kernels; the faster counts. The error is the relative L2
between the final latents. Beside the times stands the floor of all its steps, see `_floor`.
"""

from dataclasses import replace

import torch
from _floor import beside_floor, floor_of
from _measure import DTYPES, compare, core_attention, medians, row

from longtake.models.wan.config import DIT_PRESETS, DiTConfig
from longtake.models.wan.dit import WanDiT
from tests.host.runs import ksampler, prompt
from tests.models.tiny import randomised, relative_error

CASES = {"1.3B, 2 blocks, 2 steps": replace(DIT_PRESETS["1.3b"], depth=2)}
SHAPE = (1, 16, 3, 16, 26)
STEPS = 2


def measure(name: str, config: DiTConfig, dtype_name: str, options) -> dict:
    import comfy.utils
    from comfy.ldm.wan import model as core_model

    comfy.utils.PROGRESS_BAR_ENABLED = False
    core, ours = pair(config, DTYPES[dtype_name])
    settings = {
        "latent_image": {"samples": torch.zeros(SHAPE)},
        "positive": prompt(ours, 1, tokens=config.text_length),
        "negative": prompt(ours, 2, tokens=config.text_length),
        "steps": STEPS,
    }
    kernels = core_attention(core_model)

    def core_with(kernel: str):
        kernels[kernel]()
        return ksampler(core, **settings)

    calls = {
        "ours": lambda: ksampler(ours, **settings),
        "core pytorch": lambda: core_with("pytorch"),
        "core sub_quad": lambda: core_with("sub_quad"),
    }
    error = relative_error(calls["ours"](), calls["core pytorch"]())
    times = medians(calls, options.rounds, options.clock)
    more = beside_floor(times, least(config, DTYPES[dtype_name], options))
    return row(name, dtype_name, times, error, **more)


def least(config: DiTConfig, dtype: torch.dtype, options) -> dict:
    """The floor of all steps, both prompts in one call, each text being read once."""
    kw = {"device": "meta", "dtype": dtype}
    network = WanDiT(config, **kw)
    x, level = torch.empty(2, *SHAPE[1:], **kw), torch.empty(2, device="meta")
    context = torch.empty(2, config.text_length, config.text_width, **kw)

    def steps() -> None:
        text = network.read_text(context)
        for _ in range(STEPS):
            network(x, level, text)

    return floor_of(network, steps, dtype, options)


def pair(config: DiTConfig, dtype: torch.dtype) -> tuple:
    """MODELs of the same random weights: core's and ours."""
    import comfy.sd

    from longtake.host.networks.latent_format import format_for
    from longtake.host.networks.transformer import build_model

    network = randomised(WanDiT(config), torch.Generator().manual_seed(0))
    weights = {name: weight.to(dtype) for name, weight in network.state_dict().items()}
    core = comfy.sd.load_diffusion_model_state_dict(dict(weights), model_options={"dtype": dtype})
    ours = build_model(config, weights, format_for(config, built_in=False), dtype, "random")
    return core, ours


if __name__ == "__main__":
    compare(__doc__, ("float32",), CASES, measure)
