"""Core's nodes on the tiny models of core's own classes, so that tests may count on them."""

import pytest
import torch

from tests import host_models
from tests.host_models import (
    MODELS,
    hunyuan_video,
    hunyuan_video_from_an_image,
    ltxv,
    wan21,
    wan21_from_an_image,
    wan22,
)

pytestmark = pytest.mark.usefixtures("comfyui")
# of each: its class, the class of its latents, (c, stride in time, in space)
KINDS = {
    ltxv: ("LTXV", "LTXV", (128, 8, 32)),
    hunyuan_video: ("HunyuanVideo", "HunyuanVideo", (16, 4, 8)),
    hunyuan_video_from_an_image: ("HunyuanVideoI2V", "HunyuanVideo", (16, 4, 8)),
    wan21: ("WAN21", "Wan21", (16, 4, 8)),
    wan21_from_an_image: ("WAN21", "Wan21", (16, 4, 8)),
    wan22: ("WAN22", "Wan22", (48, 4, 16)),
}
every_kind = pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
T = 3  # latent frames
CELLS = (2, 4)  # rows and columns, even as patches of 2 × 2 want them


def empty_latent(make, tiny) -> dict:
    """Of the node that core has for the model."""
    from comfy_extras import nodes_hunyuan, nodes_lt, nodes_wan

    _, stride_t, stride = KINDS[make][2]
    height, width = (stride * n for n in CELLS)
    length = 1 + stride_t * (T - 1)
    if make is ltxv:
        return nodes_lt.EmptyLTXVLatentVideo.execute(width, height, length)[0]
    if make is wan22:
        node = nodes_wan.Wan22ImageToVideoLatent
        return node.execute(tiny.vae, width, height, length, 1)[0]
    return nodes_hunyuan.EmptyHunyuanLatentVideo.execute(width, height, length)[0]


def with_known_frame(latent: dict, value: float = 0.7) -> dict:
    """The same with its first latent frame known."""
    samples = latent["samples"].clone()
    samples[:, :, :1] = value
    mask = torch.ones(1, 1, *samples.shape[2:])
    mask[:, :, :1] = 0
    return {**latent, "samples": samples, "noise_mask": mask}


@every_kind
def test_what_tells_the_models_apart(make):
    tiny = make()
    name, latent_format, (channels, stride_t, stride) = KINDS[make]
    vae, model = tiny.vae, tiny.model.model
    assert (type(model).__name__, type(model.latent_format).__name__) == (name, latent_format)
    assert (model.latent_format.latent_channels, vae.latent_channels) == (channels, channels)
    assert vae.latent_dim == 3
    assert vae.downscale_index_formula == (stride_t, stride, stride)
    assert vae.temporal_compression_decode() == stride_t
    assert vae.spacial_compression_decode() == stride
    assert [vae.upscale_ratio[0](t) for t in (1, 2, 3)] == [1, 1 + stride_t, 1 + 2 * stride_t]


@every_kind
def test_from_an_empty_latent_to_frames_and_back(make):
    tiny = make()
    _, _, (channels, stride_t, stride) = KINDS[make]
    frames = (1 + stride_t * (T - 1), *(stride * n for n in CELLS), 3)

    latent = empty_latent(make, tiny)
    assert latent["samples"].shape == (1, channels, T, *CELLS)
    sampled = tiny.sample(latent)["samples"]
    pictures = tiny.decode({"samples": sampled})
    assert pictures.shape == frames
    assert pictures.isfinite().all()
    assert pictures.std() > 0.1
    assert tiny.vae.encode(pictures).shape == sampled.shape


@every_kind
def test_both_samplers_give_the_same(make):
    tiny = make()
    latent = empty_latent(make, tiny)
    sampled, forecast = tiny.sample_custom(latent)
    assert torch.equal(sampled["samples"], tiny.sample(latent)["samples"])
    assert torch.allclose(forecast["samples"], sampled["samples"], atol=1e-4)


@every_kind
def test_a_known_frame_is_kept_and_looked_at(make):
    tiny = make()
    empty = empty_latent(make, tiny)
    dark, light = (tiny.sample(with_known_frame(empty, v))["samples"] for v in (-0.7, 0.7))
    assert torch.allclose(light[:, :, :1], torch.tensor(0.7), atol=1e-4)
    assert torch.allclose(dark[:, :, :1], torch.tensor(-0.7), atol=1e-4)
    assert (light[:, :, 1:] - dark[:, :, 1:]).norm() > 1e-3 * dark[:, :, 1:].norm()


@every_kind
def test_the_prompt_counts_and_the_weights_stay(make):
    tiny, again = make(), make()
    latent = empty_latent(make, tiny)
    first, same = tiny.sample(latent)["samples"], again.sample(latent)["samples"]
    other = tiny.sample(latent, positive=tiny.negative)["samples"]
    assert torch.equal(first, same)
    assert (other - first).norm() > 1e-3 * first.norm()


def test_an_image_goes_into_the_channels_of_hunyuan_video():
    from comfy_extras.nodes_hunyuan import HunyuanImageToVideo

    tiny = hunyuan_video_from_an_image()
    image = torch.rand(1, 16, 32, 3, generator=torch.Generator().manual_seed(1))
    made = {}
    for way in ("v1 (concat)", "v2 (replace)"):
        args = tiny.positive, tiny.vae, 32, 16, 9, 1, way
        positive, latent = HunyuanImageToVideo.execute(*args, image)
        made[way] = tiny.sample(latent, positive=positive)["samples"]
    plain = tiny.sample(empty_latent(hunyuan_video_from_an_image, tiny))["samples"]
    assert (made["v1 (concat)"] - plain).norm() > 1e-3 * plain.norm()
    known = tiny.vae.encode(image)
    assert torch.allclose(made["v2 (replace)"][:, :, :1], known, atol=1e-4)


