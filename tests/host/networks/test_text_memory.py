"""A prompt is read once per sampling run: never once per step, never after a change of weights."""

import pytest
import torch

from longtake.models.wan.dit import Text
from longtake.models.wan.rope import cached_table
from tests.host.networks.test_lora import deltas, lora_file, with_lora  # noqa: F401
from tests.host.runs import SHAPE, ksampler, latents, prompt


@pytest.fixture
def reads(pack, monkeypatch):
    """The prompts that the network has read, by the number of their rows."""
    rows = []
    real = pack.forward.ComfyDiT.read_text

    def counted(self, context, image=None):
        rows.append(context.shape[0])
        return real(self, context, image)

    monkeypatch.setattr(pack.forward.ComfyDiT, "read_text", counted)
    return rows


def test_each_prompt_is_read_once_per_run(model, reads):
    ksampler(model, steps=5)
    assert reads == [1, 1]
    ksampler(model, steps=3)
    assert reads == [1, 1] * 2


def test_a_batch_of_videos_reads_its_prompt_once(model, reads):
    batch = {"samples": torch.zeros(3, *SHAPE[1:])}
    out = ksampler(model, steps=2, latent_image=batch)
    assert reads == [1, 1]
    assert (out[0] - out[1]).abs().mean() > 0.1


def test_nothing_is_held_after_a_run(model, reads):
    ksampler(model, steps=2)
    assert model.model.diffusion_model.texts._rows == []
    assert cached_table.cache_info().currsize == 0
    model.model.diffusion_model.read_text = None  # would fail if it were asked
    del model.model.diffusion_model.read_text


def test_nothing_is_held_after_a_failure(model, reads):
    def fail(args, extra):
        raise RuntimeError("stop")

    clone = model.clone()
    clone.set_model_patch_replace(fail, "dit", "double_block", 1)
    with pytest.raises(RuntimeError, match="stop"):
        ksampler(clone)
    assert model.model.diffusion_model.texts._rows == []


def test_a_lora_is_seen_by_the_text_too(model, deltas, reads):  # noqa: F811
    """cross_attn.k and .v are read from the text alone."""
    key = "diffusion_model.blocks.0.cross_attn.v"
    delta = {f"{key}.diff": torch.ones(32, 32)}
    plain = ksampler(model, steps=2)
    patched = ksampler(with_lora(model, delta), steps=2)
    assert (patched - plain).abs().mean() > 1e-3
    assert torch.equal(ksampler(model, steps=2), plain)
    assert len(reads) == 6


def test_without_memory_the_video_is_the_same(model, pack, monkeypatch):
    remembered = ksampler(model, steps=3)
    monkeypatch.setattr(pack.text_memory.TextMemory, "open", pack.text_memory.TextMemory.close)
    torch.testing.assert_close(ksampler(model, steps=3), remembered, rtol=1e-5, atol=1e-5)


def test_with_hooks_nothing_is_remembered(model, lora_file, reads):  # noqa: F811
    from comfy_extras.nodes_hooks import ConditioningSetProperties, CreateHookLora

    hooks = CreateHookLora().create_hook(lora_file, 0.7, 0.0)[0]
    hooked = ConditioningSetProperties().set_properties(
        prompt(model, 1), 1.0, "default", hooks=hooks
    )[0]
    ksampler(model.clone(), positive=hooked, steps=2)
    assert len(reads) == 4  # two prompts at each of two steps


def test_rows_are_told_apart(pack):
    memory = pack.text_memory.TextMemory()
    memory.open()
    rng = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 1, 5, 7, generator=rng)
    calls = []

    def read(context, image):
        calls.append(context)
        return Text(tuple((context * n, -context * n) for n in (1, 2)))

    both = memory.read(read, torch.cat((a, b)), None)
    swapped = memory.read(read, torch.cat((b, a, b)), None)

    assert len(calls) == 2
    assert len(both.words) == 2
    torch.testing.assert_close(both.words[1][0], 2 * torch.cat((a, b)), rtol=0, atol=0)
    torch.testing.assert_close(swapped.words[0][1], -torch.cat((b, a, b)), rtol=0, atol=0)


def test_the_oldest_prompt_goes_first(pack, monkeypatch):
    monkeypatch.setattr(pack.text_memory, "LIMIT", 2)
    memory = pack.text_memory.TextMemory()
    memory.open()
    calls = []

    def read(context, image):
        calls.append(context.item())
        return Text(((context, context),))

    for value in (1.0, 2.0, 1.0, 3.0, 2.0, 1.0):
        memory.read(read, torch.full((1, 1, 1), value), None)
    assert calls == [1.0, 2.0, 3.0, 1.0]


def test_image_tokens_are_part_of_the_prompt(pack):
    memory = pack.text_memory.TextMemory()
    memory.open()
    text, image = latents(1, (1, 3, 4)), latents(2, (1, 2, 4))
    calls = []

    def read(context, image):
        calls.append(image)
        return Text(((context, context),), None if image is None else ((image, image),))

    for tokens in (image, image + 1, None, image):
        out = memory.read(read, text, tokens)
    assert len(calls) == 3
    torch.testing.assert_close(out.image[0][0], image)
