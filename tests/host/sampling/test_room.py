"""What memory cannot hold is refused before the first step, with what would fit; the rest ends soon
after Cancel."""

import pytest
import torch

from longtake.engine.canvas.noise import WindowNoise
from longtake.engine.take import beats
from longtake.models.errors import InputError
from tests.host.runs import prompt, sample

LEVELS = torch.tensor([1.0, 0.5, 0.0])


class Pressed(Exception):
    """In the place of Cancel."""


def pressed():
    raise Pressed


@pytest.fixture
def gigabyte(pack, monkeypatch):
    """A computer with so much memory in all."""
    import comfy.model_management as mm

    monkeypatch.setattr(mm, "get_total_memory", lambda *_, **__: 1e9)
    monkeypatch.setattr(mm, "load_models_gpu", lambda *_, **__: pytest.fail("weights are moved"))


def test_more_frames_than_there_are_positions_are_refused(pack, model):
    from longtake.host.sampling.room import check_step

    check_step(model, (1, 6, 1024, 8, 8), 3.0)
    with pytest.raises(InputError, match="1025 latent frames at a time: models know 1024.*Long T"):
        check_step(model, (1, 6, 1025, 8, 8), 3.0)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((1, 6, 1000, 512, 512), "latent frames of this size"), ((1, 6, 1, 8192, 8192), "×")],
)
def test_a_step_that_cannot_be_done_is_refused_with_what_fits(pack, model, gigabyte, shape, fits):
    latent = {"samples": torch.zeros(1).expand(shape)}  # terabytes, were they there
    both = prompt(model, 1), prompt(model, 2)
    with pytest.raises(InputError, match=f"GB of memory, and there are 1: at most .*{fits}"):
        sample(pack, model, *both, latent, LEVELS, seed=3, cfg=3.0)


def test_what_is_said_to_fit_does(pack, model, gigabyte):
    from longtake.host.sampling.room import check_step

    with pytest.raises(InputError) as refused:
        check_step(model, (1, 6, 1000, 256, 256), 3.0)
    frames = int(str(refused.value).partition("at most ")[2].split()[0])
    check_step(model, (1, 6, frames, 256, 256), 3.0)
    with pytest.raises(InputError):
        check_step(model, (1, 6, frames + 1, 256, 256), 3.0)


def test_frames_too_large_for_the_vae_are_refused(pack, vae, gigabyte):
    from longtake.host.networks.vae import check_decoding, check_encoding, decode_frames, grid_of

    channels = grid_of(vae).channels
    with pytest.raises(InputError, match=r"choose a size up to \d+×\d+, or decode .* \(Tiled\)"):
        check_decoding(vae, (1, channels, 1, 4096, 4096))
    with pytest.raises(InputError, match=r"encoding frames of 8192×4608 .* choose a size up to"):
        check_encoding(vae, 4608, 8192)
    with pytest.raises(InputError, match="frames of .* in memory at once need .* Decode"):
        decode_frames(vae, torch.zeros(1).expand(1, channels, 100_000, 8, 8))


def test_long_attention_looks_for_cancel_and_gives_the_same(pack, monkeypatch):
    from longtake.host.networks import forward
    from longtake.models.attention import sdpa

    q, k, v = torch.randn(3, 2, 3, 701, 8)
    whole = forward.in_pieces(sdpa, q, k, v)
    monkeypatch.setattr(forward, "AT_A_TIME", 1)
    torch.testing.assert_close(forward.in_pieces(sdpa, q, k, v), whole)
    monkeypatch.setattr(forward, "check_cancelled", pressed)
    with pytest.raises(Pressed):
        forward.in_pieces(sdpa, q, k, v)


def test_noise_and_beats_look_for_cancel():
    with pytest.raises(Pressed):
        WindowNoise([(1, 0)], (2, 3, 5)).drawn(check=pressed)
    with pytest.raises(Pressed):
        beats.rhythm(torch.zeros(1, 9000).numpy(), 44_100, pressed)


def test_a_minute_at_a_time_is_the_same_sound(monkeypatch):
    wave = torch.randn(2, 5 * 44_100, generator=torch.Generator().manual_seed(1)).numpy()
    whole = beats.mono(wave, 44_100)
    monkeypatch.setattr(beats, "PIECE", 1009)
    assert (beats.mono(wave, 44_100) == whole).all()


def test_levels_for_each_token_take_more_and_less_fits(pack, model, gigabyte):
    from longtake.host.sampling.room import check_step

    shape = (1, 6, 1000, 256, 256)
    fitting = []
    for regions in (False, True):
        with pytest.raises(InputError) as refused:
            check_step(model, shape, 3.0, regions=regions)
        fitting.append(int(str(refused.value).partition("at most ")[2].split()[0]))
    assert fitting[1] < fitting[0]
