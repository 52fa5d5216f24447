"""From a run's checkpoint to a file that the pack ships."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn.functional import avg_pool3d

from longtake.models.errors import CheckpointError
from longtake.models.wan.config import VAE_PRESETS, DiTConfig
from longtake.models.wan.dit import WanDiT
from longtake.models.wan.vae import WanVAE
from training import export, pipeline
from training.export import (
    export_decoder,
    export_dit,
    export_vae,
    fit_preview,
    fold_statistics,
    write_weights,
)
from training.learning.optim import FlatOptimizer
from training.learning.run import write_checkpoint
from training.networks import ADAM as TRANSFORMER_ADAM
from training.shipped import WEIGHTS as PACKED
from training.shipped import read_config, shipped_vae
from training.text import SIZES, TextEncoder, shipped_text_encoder
from training.train_vae import ADAM, VAERecipe, decoder_of
from training.world.render import Clips

TINY = replace(VAE_PRESETS["nano"], width=8, decoder_width=8, latent_channels=5)


@pytest.fixture(autouse=True)
def noise_for_clips(monkeypatch, tmp_path):
    """Rendering takes its time, and what is measured here needs no pictures."""

    def render(scenes, frames, generator, **_):
        pixels = torch.rand(len(scenes), 3, 5, 32, 32, generator=generator) * 2 - 1
        return Clips(pixels, pixels[:, 0], torch.zeros(len(scenes)))

    monkeypatch.setattr(export, "render", render)
    monkeypatch.setattr(export, "WEIGHTS", tmp_path)
    monkeypatch.setattr(export, "ROOT", tmp_path)


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return WanVAE(TINY).requires_grad_(False)


def checkpoint(path, vae, recipe):
    """A run whose average is one more than its weights."""
    network = vae if recipe.part == "whole" else decoder_of(vae)
    optimizer = FlatOptimizer(network, 0.0, 0.0, ADAM)
    optimizer.ema += 1.0
    write_checkpoint(path, optimizer.state(), recipe.to_json())


def pixels(count=2, seed=9):
    return torch.rand(count, 3, 5, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_folding_changes_the_latents_units_and_not_the_pixels(vae):
    with torch.no_grad():
        vae.conv1.weight *= torch.linspace(0.3, 3, 10).view(-1, 1, 1, 1, 1)
        vae.conv1.bias += 2
    before = vae.encode(pixels())
    back, variance = vae.decode(before), vae.encode_distribution(pixels())[1]
    fold_statistics(vae, clips=16)
    many = vae.encode(pixels(count=64))
    assert many.mean((0, 2, 3, 4)).abs().max() < 0.15
    assert (many.std((0, 2, 3, 4)) - 1).abs().max() < 0.15
    torch.testing.assert_close(vae.decode(vae.encode(pixels())), back, rtol=1e-3, atol=1e-4)
    # Noise of the log-variance is not used once a VAE is exported, so it keeps its own unit.
    torch.testing.assert_close(vae.encode_distribution(pixels())[1], variance)


def test_weights_are_bfloat16_and_say_what_they_are(tmp_path, capsys):
    weights = {"a": torch.randn(3, 5).T, "spiece_model": torch.arange(7, dtype=torch.uint8)}
    path = tmp_path / "models" / "x.safetensors"
    write_weights(path, "text_encoder", {"width": 3}, weights, preview={"bias": 0})
    assert read_config(path) == {"width": 3}
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["longtake"])
        assert facts == {"kind": "text_encoder", "config": {"width": 3}, "preview": {"bias": 0}}
        assert torch.equal(file.get_tensor("a"), weights["a"].bfloat16())
        assert torch.equal(file.get_tensor("spiece_model"), weights["spiece_model"])
    assert capsys.readouterr().out.startswith("models/x.safetensors: 0.0 MB")


def test_a_vae_is_exported_with_its_own_sizes_and_average(tmp_path, vae, monkeypatch, capsys):
    monkeypatch.setattr(export, "fold_statistics", lambda vae: None)
    checkpoint(tmp_path / "run.safetensors", vae, VAERecipe(TINY))
    export_vae(tmp_path / "run.safetensors")
    shipped = shipped_vae(tmp_path / "vae.safetensors")
    assert shipped.config == TINY
    for name, value in vae.state_dict().items():
        assert torch.equal(shipped.state_dict()[name], (value + 1).bfloat16().float()), name
    assert "vae.safetensors" in capsys.readouterr().out


def test_a_decoder_is_exported_beside_the_encoder_that_it_was_trained_with(
    tmp_path, vae, monkeypatch
):
    write_weights(tmp_path / "vae.safetensors", "vae", TINY.to_json(), vae.state_dict())
    monkeypatch.setattr(
        "training.train_vae.shipped_vae", lambda: shipped_vae(tmp_path / "vae.safetensors")
    )
    checkpoint(tmp_path / "run.safetensors", vae, VAERecipe(TINY, "decoder"))
    export_decoder(tmp_path / "run.safetensors")
    shipped = shipped_vae(tmp_path / "vae.safetensors").state_dict()
    for name, value in vae.state_dict().items():
        expected = value + 1 if name.startswith(("decoder.", "conv2.")) else value
        assert torch.equal(shipped[name], expected.bfloat16().float()), name


@pytest.mark.parametrize("further", [False, True])
def test_a_transformer_is_exported_with_its_text_encoder(tmp_path, monkeypatch, further):
    tokenizer = shipped_text_encoder(PACKED / "text_encoder.safetensors").spiece_model
    sizes = SIZES | {"d_model": 12, "d_kv": 4, "d_ff": 16, "num_heads": 3, "num_layers": 1}
    config = DiTConfig(width=24, depth=1, heads=2, mlp_width=32, text_width=12)

    def build():
        return nn.ModuleDict({"dit": WanDiT(config), "text": TextEncoder(tokenizer, sizes)})

    begun = "shipped_networks" if further else "build_networks"
    monkeypatch.setattr(pipeline, begun, build)
    monkeypatch.setattr(export, "shipped_vae", lambda: None)
    monkeypatch.setattr(export, "fit_preview", lambda vae: {"bias": [1, 2, 3]})
    trained = build()
    optimizer = FlatOptimizer(trained, 0.0, 0.0, TRANSFORMER_ADAM)
    optimizer.ema += 1.0
    write_checkpoint(tmp_path / "run.safetensors", optimizer.state(), {"further": further})
    export_dit(tmp_path / "run.safetensors")

    text = shipped_text_encoder(tmp_path / "text_encoder.safetensors")
    assert text.spiece_model == tokenizer
    for name, value in trained["text"].t5.state_dict().items():
        assert torch.equal(text.t5.state_dict()[name], (value + 1).bfloat16().float()), name
    assert DiTConfig.from_json(read_config(tmp_path / "dit.safetensors")) == config
    with safe_open(tmp_path / "text_encoder.safetensors", "pt") as file:
        assert "encoder.embed_tokens.weight" not in file.keys()  # noqa: SIM118 - no mapping
    with safe_open(tmp_path / "dit.safetensors", "pt") as file:
        assert json.loads(file.metadata()["longtake"])["preview"] == {"bias": [1, 2, 3]}
        weight = trained["dit"].head.head.weight
        assert torch.equal(file.get_tensor("head.head.weight"), (weight + 1).bfloat16())


def test_a_damaged_run_is_not_exported(tmp_path, vae):
    path = tmp_path / "run.safetensors"
    checkpoint(path, vae, VAERecipe(TINY))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        export_vae(path)
    assert not (tmp_path / "vae.safetensors").exists()


def test_the_preview_finds_colours_that_are_in_the_latents():
    class Colours:
        """A VAE whose latents are mixed colours of its cells."""

        mix = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -0.5], [0.5, 0.0, 1.0]])

        def encode(self, pixels):
            first, rest = pixels[:, :, :1], pixels[:, :, 1:]
            cells = torch.cat((avg_pool3d(first, (1, 16, 16)), avg_pool3d(rest, (4, 16, 16))), 2)
            return torch.einsum("kc,bcthw->bkthw", self.mix, cells)

    preview = fit_preview(Colours(), clips=16)
    factors = torch.tensor(preview["factors"])
    torch.testing.assert_close(torch.linalg.inv(Colours.mix).T, factors, rtol=0.02, atol=0.02)
