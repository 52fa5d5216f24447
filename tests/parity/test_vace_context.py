"""What VACE is shown of a canvas against diffusers' WanVACEPipeline, on the same random VAE."""

from fractions import Fraction
from types import SimpleNamespace

import PIL.Image
import pytest
import torch
from torch import Tensor

from longtake.engine.canvas.codec import Codec
from longtake.engine.canvas.grid import CausalGrid
from longtake.engine.canvas.guidance import Guidance, on_white
from longtake.engine.canvas.known import Pins
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.canvas.regions import Area, KeptPixels, Pictures
from longtake.engine.canvas.vace import Contexts, mask_channels
from longtake.models.wan.vae import WanVAE
from tests.models.reference import diffusers_vae, with_weights_of
from tests.models.tiny import VAE_21, randomised

H, W, T, FRAMES = 32, 48, 5, 17
MEAN, DEVIATION = [0.3, -0.2, 0.1], [1.5, 0.7, 2.0]
GREY = torch.zeros(1, 3, 3, 1, 1)


@pytest.fixture
def vae(rng) -> WanVAE:
    return randomised(WanVAE(VAE_21), rng)


@pytest.fixture
def codec(vae) -> Codec:
    def encode(pictures: Tensor) -> Tensor:
        return vae.encode(2 * pictures.movedim(-1, 0)[None] - 1)

    return Codec(CausalGrid(3), encode, Fraction(16), T)


@pytest.fixture
def pipeline(vae):
    """WanVACEPipeline, as far as it makes conditions."""
    from diffusers import WanVACEPipeline
    from diffusers.video_processor import VideoProcessor

    theirs = with_weights_of(vae, diffusers_vae(VAE_21))
    theirs.register_to_config(latents_mean=MEAN, latents_std=DEVIATION)
    pipe = WanVACEPipeline.__new__(WanVACEPipeline)
    pipe.__dict__ |= {
        "vae": theirs,
        "transformer": SimpleNamespace(config=SimpleNamespace(patch_size=(1, 2, 2))),
        "video_processor": VideoProcessor(vae_scale_factor=8),
        "vae_scale_factor_temporal": 4,
        "vae_scale_factor_spatial": 8,
    }
    return pipe


def as_the_network_sees(frames: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(row * 2).view(1, -1, 1, 1, 1) for row in (MEAN, DEVIATION))
    return (frames - mean) / deviation


def contexts(codec: Codec, pins: Pins | None, guidance: Guidance | None) -> Contexts:
    zero = torch.tensor(MEAN).view(1, 3, 1, 1, 1)
    return Contexts(codec.grid, GREY, zero, pins, guidance)


def theirs(pipeline, video: Tensor, mask: Tensor, images: list) -> tuple[Tensor, Tensor]:
    """Their latents and mask. video, mask: (f, h, w, 3) and (f, h, w)."""
    video = 2 * video.movedim(-1, 0)[None] - 1
    mask = mask[None, None].expand(1, 3, -1, -1, -1)
    *_, references = pipeline.preprocess_conditions(
        None, None, images, 1, H, W, FRAMES, torch.float32, "cpu"
    )
    # They put each in front of those before, VACE's own code after them.
    references = [one[::-1] for one in references]
    latents = pipeline.prepare_video_latents(video, mask, references, None, "cpu")
    return latents, pipeline.prepare_masks(mask, references)


def image(seed: int, width: int, height: int) -> tuple[PIL.Image.Image, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=rng, dtype=torch.uint8)
    return PIL.Image.fromarray(pixels.numpy()), pixels.float()[None] / 255


