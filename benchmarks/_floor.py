"""How long a transformer takes at least on this machine: its matrix products, alone."""

import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from _measure import device
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from longtake.models.cpu import onednn

Product = tuple[int, int, int]  # rows, channels in, channels out
SMALL = 0.005  # of all work; products below it are left to the general rate


def floor_of(
    network: nn.Module, call: Callable[[], object], dtype: torch.dtype, options: Namespace
) -> dict[str, float]:
    """The least time of a call on this machine, by its own products.

    Args:
        network: on the meta device.
        call: runs it there.
        dtype: that it is timed in.

    Returns:
        gflop: of all products, those of attention among them.
        products_ms: of its layers' products, each shape by the fastest way that there is.
        peak_gflops: a second, of the best of them.
        floor_ms: products_ms, and all else that is multiplied at the best rate.
    """
    found, total = products_in(network, call)
    work = {product: 2 * count * size(product) for product, count in found.items()}
    timed = {p: fastest(p, dtype, options) for p in found if work[p] > SMALL * total}
    taken = {product: found[product] * seconds for product, seconds in timed.items()}
    rate = max(2 * size(product) / seconds for product, seconds in timed.items())
    rest = total - sum(work[product] for product in timed)
    return {
        "gflop": round(total / 1e9, 2),
        "products_ms": round(1000 * sum(taken.values()), 2),
        "peak_gflops": round(rate / 1e9, 1),
        "floor_ms": round(1000 * (sum(taken.values()) + rest / rate), 2),
    }


def beside_floor(times: Mapping[str, float], floor: Mapping[str, float]) -> dict[str, object]:
    """The floor as columns of a row: how near each comes, and how far ahead one could be at most.

    Args:
        times: milliseconds of each way, as `_measure.medians` gives them.
        floor: from `floor_of`.
    """
    ours = min(taken for name, taken in times.items() if name.startswith("ours"))
    others = min(taken for name, taken in times.items() if not name.startswith("ours"))
    found = {
        **floor,
        "gflops": {name: round(floor["gflop"] / taken * 1000, 1) for name, taken in times.items()},
        "products_share": round(floor["products_ms"] / ours, 3),
        "most_gain": round(others / floor["floor_ms"], 2),
    }
    print(
        f"  {floor['gflop']} GFLOP at {floor['peak_gflops']} GFLOP/s: at least "
        f"{floor['floor_ms']} ms, which would be {found['most_gain']}x; ours {ours}, of which "
        f"products {found['products_share']:.0%}"
    )
    return found


def size(product: Product) -> int:
    rows, inner, outer = product
    return rows * inner * outer


def products_in(network: nn.Module, call: Callable[[], object]) -> tuple[Counter[Product], int]:
    """The products of its layers, and the floating point operations of all products."""
    found: Counter[Product] = Counter()

    def note(layer: nn.Module, args: tuple[Tensor, ...], *_: object) -> None:
        outer, inner = layer.weight.shape
        found[args[0].numel() // inner, inner, outer] += 1

    layers = [m for m in network.modules() if getattr(getattr(m, "weight", None), "ndim", 0) == 2]
    handles = [layer.register_forward_hook(note) for layer in layers]
    with FlopCounterMode(display=False) as counter:
        call()
    for handle in handles:
        handle.remove()
    return found, counter.get_total_flops()


@torch.inference_mode()
def fastest(product: Product, dtype: torch.dtype, options: Namespace) -> float:
    """Seconds of a product with its bias, the quickest of all rounds and ways."""
    (rows, inner, outer), where = product, {"device": device(), "dtype": dtype}
    x, weight, bias = (torch.randn(*s, **where) for s in ((rows, inner), (outer, inner), (outer,)))
    ways = [F.linear, onednn.linear] if onednn.linear_serves(x, weight) else [F.linear]
    return min(
        seconds(way, (x, weight, bias), options) for _ in range(options.rounds + 1) for way in ways
    )


def seconds(way: Callable[..., Tensor], args: tuple[Tensor, ...], options: Namespace) -> float:
    now = time.process_time if options.clock == "cpu" else time.perf_counter
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = now()
    way(*args)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return now() - start
