"""The memory that a step takes, as forecast from shapes and as torch allocates it.

On a CPU allocations and frees are summed up from torch's profiler, since the process's size depends
on what it held before; on a GPU torch counts them itself. Reduced widths, so that it fits
anywhere; the proportions are those of real checkpoints. What is kept of the prompts is made before
and not counted.
"""

import json
from itertools import accumulate

import torch
from _measure import DTYPES, device, register

register()

from longtake.engine.forecast import peak_bytes, text_bytes  # noqa: E402
from longtake.models.wan.config import DIT_PRESETS, DiTConfig  # noqa: E402
from longtake.models.wan.dit import WanDiT  # noqa: E402

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
    size = numbers.itemsize
    forecast = peak_bytes(config, shape, size) - text_bytes(config, b, size)
    return {"measured": measured, "forecast": forecast}


def peak_of(call) -> int:
    """Bytes that a call has allocated at once, at most."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    events = profile.profiler.kineto_results.events()
    moves = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(accumulate(size for _, size in moves))


def main() -> None:
    rows = []
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
