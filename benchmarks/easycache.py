"""What core's EasyCache saves and costs on our MODEL: steps skipped, and how far the video strays.

On the built-in model with a real prompt, where the frames' PSNR is given as well, and on a random
transformer of 1.3B's width with two of its thirty blocks. Milliseconds are those of a whole run of
KSampler; `core_ms` is the run without the cache, on our MODEL as well.
"""

from dataclasses import replace

import torch
from _measure import BUILT_IN, DTYPES, compare, medians, row

from longtake.models.wan.config import DIT_PRESETS
from longtake.models.wan.dit import WanDiT
from tests.host.runs import ksampler, prompt
from tests.models.tiny import randomised, relative_error

TEXT = "a big red ball rises over the grass at sunset, static camera"
CASES = {
    f"{name}, threshold {threshold}": (name, threshold)
    for name in ("nano", "random d1536")
    for threshold in (0.1, 0.2, 0.4)
}


def nano(dtype: str) -> tuple:
    """(MODEL, settings of a run, decode) of the built-in model."""
    from longtake.host.networks import load, vae

    clip = load.load_text_encoder(BUILT_IN)
    decoder = load.load_vae(BUILT_IN, dtype)
    texts = [clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in (TEXT, "")]
    empty = torch.zeros(1, vae.grid_of(decoder).channels, 5, 8, 8)
    settings = {"latent_image": {"samples": empty}, "steps": 24, "cfg": 4.0, "seed": 2}
    settings |= {"positive": texts[0], "negative": texts[1]}
    return load.load_model(BUILT_IN, dtype), settings, lambda z: vae.decode_frames(decoder, z)


def wide(dtype: str) -> tuple:
    from longtake.host.networks.latent_format import format_for
    from longtake.host.networks.transformer import build_model

    config = replace(DIT_PRESETS["1.3b"], depth=2)
    weights = randomised(WanDiT(config), torch.Generator().manual_seed(0)).state_dict()
    weights = {name: weight.to(DTYPES[dtype]) for name, weight in weights.items()}
    model = build_model(
        config, weights, format_for(config, built_in=False), DTYPES[dtype], "random"
    )
    settings = {"latent_image": {"samples": torch.zeros(1, 16, 3, 6, 10)}, "steps": 20, "cfg": 1.0}
    settings |= {"positive": prompt(model, 1, tokens=512), "negative": prompt(model, 2, tokens=512)}
    return model, settings, None


def counted(model, settings: dict) -> tuple[torch.Tensor, int]:
    """A run's latents, and how often its network was gone through."""
    passes = []
    block = model.model.diffusion_model.blocks[0]
    hook = block.register_forward_hook(lambda *_: passes.append(1))
    try:
        return ksampler(model, **settings), len(passes)
    finally:
        hook.remove()


def measure(name: str, case: tuple[str, float], dtype: str, options) -> dict:
    from comfy_extras.nodes_easycache import EasyCacheNode

    short = {"float32": "fp32", "bfloat16": "bf16"}[dtype]
    model, settings, decode = nano(short) if case[0] == "nano" else wide(dtype)
    cached = EasyCacheNode.execute(model, case[1], 0.15, 0.95, False)[0]
    exact, calls_made = counted(model, settings)
    quick, left = counted(cached, settings)
    more = {"network_calls": calls_made, "with_cache": left}
    if decode:
        error = (decode(exact) - decode(quick)).square().mean()
        more["psnr_db"] = round(-10 * error.log10().item(), 1)
    calls = {"ours": lambda: ksampler(cached, **settings),
             "core, no cache": lambda: ksampler(model, **settings)}  # fmt: skip
    times = medians(calls, options.rounds, options.clock)
    return row(name, dtype, times, relative_error(quick, exact), **more)


if __name__ == "__main__":
    compare(__doc__, ("float32",), CASES, measure)
