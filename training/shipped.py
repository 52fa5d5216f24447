"""The built-in weights as files: where they lie, and how training reads them.

`training.export` writes them; the trainers and the evaluation read them here.
"""

import json
from pathlib import Path

from safetensors import safe_open

from longtake.models.wan.config import VAEConfig
from longtake.models.wan.vae import WanVAE
from pack import ROOT

WEIGHTS = ROOT / "models" / "nano"  # what the pack ships
RUNS = ROOT / "training" / "runs"  # checkpoints, which it does not


def read_config(path: Path) -> dict:
    """The numbers of the network in a file that `training.export` wrote."""
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["longtake"])["config"]


def shipped_vae(path: Path = WEIGHTS / "vae.safetensors") -> WanVAE:
    """The VAE in a file that `training.export` wrote, in float32."""
    vae = WanVAE(VAEConfig.from_json(read_config(path)))
    with safe_open(path, "pt") as file:
        vae.load_state_dict({k: file.get_tensor(k).float() for k in file.keys()})  # noqa: SIM118
    return vae.eval()
