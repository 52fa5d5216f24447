"""From a weights file to a MODEL and its first step: our loader and ComfyUI's.

A file of Wan 2.1 1.3B's shapes (fewer blocks unless --depth 30) with random weights is written and
loaded in a process of its own by each loader, in the file's own number format. What counts: the
processor's time, the memory held before the first step touches the weights, its peak while
loading, and that the same weights arrive. Memory is what the kernel counts for the process, pages
of the file included. In ours loading it once more, from the cache, is timed as well.
"""

import argparse
import hashlib
import importlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from _measure import DTYPES, import_core, row
from safetensors.torch import save_file

from longtake.models.wan.config import DIT_PRESETS
from longtake.models.wan.dit import WanDiT

NAME = "wan2.1_t2v_1.3B.safetensors"


def write(path: Path, depth: int, dtype: torch.dtype) -> int:
    """A checkpoint of random weights; its size in bytes."""
    network = WanDiT(replace(DIT_PRESETS["1.3b"], depth=depth), device="meta")
    rng = torch.Generator().manual_seed(0)
    weights = {
        name: torch.empty(meant.shape, dtype=dtype).uniform_(-0.04, 0.04, generator=rng)
        for name, meant in network.state_dict().items()
    }
    save_file(weights, path)
    return path.stat().st_size


def status(*fields: str) -> list[int]:
    """Bytes that the kernel counts for this process; zeros where it does not tell."""
    file = Path("/proc/self/status")
    lines = (
        dict(line.split(":", 1) for line in file.read_text().splitlines()) if file.exists() else {}
    )
    return [int(lines.get(field, "0 kB").split()[0]) * 1024 for field in fields]


def forget_peak() -> None:
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def load_with(which: str, path: Path, dtype: str):
    """A function that loads the file, everything it needs being imported."""
    import_core()
    importlib.import_module("utils.extra_config")
    if which == "core":
        sd = importlib.import_module("comfy.sd")
        options = {"dtype": DTYPES[dtype]}
        return lambda: sd.load_diffusion_model(str(path), model_options=options)
    paths = importlib.import_module("folder_paths")
    paths.add_model_folder_path("diffusion_models", str(path.parent), is_default=True)
    load = importlib.import_module("longtake.host.networks.load")
    menu = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}[dtype]
    return lambda: load.load_model(path.name, menu)


@torch.inference_mode()
def child(which: str, path: Path, dtype: str) -> None:
    """Loads, takes a step, and prints what it cost."""
    torch.set_num_threads(1)
    load = load_with(which, path, dtype)
    forget_peak()
    before, cpu, wall = status("VmRSS")[0], time.process_time(), time.perf_counter()
    model = load()
    found = {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "held": status("VmRSS")[0] - before,
        "peak": status("VmHWM")[0] - before,
    }
    rng = torch.Generator().manual_seed(1)
    x, text = torch.randn(1, 16, 2, 8, 8, generator=rng), torch.randn(1, 512, 4096, generator=rng)
    sigma = torch.tensor([0.7])
    out = model.model.apply_model(x, sigma, c_crossattn=text, transformer_options={})
    found["to_first_step_cpu_s"] = time.process_time() - cpu
    weights = hashlib.sha256()
    for name, weight in sorted(model.model.diffusion_model.state_dict().items()):
        weights.update(name.encode())
        same = weight.to(DTYPES[dtype])  # core holds the first layer in float32
        weights.update(same.contiguous().view(-1).view(torch.uint8).numpy().data)
    found |= {"weights": weights.hexdigest(), "out": out.flatten()[:4096].tolist()}
    if which == "ours":
        wall = time.perf_counter()
        load()
        found["again_s"] = time.perf_counter() - wall
    print(json.dumps(found))


def run(which: str, path: Path, dtype: str) -> dict:
    words = [sys.executable, __file__, "--child", which, "--file", str(path), "--dtype", dtype]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(depth: int, dtype: str, rounds: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        size = write(path, depth, DTYPES[dtype])
        runs = [{which: run(which, path, dtype) for which in ("ours", "core")}
                for _ in range(rounds)]  # fmt: skip
    ours, core = ({key: sorted(r[which][key] for r in runs)[rounds // 2]
                   for key in ("cpu_s", "wall_s", "held", "peak", "to_first_step_cpu_s")}
                  for which in ("ours", "core"))  # fmt: skip
    first = runs[0]
    a, b = (torch.tensor(first[which]["out"]) for which in ("ours", "core"))
    times = {
        which: round(1000 * cost["cpu_s"], 2) for which, cost in (("ours", ours), ("core", core))
    }
    error = ((a - b).norm() / b.norm()).item()
    return {
        **row(f"load of a 1.3B file, {depth} blocks", dtype, times, error),
        "file_bytes": size,
        "ours": ours | {"again_s": first["ours"]["again_s"]},
        "core": core,
        "cpu_gain": round(core["cpu_s"] / ours["cpu_s"], 1),
        "held_share": round(ours["held"] / core["held"], 3) if core["held"] else None,
        "peak_over_file": round(ours["peak"] / size, 3),
        "same_weights": first["ours"]["weights"] == first["core"]["weights"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=8, help="transformer blocks; 30 is all of it")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--rounds", type=int, default=3, help="processes each; the median counts")
    parser.add_argument("--child", choices=("ours", "core"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.file, options.dtype)
        return
    found = compare(options.depth, options.dtype, options.rounds)
    mb = 1e6
    print(f"{'':8}{'CPU s':>9}{'wall s':>9}{'held MB':>9}{'peak MB':>9}{'first step, CPU s':>19}")
    for which in ("ours", "core"):
        r = found[which]
        print(
            f"{which:8}{r['cpu_s']:>9.3f}{r['wall_s']:>9.3f}{r['held'] / mb:>9.0f}"
            f"{r['peak'] / mb:>9.0f}{r['to_first_step_cpu_s']:>19.2f}"
        )
    again = found["ours"]["again_s"]
    print(f"file {found['file_bytes'] / mb:.0f} MB; again from the cache {again:.3f} s")
    print(json.dumps({"device": "cpu", "torch": torch.__version__, "rows": [found]}))


if __name__ == "__main__":
    main()
