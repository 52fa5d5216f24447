"""What is left behind when a video cannot be decoded: nothing."""

from fractions import Fraction

import pytest

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
