"""LATENT <-> canvas."""

import pytest
import torch

from longtake.engine.canvas.canvas import Canvas
from longtake.models.errors import InputError, NotFiniteError

T, H, W = 3, 5, 7


def latents():
    return torch.arange(2 * T * H * W, dtype=torch.float32).reshape(1, 2, T, H, W)


def test_there_and_back(pack):
    canvas = Canvas(latents(), torch.tensor([True, False, True]))
    latent = pack.latent.to_latent(canvas, fps=8, width=56)

    assert latent["noise_mask"].shape == (1, 1, T, 1, 1)
    assert latent["noise_mask"].flatten().tolist() == [0, 1, 0]
    assert pack.latent.facts_of(latent) == {"fps": 8, "width": 56}
    back = pack.latent.to_canvas(latent)
    assert torch.equal(back.latents, canvas.latents)
    assert torch.equal(back.known, canvas.known)


def test_core_reads_the_mask_as_it_is(pack):
    import comfy.utils

    latent = pack.latent.to_latent(Canvas(latents(), torch.tensor([True, False, True])))
    seen = comfy.utils.reshape_mask(latent["noise_mask"], (1, 2, T, H, W))
    assert torch.equal(seen, latent["noise_mask"].expand(1, 2, T, H, W))


def test_nothing_known_needs_no_mask(pack):
    latent = pack.latent.to_latent(Canvas(latents(), torch.zeros(T, dtype=torch.bool)))
    assert "noise_mask" not in latent
    assert not pack.latent.to_canvas(latent).known.any()


def test_a_frame_kept_in_part_is_not_known(pack):
    mask = torch.zeros(1, 1, T, H, W)
    mask[0, 0, 1, 2, 3] = 1
    canvas = pack.latent.to_canvas({"samples": latents(), "noise_mask": mask})
    assert canvas.known.tolist() == [True, False, True]


def test_facts_are_added_to(pack):
    latent = pack.latent.with_facts({"samples": latents()}, fps=8)
    more = pack.latent.with_facts(latent, fps=16, width=56)
    assert pack.latent.facts_of(more) == {"fps": 16, "width": 56}
    assert pack.latent.facts_of(latent) == {"fps": 8}


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
    assert canvas.known.nonzero().flatten().tolist() == known


def test_a_mask_on_pixels_is_where_it_was_drawn(pack):
    mask = torch.zeros(1, 40, 56)
    mask[0, 16:24, 8:16] = 1  # latent row 2, column 1
    found = pack.latent.mask_of({"samples": latents(), "noise_mask": mask})
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
    assert canvas.latents.shape == (1, 2, 1, H, W)
