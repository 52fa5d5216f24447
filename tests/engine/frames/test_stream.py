"""Frames in pieces are the frames of the whole, and do not pile up."""

import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.guidance import on_white
from longtake.engine.canvas.picture import fitted
from longtake.engine.canvas.regions import Area, KeptPixels, Pictures, Widened
from longtake.engine.frames import stream
from longtake.engine.frames.composite import composited
from longtake.engine.frames.stream import (
    ColoursSeen,
    all_frames,
    decoded_pieces,
    edges,
    frame_stream,
    image_stream,
    to_bytes,
    to_chunk,
    with_a_picture,
)
from longtake.engine.frames.watermark import embed_mark
from longtake.engine.levels import as_numbers
from longtake.engine.opaque import opaque
from longtake.models.cpu import bands
from longtake.models.errors import InputError, NoPictureError, NotFiniteError
from tests.looks import Looks

STRIDE = 3


def causal(latents, state):
    """A decoder: a running sum over the frames so far; 1 pixel frame, then STRIDE for each."""
    start = torch.zeros_like(latents[:, :, :1]) if state is None else state
    summed = start + latents.cumsum(2)
    copies = [1 if state is None and t == 0 else STRIDE for t in range(latents.shape[2])]
    pixels = summed.repeat_interleave(torch.tensor(copies), dim=2)
    return torch.sin(pixels[:, :3]), summed[:, :, -1:].clone()


@given(
    latent_frames=st.integers(1, 9),
    size=st.integers(1, 11),
    videos=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_any_pieces_give_the_whole(latent_frames, size, videos, seed):
    latents = torch.randn(
        videos, 5, latent_frames, 2, 7, generator=torch.Generator().manual_seed(seed)
    ).double()
    whole, _ = causal(latents, None)

    pieces = torch.cat(list(decoded_pieces(causal, latents.split(size, dim=2))), dim=2)
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-12)

    chunks = torch.cat(list(frame_stream(causal, latents[:1].split(size, dim=2))))
    assert torch.equal(chunks, to_bytes(whole[:1]))
    assert chunks.shape == (1 + STRIDE * (latent_frames - 1), 2, 7, 3)

    images = all_frames(causal, latents, whole.shape[2], size)
    expected = ((whole + 1) / 2).movedim(1, 4).flatten(0, 1).float()
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)


def test_levels_are_rounded_and_clamped():
    levels = torch.tensor([-9, -1, -1 + 0.9 / 255, -1 + 1.1 / 255, 0, 1 - 0.9 / 255, 1, 9])
    chunk = to_bytes(levels.view(1, 1, 1, 1, -1).expand(1, 3, 1, 1, -1))
    # 0 is half-way between 127 and 128, and goes to the even one.
    assert chunk[0, 0, :, 0].tolist() == [0, 0, 0, 1, 128, 255, 255, 255]


def test_every_byte_survives_the_way_to_pixels_and_back():
    levels = torch.arange(256)
    pixels = (levels / 127.5 - 1).bfloat16()
    assert (to_bytes(pixels.view(1, 1, 1, 1, -1)).flatten() - levels).abs().max() <= 1
    assert torch.equal(to_bytes((levels / 127.5 - 1).view(1, 1, 1, 1, -1)).flatten().int(), levels)


def test_images_are_rounded_a_few_at_a_time_and_opaque(monkeypatch):
    levels = torch.randint(0, 256, (19, 3, 5, 4), generator=torch.Generator().manual_seed(3))
    levels[..., 3] = 0
    levels[3:, ..., 3] = 255
    images = levels / 255
    images[..., :3] += 0.4 / 255
    chunks = list(image_stream(images))
    assert [len(chunk) for chunk in chunks] == [8, 8, 3]
    monkeypatch.setattr(stream, "PIXELS", 3 * 5 * 2)  # of large ones fewer: Cancel waits for them
    assert [len(chunk) for chunk in image_stream(images[:5])] == [2, 2, 1]
    assert torch.equal(torch.cat(chunks)[3:].int(), levels[3:, ..., :3].int())
    assert not torch.cat(chunks)[:3].any()  # which nothing is seen of
    assert (images[..., :3] != levels[..., :3] / 255).all()  # left alone
    with pytest.raises(NotFiniteError):
        next(image_stream(torch.full((1, 2, 2, 3), torch.nan)))


def test_the_decoders_own_tensor_is_left_alone():
    pixels = torch.linspace(-1, 1, 12).reshape(1, 3, 1, 2, 2)
    before = pixels.clone()
    to_bytes(pixels)
    all_frames(lambda latents, state: (pixels, None), torch.zeros(1, 1, 1, 1, 1), frames=1)
    assert torch.equal(pixels, before)


