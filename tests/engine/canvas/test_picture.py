"""Pictures of any shape on a canvas of another."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.canvas.picture import FITS, fit_in_words, fitted


def flat(h: int, w: int, *colour: float) -> torch.Tensor:
    return torch.tensor(colour).expand(2, h, w, len(colour)).clone()


@given(
    h=st.integers(1, 40), w=st.integers(1, 40), height=st.integers(1, 40),
    width=st.integers(1, 40), how=st.sampled_from(FITS),
)  # fmt: skip
def test_it_has_the_size_of_the_canvas(h, w, height, width, how):
    out = fitted(flat(h, w, 0.2, 0.4, 0.6), height, width, how)
    assert out.shape == (2, height, width, 3)
    assert out.min() >= 0
    assert out.max() <= 0.6 + 1e-3
    if how != "pad":
        assert (out - torch.tensor([0.2, 0.4, 0.6])).abs().max() < 1e-3
    assert bool(fit_in_words((h, w), height, width, how)) == ((h, w) != (height, width))


def test_the_same_size_is_the_same_to_the_bit():
    picture = torch.rand(1, 7, 11, 3)
    assert torch.equal(fitted(picture, 7, 11, "crop"), picture)


def test_crop_keeps_the_middle():
    picture = torch.zeros(1, 10, 30, 3)
    picture[:, :, 10:20] = 1
    assert fitted(picture, 20, 20, "crop").mean() > 0.95
    assert "67 % cut off" in fit_in_words((10, 30), 20, 20, "crop")


def test_pad_shows_all_of_it_between_bars():
    out = fitted(flat(10, 30, 1.0, 1.0, 1.0), 30, 30, "pad")
    assert out[:, :10].abs().max() == out[:, 20:].abs().max() == 0
    assert out[:, 10:20].min() > 0.99
    assert fit_in_words((10, 30), 30, 30, "pad") == "30×10 scaled to 30×30 with bars of 10 px"


def test_stretch_loses_nothing():
    picture = torch.zeros(1, 10, 30, 3)
    picture[:, :, :15] = 1
    assert abs(fitted(picture, 30, 30, "stretch").mean() - 0.5) < 0.01
