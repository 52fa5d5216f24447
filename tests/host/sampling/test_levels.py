"""What a Schedule's zeros stand for."""

import importlib

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.sampling.presets import FAMILIES
from longtake.engine.sampling.schedule import sigmas

DISTILLED = torch.tensor([1.0, 0.757, 0.522, 0.0])


@pytest.fixture
def levels_for(pack):
    return importlib.import_module("longtake.host.sampling.levels").levels_for


@pytest.fixture
def model_of(pack, monkeypatch):
    """The tiny model, as if it were a checkpoint of another family."""

    def load(title: str):
        model = pack.load.load_model(pack.folders.BUILT_IN)
        family = next(family for family in FAMILIES if family.title == title)
        monkeypatch.setattr(model.model, "family", family)
        return model

    return load


def latent(pack, height: int = 32, width: int = 48, strength: float | None = None) -> dict:
    """16 channels, of which a cell is 8 pixels."""
    latents = torch.zeros(1, 16, 2, height // 8, width // 8)
    return pack.latent.to_latent(Canvas(MaskedLatents(latents), strength=strength))


@pytest.mark.parametrize(
    ("title", "steps", "shift"), [("Wan 2.1 T2V 14B", 50, 5.0), ("Wan 2.2 T2V A14B", 40, 12.0)]
)
def test_zeros_are_what_the_checkpoint_was_trained_for(model_of, levels_for, title, steps, shift):
    model = model_of(title)
    levels, note = levels_for(model, 0, 0.0, "linear", 1.0)
    assert torch.equal(levels, sigmas(steps, shift))
    assert note == f"{steps} steps, shift {shift:g}"
    assert torch.equal(levels_for(model, 7, 0.0, "wan", 1.0)[0], sigmas(7, shift, "wan"))
    assert torch.equal(levels_for(model, 0, 2.0, "linear", 0.5)[0], sigmas(steps, 2.0, denoise=0.5))


def test_a_few_step_model_gets_its_own_levels_and_only_when_all_is_left_to_it(
    pack, model_of, levels_for
):
    model = model_of("CausVid 1.3B")
    levels, note = levels_for(model, 0, 0.0, "linear", 1.0, latent(pack))
    assert torch.equal(levels, DISTILLED)
    assert note == "3 steps at 1, 0.757, 0.522"
    for steps, shift, denoise in ((4, 0.0, 1.0), (0, 5.0, 1.0), (0, 0.0, 0.5)):
        levels, _ = levels_for(model, steps, shift, "linear", denoise)
        assert torch.equal(levels, sigmas(steps or 3, shift or 8.0, "linear", denoise))


def test_small_frames_have_their_own_shift(pack, model_of, levels_for):
    model = model_of("Wan 2.1 I2V 14B")
    for canvas, shift in ((None, 5.0), (latent(pack), 3.0), (latent(pack, 720, 1280), 5.0)):
        levels, _ = levels_for(model, 3, 0.0, "linear", 1.0, canvas)
        assert torch.equal(levels, sigmas(3, shift))


def test_a_remixed_canvas_brings_its_strength_unless_denoise_is_set(pack, model_of, levels_for):
    remixed = latent(pack, strength=0.4)
    for title, steps, shift in (("CausVid 1.3B", 3, 8.0), ("Wan 2.1 T2V 14B", 50, 5.0)):
        model = model_of(title)
        levels, note = levels_for(model, 0, 0.0, "linear", 1.0, remixed)
        assert torch.equal(levels, sigmas(steps, shift, "linear", 0.4))
        assert note == f"{steps} steps, shift {shift:g}, denoise 0.4 from Remix"
        levels, note = levels_for(model, 0, 0.0, "linear", 0.7, remixed)
        assert torch.equal(levels, sigmas(steps, shift, "linear", 0.7))
        assert "Remix" not in note
