"""The memory that a step is predicted to take, and what the host does with that."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from longtake.engine.sampling.memory import kept_tokens, peak_bytes, text_bytes
from longtake.models.wan.config import DIT_PRESETS, DiTConfig
from longtake.models.wan.dit import Hint, WanDiT
from tests.host.conftest import DIT
from tests.host.peak import Peak
from tests.host.runs import SHAPE, ksampler, prompt, seen

PUBLISHED = {  # latents of both prompts at once: (b, t, h, w)
    "1.3b": (2, 21, 60, 104),
    "5b": (2, 31, 44, 80),
    "14b-t2v": (1, 21, 90, 160),
    "14b-i2v": (2, 21, 60, 104),
    "1.3b-vace": (2, 21, 60, 104),
    "14b-vace": (1, 21, 60, 104),
}
ASKED = 1.5  # times what a model says it needs must be free for more in one call: core's rule


def measured(
    config: DiTConfig, size: tuple[int, ...], dtype: torch.dtype, by_token: bool = False
) -> int:
    """Peak bytes of a step without its prompts, measured on the meta device.

    Args:
        by_token: with a noise level for each token, as a canvas with regions has it.
    """
    kw = {"device": "meta", "dtype": dtype}
    network, (b, t, h, w) = WanDiT(config, **kw), size
    image = torch.empty(b, 257, config.image_width, **kw) if config.image_width else None
    text = network.read_text(torch.empty(b, config.text_length, config.text_width, **kw), image)
    levels = torch.empty((b, t) if config.frame_levels else (b,), device="meta")
    if by_token:
        levels = torch.empty((b, t, h // 2, w // 2), device="meta")
    x = torch.empty(b, config.in_channels, t, h, w, **kw)
    context = torch.empty(b, config.vace_channels, t, h, w, **kw)
    hints = [Hint(context)] if config.vace_blocks else []
    with Peak() as peak:
        network(x, levels, text, hints=hints, attention=lambda q, k, v: torch.empty_like(q))
    return peak.most


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize(
    ("name", "by_token"), [*((name, False) for name in PUBLISHED), ("5b", True)]
)
def test_a_step_at_published_sizes_takes_what_is_said(pack, name, by_token, dtype):
    size = PUBLISHED[name]
    config = DIT_PRESETS[name]
    beside = min(config.vace_blocks, 2)  # blocks follow one another: two are as many
    config = replace(config, depth=2, vace_blocks=beside)
    latent_format = pack.latent_format.format_for(config, built_in=False)
    with torch.device("meta"):
        weights = WanDiT(config, dtype=dtype).state_dict()
    model = pack.transformer.build_model(config, weights, latent_format, dtype, "test").model
    model.manual_cast_dtype = None  # as on a GPU, whatever this CPU would compute in
    b, t, h, w = size
    shapes = {"token_mask": [(b, 1, t, h // 2, w // 2)]} if by_token else {}
    said = model.memory_required((b, config.out_channels, t, h, w), shapes)
    text = text_bytes(config, 2 * kept_tokens(config, 0), dtype.itemsize)
    assert 0.94 < (said - text) / measured(config, size, dtype, by_token) < 1.2


@pytest.mark.parametrize("rows", [[2] * 4, [1] * 8])
def test_both_prompts_go_in_one_call_if_memory_allows(model, monkeypatch, rows):
    import comfy.model_management as mm

    bare = peak_bytes(DIT, (2, *SHAPE[1:]), torch.float32.itemsize)
    asked = 1.1 * model.model.memory_required((2, *SHAPE[1:])) if rows[0] == 2 else 0.9 * bare
    expected = ksampler(model)
    monkeypatch.setattr(mm, "get_free_memory", lambda *_, **__: ASKED * asked)
    with seen(model, lambda x, *_, **__: x.shape[0]) as calls:
        video = ksampler(model)
    assert calls == rows
    torch.testing.assert_close(video, expected, rtol=1e-4, atol=1e-5)


def storyboard(pack, model, shots: int, starts=None) -> list:
    texts = [prompt(model, seed) for seed in range(10, 10 + shots)]
    return pack.conditioning.of_shots(texts[0], texts, starts or list(range(shots)))


def test_text_is_asked_for_as_it_is_kept(pack, model, monkeypatch):
    """Of every shot, in the least memory that a run can do with as well."""
    import comfy.sampler_helpers as helpers

    told, kept, core, texts = [], [], helpers.estimate_memory, model.model.diffusion_model.texts
    monkeypatch.setattr(
        helpers, "estimate_memory", lambda *given: told.append(core(*given)) or told[-1]
    )
    with seen(model, lambda *_, **__: kept.append(texts.bytes)):
        ksampler(model, positive=storyboard(pack, model, 3))
    rows = 3 + 1  # the storyboard's own text is not read
    activations = [peak_bytes(DIT, (b, *SHAPE[1:]), 4) for b in (2, 1)]
    assert kept[-1] == text_bytes(DIT, rows * DIT.text_length, 4)
    assert list(told[0]) == [held + kept[-1] for held in activations]


def test_shots_after_the_end_are_not_asked_for(pack, model):
    import comfy.sampler_helpers as helpers

    def asked(*starts):
        conds = helpers.convert_cond(storyboard(pack, model, len(starts), starts))
        return helpers.estimate_memory(model, SHAPE, {"positive": conds})[0]

    assert asked(0, 1, 2) > asked(0, 1) == asked(0, 1, 3) == asked(0, 1, 70)


def test_what_is_kept_already_is_not_asked_for_again(model):
    asked = []

    def record(x, timestep, context, *_, **__):
        shapes = {"c_crossattn": [context[:1].shape] * len(context)}
        asked.append(model.model.memory_required(x.shape, shapes))

    with seen(model, record):
        ksampler(model)
    first, *later = asked
    assert first - later[0] == text_bytes(DIT, 2 * DIT.text_length, 4)
    assert set(later) == {peak_bytes(DIT, (2, *SHAPE[1:]), 4)}


def test_tokens_of_images_are_asked_for(pack, comfyui):
    config = replace(DIT, frame_levels=False, in_channels=16, image_width=20)
    weights = WanDiT(config).state_dict()
    latent_format = pack.latent_format.format_for(config, built_in=True)
    network = pack.transformer.build_model(
        config, weights, latent_format, torch.float32, "test"
    ).model
    text, vision = torch.zeros(1, 5, 24), SimpleNamespace()
    vision.penultimate_hidden_states = torch.zeros(1, 9, 20)
    before = network.extra_conds_shapes(cross_attn=text, clip_vision_output=vision)
    asked = network.memory_required(SHAPE, {key: [shape] for key, shape in before.items()})
    bare = peak_bytes(config, SHAPE, 4)
    assert asked - bare == text_bytes(config, config.text_length + 9, 4)
    in_a_call = {"c_crossattn": [text.shape], "clip_fea": [(1, 9, 20)]}
    assert network.memory_required(SHAPE, in_a_call) == asked
    shots = {"c_crossattn": [text.shape] * 2, "shot_texts": [[3, 5, 24]]}
    expected = text_bytes(config, 4 * config.text_length, 4)
    assert network.memory_required(SHAPE, shots) - bare == expected


def test_references_count_as_frames(model):
    network = model.model
    longer = (SHAPE[0], SHAPE[1], SHAPE[2] + 2, *SHAPE[3:])
    referred = network.memory_required(SHAPE, {"time_dim_concat": [(1, 6, 2, 5, 7)]})
    assert referred == network.memory_required(longer) > network.memory_required(SHAPE)


def test_kernels_that_hold_all_weights_get_cores_estimate(model, monkeypatch):
    from comfy import model_base
    from comfy.cli_args import args

    monkeypatch.setattr(args, "use_quad_cross_attention", True)
    core = super(model_base.WAN21, model.model).memory_required(SHAPE)
    assert model.model.memory_required(SHAPE) == core


def test_what_newer_hosts_tell_is_taken_and_passed_on(model, monkeypatch):
    from comfy import model_base

    network, known = model.model, {"memory_efficient_attention": False}
    own = network.memory_required(SHAPE)
    assert network.memory_required(input_shape=SHAPE, memory_efficient_attention=True) == own
    assert network.memory_required(SHAPE, {}, something_of_tomorrow=1) == own
    core = super(model_base.WAN21, network).memory_required(SHAPE)
    assert network.memory_required(SHAPE, **known) == core  # a core that does not know it yet
    told = []

    def of_tomorrow(self, input_shape, cond_shapes=None, memory_efficient_attention=None):
        told.append(memory_efficient_attention)
        return 7

    monkeypatch.setattr(model_base.BaseModel, "memory_required", of_tomorrow)
    assert network.memory_required(SHAPE, **known, something_of_tomorrow=1) == 7
    assert told == [False]
