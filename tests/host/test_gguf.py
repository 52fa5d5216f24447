"""A MODEL from a GGUF loader goes everywhere that core's own goes, and gives the same video."""

import importlib
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from safetensors.torch import save_file

from longtake.engine.sampling.schedule import sigmas
from longtake.engine.take.storyboard import Shot
from longtake.engine.take.window_store import WindowStore
from longtake.models.wan.config import DiTConfig
from longtake.models.wan.dit import WanDiT
from longtake.models.wan.vae import WanVAE
from tests.host import gguf
from tests.host.conftest import VAE, random_weights
from tests.host.runs import latents, sample

T2V = DiTConfig(width=128, depth=2, heads=1, mlp_width=96)
LEVELS = sigmas(3, 5.0)
SHAPE = (1, 16, 3, 4, 6)


def prompt(seed: int) -> list:
    rng = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, 512, 4096, generator=rng), {}]]


def pair(seed: int = 7) -> tuple:
    """The same weights as a MODEL that unpacks them and as core's own, which has them plain."""
    import comfy.model_management as mm

    mm.unload_all_models()
    return gguf.load(random_weights(WanDiT(T2V), seed))


@pytest.fixture
def lora_file(comfyui):
    rng = torch.Generator().manual_seed(5)
    folder = comfyui.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    tensors = {
        "diffusion_model.blocks.0.ffn.0.lora_up.weight": torch.randn(96, 4, generator=rng) / 5,
        "diffusion_model.blocks.0.ffn.0.lora_down.weight": torch.randn(4, 128, generator=rng),
        "diffusion_model.blocks.1.ffn.2.diff_b": torch.randn(128, generator=rng),
    }
    save_file(tensors, folder / "gguf.safetensors")
    return "gguf.safetensors"


def sampled(pack, model, known: bool = False):
    latent = {"samples": torch.zeros(SHAPE)}
    if known:
        mask = torch.ones(1, 1, *SHAPE[2:])
        mask[:, :, :1] = 0
        latent = {"samples": latents(3, SHAPE), "noise_mask": mask}
    return sample(pack, model, prompt(1), prompt(2), latent, LEVELS, seed=7, cfg=3.0)["samples"]


def same(got, expected) -> bool:
    return ((got - expected).norm() / expected.norm()).item() < 1e-5


@pytest.mark.parametrize("known", [False, True])
def test_sample(pack, known):
    packed, plain = pair()
    assert same(sampled(pack, packed, known), sampled(pack, plain, known))


def test_loras_come_and_go(pack, lora_file):
    packed, plain = pair()
    before = sampled(pack, packed)
    (with_it, fit), (expected, plain_fit) = (
        pack.lora.add(model, lora_file, 0.7) for model in (packed, plain)
    )
    assert fit.patches.keys() == plain_fit.patches.keys()
    assert (len(fit.patches), fit.left, plain_fit.left) == (2, {}, {})
    assert same(sampled(pack, with_it), sampled(pack, expected))
    assert not same(sampled(pack, with_it), before)
    assert torch.equal(sampled(pack, packed), before)


def test_two_experts(pack):
    high, low = pair(7), pair(8)
    packed, plain = (
        sampled(pack, pack.experts.pair(a, b, 0.9, 3.0, 2.0))
        for a, b in zip(high, low, strict=True)
    )
    assert same(packed, plain)


@pytest.fixture
def take(pack, tmp_path):
    """A function that samples a take of two windows; gives its latents and its windows' keys."""
    long_take, boards, recipes = (
        importlib.import_module(f"longtake.host.take.{name}")
        for name in ("long_take", "storyboards", "recipe")
    )
    config = replace(VAE, latent_channels=16)
    vae = pack.vae.build_vae(config, random_weights(WanVAE(config), 2), torch.float32, "vae")

    def made(model) -> tuple:
        shots = (Shot(Fraction(0), "a shot", where="shot 0"),)
        board = boards.Board(shots, (prompt(1),), prompt(1), Fraction(17, 8), Fraction(8))
        size = recipes.TakeSize(board.seconds, board.fps, 48, 32)
        sampling = pack.sample.Sampling(LEVELS, 11, 3.0, "euler")
        asked = recipes.WindowsAsked(9, 1)
        recipe = recipes.recipe_for(model, vae, board, prompt(9), size, asked, sampling)
        sampler = long_take.TakeSampler(recipe, WindowStore(tmp_path))
        assert sampler.keys is not None, sampler.why_not
        missing = sampler.missing
        return torch.cat(list(sampler.windows(0)), dim=2), missing

    return made


def test_long_take_keeps_windows_for_the_weights_that_made_them(pack, take, lora_file):
    packed, plain = pair()
    expected, _ = take(plain)
    got, missing = take(packed)
    assert missing == 2  # core's network is another class, so nothing of it is taken over
    assert same(got, expected)
    with_it = pack.lora.add(packed, lora_file, 0.7)[0]
    changed, missing = take(with_it)
    assert missing == 2
    assert not same(changed, got)
    assert take(packed)[1] == take(with_it)[1] == 0
    other, missing = take(pair(8)[0])
    assert missing == 2
    assert not same(other, got)


def test_a_take_with_a_gguf_model_is_foretold(pack):
    progress = importlib.import_module("longtake.host.take.progress")
    packed, plain = pair()
    assert 0 < progress.memory_of(packed, SHAPE) < progress.memory_of(plain, SHAPE)
    assert progress.guessed_step(packed, SHAPE, 3.0) > 0
