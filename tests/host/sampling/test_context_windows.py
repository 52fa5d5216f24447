"""Core's Context Windows, and Diffusion Forcing, on models that follow a clip or a camera."""

from importlib import import_module

import pytest
import torch

from longtake.engine.sampling.schedule import sigmas
from longtake.models.errors import InputError
from tests.host.runs import module, windowed
from tests.host.sampling import test_camera as camera
from tests.host.sampling import test_driven as driven
from tests.host_models import scail_2, wan_animate, wan_animate_2
from tests.host_models.wan import fun_camera, fun_camera_22

pytestmark = pytest.mark.usefixtures("comfyui")
DRIVEN, CAMERAS = (wan_animate, wan_animate_2, scail_2), (fun_camera, fun_camera_22)
WINDOWS = [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 8]]  # of what is shown; three, one in common


@pytest.fixture(params=[*DRIVEN, *CAMERAS], ids=lambda make: make.__name__)
def made(request):
    """(a tiny model, a canvas with what it follows, prompts)."""
    tiny = request.param()
    if request.param in CAMERAS:
        canvas = camera.canvas_of(tiny, 9)
        return tiny, canvas, camera.prompts_of(tiny, canvas.timeline.frames)
    face = {"face": driven.clip_of(driven.FACES)} if request.param is wan_animate else {}
    prompts = module("comfyui.conditioning").Prompts(tiny.positive, tiny.negative)
    return tiny, driven.canvas_of(tiny, **face), prompts


def sampled(model, canvas, prompts, sampler="euler"):
    sample = module("sampling.sample")
    settings = sample.Sampling(sigmas(1, 3.0), 5, 1.0, sampler)
    return sample.sample(model, prompts, canvas, settings)


def calls_of(tiny) -> list[dict]:
    """What the network is given, as it will be called."""
    calls, network = [], tiny.model.model.diffusion_model
    real = network.forward

    def forward(x, *args, **given):
        calls.append({"x": x, **given})
        return real(x, *args, **given)

    network.forward = forward
    return calls


def test_each_window_follows_its_own_frames(made):
    """Newer hosts cut what is followed, behind a reference that leads; older ones are refused."""
    tiny, canvas, prompts = made
    calls = calls_of(tiny)
    if not hasattr(import_module("comfy.context_windows"), "WindowingState"):
        with pytest.raises(InputError, match="do not cut the picture of .* to a window"):
            sampled(windowed(tiny.model), canvas, prompts)
        assert not calls
        return
    assert sampled(windowed(tiny.model), canvas, prompts).isfinite().all()
    windows = list(calls)
    calls.clear()
    sampled(tiny.model, canvas, prompts)
    (whole,) = calls
    lead = whole["x"].shape[2] - 9
    for call, frames in zip(windows, WINDOWS, strict=True):
        shown = [*range(lead), *(k + lead for k in frames)]
        known = slice(16, None)  # the others are noise, which each step draws
        assert torch.equal(call["x"][:, known], whole["x"][:, known, shown])
        for name in ("pose_latents", "camera_conditions"):
            if name in whole:
                assert torch.equal(call[name], whole[name][:, :, frames])
        if "face_pixel_values" in whole:
            faces = whole["face_pixel_values"][:, :, 4 * frames[0] : 4 * frames[-1] + 4]
            assert torch.equal(call["face_pixel_values"], faces)


def test_diffusion_forcing_is_not_for_them(made):
    tiny, canvas, prompts = made
    with pytest.raises(InputError, match=r"this model \(.*\) was not made for that"):
        sampled(tiny.model, canvas, prompts, module("sampling.forcing").forcing(1, 1, 0.0))
