import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.regions import Area, KeptPixels, Pictures
from longtake.engine.frames.composite import composited, over

FRAMES, H, W = 11, 3, 5


def kept(generator) -> KeptPixels:
    pictures = torch.randint(0, 256, (FRAMES, H, W, 3), dtype=torch.uint8, generator=generator)
    alpha = torch.randint(0, 256, (FRAMES, H, W), dtype=torch.uint8, generator=generator)
    alpha[:, 0], alpha[:, 1] = 0, 255
    return KeptPixels(Pictures(pictures), (Area(alpha, range(FRAMES)),), FRAMES)


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=9), first=st.integers(0, 4))
def test_whatever_the_chunks_it_is_all_at_once(sizes, first):
    generator = torch.Generator().manual_seed(3)
    of = kept(generator)
    frames = torch.randint(0, 256, (sum(sizes), H, W, 3), dtype=torch.uint8, generator=generator)
    made = torch.cat(list(composited(frames.split(sizes), of, iter, first)))
    there = min(len(frames), FRAMES - first)
    pictures, alpha = of.backdrop.pictures[first:], of.areas[0].alpha[first:]
    assert torch.equal(made[:there, 0], pictures[:there, 0])
    assert torch.equal(made[:, 1], frames[:, 1])
    assert torch.equal(made[there:], frames[there:])
    share = alpha[:there, :, :, None].double() / 255
    slowly = pictures[:there].double() * (1 - share) + frames[:there].double() * share
    assert (made[:there].double() - slowly).abs().max() <= 0.5 + 1e-3


def test_floats_stay_floats():
    of = kept(torch.Generator().manual_seed(3))
    frames = torch.rand(FRAMES, H, W, 3)
    made = over(frames, of.backdrop.pictures, of.areas[0].alpha)
    assert torch.equal(made[:, 0], of.backdrop.pictures[:, 0].float() / 255)
    assert torch.equal(made[:, 1], frames[:, 1])


def test_without_anything_kept_the_stream_is_as_it_was():
    chunk = torch.zeros(2, H, W, 3)
    assert next(composited([chunk], None, iter)) is chunk
