"""Numbers that are no picture, and NaN that a patch made: refused, with who is to blame."""

from fractions import Fraction

import pytest
import torch

from longtake.models.errors import CheckpointError, NoPictureError, NotFiniteError
from tests.host import runs
from tests.host.conftest import VAE, write_dit, write_vae
from tests.host.runs import SHAPE, prompt

QUERY = "diffusion_model.blocks.0.self_attn.q"
LEVELS = torch.tensor([1.0, 0.5, 0.0])


def sample(pack, model, latent=None):
    return runs.sample(
        pack, model, latent={"samples": torch.zeros(SHAPE)} if latent is None else latent,
        sigmas=LEVELS, positive=prompt(model, 1), negative=prompt(model, 2), seed=1, cfg=3.0,
    )  # fmt: skip


def patched(model, size, strength=1.0):
    import comfy.sd

    width = model.model.state_dict()[f"{QUERY}.weight"].shape[0]
    lora = {
        f"{QUERY}.lora_up.weight": torch.full((width, 2), size),
        f"{QUERY}.lora_down.weight": torch.full((2, width), size),
    }
    return comfy.sd.load_lora_for_models(model, None, lora, strength, 0)[0]


@pytest.mark.parametrize("whole", [True, False])
def test_a_lora_that_makes_nan_is_to_blame_and_not_the_file(pack, model, whole, monkeypatch):
    import comfy.model_management as mm

    bad = patched(model, 1e28)
    if not whole:  # weights that are patched as they are cast
        monkeypatch.setattr(mm, "load_models_gpu", lambda *_, **__: None)
        bad.patch_model(mm.get_torch_device(), lowvram_model_memory=1)
    with pytest.raises(
        NotFiniteError, match=r"a LoRA or .* made 1 of 1 .* blocks\.0\.self_attn\.q\.weight"
    ):
        sample(pack, bad)
    bad.detach()
    assert torch.isfinite(sample(pack, model)["samples"]).all()


def test_what_is_broken_in_the_file_is_still_told_as_that(pack, model):
    weight = model.model.diffusion_model.blocks[1].ffn[0].weight
    before, weight.data[0, 0] = weight.data[0, 0].item(), torch.nan
    try:
        with pytest.raises(CheckpointError, match=r"NaN or infinite in 1 of .* blocks\.1\.ffn\.0"):
            sample(pack, patched(model, 0.1))
    finally:
        weight.data[0, 0] = before


def scaled(model, factor):
    """A MODEL whose output another node multiplies."""
    model = model.clone()
    model.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * factor)
    return model


def test_a_lora_with_which_the_network_overflows_is_named_among_the_causes(pack, model):
    with pytest.raises(NotFiniteError, match="without the LoRAs on 1 weights and what other"):
        sample(pack, scaled(patched(model, 0.1), float("inf")))


def test_latents_that_no_video_has_are_refused(pack, model):
    with pytest.raises(NoPictureError, match=r"latents up to \d.*e\+\d+ .*without what other"):
        sample(pack, scaled(model, 1e6))


@pytest.fixture
def vae(pack):
    return pack.load.load_vae(pack.folders.BUILT_IN)


def ways(pack, vae):
    from longtake.host.video.decode import decode_to_video

    return {
        "decode": lambda latents: decode_to_video(vae, latents, Fraction(8)),
        "frames": lambda latents: pack.vae.decode_frames(vae, latents),
    }


def test_so_are_those_that_come_in(pack):
    huge = torch.full(SHAPE, -1e30)
    with pytest.raises(NoPictureError, match=r"the LATENT holds numbers up to 1e\+30"):
        pack.latent.to_canvas({"samples": huge})


@pytest.mark.parametrize("way", ["decode", "frames"])
def test_frames_of_one_colour_are_refused(pack, vae, way, comfyui):
    from tests.host.video.conftest import files

    temp = comfyui.base / "temp"
    before = files(temp)
    for weight in vae.first_stage_model.parameters():
        weight.data.zero_()
    latents = torch.randn(1, VAE.latent_channels, 2, 4, 4)
    with pytest.raises(NoPictureError, match="one colour, 128, 128, 128 of 255"):
        ways(pack, vae)[way](latents)
    assert {file for file in files(temp) - before if file.is_file()} == set()


@pytest.mark.parametrize(("kind", "written"), [("dit", write_dit), ("vae", write_vae)])
def test_weights_of_zeros_are_refused_as_they_are_loaded(pack, nano, tmp_path, kind, written,
                                                         monkeypatch):  # fmt: skip
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = written(tmp_path / f"{kind}.safetensors")
    with safe_open(path, "pt") as file:
        note = file.metadata()
    save_file({k: torch.zeros_like(w) for k, w in load_file(path).items()}, path, note)
    monkeypatch.setattr(pack.folders, "NANO", tmp_path)
    load = pack.load.load_model if kind == "dit" else pack.load.load_vae
    with pytest.raises(CheckpointError, match="holds nothing but zeros"):
        load(pack.folders.BUILT_IN)
