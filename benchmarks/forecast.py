"""The memory that a step takes, as forecast from shapes and as the kernel counts it.

Each case runs in a process of its own: a step on few latent frames to warm up, then the peak of
one on all of them, beyond what is held before. Shapes other than those that the forecast was
fitted to, and reduced widths, so that it fits anywhere. What is kept of the prompts is made
before and not counted.
"""

import argparse
import gc
import json
import subprocess
import sys

import torch
from _measure import DTYPES, register
from load import forget_peak, status

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
def child(proportions: str, width: int, shape: tuple[int, ...], dtype: str) -> None:
    torch.set_num_threads(1)
    heads, mlp = width // 128, round(RATIOS[proportions] * width)
    config = DiTConfig(width=width, depth=2, heads=heads, mlp_width=mlp)
    network = WanDiT(config, dtype=DTYPES[dtype]).eval().requires_grad_(False)
    b = shape[0]
    x, level = torch.randn(shape, dtype=DTYPES[dtype]), torch.full((b,), 500.0)
    text = network.read_text(torch.randn(b, 512, 4096, dtype=DTYPES[dtype]))
    network(x[:, :, :1], level, text)
    gc.collect()
    forget_peak()
    before = status("VmRSS")[0]
    network(x, level, text)
    size = DTYPES[dtype].itemsize
    forecast = peak_bytes(config, shape, size) - text_bytes(config, b, size)
    print(json.dumps({"measured": status("VmHWM")[0] - before, "forecast": forecast}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*json.loads(options.child))
        return
    rows = []
    for proportions, width, shape in CASES:
        for dtype in ("float32", "bfloat16"):
            words = json.dumps([proportions, width, shape, dtype])
            done = subprocess.run(
                [sys.executable, __file__, "--child", words], check=True, capture_output=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            ratio = found["forecast"] / found["measured"]
            rows.append({"what": proportions, "width": width, "latents": shape, "dtype": dtype,
                         **found, "forecast_over_measured": round(ratio, 3)})  # fmt: skip
            print(f"{proportions:8} {width:4} {shape!s:22} {dtype:9} "
                  f"{found['measured'] / 1e6:7.1f} MB, forecast {found['forecast'] / 1e6:7.1f} "
                  f"({ratio:.2f})")  # fmt: skip
    print(json.dumps({"device": "cpu", "torch": torch.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
