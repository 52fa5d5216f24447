"""With --gpu-only LATENTs and IMAGEs of core's nodes lie on the card; ours are on the CPU.

Tensors on the card are fake: whatever would make two devices meet fails.
"""

from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

from longtake.engine.canvas.codec import Codec
from longtake.engine.canvas.grid import CausalGrid
from longtake.engine.canvas.plan import Window
from longtake.engine.take.anchor import Anchor
from longtake.engine.take.known_frames import KnownFrames
from tests.fake_card import card, fake_card, there

SHAPE = (1, 6, 5, 4, 6)
FINE = SimpleNamespace(all=lambda: True, any=lambda: False)  # what must be asked back of the card


@pytest.fixture(autouse=True)
def on_the_card(comfyui, monkeypatch):
    import comfy.model_management as mm

    with fake_card():
        monkeypatch.setattr(torch, "isfinite", lambda x: FINE)
        for module in ("comfyui.latent", "sampling.sample"):
            monkeypatch.setattr(f"longtake.host.{module}.are_a_videos", lambda x: True)
        monkeypatch.setattr(mm, "intermediate_device", card)
        yield


def encode(pictures):
    grid = CausalGrid(6, 4, 8)
    frames, h, w = pictures.shape[:3]
    return torch.zeros(1, 6, grid.latent_frames(frames), h // 8, w // 8)


CODEC = Codec(CausalGrid(6, 4, 8), encode, Fraction(8), 5)


def of_core(mask=False):
    """A LATENT as core's nodes make it."""
    latent = {"samples": there(*SHAPE, dtype=torch.float32), "longtake": {"fps": Fraction(8)}}
    return latent | ({"noise_mask": there(1, 1, 5, 4, 6, dtype=torch.float32)} if mask else {})


def of_ours():
    return {"samples": torch.zeros(SHAPE), "longtake": {"fps": Fraction(8)}}


def frames(n=1):
    return there(n, 32, 48, 3, dtype=torch.float32)


CANVASES = {
    "bridge": lambda one, other: one.bridge(other, 1.0),
    "fill, two clips": lambda one, other: one.fill(1.0, 2.0, other),
    "fill": lambda one, _: one.fill(0.6, 1.0),
    "extend": lambda one, _: one.extend("forwards", 1.0),
    "extend backwards": lambda one, _: one.extend("backwards", 1.0),
    "loop": lambda one, _: one.loop(1.0),
    "remix": lambda one, _: one.remix(0.5),
    "pin image": lambda one, _: one.pin_image(frames(), 0.5, "crop"),
}


@pytest.mark.parametrize("name", CANVASES)
@pytest.mark.parametrize("first", [of_core, of_ours])
@pytest.mark.parametrize("other", [of_core, of_ours])
def test_a_canvas_is_on_the_cpu(pack, name, first, other):
    canvas = CANVASES[name](*(pack.latent.to_canvas(one(), CODEC) for one in (first, other)))
    latent = pack.latent.to_latent(canvas)
    parts = [latent["samples"], latent.get("noise_mask", torch.zeros(1))]
    assert {part.device.type for part in parts} == {"cpu"}


def test_a_mask_of_cores_meets_latents_of_ours(pack):
    latent = {**of_ours(), "noise_mask": of_core(mask=True)["noise_mask"]}
    canvas = pack.latent.to_canvas(latent, CODEC)
    assert (canvas.video.latents.device.type, canvas.video.mask.device.type) == ("cpu", "cpu")


@pytest.mark.parametrize("mask", [False, True])
def test_sampling_in_windows(pack, monkeypatch, mask):
    plan = (Window((0, 1, 2)), Window((2, 3, 4), context=1))
    latent = of_core(mask)
    latent["longtake"]["plan"] = plan
    model = SimpleNamespace(attachments={}, model=SimpleNamespace(diffusion_model=None))
    monkeypatch.setattr(pack.sample, "config_of", lambda model: None)
    for check in ("check_fit", "check_step"):
        monkeypatch.setattr(pack.sample, check, lambda *_, **__: None)
    monkeypatch.setattr("comfy.sample.fix_empty_latent_channels", lambda model, latents: latents)
    monkeypatch.setattr(pack.sample, "run", lambda *given, **_: (given[2].latents.to(card()), None))
    for asked in ("known", "has_regions"):  # of the mask's numbers, which are not there
        monkeypatch.setattr(f"longtake.engine.canvas.masked.MaskedLatents.{asked}", [])
    canvas = pack.latent.to_canvas(latent)
    sampling = SimpleNamespace(steps=2, seed=1, cfg=1.0, sigmas=(1.0, 0.0))
    out = pack.sample.sample(model, pack.conditioning.Prompts([], []), canvas, sampling)
    assert out.device == card()


@pytest.mark.parametrize("kind", ["statistics", "both"])
def test_a_window_that_a_canvas_knows_beside_one_that_was_sampled(pack, kind):
    canvas, anchor = pack.latent.to_canvas(of_core()), Anchor(kind)
    latents = canvas.video.latents
    known = KnownFrames(SHAPE[1:2] + SHAPE[3:], {k: latents[:, :, k : k + 1] for k in range(3)})
    whole = known.whole(Window((0, 1, 2)))
    anchor.remember(whole)
    sampled = torch.zeros(1, 6, 3, 4, 6)
    torch.cat((anchor.corrected(sampled), whole), dim=2)
