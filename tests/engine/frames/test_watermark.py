"""The invisible mark: hardly there, still there after what people do to videos, and else not."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.frames.watermark import (
    PRESENT,
    describe_mark,
    embed_mark,
    find_mark,
    weakness,
)
from longtake.engine.media.writer import write_video
from longtake.models.errors import InputError
from tests.engine.clips import reencoded

ID = 0x5A17C3


def scene(height: int = 358, width: int = 634, frames: int = 7, seed: int = 3) -> torch.Tensor:
    """A smooth landscape that moves by a few pixels: (f, h, w, 3) uint8."""
    random = torch.Generator().manual_seed(seed)
    size = (height + 3 * frames, width + 3 * frames)
    land = torch.zeros(1, 3, *size)
    for grain in (8, 16, 32, 64, 128):
        coarse = torch.randn(1, 3, size[0] // grain + 2, size[1] // grain + 2, generator=random)
        land += grain**0.7 * F.interpolate(coarse, size, mode="bicubic")
    land = (land / land.std() * 45 + 120).clamp(0, 255).to(torch.uint8)[0]
    pieces = [land[:, 3 * n : 3 * n + height, 2 * n : 2 * n + width] for n in range(frames)]
    return torch.stack(pieces).movedim(1, 3).contiguous()


def mark(frames: torch.Tensor) -> torch.Tensor:
    return torch.cat(list(embed_mark(frames.split(3), ID)))


def scaled(frames: torch.Tensor, by: float) -> torch.Tensor:
    size = [int(side * by) // 2 * 2 for side in frames.shape[1:3]]
    small = F.interpolate(frames.movedim(3, 1).float(), size, mode="bicubic", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8).movedim(1, 3).contiguous()


def cropped(frames: torch.Tensor) -> torch.Tensor:
    return frames[:, 18:340, 31:603].contiguous()


@pytest.fixture(scope="module")
def plain():
    return scene()


@pytest.fixture(scope="module")
def with_mark(plain):
    return mark(plain)


def test_it_is_hardly_there(plain, with_mark):
    error = (with_mark.float() - plain.float()).square().mean()
    assert 10 * torch.log10(255**2 / error) > 44  # dB
    assert (with_mark.int() - plain.int()).abs().max() <= 4


def test_frames_keep_their_number_shape_and_order(plain):
    chunks = list(embed_mark(plain.split(3), ID))
    assert [len(chunk) for chunk in chunks] == [3, 3, 1]
    assert torch.equal(torch.cat(chunks), torch.cat(list(embed_mark(plain.split(1), ID))))


def test_it_is_read_back(with_mark):
    found = find_mark([with_mark])
    assert found.present
    assert (found.id, found.flipped) == (ID, False)
    assert found.scale == pytest.approx(1, rel=0.005)
    assert f"id {ID:06x}" in describe_mark(found)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda v: reencoded(v, 23), id="crf 23"),
        pytest.param(lambda v: scaled(v, 0.5), id="half the size"),
        pytest.param(lambda v: reencoded(cropped(v), 20), id="a tenth cropped"),
        pytest.param(lambda v: v.flip(2), id="mirrored"),
        pytest.param(lambda v: (v * 0.8).to(torch.uint8), id="darker"),
    ],
)
def test_it_outlasts(with_mark, change):
    found = find_mark([change(with_mark)])
    assert found.z >= PRESENT
    assert found.id == ID


def test_it_outlasts_an_encoder_in_small_frames_too():
    """Those of the built-in model."""
    assert find_mark([reencoded(mark(scene(128, 128, 17)), 23)]).present


def test_in_frames_that_are_small_it_outlasts_strong_compression_or_says_that_it_cannot():
    assert find_mark([reencoded(mark(scene(192, 192, 17)), 28)]).present
    assert weakness(192, 400) == ""
    lost = find_mark([reencoded(mark(scene(128, 128, 5)), 36)])
    assert not lost.present
    assert "strong compression" in describe_mark(lost)
    assert "strong compression" in weakness(128, 128)


def test_it_is_found_in_frames_that_the_detector_makes_smaller():
    """From 1,440 pixels on, whose cells have 16 of them."""
    found = find_mark([mark(scaled(scene(360, 480, 1), 4.0))])
    assert found.id == ID
    assert found.z > 2 * PRESENT


@pytest.mark.parametrize("seed", [5, 7])
def test_there_is_none_where_none_was_put(seed):
    found = find_mark([scene(238, 422, 3, seed)])
    assert found.z < PRESENT - 1
    assert found.id is None
    assert describe_mark(found).startswith("No mark found")


@pytest.mark.parametrize("shade", [0, 127, 255])
def test_flat_pictures_have_none(shade):
    flat = torch.full((2, 130, 170, 3), shade, dtype=torch.uint8)
    assert not find_mark([flat]).present


def test_a_mark_stays_within_what_a_byte_holds():
    edges = torch.tensor([0, 255], dtype=torch.uint8).repeat_interleave(60)
    frames = edges[:, None].expand(1, 120, 96)[..., None].expand(-1, -1, -1, 3)
    (out,) = embed_mark([frames.contiguous()], ID)
    assert out.min() == 0
    assert out.max() == 255


@given(wrong=st.one_of(st.integers(max_value=-1), st.integers(min_value=2**24)))
def test_an_id_too_long_is_refused(wrong):
    with pytest.raises(InputError, match="24 bits"):
        next(embed_mark([torch.zeros(1, 2, 2, 3, dtype=torch.uint8)], wrong))


def test_no_frames_are_reported():
    with pytest.raises(InputError, match="no frames"):
        find_mark([])


def test_it_is_a_stage_in_front_of_the_encoder(tmp_path):
    frames = scene(238, 422, 5)
    write_video(tmp_path / "x.mp4", embed_mark(frames.split(2), ID), Fraction(8))
    with av.open(tmp_path / "x.mp4") as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert find_mark([torch.from_numpy(np.stack(shown))]).id == ID
