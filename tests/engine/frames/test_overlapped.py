"""Decoders that remember nothing, given a video in pieces."""

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.grid import BlockGrid, CausalGrid
from longtake.engine.frames.overlapped import Context, Seams, context_of, overlapped

CAUSAL, BLOCKS = CausalGrid(channels=3), BlockGrid(channels=3)


def latents(t):
    return torch.randn(1, 3, t, 2, 2, generator=torch.Generator().manual_seed(t))


def spread(grid, reach):
    """A decoder whose frames depend on `reach` latent frames around theirs, and on nothing else."""

    def decode(z):
        t = z.shape[2]
        padded = torch.cat((z[:, :, :1].expand(-1, -1, reach, -1, -1), z), dim=2)
        padded = torch.cat((padded, z[:, :, -1:].expand(-1, -1, reach, -1, -1)), dim=2)
        mean = torch.stack([padded[:, :, k : k + 2 * reach + 1].mean(2) for k in range(t)], dim=2)
        frames = [mean[:, :, k] * (1 + n / 9) for k in range(t) for n in range(held(grid, k))]
        yield from torch.stack(frames, dim=2).split(3, dim=2)

    return decode


def held(grid, k):
    return grid.first_frame(k + 1) - grid.first_frame(k)


def together(decode, grid, z, sizes, context, seams=None):
    """The pixels, piece after piece."""
    pieces = z.split(sizes, dim=2)
    return list(overlapped(decode, grid, pieces, z.shape[2], context, seams or Seams()))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_with_enough_context_the_pieces_are_the_whole(sizes):
    z = latents(sum(sizes))
    decode, seams = spread(CAUSAL, 2), Seams()
    whole = torch.cat(list(decode(z)), dim=2)
    # Before: the two that its frames see, and one that would be the first of a clip.
    pieces = together(decode, CAUSAL, z, sizes, Context(4, 2, 3), seams)
    assert torch.allclose(torch.cat(pieces, dim=2), whole, atol=1e-6)
    assert seams.most < 1e-3


def test_the_frames_of_two_pieces_go_over_into_each_other_and_are_compared():
    flat = torch.zeros(1, 3, 20, 2, 2)
    calls = []

    def decode(z):
        calls.append(z.shape[2])
        yield torch.full((1, 3, CAUSAL.frames(z.shape[2]), 2, 2), len(calls) / 10 - 0.1)

    seams = Seams()
    pixels = torch.cat(together(decode, CAUSAL, flat, [10, 10], Context(2, 1, 4), seams), dim=2)
    seam = CAUSAL.first_frame(9) - 4
    assert pixels.shape[2] == CAUSAL.frames(20)
    assert pixels[0, 0, :seam, 0, 0].eq(0).all()
    assert pixels[0, 0, seam : seam + 4, 0, 0].tolist() == pytest.approx([0.02, 0.04, 0.06, 0.08])
    assert pixels[0, 0, seam + 4 :, 0, 0].allclose(torch.tensor(0.1))
    assert (seams.count, seams.mean) == (1, pytest.approx(12.75, abs=0.01))
    assert "decoded in 2 pieces" in str(seams)
    assert calls[0] == 10  # and the second piece with no more than its context
    assert calls[1] == 10 + 1 + 2 + 1


def test_a_seam_is_one_however_few_frames_come_at_a_time_and_bytes_are_mixed_as_bytes():
    flat, made = torch.zeros(1, 3, 20, 2, 2), []
    for few in (1, 100):
        calls = []

        def decode(z, few=few, calls=calls):
            calls.append(z)
            level = 99 * len(calls) - 99
            whole = torch.full((1, 3, CAUSAL.frames(z.shape[2]), 2, 2), level, dtype=torch.uint8)
            yield from whole.split(few, dim=2)

        seams = Seams()
        parts = together(decode, CAUSAL, flat, [10, 10], Context(2, 1, 4), seams)
        made.append(torch.cat(parts, dim=2))
        assert (seams.count, seams.mean, seams.most) == (1, 99, 99)
    assert torch.equal(*made)
    seam = CAUSAL.first_frame(9) - 4
    assert made[0][0, 0, seam : seam + 4, 0, 0].tolist() == [20, 40, 59, 79]


def blockwise(z):
    """As MiniMax H3's: windows of a block and the beginning of the next, which go over in 5 frames.

    comfy/ldm/minimax/vae.py, Comfy-Org/ComfyUI; its parts come out block by block.
    """
    tail = None
    for k in range((z.shape[2] - 2) // 5):
        window = z[:, :, 5 * k : 5 * k + 7]
        mean = window.mean((2, 3, 4), keepdim=True)
        frames = torch.cat(
            [window[:, :, i : i + 1].expand(-1, -1, held(BLOCKS, i), -1, -1) for i in range(7)],
            dim=2,
        )
        frames = frames + mean
        if tail is not None:
            weight = torch.arange(1, 6).view(-1, 1, 1) / 6
            frames = torch.cat(
                (torch.lerp(tail, frames[:, :, :5], weight), frames[:, :, 5:]), dim=2
            )
        yield frames[:, :, :17]
        tail = frames[:, :, 17:]
    yield tail


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 4))
def test_a_decoder_of_blocks_is_exact_in_any_pieces(blocks, off):
    z = latents(5 * sum(blocks) + 2)
    sizes = [5 * n for n in blocks]
    sizes[0] += off
    sizes = [n for n in sizes if n > 0]
    sizes[-1] += z.shape[2] - sum(sizes)
    whole = torch.cat(list(blockwise(z)), dim=2)
    pieces = together(blockwise, BLOCKS, z, sizes, context_of(BLOCKS))
    assert torch.equal(torch.cat(pieces, dim=2), whole)
    assert all(piece.shape[2] <= 17 for piece in pieces)


@pytest.mark.parametrize("grid", [CAUSAL, BLOCKS])
def test_what_is_given_is_let_go(grid):
    """A decoder that gives its frames a few at a time needs no more memory for a long video."""
    alive: list[weakref.ref] = []

    def decode(z):
        for _ in range(grid.frames(z.shape[2])):
            pixels = np.zeros((1, 3, 1, 2, 2), np.float32)
            alive.append(weakref.ref(pixels))
            yield torch.from_numpy(pixels)
            del pixels

    most, count = 0, 52
    for _ in overlapped(decode, grid, [latents(count)], count, context_of(grid), Seams()):
        most = max(most, sum(one() is not None for one in alive))
    assert len(alive) == grid.frames(count)
    assert most <= 3


@pytest.mark.parametrize("grid", [CAUSAL, BLOCKS], ids=["causal", "blocks"])
def test_of_latents_that_end_too_soon_all_that_was_decoded_is_given(grid):
    """A take that is cancelled: its stopped video has the frames that were held back."""
    t = grid.as_clip(30)
    z, context = latents(t), context_of(grid)
    decode = blockwise if grid is BLOCKS else spread(CAUSAL, 2)

    class Cancelled(Exception):
        pass

    def until_cancelled():
        yield z[:, :, : grid.as_clip(12)]
        raise Cancelled

    made = []
    with pytest.raises(Cancelled):
        made.extend(overlapped(decode, grid, until_cancelled(), t, context, Seams()))
    frames = torch.cat(made, dim=2)
    alone = torch.cat(list(decode(z[:, :, : grid.as_clip(12)])), dim=2)
    assert torch.equal(frames, alone)
    short = list(overlapped(decode, grid, [z[:, :, : grid.as_clip(12)]], t, context, Seams()))
    assert torch.equal(torch.cat(short, dim=2), alone)
