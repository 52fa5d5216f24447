import json
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.models.attention import exact, sdpa
from longtake.models.errors import ConfigError, InputError
from longtake.models.wan.config import DIT_PRESETS, DiTConfig
from longtake.models.wan.dit import Segment, Text, WanDiT, pad_to_patch, sinusoid
from longtake.models.wan.rope import rope_table
from tests.models.tiny import DIT, counted_layers, randomised, relative_error

CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # float32: another order of summation
FRAMES = 5
NOW = torch.tensor([733.0])


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture
def dit(rng) -> WanDiT:
    return randomised(WanDiT(DIT), rng)


@pytest.fixture
def x(rng) -> Tensor:
    return torch.randn(1, DIT.in_channels, FRAMES, 6, 14, generator=rng)


def read(dit: WanDiT, rng, tokens: int = 7) -> Text:
    return dit.read_text(torch.randn(1, tokens, dit.config.text_width, generator=rng))


# Text


def frame_by_frame(dit: WanDiT, x: Tensor, timestep: Tensor, texts: list[Text]) -> Tensor:
    """The transformer written out, each frame attending to its own text in a call of its own."""
    tokens = dit.patch_embedding(x).movedim(1, -1)
    grid = tuple(tokens.shape[1:4])
    tokens = tokens.flatten(2, 3)
    table = rope_table(grid, dit.config.head_dim, x.device)
    level = dit.time_embedding(sinusoid(timestep, dit.config.freq_width))[:, None]
    rows = dit.time_projection(level).unflatten(-1, (6, -1))
    normed = partial(F.layer_norm, normalized_shape=(dit.config.width,), eps=dit.config.eps)
    for i, block in enumerate(dit.blocks):
        weights = block.ffn[0].weight, block.ffn[0].bias
        shift, scale, gate, shift_m, scale_m, gate_m = (block.modulation + rows)[
            :, :, :, None
        ].unbind(2)
        y = normed(tokens) * (1 + scale) + shift
        tokens = tokens + gate * block.self_attn(y, table, sdpa)
        heard = [
            block.cross_attn(block.norm3(frame), [(slice(None), text.words[i])], None, sdpa)
            for frame, text in zip(tokens.split(1, dim=1), texts, strict=True)
        ]
        tokens = tokens + torch.cat(heard, dim=1)
        y = normed(tokens) * (1 + scale_m) + shift_m
        tokens = tokens + gate_m * block.ffn[2](F.gelu(F.linear(y, *weights), approximate="tanh"))
    shift, scale = (dit.head.modulation + level).unbind(1)
    out = dit.head.head(normed(tokens) * (1 + scale) + shift)
    out = out.unflatten(2, grid[1:]).unflatten(-1, (2, 2, -1))
    return out.permute(0, 6, 1, 2, 4, 3, 5).flatten(3, 4).flatten(4, 5)


def test_one_segment_over_all_frames_is_plain_text(dit, x, rng):
    text = read(dit, rng)
    assert torch.equal(dit(x, NOW, [Segment(0, FRAMES, text)]), dit(x, NOW, text))


@given(cuts=st.sets(st.integers(1, FRAMES - 1)), seed=st.integers(0, 99))
def test_each_frame_hears_its_own_text_and_no_other(cuts, seed):
    rng = torch.Generator().manual_seed(seed)
    dit = randomised(WanDiT(DIT), rng)
    x = torch.randn(1, DIT.in_channels, FRAMES, 4, 6, generator=rng)
    edges = [0, *sorted(cuts), FRAMES]
    segments = [Segment(a, b, read(dit, rng, tokens=b)) for a, b in pairwise(edges)]
    by_frame = [s.text for s in segments for _ in range(s.start, s.stop)]
    expected = frame_by_frame(dit, x, NOW, by_frame)
    torch.testing.assert_close(dit(x, NOW, segments), expected, **CLOSE)


def test_segments_see_each_other_through_self_attention(dit, x, rng):
    a, b, c = (read(dit, rng) for _ in range(3))
    one = dit(x, NOW, [Segment(0, 2, a), Segment(2, FRAMES, b)])
    other = dit(x, NOW, [Segment(0, 2, a), Segment(2, FRAMES, c)])
    assert (one - other)[:, :, :2].abs().max() > 1e-4


