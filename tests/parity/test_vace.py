"""Our transformer with VACE's blocks against diffusers' and ComfyUI's."""

from dataclasses import replace

import pytest
import torch

from longtake.models.wan.dit import Hint, Segment, WanDiT
from tests.models.reference import core_dit, diffusers_dit, with_weights_of
from tests.models.tiny import DIT, randomised

FRAMES, ROWS, COLUMNS = 5, 6, 14
VACE = replace(DIT, depth=4, vace_blocks=2, vace_channels=17)  # beside blocks 0 and 2
TIME = torch.tensor([17.0, 911.5])
STRENGTHS = torch.tensor([0.0, 1.0, 0.7, 0.0, 2.0])


@pytest.fixture
def ours(rng) -> WanDiT:
    return randomised(WanDiT(VACE), rng)


@pytest.fixture
def inputs(rng):
    """Noisy latents of two videos, a text for each, and two contexts."""
    size = FRAMES, ROWS, COLUMNS
    x = torch.randn(2, VACE.in_channels, *size, generator=rng)
    text = torch.randn(2, VACE.text_length, VACE.text_width, generator=rng)
    contexts = torch.randn(2, 2, VACE.vace_channels, *size, generator=rng)
    return x, text, contexts.unbind(0)


@pytest.mark.parametrize("strength", [1.0, 0.7])
def test_it_is_diffusers(ours, inputs, same, strength):
    x, text, (context, _) = inputs
    theirs = with_weights_of(ours, diffusers_dit(VACE))
    scales = torch.full((VACE.vace_blocks,), strength)
    expected = theirs(x, TIME, text, None, context, scales).sample
    same(ours(x, TIME, ours.read_text(text), hints=[Hint(context, strength)]), expected)


@pytest.mark.parametrize("strengths", [[1.0], [0.7], [1.0, 0.3]], ids=str)
def test_it_is_core(ours, inputs, same, comfyui, strengths):
    x, text, contexts = inputs
    theirs = with_weights_of(ours, core_dit(VACE))
    hints = [Hint(*pair) for pair in zip(contexts, strengths, strict=False)]
    stacked = torch.stack([hint.context for hint in hints], dim=1)
    expected = theirs(x, TIME, text, vace_context=stacked, vace_strength=strengths)
    same(ours(x, TIME, ours.read_text(text), hints=hints), expected)


def test_without_hints_its_blocks_are_those_of_text_to_video(ours, inputs, same, comfyui):
    x, text, (context, _) = inputs
    theirs = with_weights_of(ours, core_dit(VACE))
    none = theirs(x, TIME, text, vace_context=context[:, None], vace_strength=[0.0])
    same(ours(x, TIME, ours.read_text(text)), none)


def test_a_strength_for_each_frame(ours, inputs, same):
    """By diffusers' own blocks, their hints scaled frame by frame."""
    x, text, (context, _) = inputs
    theirs = with_weights_of(ours, diffusers_dit(VACE))
    gate = STRENGTHS.repeat_interleave(ROWS * COLUMNS // 4)[:, None]
    for block in theirs.vace_blocks:
        block.register_forward_hook(lambda _block, _given, out: (out[0] * gate, out[1]))
    expected = theirs(x, TIME, text, None, context).sample
    same(ours(x, TIME, ours.read_text(text), hints=[Hint(context, STRENGTHS)]), expected)


def test_levels_for_each_frame(ours, inputs, same, comfyui):
    """All equal they are one level for all; a shot's own text reaches VACE's blocks, too."""
    x, text, (context, _) = inputs
    theirs = with_weights_of(ours, core_dit(VACE))
    expected = theirs(x, TIME, text, vace_context=context[:, None], vace_strength=[1.0])
    levels = TIME[:, None].expand(2, FRAMES)
    read = ours.read_text(text)
    shots = [Segment(0, 2, read), Segment(2, FRAMES, read)]
    same(ours(x, levels, read, hints=[Hint(context)]), expected, "levels")
    same(ours(x, TIME, shots, hints=[Hint(context)]), expected, "shots")
    other = [Segment(0, 2, read), Segment(2, FRAMES, ours.read_text(text.flip(1) * 2))]
    assert not torch.allclose(ours(x, TIME, other, hints=[Hint(context)]), expected, rtol=1e-2)
