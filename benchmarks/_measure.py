"""What the benchmarks share: imports, fair timing, the table and the JSON at its end."""

import argparse
import gc
import importlib
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import comfyui_folder, device_options, link_pack, python
from headless import Server
from pack import register

register()

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BUILT_IN = "nano (built in)"
Call = Callable[[], Tensor]


def import_core(*options: str) -> None:
    """Make `import comfy` work as in a server with these options on this machine's best device."""
    sys.path.insert(0, str(comfyui_folder()))
    own, sys.argv = sys.argv, ["main.py", *on_best_device(), *options]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("comfy.options").enable_args_parsing()
        # before core puts ComfyUI/comfy first on sys.path, where `utils` is another one
        importlib.import_module("utils.extra_config")
        importlib.import_module("comfy.model_management")
    sys.argv = own


@contextmanager
def own_server() -> Iterator[tuple[Server, Path]]:
    """A ComfyUI with the pack and nothing else, and its folder, for the time of a block."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for part in ("custom_nodes", "input", "output", "models"):
            (base / part).mkdir()
        link_pack(base / "custom_nodes")
        options = [*device_options(), "--base-directory", base]
        with Server(python(), comfyui_folder(), options, base / "comfyui.log") as server:
            yield server, base


def core_attention(module: ModuleType) -> dict[str, Callable[[], None]]:
    """Switches of a core module to each attention that core could choose on this machine."""
    attention = importlib.import_module("comfy.ldm.modules.attention")
    return {
        name: partial(
            setattr, module, "optimized_attention", getattr(attention, f"attention_{name}")
        )
        for name in ("pytorch", "sub_quad")
    }


def arguments(doc: str, dtypes: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds; the median counts")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=dtypes)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice without it")
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu counts this process's own time on all cores, for a machine that is busy",
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    from diffusers.utils import logging

    logging.set_verbosity_error()  # it is told to cast, and need not advise against it
    return options


def on_best_device() -> list[str]:
    """ComfyUI's options with which it runs on what `machine` says."""
    return [] if torch.cuda.is_available() else ["--cpu"]


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine() -> dict[str, str | int]:
    """What figures depend on beside the code."""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"device": where, "torch": torch.__version__, "threads": torch.get_num_threads()}


@torch.inference_mode()
def medians(calls: Mapping[str, Call], rounds: int, clock: str) -> dict[str, float]:
    """Milliseconds of each call, taken in turns after one to warm up, so that all meet the same
    weather."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    taken: dict[str, list[float]] = {name: [] for name in calls}
    gc.disable()
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = now()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                taken[name].append(1000 * (now() - start))
    gc.enable()
    return {name: round(statistics.median(times), 2) for name, times in taken.items()}


def peak_of(call: Callable[[], object]) -> int:
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


@torch.inference_mode()
def measure_all(cases: Mapping[str, object], measure: Callable, options) -> list[dict]:
    """A row for every case in every dtype."""
    chosen = [name for name in cases if options.only in name]
    return [
        measure(name, cases[name], dtype, options) for name in chosen for dtype in options.dtypes
    ]


def row(what: str, dtype: str, times: Mapping[str, float], error: float, **more: object) -> dict:
    """One line of the report; of several ways to run an original its fastest counts."""

    def best(which: str) -> float | None:
        return min((t for name, t in times.items() if name.startswith(which)), default=None)

    return {
        "what": what,
        "dtype": dtype,
        "ours_ms": best("ours"),
        "core_ms": best("core"),
        "diffusers_ms": best("diffusers"),
        "error": float(f"{error:.2g}"),
        **more,
        "all_ms": dict(times),
    }


def report(rows: list[dict], options: argparse.Namespace) -> None:
    """The table for people, then one line of JSON."""
    print(f"{'':26}{'dtype':>9}{'ours':>9}{'core':>9}{'diffusers':>10}{'gain':>7}{'error':>9}")
    for r in rows:
        others = [t for t in (r["core_ms"], r["diffusers_ms"]) if t is not None]
        gain = f"{min(others) / r['ours_ms']:.2f}x" if others else "-"
        times = [f"{t:.1f}" if t is not None else "-" for t in
                 (r["ours_ms"], r["core_ms"], r["diffusers_ms"])]  # fmt: skip
        print(
            f"{r['what']:26}{r['dtype']:>9}{times[0]:>9}{times[1]:>9}{times[2]:>10}{gain:>7}"
            f"{r['error']:>9.1e}"
        )
    print(f"milliseconds, {options.clock} clock; gain over the better of core and diffusers")
    print(json.dumps({**machine(), "clock": options.clock, "rounds": options.rounds, "rows": rows}))


def compare(doc: str, dtypes: tuple[str, ...], cases: Mapping, measure: Callable) -> None:
    """A whole benchmark, from its command line to the JSON at its end."""
    options = arguments(doc, dtypes)
    import_core()
    report(measure_all(cases, measure, options), options)