@pytest.mark.parametrize(
    "edges",
    [
        [],
        [(0, 4)],
        [(0, 6)],
        [(1, 5)],
        [(0, 2), (3, 5)],
        [(0, 3), (2, 5)],
        [(2, 5), (0, 2)],
        [(0, 6), (6, 5)],
        [(0, 3), (3, 3), (3, 5)],
    ],
)
def test_segments_must_cover_every_frame_in_order(dit, x, rng, edges):
    text = read(dit, rng)
    with pytest.raises(InputError, match="follow one another from 0 to 5 latent frames") as error:
        dit(x, NOW, [Segment(a, b, text) for a, b in edges])
    assert str(edges) in str(error.value)


def test_texts_are_read_once_and_not_at_every_step(dit, x, rng):
    text = read(dit, rng)
    calls = []
    readers = [dit.text_embedding, *(b.cross_attn.k for b in dit.blocks)]
    for module in readers:
        module.register_forward_hook(lambda *_: calls.append(1))
    dit(x, NOW, text)
    assert not calls
    read(dit, rng)
    assert len(calls) == len(readers)


@given(tokens=st.integers(1, 7))
def test_a_short_text_is_filled_up_with_zeros_that_are_attended_to(tokens):
    rng = torch.Generator().manual_seed(tokens)
    dit = randomised(WanDiT(DIT), rng)
    context = torch.randn(1, tokens, DIT.text_width, generator=rng)
    filled = F.pad(context, (0, 0, 0, DIT.text_length - tokens))
    for short, full in zip(dit.read_text(context).words, dit.read_text(filled).words, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(short, full, strict=True))
        assert short[0].shape == (1, DIT.heads, DIT.text_length, DIT.head_dim)


def test_a_long_text_is_not_cut(dit, rng):
    assert read(dit, rng, tokens=11).words[0][0].shape[2] == 11


def test_image_tokens_are_taken_only_by_networks_that_know_them(rng, x):
    image = torch.randn(1, 3, 10, generator=rng)
    context = torch.randn(1, 4, DIT.text_width, generator=rng)
    plain = randomised(WanDiT(DIT), rng)
    assert plain.read_text(context, image).image is None
    with_image = randomised(WanDiT(replace(DIT, image_width=10)), rng)
    assert len(with_image.read_text(context, image).image) == DIT.depth
    seen = with_image(x, NOW, with_image.read_text(context, image))
    unseen = with_image(x, NOW, with_image.read_text(context))
    assert (seen - unseen).abs().max() > 1e-3


# Noise levels


def test_one_level_for_all_frames_is_the_same_level_for_each(dit, x, rng):
    text = read(dit, rng)
    by_frame = NOW.expand(1, FRAMES)
    torch.testing.assert_close(dit(x, by_frame, text), dit(x, NOW, text), **CLOSE)


def test_levels_belong_to_their_frames(dit, x, rng):
    """With self-attention silenced a frame's velocity depends on its own level alone."""
    for block in dit.blocks:
        block.self_attn.o.weight.zero_()
    text = read(dit, rng)
    levels = torch.tensor([[0.0, 10.0, 300.0, 800.0, 1000.0]])
    mixed = dit(x, levels, text)
    for frame, level in enumerate(levels[0]):
        alone = dit(x, level[None], text)[:, :, frame]
        torch.testing.assert_close(mixed[:, :, frame], alone, **CLOSE)


def test_one_level_for_a_frame_is_the_same_level_for_each_token(dit, x, rng):
    text = read(dit, rng)
    by_frame = torch.tensor([[0.0, 733.0, 733.0, 250.0, 0.0]])
    by_token = by_frame[:, :, None, None].expand(-1, -1, 3, 7)
    torch.testing.assert_close(dit(x, by_token, text), dit(x, by_frame, text), **CLOSE)
    other = by_token.clone()
    other[:, 2, 1, 4] = 0.0
    assert relative_error(dit(x, other, text), dit(x, by_frame, text)) > 1e-4


def test_videos_of_a_batch_do_not_mix(dit, rng):
    x = torch.randn(3, DIT.in_channels, FRAMES, 4, 6, generator=rng)
    context = torch.randn(3, 7, DIT.text_width, generator=rng)
    levels = torch.rand(3, FRAMES, generator=rng) * 1000
    together = dit(x, levels, dit.read_text(context))
    for i in range(3):
        alone = dit(x[i : i + 1], levels[i : i + 1], dit.read_text(context[i : i + 1]))
        torch.testing.assert_close(together[i : i + 1], alone, **CLOSE)


