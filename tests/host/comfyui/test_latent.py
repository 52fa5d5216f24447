"""LATENT <-> canvas."""

import dataclasses
from fractions import Fraction

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.engine.canvas.guidance import Guidance
from longtake.engine.canvas.known import Pins
from longtake.engine.canvas.masked import MaskedLatents
from longtake.engine.canvas.plan import Window
from longtake.engine.canvas.regions import Area, KeptPixels
from longtake.models.errors import InputError, NotFiniteError

T, H, W = 3, 5, 7


def latents():
    return torch.arange(2 * T * H * W, dtype=torch.float32).reshape(1, 2, T, H, W)


def known(*frames) -> MaskedLatents:
    """The latents above, of which some frames are known."""
    return MaskedLatents(latents()).with_known({k: latents()[:, :, k : k + 1] for k in frames})


def test_there_and_back(pack):
    canvas = Canvas(known(0, 2), fps=Fraction(8), skip=5)
    latent = pack.latent.to_latent(canvas)

    assert latent["noise_mask"].shape == (1, 1, T, 1, 1)
    assert latent["noise_mask"].flatten().tolist() == [0, 1, 0]
    assert latent["longtake"] == {"fps": 8, "skip": 5}
    back = pack.latent.to_canvas(latent)
    assert torch.equal(back.video.latents, canvas.video.latents)
    assert back.video.known == [0, 2]
    assert (back.fps, back.skip, back.plan, back.strength, back.pins) == (8, 5, (), None, None)


@pytest.mark.parametrize("cell", [8, 16])
def test_every_fact_travels(pack, cell):
    """Without a VAE nobody knows how many pixels a cell of the latents is: nothing is doubted."""
    area = Area(torch.zeros(1, cell * H, cell * W, dtype=torch.uint8), range(9))
    facts = {
        "fps": Fraction(8),
        "pins": Pins(None),
        "guidance": Guidance(None),
        "plan": (Window((0, 1)), Window((1, 2), context=1)),
        "skip": 5,
        "strength": 0.5,
        "noise": 0.25,
        "kept": KeptPixels(None, (area,), frames=9),
    }
    canvas = Canvas(known(0), **facts, notes=("seen",))
    back = pack.latent.to_canvas(pack.latent.to_latent(canvas))
    assert {name: getattr(back, name) for name in pack.latent.FACTS} == facts
    assert back.notes == ()
    fields = {field.name for field in dataclasses.fields(Canvas)}
    assert fields == {"video", "sound", "codec", "notes", *pack.latent.FACTS}


def test_core_reads_the_mask_as_it_is(pack):
    import comfy.utils

    latent = pack.latent.to_latent(Canvas(known(0, 2)))
    seen = comfy.utils.reshape_mask(latent["noise_mask"], (1, 2, T, H, W))
    assert torch.equal(seen, latent["noise_mask"].expand(1, 2, T, H, W))


def test_nothing_known_needs_no_mask(pack):
    latent = pack.latent.to_latent(Canvas(MaskedLatents(latents())))
    assert "noise_mask" not in latent
    assert pack.latent.to_canvas(latent).video.known == []


def test_what_other_nodes_wrote_stays(pack):
    mine = {"samples": latents(), "batch_index": [3], "longtake": {"fps": Fraction(8)}}
    canvas = pack.latent.to_canvas(mine)
    assert pack.latent.to_latent(canvas, mine) == {**mine, "samples": canvas.video.latents}
    other = {**mine, "samples": latents() + 1}
    assert (other["batch_index"], other["longtake"]) == ([3], {"fps": 8})


def test_a_mask_that_does_not_matter_is_not_looked_at(pack):
    broken = {"samples": latents(), "noise_mask": torch.full((7, 3, 3), torch.nan)}
    assert pack.latent.to_canvas(broken, masked=False).video.mask is None


def test_a_frame_kept_in_part_is_not_known(pack):
    mask = torch.zeros(1, 1, T, H, W)
    mask[0, 0, 1, 2, 3] = 1
    canvas = pack.latent.to_canvas({"samples": latents(), "noise_mask": mask})
    assert canvas.video.known == [0, 2]


@pytest.mark.parametrize(
    ("shape", "kept", "known"),
    [
        ((9, 40, 56), [0], [0]),  # the first latent frame is one pixel frame
        ((9, 40, 56), [1, 2, 3, 4], [1]),  # the others are four
        ((9, 40, 56), [1, 2, 3], []),
        ((9, 1, 40, 56), [0, 5, 6, 7, 8], [0, 2]),  # as core's SetLatentNoiseMask reshapes it
        ((3, 20, 20), [1], [1]),  # a mask per latent frame, of any size
        ((1, 40, 56), [0], [0, 1, 2]),
    ],
)
def test_masks_on_pixels(pack, shape, kept, known):
    mask = torch.ones(shape)
    mask[kept] = 0
    canvas = pack.latent.to_canvas({"samples": latents(), "noise_mask": mask})
    assert canvas.video.known == known


def test_a_mask_on_pixels_is_where_it_was_drawn(pack):
    mask = torch.zeros(1, 40, 56)
    mask[0, 16:24, 8:16] = 1  # latent row 2, column 1
    found = pack.latent.to_canvas({"samples": latents(), "noise_mask": mask}).video.mask
    assert found.nonzero()[:, 3:].unique(dim=0).tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("latent", "error", "words"),
    [
        ({"samples": torch.zeros(3, 5)}, InputError, r"\(3, 5\) is not a video"),
        ({"samples": torch.zeros(1, 2, 0, 5, 7)}, InputError, "is not a video"),
        ({}, InputError, "NoneType is not a video"),
        ({"samples": torch.full((1, 2, 1, 5, 7), torch.inf)}, NotFiniteError, "LATENT holds NaN"),
    ],
)
def test_latents_that_are_none(pack, latent, error, words):
    with pytest.raises(error, match=words):
        pack.latent.to_canvas(latent)


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (torch.ones(7, 40, 56), InputError, "need 1 for all of it, 9 pixel frames, or 3"),
        (torch.ones(1, 1, 2, 5, 7), InputError, r"does not fit latents"),
        (torch.ones(1, 1, 3, 4, 7), InputError, r"does not fit latents"),
        (torch.full((1, 40, 56), torch.nan), NotFiniteError, "mask"),
    ],
)
def test_masks_that_do_not_fit(pack, mask, error, words):
    with pytest.raises(error, match=words):
        pack.latent.to_canvas({"samples": latents(), "noise_mask": mask})


def test_an_image_is_a_video_of_one_frame(pack):
    canvas = pack.latent.to_canvas({"samples": torch.zeros(1, 2, H, W)})
    assert canvas.video.latents.shape == (1, 2, 1, H, W)


@pytest.mark.parametrize("frames", [1, T, 9])
def test_a_batch_has_one_mask_for_all_or_each_its_own(pack, frames):
    both = torch.cat([latents(), latents()])
    mask = torch.zeros(2, frames, H, W)
    mask[1] = 1
    canvas = pack.latent.to_canvas({"samples": both, "noise_mask": mask.flatten(0, 1)})
    assert canvas.video.mask[0].max() == 0
    assert canvas.video.mask[1].min() == 1
    one = pack.latent.to_canvas({"samples": both, "noise_mask": mask[1]})
    assert one.video.mask.shape[0] == 1
