"""What is left behind when a video cannot be decoded: nothing."""

from fractions import Fraction

import pytest
import torch

from longtake.models.errors import OutputError
from tests.host.video.conftest import files


def test_cancel_leaves_no_file(decode, vae, latents, comfyui):
    import comfy.model_management as mm

    temp = comfyui.base / "temp"
    before = files(temp)
    mm.interrupt_current_processing(True)
    with pytest.raises(mm.InterruptProcessingException):
        decode(vae, latents, Fraction(8))
    assert {file for file in files(temp) - before if file.is_file()} == set()


def test_cancel_does_not_wait_for_the_piece(decode, vae, latents, comfyui):
    """At the size of real videos a piece takes seconds."""
    import comfy.model_management as mm

    temp, ran = comfyui.base / "temp", []
    before = files(temp)
    network = vae.first_stage_model.decoder
    hooks = [
        network.middle[0].register_forward_hook(lambda *_: mm.interrupt_current_processing(True)),
        network.middle[1].register_forward_hook(lambda *_: ran.append("the next layer")),
    ]
    with pytest.raises(mm.InterruptProcessingException):
        decode(vae, latents, Fraction(8))
    for hook in hooks:
        hook.remove()
    assert not ran
    assert {file for file in files(temp) - before if file.is_file()} == set()
    assert decode(vae, latents, Fraction(8)).get_dimensions()


def test_a_full_disk_is_found_before_anything_is_decoded(decode, vae, latents, monkeypatch):
    class Full:
        free = 0

    monkeypatch.setattr("longtake.engine.container.publish.shutil.disk_usage", lambda _: Full)
    monkeypatch.setattr("longtake.host.video.decode.VideoDecoder.frames", None)
    with pytest.raises(OutputError, match="has 0 MiB free"):
        decode(vae, latents, Fraction(8))


def test_so_is_one_before_anything_is_interpolated(pack, monkeypatch):
    from longtake.host.video.footage import footage_of
    from longtake.host.video.interpolate import InterpolateOptions, interpolate_video

    class Full:
        free = 0

    footage = footage_of(torch.zeros(3, 16, 16, 3), Fraction(8))
    monkeypatch.setattr("longtake.engine.container.publish.shutil.disk_usage", lambda _: Full)
    with pytest.raises(OutputError, match="has 0 MiB free"):
        interpolate_video(footage, None, InterpolateOptions(None), images=False)
