"""Timing is exact, cuts are kept, the source's frames are its own, and memory stays flat."""

import weakref
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from longtake.engine.frames.interpolation import (
    CHUNK,
    Inbetween,
    Tally,
    TiledInterpolator,
    Timing,
    blend_weights,
    convert_rate,
    target_rate,
    tile_spans,
)
from longtake.models.cpu import bands
from longtake.models.errors import InputError, NotFiniteError
from tests.engine.frames.test_scene_cut import clips

NTSC_24, NTSC_60 = Fraction(24000, 1001), Fraction(60000, 1001)
RATES = [
    (Fraction(8), Fraction(24)),
    (Fraction(16), Fraction(24)),
    (Fraction(24), Fraction(60)),
    (NTSC_24, NTSC_60),
    (NTSC_24, Fraction(60)),
    (Fraction(30), Fraction(24)),
    (Fraction(25), Fraction(25)),
]
rates = st.fractions(Fraction(1), Fraction(120), max_denominator=1001)
slow = st.fractions(Fraction(1), Fraction(7), max_denominator=1001)


def ramped(frames: int) -> list[Tensor]:
    """Frames whose level is their number, so that a blend says what it was made of."""
    return [torch.full((1, 3, 5, 3), n, dtype=torch.uint8) for n in range(frames)]


def blend(items: list[Inbetween]) -> Tensor:
    """Plain blending as Draw, in hundredths of a level: too fine for bytes, so kept as float."""
    return torch.stack([torch.lerp(a.float(), b.float(), t) for a, b, t in items])


def levels(chunks: list[Tensor], timing: Timing, **more) -> list[float]:
    """The level of every frame that comes out."""
    made = convert_rate(iter(chunks), timing, blend, sensitivity=0, **more)
    return [frame[0, 0, 0].item() for chunk in made for frame in chunk]


@pytest.mark.parametrize(("source", "target"), RATES)
def test_every_frame_shows_its_own_time(source, target):
    """Frames that say when they were taken come out saying when they are shown."""
    made = levels(ramped(11), Timing(source, target))
    assert made == pytest.approx([min(10, float(j * source / target)) for j in range(len(made))])


@given(source=rates, target=rates, frames=st.integers(1, 500))
def test_the_duration_stays_to_half_a_frame(source, target, frames):
    made = Timing(source, target).frames(frames)
    off = abs(made - frames * target / source)
    assert off <= Fraction(1, 2) or (off < 1 and 2 * target <= source)
    if (frames * target / source).denominator == 1:
        assert made / target == frames / source


@given(source=rates, target=rates, frames=st.integers(1, 500))
def test_without_holding_it_ends_with_the_last_frame(source, target, frames):
    timing = Timing(source, target, hold=False)
    made = timing.frames(frames)
    assert timing.position(made - 1) <= frames - 1 < timing.position(made)


@given(source=slow, target=slow, frames=st.integers(1, 7), hold=st.booleans())
def test_as_many_come_out_as_were_announced(source, target, frames, hold):
    timing, tally = Timing(source, target, hold=hold), Tally()
    made = levels(ramped(frames), timing, tally=tally)
    assert len(made) == tally.frames == timing.frames(frames)
    assert tally.sources == frames
    assert tally.drawn == sum(level != int(level) for level in made)


def test_an_hour_later_nothing_has_drifted():
    timing = Timing(NTSC_24, NTSC_60)
    assert timing.position(5 * 43200) == 2 * 43200
    assert timing.frames(2 * 43200) == 5 * 43200


def test_known_counts():
    """17 frames at 8: 49 from the first to the last at 24, and 2 more for the last one's time."""
    assert Timing(Fraction(8), Fraction(24)).frames(17) == 51
    assert Timing(Fraction(8), Fraction(24), hold=False).frames(17) == 49


@pytest.mark.parametrize(("size", "batch"), [(1, 1), (3, 2), (11, 5), (4, 100)])
def test_chunks_and_batches_change_nothing(size, batch):
    timing = Timing(Fraction(8), Fraction(20))
    chunks = list(torch.cat(ramped(11)).split(size))
    assert levels(chunks, timing, batch=batch) == levels(ramped(11), timing)


def test_the_sources_own_frames_are_untouched():
    frames = clips(1, 7, 8, 3)[0]
    draw = TiledInterpolator(lambda pairs, times: pairs.mean(1), multiple=1)
    made = torch.cat(list(convert_rate([frames], Timing(Fraction(8), Fraction(24)), draw)))
    assert torch.equal(made[::3], frames)


def test_what_a_loop_ends_with_leads_back():
    made = levels(ramped(3), Timing(Fraction(2), Fraction(4), loop=True))
    assert made == [0, 0.5, 1, 1.5, 2, 1]


def test_frames_that_are_the_same_need_no_drawing():
    tally = Tally()
    still = [torch.zeros(7, 3, 5, 3, dtype=torch.uint8)]
    assert levels(still, Timing(Fraction(8), Fraction(24)), tally=tally) == [0] * 21
    assert tally.drawn == 0


def test_nothing_is_drawn_across_twenty_cuts():
    shots, drawn = clips(21, 5, 8, 3), []
    where = {frame.numpy().tobytes(): n for n, shot in enumerate(shots) for frame in shot}

    def draw(items):
        drawn.extend(items)
        return torch.stack([item.first for item in items])

    tally, timing = Tally(), Timing(Fraction(8), Fraction(24))
    made = torch.cat(list(convert_rate([shots.flatten(0, 1)], timing, draw, tally=tally)))
    pairs = [(where[a.numpy().tobytes()], where[b.numpy().tobytes()]) for a, b, _ in drawn]
    assert [(one, other) for one, other in pairs if one != other] == []
    assert tally.cuts == 20
    assert len(made) == 3 * 105
    for n in range(1, 21):  # the last frame before a cut stays until it
        assert torch.equal(made[15 * n - 3 : 15 * n], shots[n - 1, -1].expand(3, -1, -1, -1))