def test_the_embedding_of_a_level_is_its_definition():
    angles = torch.tensor([[733.0 / 10_000 ** (i / 3) for i in range(3)]], dtype=torch.float64)
    expected = torch.cat((angles.cos(), angles.sin()), dim=-1).float()
    torch.testing.assert_close(sinusoid(NOW, 6), expected, rtol=0, atol=1e-7)


def test_positions_need_no_float64_of_the_device(monkeypatch):
    """On MPS there is none: the CPU works them out, to the same bits."""
    expected = sinusoid(NOW, 6)
    monkeypatch.setattr("longtake.models.wan.dit.COMPLETE", ())
    assert torch.equal(sinusoid(NOW, 6), expected)


def test_frame_rates_other_than_16_are_one(rng):
    dit = randomised(WanDiT(replace(DIT, frame_rates=True)), rng)
    x, text = torch.randn(1, 5, 2, 4, 6, generator=rng), dit.read_text(torch.zeros(1, 1, 13))
    at = {fps: dit(x, NOW[:1], text, fps=fps) for fps in (16, 8, 24, 29.97)}
    assert torch.equal(at[8], at[24])
    assert torch.equal(at[29.97], at[24])
    assert not torch.allclose(at[16], at[24])
    assert torch.equal(dit(x, NOW[:1], text), at[24])


# Sizes


@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)),
    patch=st.sampled_from([(1, 2, 2), (2, 2, 2)]),
)
def test_any_size_comes_back_and_is_wrapped_around(size, patch):
    """A height of 5 under patches of 2 is continued by its own first row."""
    rng = torch.Generator().manual_seed(1)
    dit = randomised(WanDiT(replace(DIT, patch=patch, depth=1)), rng)
    x = torch.randn(1, DIT.in_channels, *size, generator=rng)
    wrapped = x
    for axis, (n, p) in enumerate(zip(size, patch, strict=True), start=2):
        wrapped = torch.cat((wrapped, wrapped.narrow(axis, 0, -n % p)), dim=axis)
    text = read(dit, rng)
    t, h, w = size
    out = dit(x, NOW, text)
    assert out.shape == x.shape
    assert torch.equal(out, dit(wrapped, NOW, text)[:, :, :t, :h, :w])


def test_whole_patches_are_not_copied():
    x = torch.zeros(1, 3, 2, 4, 6)
    assert pad_to_patch(x, (1, 2, 2)) is x


def test_levels_and_segments_hold_for_patches_of_several_frames(rng):
    dit = randomised(WanDiT(replace(DIT, patch=(2, 2, 2))), rng)
    x = torch.randn(1, DIT.in_channels, 6, 4, 6, generator=rng)
    a, b = read(dit, rng), read(dit, rng)
    levels = torch.tensor([[5.0, 5.0, 300.0, 300.0, 900.0, 900.0]])
    mixed = dit(x, levels, [Segment(0, 2, a), Segment(2, 6, b)])
    assert mixed.shape == x.shape
    only_a, only_b = (dit(x, levels, text) for text in (a, b))
    assert (mixed - only_a)[:, :, 2:].abs().max() > 1e-3
    assert (mixed - only_b)[:, :, :2].abs().max() > 1e-3


def test_where_a_window_begins_changes_nothing_by_itself(dit, x, rng):
    """Positions are relative, so a window may count from its place in the whole video."""
    text = read(dit, rng)
    torch.testing.assert_close(dit(x, NOW, text, first_frame=1009), dit(x, NOW, text), **CLOSE)


# What is handed in