def test_an_image_goes_into_the_channels_of_wan():
    from comfy_extras.nodes_wan import WanImageToVideo

    tiny = wan21_from_an_image()
    image = torch.rand(1, 16, 32, 3, generator=torch.Generator().manual_seed(1))
    args = tiny.positive, tiny.negative, tiny.vae, 32, 16, 9, 1
    positive, negative, latent = WanImageToVideo.execute(*args, start_image=image).result
    assert positive[0][1]["concat_latent_image"].shape == latent["samples"].shape
    assert positive[0][1]["concat_mask"].amax((0, 1, 3, 4)).tolist() == [0, 1, 1]
    made = tiny.sample(latent, positive=positive, negative=negative)["samples"]
    plain = tiny.sample(latent)["samples"]
    assert (made - plain).norm() > 1e-3 * plain.norm()


def test_guides_lengthen_the_latent_of_ltxv_until_they_are_cropped():
    from comfy_extras.nodes_lt import LTXVAddGuide, LTXVCropGuides

    tiny = ltxv()
    empty = empty_latent(ltxv, tiny)
    image = torch.rand(1, 64, 128, 3, generator=torch.Generator().manual_seed(1))
    args = tiny.positive, tiny.negative, tiny.vae, empty, image
    positive, negative, guided = LTXVAddGuide.execute(*args, frame_idx=8, strength=1.0).result
    assert guided["samples"].shape[2] == T + 1
    assert guided["noise_mask"].flatten(2).amin(2).tolist() == [[0.0]]
    assert positive[0][1]["keyframe_idxs"].shape[:3] == (1, 3, CELLS[0] * CELLS[1])

    sampled = tiny.sample(guided, positive=positive, negative=negative)
    assert torch.allclose(sampled["samples"][:, :, T:], tiny.vae.encode(image), atol=1e-4)
    _, _, cropped = LTXVCropGuides.execute(positive, negative, sampled).result
    assert cropped["samples"].shape == empty["samples"].shape
    plain = tiny.sample(empty)["samples"]
    assert (cropped["samples"] - plain).norm() > 1e-3 * plain.norm()


ALL = [make.__name__ for make in MODELS]


@pytest.mark.parametrize("name", ALL)
def test_words_are_a_prompt(name):
    tiny = getattr(host_models, name)()
    encoded = {}
    for text in ("a red ball", "a red box", "", "a red ball"):
        entry = tiny.clip.encode_from_tokens_scheduled(tiny.clip.tokenize(text))[0]
        assert entry[0].shape == (1, max(1, len(text.split())), tiny.positive[0][0].shape[-1])
        assert entry[1].keys() == tiny.positive[0][1].keys() | {"pooled_output"}
        if text in encoded:
            assert torch.equal(encoded[text], entry[0])
        encoded[text] = entry[0]
    assert torch.equal(encoded["a red ball"][:, :2], encoded["a red box"][:, :2])
    assert not torch.equal(encoded["a red ball"][:, 2], encoded["a red box"][:, 2])


def test_pictures_of_a_prompt_are_noticed():
    clip = host_models.minimax_h3().clip
    light, dark = (torch.full((1, 4, 4, 3), value) for value in (0.9, 0.1))
    with_light, with_dark, with_none = (
        clip.encode_from_tokens_scheduled(clip.tokenize("a ball", images=images))[0][0]
        for images in ([light], [dark], [])
    )
    assert with_light.shape[1] == with_none.shape[1] + 1
    assert not torch.equal(with_light, with_dark)
    assert [text for text, _ in clip.asked] == ["a ball"] * 3


@pytest.mark.parametrize("name", ALL)
def test_in_a_graph(name, host):
    host_models.register_tiny_models()
    kinds = {"ltxv": (1, 128, 2, 2, 2), "wan22": (1, 48, 2, 2, 2)}
    if name in ("ltxav", "minimax_h3"):
        make = {"ltxav": host_models.ltxav_latent, "minimax_h3": host_models.minimax_latent}
        samples = make[name](64, 64, {"ltxav": 9, "minimax_h3": 22}[name])["samples"]
    else:
        samples = torch.zeros(kinds.get(name, (1, 16, 2, 2, 2)))
    prompt = {
        "model": {"class_type": host_models.NODE, "inputs": {"name": name}},
        "ball": {
            "class_type": "CLIPTextEncode",
            "inputs": {"clip": ["model", 1], "text": "a red ball"},
        },
        "none": {"class_type": "LongtakePrompt", "inputs": {"clip": ["model", 1], "text": ""}},
    }
    run = host.run(prompt, want=list(prompt))
    assert run.success, run.error
    model, _, vae, audio_vae = run.values["model"]
    assert (audio_vae is not None) == samples.is_nested
    tiny = host_models.HostModel(
        model, vae, run.values["ball"][0], run.values["none"][0], audio_vae
    )
    assert tiny.decode(tiny.sample({"samples": samples})).isfinite().all()
