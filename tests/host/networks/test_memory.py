"""The memory that a step is predicted to take, and what the host does with that."""

from dataclasses import replace

import pytest
import torch

from longtake.engine.sampling.memory import text_bytes
from longtake.models.wan.config import DIT_PRESETS, DiTConfig
from longtake.models.wan.dit import WanDiT
from tests.host.peak import Peak
from tests.host.runs import SHAPE, ksampler, seen

PUBLISHED = {  # latents of both prompts at once: (b, t, h, w)
    "1.3b": (2, 21, 60, 104),
    "5b": (2, 31, 44, 80),
    "14b-t2v": (1, 21, 90, 160),
    "14b-i2v": (2, 21, 60, 104),
}
ASKED = 1.5  # times what a model says it needs must be free for more in one call: core's rule


def measured(config: DiTConfig, size: tuple[int, ...], dtype: torch.dtype) -> int:
    """Peak bytes of a step without its prompts, measured on the meta device."""
    kw = {"device": "meta", "dtype": dtype}
    network, (b, t, h, w) = WanDiT(config, **kw), size
    image = torch.empty(b, 257, config.image_width, **kw) if config.image_width else None
    text = network.read_text(torch.empty(b, config.text_length, config.text_width, **kw), image)
    levels = torch.empty((b, t) if config.frame_levels else (b,), device="meta")
    x = torch.empty(b, config.in_channels, t, h, w, **kw)
    with Peak() as peak:
        network(x, levels, text, attention=lambda q, k, v: torch.empty_like(q))
    return peak.most


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_step_at_published_sizes_takes_what_is_said(pack, name, dtype):
    size = PUBLISHED[name]
    config = replace(DIT_PRESETS[name], depth=2)  # blocks follow one another: two are as many
    latent_format = pack.latent_format.format_for(config, built_in=False)
    with torch.device("meta"):
        weights = WanDiT(config, dtype=dtype).state_dict()
    model = pack.transformer.build_model(config, weights, latent_format, dtype, "test").model
    model.manual_cast_dtype = None  # as on a GPU, whatever this CPU would compute in
    said = model.memory_required((size[0], config.out_channels, *size[1:]))
    text = text_bytes(config, size[0], dtype.itemsize)
    assert 0.8 < (said - text) / measured(config, size, dtype) < 1.2


@pytest.mark.parametrize(("free", "rows"), [(1.1, [2] * 4), (0.9, [1] * 8)])
def test_both_prompts_go_in_one_call_if_memory_allows(model, monkeypatch, free, rows):
    import comfy.model_management as mm

    both = model.model.memory_required((2, *SHAPE[1:]))
    expected = ksampler(model)
    monkeypatch.setattr(mm, "get_free_memory", lambda *_, **__: free * ASKED * both)
    with seen(model, lambda x, *_, **__: x.shape[0]) as calls:
        video = ksampler(model)
    assert calls == rows
    torch.testing.assert_close(video, expected, rtol=1e-4, atol=1e-5)


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