def test_nothing_is_decoded_before_it_is_wanted_nor_kept_after():
    made = []

    def watched(latents, state):
        pixels, state = causal(latents, state)
        made.append(weakref.ref(pixels))
        return pixels, state

    stream = frame_stream(watched, torch.randn(1, 3, 50, 2, 2).split(1, dim=2))
    assert not made
    for number, chunk in enumerate(stream, start=1):
        assert len(made) == number
        assert not any(reference() is not None for reference in made)  # bytes only
        assert chunk.untyped_storage().nbytes() == chunk.numel()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_broken_pixels_never_become_a_picture(bad):
    latents = torch.zeros(1, 3, 7, 2, 2)
    latents[:, :, 4:] = bad
    decode = lambda latents, state: (latents.expand(-1, 3, -1, -1, -1), None)  # noqa: E731

    stream = frame_stream(decode, latents.split(1, dim=2))

    assert [len(next(stream)) for _ in range(4)] == [1] * 4
    with pytest.raises(NotFiniteError, match="latent frame 4"):
        next(stream)


def test_a_batch_is_not_one_video():
    with pytest.raises(InputError, match="are 2"):
        next(frame_stream(causal, [torch.zeros(2, 3, 1, 2, 2)]))


def test_a_stream_of_one_colour_is_no_picture():
    grey = torch.full((2, 4, 6, 3), 127, dtype=torch.uint8)
    other = grey + torch.arange(3, dtype=torch.uint8)[:, None, None, None][:2]  # rounding
    with pytest.raises(NoPictureError, match="one colour, 127, 127, 127"):
        list(with_a_picture([grey, other]))
    dot = grey.clone()
    dot[1, 2, 3, 1] = 131
    for chunks in ([grey, dot], [dot, grey], [grey, grey - 4], []):
        assert list(with_a_picture(chunks)) == chunks


def test_what_is_one_colour_is_known_while_it_passes():
    colours = ColoursSeen()
    assert colours.only is None
    green = torch.tensor([1, 2, 3], dtype=torch.uint8).expand(2, 4, 6, 3)
    list(colours.seen([green[:0], green]))
    assert colours.only == (1, 2, 3)
    list(colours.seen([green + 9]))
    assert colours.only is None


# Large pictures, between whose parts they can be cancelled


def pictures(channels: int = 3) -> torch.Tensor:
    return torch.rand(1, 61, 47, channels, generator=torch.Generator().manual_seed(4))


def masked() -> KeptPixels:
    alpha = torch.randint(0, 256, (1, 61, 47), dtype=torch.uint8)
    return KeptPixels(Widened(Pictures(to_chunk(pictures()[:, 3:, 5:])), (5, 3, 0, 0)), (
        Area(alpha, range(1)),
    ), 1)  # fmt: skip


LARGE = {
    "an IMAGE's bytes": lambda: next(image_stream(pictures())),
    "what is transparent": lambda: next(image_stream(pictures(4))),
    "over white": lambda: opaque(pictures(4), over=1.0),
    "decoded": lambda: to_bytes(pictures().movedim(-1, 1)[:, :, None] * 2 - 1),
    "an IMAGE of decoded": lambda: all_frames(
        lambda z, _: (pictures().movedim(-1, 1)[:, :, None] * 2 - 1, None), torch.zeros(1, 1, 1), 1
    ),
    "bytes as numbers": lambda: as_numbers(to_chunk(pictures())),
    "colours": lambda: torch.stack(edges(pictures())),
    "made wider": lambda: next(masked().backdrop.frames(None)),
    "kept": lambda: next(composited([pictures()], masked(), None)),
    "marked": lambda: next(embed_mark([to_chunk(pictures())], 5)),
    "larger": lambda: fitted(pictures(), 97, 113, "crop"),
    "smaller": lambda: fitted(pictures(), 31, 30, "pad"),
    "a reference": lambda: on_white(pictures()[0], 61, 70),
    "a larger reference": lambda: on_white(pictures()[0], 97, 113),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_pictures_are_worked_on_in_bands_and_come_out_the_same(name, monkeypatch):
    torch.manual_seed(1)
    whole = LARGE[name]()
    monkeypatch.setattr(bands, "BYTES", 2**8)
    torch.manual_seed(1)
    with Looks() as looks, bands.stoppable(looks.look):
        banded = LARGE[name]()
    assert torch.equal(banded, whole)
    assert looks.count >= 3
