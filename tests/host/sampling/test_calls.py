"""One call of the model or two is said by the plan, whatever memory happens to be free."""

import pytest
import torch

from longtake.engine.sampling.schedule import sigmas
from tests.host.runs import SHAPE, prompt, sample, seen

LEVELS = sigmas(3, 3.0, "simple")


@pytest.fixture
def mm(comfyui):
    import comfy.model_management

    return comfy.model_management


def rows(pack, model, watched=None, cfg=3.0, **settings):
    """How many prompts each call of the network took, and the video."""
    prompts = [prompt(model, 1), prompt(model, 2)]
    latent = {"samples": torch.zeros(SHAPE)}
    with seen(watched or model, lambda x, *_, **__: x.shape[0]) as calls:
        out = sample(pack, model, *prompts, latent, LEVELS, seed=3, cfg=cfg, **settings)
    return calls, out["samples"]


@pytest.mark.parametrize(("room", "expected"), [(1e15, [2] * 3), (1e3, [1] * 6)])
@pytest.mark.parametrize("free", [0, 1e15])
def test_it_is_said_by_the_memory_there_is_in_all(
    pack, model, mm, monkeypatch, room, free, expected
):
    monkeypatch.setattr(mm, "get_total_memory", lambda *_, **__: room)
    monkeypatch.setattr(pack.sample, "check_step", lambda *_, **__: None)
    monkeypatch.setattr(mm, "get_free_memory", lambda *_, **__: free)
    assert rows(pack, model)[0] == expected
    assert "memory_required" not in vars(model.model)


def test_core_leaves_room_for_the_whole_call(pack, model, mm, monkeypatch):
    asked = {}

    def load(models, memory_required=0, minimum_memory_required=None, **_):
        asked.update(most=memory_required, least=minimum_memory_required)
        return real(models)

    real = mm.load_models_gpu
    monkeypatch.setattr(mm, "load_models_gpu", load)
    rows(pack, model)
    assert asked["least"] == asked["most"]
    rows(pack, model, cfg=1.0)
    assert asked["least"] < asked["most"]


def test_out_of_memory_they_go_one_after_the_other(pack, model, caplog):
    import comfy.patcher_extension

    _, expected = rows(pack, model)

    class Full(torch.cuda.OutOfMemoryError):
        pass

    def narrow(executor, x, *args, **kwargs):
        if x.shape[0] > 1:
            raise Full("out of memory")
        return executor(x, *args, **kwargs)

    clone = model.clone()
    clone.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "full", narrow)
    calls, out = rows(pack, clone)
    assert calls == [1] * 6  # the one that failed is not among them
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    assert "one after the other" in caplog.text


def test_the_second_expert_takes_as_many(pack, model, mm, monkeypatch):
    low = model.clone()
    pair = pack.experts.pair(model, low, 0.9, 3.0, 3.0)
    monkeypatch.setattr(pack.sample, "check_step", lambda *_, **__: None)
    with seen(low, lambda x, *_, **__: x.shape[0]) as calls:
        monkeypatch.setattr(mm, "get_total_memory", lambda *_, **__: 1e3)
        rows(pack, pair)
    assert calls
    assert set(calls) == {1}


def test_more_than_two_never_go_in_one_call(pack, model):
    both = prompt(model, 1) + prompt(model, 4)
    with seen(model, lambda x, *_, **__: x.shape[0]) as calls:
        latent = {"samples": torch.zeros(SHAPE)}
        sample(pack, model, both, prompt(model, 2), latent, LEVELS, seed=3, cfg=3.0)
    assert calls == [1, 2] * 3
