"""The memory that a step takes, as forecast from shapes and as torch allocates it.

On a CPU allocations and frees are summed up from torch's profiler, since the process's size depends
on what it held before; on a GPU torch counts them itself. Reduced widths, so that it fits
anywhere; the proportions are those of real checkpoints. What is kept of the prompts is made before
and not counted.

At published sizes ours and core's are counted as well, on the meta device, where kernels such as a
GPU's take no room of their own; attention's own is left out of both. So is decoding, in the middle
of a video, with what is remembered of the frames before.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import torch
from _measure import DTYPES, device, import_core, peak_of

from longtake.engine.sampling.memory import peak_bytes
from longtake.models.wan.config import DIT_PRESETS, VAE_PRESETS, DiTConfig, VAEConfig
from longtake.models.wan.dit import Hint, WanDiT
from longtake.models.wan.vae import WanVAE
from tests.host.peak import Peak
from tests.models.reference import core_dit, core_vae

RATIOS = {
    name: DIT_PRESETS[name].mlp_width / DIT_PRESETS[name].width
    for name in ("1.3b", "5b", "14b-t2v")
}
CASES = [  # proportions of, width, (b, c, t, h, w)
    ("1.3b", 384, (1, 16, 7, 44, 52)),
    ("1.3b", 256, (2, 16, 5, 60, 40)),
    ("5b", 384, (2, 16, 5, 44, 40)),
    ("14b-t2v", 512, (1, 16, 9, 40, 36)),
]
PUBLISHED = {  # latents (b, t, h, w), both prompts at once where b is 2
    "1.3b": (2, 21, 60, 104),
    "5b": (2, 31, 44, 80),
    "14b-t2v": (1, 21, 90, 160),
    "1.3b-vace": (2, 21, 60, 104),
    "14b-vace": (1, 21, 60, 104),
}
DECODED = {"2.1": (720, 1280), "2.2": (704, 1280)}  # (height, width) in pixels


@torch.inference_mode()
def measure(proportions: str, width: int, shape: tuple[int, ...], dtype: str) -> dict:
    """A step of a transformer of these proportions, measured and forecast."""
    heads, mlp = width // 128, round(RATIOS[proportions] * width)
    config = DiTConfig(width=width, depth=2, heads=heads, mlp_width=mlp)
    where, numbers = device(), DTYPES[dtype]
    network = WanDiT(config, device=where, dtype=numbers).eval().requires_grad_(False)
    b = shape[0]
    x = torch.randn(shape, device=where, dtype=numbers)
    level = torch.full((b,), 500.0, device=where)
    text = network.read_text(torch.randn(b, 512, 4096, device=where, dtype=numbers))
    network(x[:, :, :1], level, text)
    measured = peak_of(lambda: network(x, level, text))
    return {"measured": measured, "forecast": peak_bytes(config, shape, numbers.itemsize)}


@torch.inference_mode()
def at_published_size(name: str, dtype: str) -> dict:
    """Bytes of a step besides weights and prompts; two blocks, which take as many as all."""
    from comfy.ldm.wan import model

    config, (b, t, h, w) = DIT_PRESETS[name], PUBLISHED[name]
    config = replace(config, depth=2, vace_blocks=min(config.vace_blocks, 2))
    kw = {"device": "meta", "dtype": DTYPES[dtype]}
    shown, hints, vace = torch.empty(b, config.vace_channels, t, h, w, **kw), [], {}
    if config.vace_blocks:
        hints = [Hint(shown)]
        vace = {"vace_context": shown[:, None], "vace_strength": [1.0]}
    x, context = torch.empty(b, config.in_channels, t, h, w, **kw), torch.empty(b, 512, 4096, **kw)
    levels = torch.empty((b, t) if config.frame_levels else (b,), device="meta")
    with torch.device("meta"):
        core = core_dit(config).to(DTYPES[dtype])
    core.patch_embedding.float()  # as core makes it, whatever the rest is
    if config.vace_blocks:
        core.vace_patch_embedding.float()
    model.optimized_attention = lambda q, *_, **__: torch.empty_like(q)
    network = WanDiT(config, attention=lambda q, *_: torch.empty_like(q), **kw)
    text = network.read_text(context)
    return {"ours": counted(lambda: network(x, levels, text, hints=hints)),
            "core": counted(lambda: core(x, levels, context, **vace))}  # fmt: skip


@torch.inference_mode()
def decoding_at_published_size(name: str) -> dict:
    """Bytes of decoding a piece in bfloat16 besides weights, and what the host is asked for."""
    from longtake.host.networks.vae import decode_bytes

    config, (h, w) = VAE_PRESETS[name], DECODED[name]
    kw, s = {"device": "meta", "dtype": torch.bfloat16}, config.stride_hw
    latents = torch.empty(1, config.latent_channels, 3, h // s, w // s, **kw)
    network = WanVAE(config, attention=lambda q, *_: torch.empty_like(q), **kw)
    with Peak() as peak:
        state = None
        for piece in latents.split(1, dim=2):
            peak.most = peak.live
            _, state = network.decode_piece(piece, state)
    return {"ours": peak.most, "core": counted(lambda: cores_vae(config).decode(latents)),
            "asked": round(decode_bytes(config, latents.shape, torch.bfloat16))}  # fmt: skip


def cores_vae(config: VAEConfig) -> torch.nn.Module:
    """Core's network without numbers, and without the room that a kernel of attention takes."""
    with torch.device("meta"):
        core = core_vae(config).to(torch.bfloat16)
    for module in core.modules():
        if hasattr(module, "optimized_attention"):
            module.optimized_attention = lambda q, *_: torch.empty_like(q)
    return core


