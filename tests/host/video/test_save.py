"""What is left behind when a video cannot be finished: nothing."""

import importlib
from fractions import Fraction

import pytest
import torch

from longtake.models.errors import OutputError


@pytest.fixture
def video(pack):
    return importlib.import_module("longtake.host.video.save")


@pytest.fixture
def latents():
    return torch.randn(1, 6, 3, 4, 4, generator=torch.Generator().manual_seed(5))


def files(folder) -> set:
    return set(folder.rglob("*")) if folder.is_dir() else set()


def test_cancel_leaves_no_file(video, vae, latents, comfyui):
    import comfy.model_management as mm

    temp = comfyui.base / "temp"
    before = files(temp)
    mm.interrupt_current_processing(True)
    with pytest.raises(mm.InterruptProcessingException):
        video.film(vae, latents, Fraction(8))
    assert {file for file in files(temp) - before if file.is_file()} == set()


def test_cancel_does_not_wait_for_the_piece(video, vae, latents, comfyui):
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
        video.film(vae, latents, Fraction(8))
    for hook in hooks:
        hook.remove()
    assert not ran
    assert {file for file in files(temp) - before if file.is_file()} == set()
    assert video.film(vae, latents, Fraction(8)).get_dimensions()


def test_a_part_of_the_name_that_is_a_file_is_told(video, vae, latents, comfyui):
    output = comfyui.base / "output"
    (output / "taken").write_bytes(b"")
    made = video.film(vae, latents, Fraction(8))
    before = files(output)
    with pytest.raises(OutputError, match="the file cannot be written: "):
        video.save(made, "taken/x", {})
    assert files(output) == before


def test_a_disk_that_fails_leaves_no_stub(video, vae, latents, comfyui, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    output = comfyui.base / "output"
    made = video.film(vae, latents, Fraction(8))
    before = files(output)
    monkeypatch.setattr("longtake.engine.media.publish.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        video.save(made, "stub", {})
    assert files(output) == before


def test_a_name_taken_meanwhile_is_passed_over(video, vae, latents, comfyui, monkeypatch):
    made = video.film(vae, latents, Fraction(8))
    first = video.save(made, "quick", {})
    # as if it were not there yet
    monkeypatch.setattr(
        importlib.import_module("longtake.host.comfyui.output"), "highest_number", lambda *_: 0
    )
    second = video.save(made, "quick", {})
    assert first.path.name == "quick_00001_.mp4"
    assert second.name.as_posix() == "quick_00002_.mp4"
    assert second.path.read_bytes() == first.path.read_bytes()
