"""A tiny built-in model of random weights, in a real ComfyUI in this process."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from longtake.models.wan.config import DiTConfig, VAEConfig
from longtake.models.wan.dit import WanDiT
from longtake.models.wan.vae import WanVAE
from tests.host.vocabulary import train_vocabulary
from tests.models.tiny import randomised

# As the built-in model, but tiny: a noise level for each frame, latents of 8 × 8 pixel cells.
DIT = DiTConfig(
    width=32,
    depth=2,
    heads=2,
    mlp_width=48,
    in_channels=6,
    out_channels=6,
    text_width=24,
    text_length=16,
    freq_width=16,
    frame_levels=True,
)
ONE_LEVEL = replace(DIT, frame_levels=False)
IMAGES = replace(ONE_LEVEL, in_channels=16, image_width=20)
DITS = {
    "one level": ONE_LEVEL,
    "a level for each frame": DIT,
    "a frame rate": replace(DIT, frame_rates=True),
    "image channels": IMAGES,
    "two images": replace(IMAGES, image_positions=9),
}
VAE = VAEConfig(
    width=8,
    decoder_width=8,
    latent_channels=6,
    multipliers=(1, 2, 2),
    res_blocks=1,
    temporal=(True, True),
    patch=2,
    residual=True,
)
TEXT = {
    "d_model": 24,
    "d_kv": 8,
    "d_ff": 40,
    "num_heads": 3,
    "num_layers": 2,
    "vocab_size": 64,
}
MODULES = (
    *(
        "comfyui.cache",
        "comfyui.conditioning",
        "comfyui.folders",
        "comfyui.latent",
        "comfyui.progress",
    ),
    *(
        "networks.codec",
        "networks.dtypes",
        "networks.forward",
        "networks.latent_format",
        "networks.layers",
    ),
    *("networks.load", "networks.lora", "networks.patching", "networks.settings"),
    *("networks.text_encoder", "networks.text_memory"),
    *("networks.transformer", "networks.vae", "sampling.experts", "sampling.sample"),
)


def random_weights(module: torch.nn.Module, seed: int) -> dict:
    """Weights under which every part of a network matters to what comes out."""
    return randomised(module, torch.Generator().manual_seed(seed)).state_dict()


def write(path: Path, kind: str, config: dict, weights: dict, **note) -> Path:
    weights = {k: w.to(torch.bfloat16) if w.is_floating_point() else w for k, w in weights.items()}
    metadata = {"longtake": json.dumps({"kind": kind, "config": config, **note})}
    save_file({k: w.contiguous() for k, w in weights.items()}, path, metadata)
    return path


def write_dit(path: Path, config: DiTConfig = DIT, seed: int = 1) -> Path:
    weights = random_weights(WanDiT(config), seed)
    return write(path, "dit", config.to_json(), weights)


def write_vae(path: Path, config: VAEConfig = VAE, seed: int = 2) -> Path:
    return write(path, "vae", config.to_json(), random_weights(WanVAE(config), seed))


def write_text_encoder(path: Path, folder: Path) -> Path:
    import comfy.ops
    from comfy.text_encoders.t5 import T5

    sizes = {
        **TEXT,
        "dense_act_fn": "gelu_pytorch_tanh",
        "is_gated_act": True,
        "model_type": "umt5",
    }
    network = T5(sizes, torch.float32, "cpu", comfy.ops.disable_weight_init)
    weights = random_weights(network, 3)
    weights["spiece_model"] = torch.frombuffer(
        bytearray(train_vocabulary(folder)), dtype=torch.uint8
    )
    return write(path, "text_encoder", sizes, weights)


@pytest.fixture(scope="session")
def nano(comfyui, tmp_path_factory) -> Path:
    """A folder with the three files of a built-in model."""
    folder = tmp_path_factory.mktemp("nano")
    write_dit(folder / "dit.safetensors")
    write_vae(folder / "vae.safetensors")
    write_text_encoder(folder / "text_encoder.safetensors", tmp_path_factory.mktemp("spm"))
    return folder


@pytest.fixture
def pack(nano, monkeypatch) -> SimpleNamespace:
    """The modules of host/, with the tiny model built in."""
    modules = {
        name.split(".")[-1]: importlib.import_module(f"longtake.host.{name}") for name in MODULES
    }
    monkeypatch.setattr(modules["folders"], "NANO", nano)
    return SimpleNamespace(**modules)


@pytest.fixture(autouse=True)
def as_the_executor_runs_nodes():
    with torch.inference_mode():
        yield


@pytest.fixture
def model(pack):
    """The built-in MODEL, without what core may have left patched into it after another test."""
    import comfy.model_management as mm

    mm.unload_all_models()
    return pack.load.load_model(pack.folders.BUILT_IN)


@pytest.fixture
def vae(pack):
    return pack.load.load_vae(pack.folders.BUILT_IN)


@pytest.fixture
def clip(pack):
    return pack.load.load_text_encoder(pack.folders.BUILT_IN)


@pytest.fixture
def runs(comfyui, monkeypatch):
    """Every run of core's sampler: its noise, latents and prompt."""
    import comfy.samplers

    found, real = [], comfy.samplers.CFGGuider.sample

    def sample(self, noise, latents, *rest, **more):
        prompt = dict(self.original_conds["positive"][0])
        found.append((noise, latents, prompt))
        return real(self, noise, latents, *rest, **more)

    monkeypatch.setattr(comfy.samplers.CFGGuider, "sample", sample)
    return found