def counted(call: Callable[[], object]) -> int:
    with Peak() as peak:
        call()
    return peak.most


def main() -> None:
    import_core()
    rows = []
    for name in PUBLISHED:
        for dtype in ("bfloat16", "float32"):
            found = at_published_size(name, dtype)
            share = round(found["ours"] / found["core"], 3)
            rows.append({"what": f"memory of a step, {name} at {PUBLISHED[name]}", "dtype": dtype,
                         **found, "ours_over_core": share})  # fmt: skip
            print(f"{name:8} {PUBLISHED[name]!s:22} {dtype:9} {found['ours'] / 1e9:.2f} GB, "
                  f"core {found['core'] / 1e9:.2f} ({share:.2f})")  # fmt: skip
    for name, (h, w) in DECODED.items():
        found = decoding_at_published_size(name)
        share = round(found["ours"] / found["core"], 3)
        rows.append({"what": f"memory of decoding, VAE {name} at {w} x {h}", "dtype": "bfloat16",
                     **found, "ours_over_core": share})  # fmt: skip
        print(f"VAE {name:4} {f'{w} x {h}':22} bfloat16  {found['ours'] / 1e9:.2f} GB, "
              f"core {found['core'] / 1e9:.2f} ({share:.2f}), asked for "
              f"{found['asked'] / 1e9:.2f}")  # fmt: skip
    for proportions, width, shape in CASES:
        for dtype in ("float32", "bfloat16"):
            found = measure(proportions, width, shape, dtype)
            ratio = found["forecast"] / found["measured"]
            none = dict.fromkeys(("ours_ms", "core_ms", "diffusers_ms"))
            rows.append({"what": f"memory of a step, {proportions} at width {width}",
                         "latents": shape, "dtype": dtype, **none, "error": round(ratio - 1, 3),
                         **found, "forecast_over_measured": round(ratio, 3)})  # fmt: skip
            print(f"{proportions:8} {width:4} {shape!s:22} {dtype:9} "
                  f"{found['measured'] / 1e6:7.1f} MB, forecast {found['forecast'] / 1e6:7.1f} "
                  f"({ratio:.2f})")  # fmt: skip
    print(json.dumps({"device": str(device()), "torch": torch.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
