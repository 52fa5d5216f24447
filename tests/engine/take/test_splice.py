"""Clips spliced in a stream are, to the bit, clips spliced in memory."""

from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.take.layout import Clip, Take
from longtake.engine.take.splice import mix, spliced

SIZE = (3, 5, 3)  # h, w, c


def clip(start, frames, dissolve=0):
    return Clip(start, frames, dissolve, 1, (), ())


def film(frames, seed):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, *SIZE), generator=rng, dtype=torch.uint8)


def in_pieces(frames, sizes):
    at = 0
    for size in sizes:
        if at < len(frames):
            yield frames[at : at + size]
        at += size
    if at < len(frames):
        yield frames[at:]


def by_definition(take, films):
    """Every frame in floats: Σ weight · frame."""
    out = torch.zeros(take.frames, *SIZE, dtype=torch.float64)
    for clip, frames in zip(take.clips, films, strict=True):
        for i in range(clip.frames):
            part = Fraction(i + 1, clip.dissolve + 1) if i < clip.dissolve else Fraction(1)
            at = clip.start + i
            out[at] = out[at] * float(1 - part) + frames[i].double() * float(part)
    return (out + 0.5 + 1e-9).floor().to(torch.uint8)


@given(
    lengths=st.lists(st.integers(4, 15), min_size=1, max_size=4),
    dissolves=st.lists(st.integers(0, 4), min_size=4, max_size=4),
    sizes=st.lists(st.integers(1, 6), max_size=8),
    spare=st.integers(0, 3),
)
def test_in_a_stream_as_in_memory(lengths, dissolves, sizes, spare):
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    after = [*dissolves[1 : len(lengths)], 0]
    clips = [
        clip(start, length + tail, dissolves[i] if i else 0)
        for i, (start, length, tail) in enumerate(zip(starts, lengths, after, strict=True))
    ]
    take = Take(sum(lengths), tuple(clips))
    films = [film(c.frames + spare, seed) for seed, c in enumerate(clips)]
    whole = torch.cat(list(spliced(take, [in_pieces(frames, sizes) for frames in films])))
    assert torch.equal(whole, by_definition(take, films))


def test_no_more_is_asked_of_a_stream_than_is_shown():
    def stream():
        yield film(5, 1)
        raise AssertionError("asked for more")

    assert len(torch.cat(list(spliced(Take(5, (clip(0, 5),)), [stream()])))) == 5


def test_a_stream_that_ends_early_ends_the_whole_with_all_there_was():
    take = Take(20, (clip(0, 14), clip(10, 10, 4)))
    one = film(12, 1)
    assert torch.equal(torch.cat(list(spliced(take, [iter([one])]))), one)
    streams = [iter([film(14, 1)]), iter([film(6, 2)])]
    assert len(torch.cat(list(spliced(take, streams)))) == 16


def test_mixing_rounds_half_up_and_keeps_what_is_the_same():
    a, b = (
        torch.tensor([0, 255, 10], dtype=torch.uint8),
        torch.tensor([1, 255, 20], dtype=torch.uint8),
    )
    assert mix(a, b, 1, 2).tolist() == [1, 255, 15]
    assert mix(a, b, 1, 4).tolist() == [0, 255, 13]
