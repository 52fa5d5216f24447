"""Kept windows are used again where they would come out the same."""

import importlib
from fractions import Fraction

import pytest
import torch

from longtake.engine.take.fingerprint import digest
from longtake.engine.take.window_store import WindowStore
from tests.host_models import hunyuan_video_15, ltxv, wan21_from_an_image

CARDS = {
    "cuda:0": "cuda:0 NVIDIA GeForce RTX 3060 : cudaMallocAsync",
    "cuda:1": "cuda:1 NVIDIA GeForce RTX 3060 : cudaMallocAsync",
    "cuda:2": "cuda:2 NVIDIA H100 : cudaMallocAsync",
}


@pytest.fixture
def computed_on(comfyui, monkeypatch):
    import comfy.model_management as mm

    from longtake.host.take.weights_hash import computed_on

    monkeypatch.setattr(mm, "get_torch_device_name", lambda device: CARDS[str(device)])
    return lambda name: computed_on(torch.device(name))


def test_the_kind_of_card_counts_and_not_its_number(computed_on):
    assert computed_on("cuda:0") == computed_on("cuda:1") != computed_on("cuda:2")
    assert computed_on("cpu") not in (computed_on("cuda:0"), computed_on("cuda:2"))


def test_fast_counts_on_a_card(computed_on, monkeypatch):
    from comfy.cli_args import PerformanceFeature as Feature
    from comfy.cli_args import args

    found = {computed_on("cuda:0")}
    for fast in ({Feature.Fp8MatrixMultiplication}, set(Feature), {Feature.Fp16Accumulation}):
        monkeypatch.setattr(args, "fast", fast)
        found.add(computed_on("cuda:0"))
        assert computed_on("cuda:0") == computed_on("cuda:1")
    assert len(found) == 4


def test_threads_count_on_a_cpu(computed_on):
    before, one = torch.get_num_threads(), computed_on("cpu")
    try:
        torch.set_num_threads(before + 1)
        assert computed_on("cpu") != one
    finally:
        torch.set_num_threads(before)


SHOWN = {
    3: "c7e663d6721459b10cd349b82a85059e6c3e05b572c80dbcb8b2f75b7bd9237e"
}  # by weights_hash.VERSION: a hash of what windows are shown


def test_what_windows_are_shown_is_another_version_when_it_changes(pack, tmp_path, monkeypatch):
    """A window is kept under what decides it, and how that is shown to a network decides, too."""
    recipes, boards, samplers, weights_hash = (
        importlib.import_module(f"longtake.host.take.{name}")
        for name in ("recipe", "storyboards", "sampler", "weights_hash")
    )
    told = []

    def run(model, prompts, part, noise, sampling, progress, sound, beside, *, lead):
        extras = prompts.positive[0][1]
        names = "concat_latent_image", "concat_mask", "keyframe_idxs", "frame_rate"
        told.append([part.latents, part.mask, *(extras.get(name) for name in names)])
        told[-1] += [beside and beside.latents, noise.frames, sampling.seed, lead]
        return part.latents + 1, None

    monkeypatch.setattr(samplers, "run", run)
    for make in (wan21_from_an_image, hunyuan_video_15, ltxv):
        tiny = make()
        grid = pack.codec.codec_for(tiny.vae).grid
        known = torch.arange(2.0).view(1, 1, 2, 1, 1).expand(1, grid.channels, 2, 2, 4)
        latents = torch.cat((known, torch.zeros(1, grid.channels, 5, 2, 4)), dim=2)
        mask = torch.ones(1, 1, 7, 1, 1)
        mask[:, :, 1] = 0
        board = boards.one_shot(tiny.positive)
        asked = recipes.WindowsAsked(grid.frames(4), grid.frames(2))
        size = recipes.TakeSize(Fraction(grid.frames(7), 24), Fraction(24), 0, 0)
        settings = pack.sample.Sampling(torch.tensor([1.0, 0.0]), 5, 1.0)
        latent = {"samples": latents, "noise_mask": mask}
        made = recipes.recipe_for(
            tiny.model, tiny.vae, board, tiny.negative, size, asked, settings, canvas=latent
        )
        sampler = samplers.TakeSampler(made, WindowStore(tmp_path))
        assert len(list(sampler.windows(0))) > 1
    rounded = [[v.round(decimals=3) if torch.is_tensor(v) else v for v in one] for one in told]
    found = digest(rounded)
    assert SHOWN[weights_hash.VERSION] == found, "raise VERSION, and put the new hash in SHOWN"
