"""In float16, which most cards compute in where the file does not say otherwise.

Its largest number is 65504: what goes beyond is infinite, and the video black.
"""

import pytest
import torch
import torch.nn.functional as F

from longtake.engine.sampling.schedule import sigmas
from longtake.models.rife.config import RifeConfig
from longtake.models.rife.ifnet import IFNet
from longtake.models.wan.dit import WanDiT
from longtake.models.wan.vae import WanVAE
from tests.host.conftest import DITS, VAE
from tests.models.tiny import VAE_21, VAE_22, randomised

ROOM = 65504 / 100  # largest activation that leaves room for another prompt's


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=rng())


def near(half: torch.Tensor, whole: torch.Tensor) -> None:
    """Equal but for the rounding of 11 bits, some dozens of times."""
    assert half.dtype is torch.float16
    error = (half.float() - whole).square().mean() / whole.square().mean()
    assert error.sqrt() < 2e-2


def both(network: torch.nn.Module, call) -> None:
    network = randomised(network, rng()).eval().requires_grad_(False)
    whole = call(network, torch.float32)
    near(call(network.half(), torch.float16), whole)


@pytest.mark.parametrize("kind", DITS)
def test_a_step(kind):
    config = DITS[kind]

    def call(network, dtype):
        image = numbers(1, 9, config.image_width).to(dtype) if config.image_width else None
        text = network.read_text(numbers(1, 5, config.text_width).to(dtype), image)
        levels = torch.tensor([[700.0, 300.0, 0.0]]) if config.frame_levels else torch.tensor([700])
        return network(numbers(1, config.in_channels, 3, 5, 7).to(dtype), levels, text, fps=16)

    both(WanDiT(config), call)


@pytest.mark.parametrize("config", [VAE_21, VAE_22, VAE], ids=["2.1", "2.2", "built in"])
@pytest.mark.parametrize("way", ["decode", "encode"])
def test_a_piece(config, way):
    latent = numbers(1, config.latent_channels, 2, 3, 5)
    pixels = numbers(1, 3, 1, 3 * config.stride_hw, 5 * config.stride_hw)

    def call(network, dtype):
        if way == "decode":
            return network.decode_piece(latent.to(dtype), None)[0]
        return network.encode_piece(pixels.to(dtype), None)[0]

    both(WanVAE(config), call)


def test_frames_between():
    smooth = F.interpolate(numbers(2, 3, 4, 4), size=(64, 64), mode="bicubic")
    frames = smooth.sigmoid().unsqueeze(0)  # a flow of a thousandth more moves noise anywhere

    def call(network, dtype):
        out = network(frames, torch.tensor([0.3]))
        return out.to(dtype)

    both(IFNet(RifeConfig()), call)


class Largest:
    """The largest number that any layer of a network gives."""

    def __init__(self, network: torch.nn.Module):
        self.value = 0.0
        for module in network.modules():
            module.register_forward_hook(self.look)

    def look(self, module, inputs, out):
        if torch.is_tensor(out):
            self.value = max(self.value, out.float().abs().max().item())


def test_the_built_in_model_makes_the_same_video(comfyui, record_property):
    from longtake.host.comfyui.conditioning import Prompts
    from longtake.host.comfyui.folders import BUILT_IN
    from longtake.host.comfyui.latent import to_canvas
    from longtake.host.networks import load
    from longtake.host.networks.vae import decode_frames
    from longtake.host.sampling.sample import Sampling, sample

    clip = load.load_text_encoder(BUILT_IN)
    prompts = Prompts(
        *(
            clip.encode_from_tokens_scheduled(clip.tokenize(text))
            for text in ("a red ball bounces on the grass by day", "")
        )
    )
    videos, largest = {}, {}
    for dtype in ("fp32", "fp16"):
        model = load.load_model(BUILT_IN, dtype)
        model.model.manual_cast_dtype = None  # as on a card, whatever this CPU would compute in
        seen = Largest(model.model.diffusion_model)
        canvas = to_canvas({"samples": torch.zeros(1, 24, 3, 8, 8)})
        sampling = Sampling(sigmas(8, 5.0), 3, 4.0)
        latents = sample(model, prompts, canvas, sampling)
        vae = load.load_vae(BUILT_IN, dtype)
        decoded = Largest(vae.first_stage_model)
        videos[dtype], largest[dtype] = decode_frames(vae, latents), (seen.value, decoded.value)
    noise = (videos["fp16"] - videos["fp32"]).square().mean()
    # 101 and 123, 67 dB, when this was written
    record_property("largest activation, transformer and VAE", largest["fp16"])
    record_property("PSNR", float(-10 * noise.log10()))
    assert -10 * noise.log10() > 55
    assert max(largest["fp16"]) < ROOM


@pytest.fixture
def chosen(comfyui, monkeypatch):
    """What `auto` is for a file on a card that prefers float16, as core does on most."""
    import comfy.model_management as mm
    from comfy.cli_args import args

    from longtake.host.networks.dtypes import dtype_for

    monkeypatch.setattr(mm, "get_torch_device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(mm, "should_use_fp16", lambda *_, **__: True)

    def choose(stored, has_bf16=True, **said):
        monkeypatch.setattr(mm, "should_use_bf16", lambda *_, **__: has_bf16)
        for name, value in said.items():
            monkeypatch.setattr(mm if name.isupper() else args, name, value)
        return dtype_for("auto", stored, 14_000_000_000)

    return choose


def test_a_small_file_has_no_copy_to_fear(comfyui, chosen):
    """And fp16 is nearer to what the built-in model was trained in."""
    from longtake.host.networks.dtypes import dtype_for

    assert chosen(torch.bfloat16) is torch.bfloat16
    assert dtype_for("auto", torch.bfloat16, 6_200_000) is torch.float16


def test_bf16_stays_where_a_card_computes_with_it(chosen):
    assert chosen(torch.bfloat16) is torch.bfloat16
    assert chosen(torch.bfloat16, has_bf16=False) is torch.float16
    assert chosen(torch.float16) is torch.float16
    assert chosen(torch.float32) is torch.float16  # core's choice


@pytest.mark.parametrize("said", ["PRIORITIZE_FP16", "fp16_unet", "force_fp16"])
def test_who_asks_for_fp16_gets_it(chosen, said):
    assert chosen(torch.bfloat16, **{said: True}) is torch.float16
