"""The built-in weights: where they are, and how to read them.

`training.export` writes them.
"""

import json
from pathlib import Path

from safetensors import safe_open

from longtake.models.wan.config import VAEConfig
from longtake.models.wan.vae import WanVAE
from pack import ROOT

WEIGHTS = ROOT / "models" / "nano"  # shipped
RUNS = ROOT / "training" / "runs"  # checkpoints, which are not


def read_config(path: Path) -> dict:
    """The network's sizes, from a file that `training.export` wrote."""
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["longtake"])["config"]


def shipped_vae(path: Path = WEIGHTS / "vae.safetensors") -> WanVAE:
    """The VAE, in float32, from a file that `training.export` wrote."""
    vae = WanVAE(VAEConfig.from_json(read_config(path)))
    with safe_open(path, "pt") as file:
        vae.load_state_dict({k: file.get_tensor(k).float() for k in file.keys()})  # noqa: SIM118
    return vae.eval()
