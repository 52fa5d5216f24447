"""Sampling in two halves, and LATENTs that other nodes change between two of ours."""

from fractions import Fraction

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.plan import Window
from longtake.models.errors import InputError
from tests.host.runs import SHAPE, latents, prompt, sample

SIGMAS = torch.tensor([1.0, 0.8, 0.5, 0.3, 0.0])
FIRST, SECOND = SIGMAS[:3], SIGMAS[2:]


@pytest.fixture
def halves(pack, model):
    """Samples a LATENT with some SIGMAS."""

    def run(latent, sigmas, **more):
        both = prompt(model, 1), prompt(model, 2)
        return sample(pack, model, *both, latent, sigmas, seed=3, cfg=3.0, **more)

    return run


def masked(known):
    mask = torch.ones(1, 1, SHAPE[2], 1, 1)
    mask[:, :, list(known)] = 0
    return {"samples": latents(1), "noise_mask": mask}


@pytest.mark.parametrize("known", [(), (0,), (0, 2)])
def test_two_halves_are_one_run(halves, known):
    latent = masked(known) if known else {"samples": torch.zeros(SHAPE)}
    whole = halves(latent, SIGMAS)
    half = halves(latent, FIRST)
    assert half["longtake"]["noise"] == 0.5
    both = halves(half, SECOND)
    torch.testing.assert_close(both["samples"], whole["samples"], rtol=1e-4, atol=1e-4)
    assert "noise" not in both.get("longtake", {})


def test_the_second_half_may_be_cores(halves, model):
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    half = halves({"samples": torch.zeros(SHAPE)}, FIRST)
    core = SamplerCustom.execute(
        model, False, 3, 3.0, prompt(model, 1), prompt(model, 2),
        comfy.samplers.sampler_object("euler"), SECOND, half,
    )[0]  # fmt: skip
    ours = halves(half, SECOND)
    torch.testing.assert_close(ours["samples"], core["samples"], rtol=1e-4, atol=1e-4)


def test_what_core_finished_is_finished(pack, halves, model):
    half = halves({"samples": torch.zeros(SHAPE)}, FIRST)
    canvas = pack.latent.to_canvas(half)
    assert canvas.noise == 0.5
    other = pack.latent.to_canvas({**half, "samples": half["samples"] * 0.9})
    assert other.noise is None
    assert "taken as finished" in other.notes[0]


@pytest.mark.parametrize(
    ("sigmas", "told"),
    [(SIGMAS, "down to a noise level of 0.5, and SIGMAS begin at 1"),
     (SIGMAS[3:], "down to a noise level of 0.5, and SIGMAS begin at 0.3")],
)  # fmt: skip
def test_another_half_is_refused(halves, sigmas, told):
    half = halves({"samples": torch.zeros(SHAPE)}, FIRST)
    with pytest.raises(InputError, match=told):
        halves(half, sigmas)


def test_windows_and_soft_masks_are_sampled_at_once(halves):
    plan = (Window((0, 1)), Window((1, 2), context=1))
    latent = {"samples": torch.zeros(SHAPE), "longtake": {"plan": plan}}
    with pytest.raises(InputError, match="in 2 windows, each of which goes on from a finished one"):
        halves(latent, FIRST)
    soft = masked((0,))
    soft["noise_mask"] = soft["noise_mask"].clamp(0.5)
    with pytest.raises(InputError, match="a mask that keeps a part"):
        halves(halves(soft, FIRST), SECOND)


def test_what_is_half_sampled_is_no_clip(pack, vae, halves):
    from longtake.host.video.onto_canvas import clip_canvas

    half = halves({"samples": torch.zeros(SHAPE)}, FIRST)
    with pytest.raises(InputError, match=r"still holds noise of level 0.5: sample it to the end"):
        clip_canvas(half, vae)


@pytest.fixture
def pinned(pack, vae):
    codec = pack.codec.codec_for(vae)
    picture = torch.rand(1, 32, 48, 3, generator=torch.Generator().manual_seed(1))
    canvas = Canvas.blank(codec, 9, 32, 48, Fraction(8)).pin_image(picture, 0.0, "crop")
    return pack.latent.to_latent(canvas)


def test_pinned_pixels_stay_with_their_latents(pack, pinned, halves):
    assert pack.latent.to_canvas(pinned).pins is not None
    assert pack.latent.to_canvas(halves(pinned, SIGMAS)).pins is not None


@pytest.mark.parametrize("node", ["flipped", "added", "composed"])
def test_pinned_pixels_go_with_a_word_once_other_nodes_change_the_latents(pack, pinned, node):
    from comfy_extras.nodes_latent import LatentAdd

    import nodes

    noise = {"samples": torch.randn(pinned["samples"].shape)}
    changed = {
        "flipped": lambda: {**pinned, "samples": pinned["samples"].flip(-1)},
        "added": lambda: LatentAdd.execute(pinned, noise)[0],
        "composed": lambda: nodes.LatentComposite().composite(pinned, noise, 0, 0)[0],
    }[node]()
    canvas = pack.latent.to_canvas(changed)
    assert canvas.pins is None
    assert canvas.notes == (
        "another node has changed the pinned frames: their latents are used, not their pixels",
    )