def test_a_loop_whose_ends_do_not_meet_is_not_blended():
    ends, tally = clips(2, 7, 8, 3)[:, 0], Tally()
    timing = Timing(Fraction(1), Fraction(3), loop=True)
    made = torch.cat(list(convert_rate([ends], timing, blend, tally=tally)))
    assert tally.cuts == 2
    assert tally.drawn == 0
    assert torch.equal(made, ends.repeat_interleave(3, 0))


def test_few_frames_are_held_however_long_the_clip():
    alive, most = weakref.WeakSet(), 0

    def source():
        for n in range(97):
            chunk = torch.full((1, 3, 5, 3), n, dtype=torch.uint8)
            alive.add(chunk)
            yield chunk
            del chunk

    stream = convert_rate(source(), Timing(Fraction(24), Fraction(60)), blend, batch=3)
    for _ in stream:
        most = max(most, len(alive))
    assert most <= CHUNK + 8


def test_nothing_in_nothing_out():
    assert list(convert_rate([], Timing(Fraction(8), Fraction(24)), blend)) == []


@pytest.mark.parametrize("rate", [Fraction(0), Fraction(-1), Fraction(1001)])
def test_rates_that_make_no_sense_are_named(rate):
    with pytest.raises(InputError, match="frames per second: it must be above 0"):
        Timing(Fraction(8), rate)


def test_a_multiplier_is_exact():
    assert target_rate(NTSC_24, None, 2.5) == NTSC_60
    assert target_rate(Fraction(24), None, 1.1) == Fraction(264, 10)
    assert target_rate(Fraction(24), Fraction(25), 2) == 25


def pair(height: int, width: int, time: float = 0.25) -> Inbetween:
    rng = torch.Generator().manual_seed(0)
    first, second = torch.randint(0, 256, (2, height, width, 3), generator=rng).byte()
    return Inbetween(first, second, time)


def weighted(pairs: Tensor, times: Tensor) -> Tensor:
    """Blending as a network."""
    assert pairs.shape[-2] % 8 == pairs.shape[-1] % 8 == 0
    return torch.lerp(pairs[:, 0], pairs[:, 1], times.view(-1, 1, 1, 1))


@pytest.mark.parametrize("size", [(8, 16), (13, 29), (1, 1)])
@pytest.mark.parametrize("tile", [None, 8, 11])
def test_any_size_and_any_tiles_give_the_frame(size, tile):
    one, other = pair(*size), pair(*size, time=0.75)
    made = TiledInterpolator(weighted, multiple=8, tile=tile, overlap=3)([one, other])
    for item, frame in zip((one, other), made, strict=True):
        expected = torch.lerp(item.first.float(), item.second.float(), item.time)
        assert (frame - expected).abs().max() <= 0.51
        assert frame.dtype == torch.uint8


def test_padding_goes_on_with_the_border():
    seen = []

    def look(pairs, times):
        seen.append(pairs)
        return pairs[:, 0]

    item = pair(5, 7)
    TiledInterpolator(look, multiple=8)([item])
    (pairs,) = seen
    assert torch.equal(pairs[0, 0, :, 4, :7] * 255, item.first[4].T.float())
    assert torch.equal(pairs[0, 0, :, 7, :7], pairs[0, 0, :, 4, :7])
    assert torch.equal(pairs[0, 0, :, :, 7], pairs[0, 0, :, :, 6])


@given(length=st.integers(1, 999), tile=st.integers(8, 300), overlap=st.integers(1, 7))
def test_tiles_cover_everything_and_overlap(length, tile, overlap):
    found = tile_spans(length, tile, overlap)
    assert found[0].start == 0
    assert found[-1].stop == length
    assert all(span.stop - span.start <= tile for span in found)
    assert all(b.start <= a.stop - overlap for a, b in pairwise(found))
    total = torch.zeros(length)
    for span in found:
        assert blend_weights(span, length, overlap).min() > 0
        total[span] += blend_weights(span, length, overlap)
    assert total.min() > 0


def test_a_broken_network_is_no_black_frame():
    with pytest.raises(NotFiniteError, match="NaN or infinite"):
        TiledInterpolator(lambda pairs, times: pairs[:, 0] / 0 * 0, multiple=8)([pair(8, 8)])


@pytest.mark.parametrize("hold", [True, False])
def test_a_loop_lasts_as_long_however_it_is_to_end(hold):
    """Its last frame leads back to the first, so there is something to draw up to the end."""
    assert Timing(Fraction(8), Fraction(24), loop=True, hold=hold).frames(17) == 51
    assert Timing(Fraction(8), Fraction(24), hold=hold).frames(17) == (51 if hold else 49)


def test_cancel_is_looked_at_between_frames_and_parts_of_large_ones(monkeypatch):
    monkeypatch.setattr(bands, "BYTES", 2**8)
    chunk, looks = torch.randint(0, 256, (4, 32, 48, 3), dtype=torch.uint8), []
    draw = TiledInterpolator(lambda pairs, times: pairs.mean(1), 16, tile=32, overlap=8)
    with bands.stoppable(lambda: looks.append(1)):
        timing = Timing(Fraction(8), Fraction(16))
        stream = convert_rate([chunk], timing, draw, sensitivity=0)
        frames = torch.cat(list(stream))
    assert len(frames) == timing.frames(4)
    assert len(looks) > 4 * 32