@pytest.mark.parametrize("sizes", [[(40, 24)], [(80, 24), (16, 48)]], ids=["wide", "two"])
def test_a_first_image_a_control_clip_and_references(codec, pipeline, rng, same, sizes):
    first, control = torch.rand(H, W, 3, generator=rng), torch.rand(FRAMES, H, W, 3, generator=rng)
    images, pictures = zip(*(image(n, *size) for n, size in enumerate(sizes)), strict=True)
    guidance = Guidance(codec).with_control(control, 0, 1.0)
    for picture in pictures:
        guidance = guidance.with_references(picture, (H, W), 1.0)
    pins = Pins(codec, {0: first})
    latents = torch.zeros(1, 3, T, H // 8, W // 8)
    known = MaskedLatents(latents).with_known({0: codec.encode(first[None])})
    ours = contexts(codec, pins, guidance).of(range(T), known)

    video, mask = control.clone(), torch.ones(FRAMES, H, W)
    video[0], mask[0] = first, 0
    frames, masks = theirs(pipeline, video, mask, list(images))
    assert ours.lead == len(sizes)
    same(as_the_network_sees(ours.frames), frames)
    assert torch.equal(ours.mask, masks)


def test_an_extended_clip(codec, pipeline, rng, same):
    """Its pixels known: grey, to be made, follows; nothing is left of what comes after."""
    clip = torch.rand(9, H, W, 3, generator=rng)
    pins = Pins(codec, dict(enumerate(clip)))
    latents = torch.zeros(1, 3, T, H // 8, W // 8)
    known = MaskedLatents(latents).with_known({0: codec.encode(clip)})
    ours = contexts(codec, pins, None).of(range(T), known)
    video, mask = torch.full((FRAMES, H, W, 3), 0.5), torch.ones(FRAMES, H, W)
    video[:9], mask[:9] = clip, 0
    white, _ = image(0, 8, 8)
    frames, masks = theirs(pipeline, video, mask, [white])
    same(as_the_network_sees(ours.frames), frames[:, :, 1:])
    assert torch.equal(ours.mask, masks[:, :, 1:])


def test_a_mask_of_pixels(pipeline, rng):
    mask = (torch.rand(FRAMES, H, W, generator=rng) > 0.5).float()
    _, masks = theirs(pipeline, torch.zeros(FRAMES, H, W, 3), mask, [image(0, 8, 8)[0]])
    assert torch.equal(mask_channels(mask, T, 8), masks[:, :, 1:])


@pytest.mark.parametrize("size", [(8, 8), (80, 8), (8, 200), (W, H)], ids=str)
def test_references_of_any_shape_lie_whole_on_white(pipeline, size):
    theirs, picture = image(4, *size)
    *_, [[expected]] = pipeline.preprocess_conditions(
        None, None, theirs, 1, H, W, FRAMES, torch.float32, "cpu"
    )
    ours = 2 * on_white(picture[0], H, W) - 1
    torch.testing.assert_close(ours, expected.movedim(0, -1), rtol=0, atol=1e-6)


def test_a_region_of_a_clip_with_and_without_a_control_clip(codec, pipeline, rng, same):
    """Its mask goes by pixels, not by the latent cells that the region touches."""
    clip = torch.randint(0, 256, (FRAMES, H, W, 3), generator=rng, dtype=torch.uint8)
    alpha = torch.zeros(1, H, W, dtype=torch.uint8)
    alpha[:, 3:11, 5:22] = 255
    kept = KeptPixels(Pictures(clip), (Area(alpha, range(5, FRAMES)),), FRAMES, codec)
    known = MaskedLatents(torch.zeros(1, 3, T, H // 8, W // 8), kept.cells(codec.grid, T))
    control = torch.rand(FRAMES, H, W, 3, generator=rng)
    zero = torch.tensor(MEAN).view(1, 3, 1, 1, 1)
    for guidance in (None, Guidance(codec).with_control(control, 0, 1.0)):
        ours = Contexts(codec.grid, GREY, zero, None, guidance, kept).of(range(T), known)
        mask = kept.alpha(range(FRAMES)).float() / 255
        there = control if guidance else torch.full_like(control, 0.5)
        video = torch.where(mask[..., None] > 0, there, clip.float() / 255)
        frames, masks = theirs(pipeline, video, mask, [image(0, 8, 8)[0]])
        same(as_the_network_sees(ours.frames), frames[:, :, 1:])
        assert torch.equal(ours.mask, masks[:, :, 1:])