def test_the_attention_kernel_can_be_chosen_for_the_network_or_for_a_call(dit, x, rng):
    text = read(dit, rng)
    seen = []

    def watched(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen.append((tuple(q.shape), tuple(k.shape)))
        return exact(q, k, v)

    expected = dit(x, NOW, text)
    torch.testing.assert_close(dit(x, NOW, text, attention=watched), expected, **CLOSE)
    n = FRAMES * 3 * 7
    one_block = [((1, 2, n, 22), (1, 2, n, 22)), ((1, 2, n, 22), (1, 2, 7, 22))]
    assert seen == one_block * DIT.depth
    dit.attention = watched
    dit(x, NOW, text)
    assert len(seen) == 4 * DIT.depth


def test_tokens_lie_one_after_the_other_and_a_block_changes_none_that_it_was_given(dit, x, rng):
    """Channels first, as the patch embedding leaves them, a step takes up to a tenth longer."""
    seen = []

    def watch(i, block, y):
        assert y.is_contiguous()
        seen.append((y, y.clone()))
        return block(y)

    with torch.inference_mode():
        dit(x, NOW, read(dit, rng), around_block=watch)
    assert len(seen) == len(dit.blocks)
    assert all(torch.equal(given, before) for given, before in seen)


def test_learning_and_sampling_are_one_arithmetic(dit, x, rng):
    text = read(dit, rng)
    learning = dit(x, NOW, text)
    with torch.inference_mode():
        assert torch.equal(dit(x, NOW, text), learning)


def test_blocks_can_be_watched_replaced_and_skipped(dit, x, rng):
    text = read(dit, rng)
    order = []

    def watch(i, block, tokens):
        order.append(i)
        return block(tokens)

    assert torch.equal(dit(x, NOW, text, around_block=watch), dit(x, NOW, text))
    assert order == list(range(DIT.depth))
    skipped = dit(x, NOW, text, around_block=lambda i, block, y: block(y) if i else y)
    shorter = WanDiT(replace(DIT, depth=1)).eval()
    state = {k: v for k, v in dit.state_dict().items() if not k.startswith("blocks.")}
    state |= {k.replace("blocks.1.", "blocks.0."): v for k, v in dit.state_dict().items()
              if k.startswith("blocks.1.")}  # fmt: skip
    shorter.load_state_dict(state)
    rest = Text(text.words[1:])
    torch.testing.assert_close(skipped, shorter(x, NOW, rest), **CLOSE)


def test_every_layer_with_weights_comes_from_the_operations():
    operations, made = counted_layers("Linear", "Conv3d", "LayerNorm", "RMSNorm")
    dit = WanDiT(replace(DIT, image_width=10), operations=operations)
    kinds = (nn.Linear, nn.Conv3d, nn.LayerNorm, nn.RMSNorm)
    layers = Counter(k.__name__ for m in dit.modules() for k in kinds if isinstance(m, k))
    assert layers == made
    bare = {n.rpartition(".")[2] for n, m in dit.named_parameters()} - {"weight", "bias"}
    assert bare == {"modulation"}


def test_device_and_dtype_reach_every_parameter():
    dit = WanDiT(replace(DIT, image_width=10, image_positions=6), device="meta", dtype=torch.half)
    assert {(p.device.type, p.dtype) for p in dit.state_dict().values()} == {("meta", torch.half)}


def test_bfloat16_is_as_near_to_float32_as_bfloat16_can_be(dit, x, rng):
    context = torch.randn(1, 7, DIT.text_width, generator=rng)
    expected = dit(x, NOW, dit.read_text(context))
    dit, low = dit.bfloat16(), torch.bfloat16
    out = dit(x.to(low), NOW, dit.read_text(context.to(low)))
    assert out.dtype is low
    assert relative_error(out, expected) < 0.03


def test_every_parameter_learns(x, rng):
    dit = WanDiT(replace(DIT, image_width=10, image_positions=6))
    image = torch.randn(1, 6, 10, generator=rng)
    text = dit.read_text(torch.randn(1, 7, DIT.text_width, generator=rng), image)
    dit(x, NOW, text).square().mean().backward()
    assert [n for n, p in dit.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(p.grad.isfinite().all() for p in dit.parameters())


# Config


@pytest.mark.parametrize("preset", DIT_PRESETS.values(), ids=DIT_PRESETS)
def test_a_config_survives_being_written_down(preset):
    assert DiTConfig.from_json(json.loads(json.dumps(preset.to_json()))) == preset


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"width": 45}, "width 45 does not split into 2 heads of even size; .* multiple of 4"),
        ({"width": 8}, "heads of 4 channels cannot hold positions on three axes; need 6"),
        ({"colour": 3}, "not a DiTConfig: .*colour"),
    ],
)
def test_a_config_that_makes_no_network_is_refused(numbers, words):
    with pytest.raises(ConfigError, match=words):
        DiTConfig.from_json({**DIT.to_json(), **numbers})


def test_a_config_needs_all_its_numbers_and_keeps_them():
    with pytest.raises(ConfigError, match="not a DiTConfig: .*depth"):
        DiTConfig.from_json({"width": 64})
    with pytest.raises(FrozenInstanceError):
        DIT.width = 3
