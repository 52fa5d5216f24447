"""Text encoders that write, as core has them, and those that cannot."""

import importlib
import time
from types import SimpleNamespace

import pytest

from longtake.models.errors import InputError
from tests.host_models.writer import Answers, Speaker, tiny_writer


@pytest.fixture
def writer(comfyui):
    return importlib.import_module("longtake.host.words.writer")


@pytest.fixture
def tiny(comfyui):
    import comfy.sd

    if not hasattr(comfy.sd.CLIP, "generate"):
        pytest.skip("this ComfyUI has no text encoders that write")
    return tiny_writer()


def test_the_same_seed_writes_the_same_and_greedily_any_seed_does(writer, tiny):
    ask = ("Write.", "a red ball", 12)
    first, again, other = (writer.writer_for(tiny, seed, 1.5)(*ask) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    greedy = {writer.writer_for(tiny, seed, 0.0)(*ask) for seed in (1, 2)}
    assert len(greedy) == 1


def test_cancel_is_seen_between_words(writer, tiny, monkeypatch):
    import comfy.model_management as mm

    write = writer.writer_for(tiny, 1, 1.0)
    write("Write.", "a ball", 1)  # loads it
    begun, seen = time.monotonic(), []

    def pressed():
        seen.append(time.monotonic())
        if len(seen) == 30:
            raise mm.InterruptProcessingException

    monkeypatch.setattr(mm, "throw_exception_if_processing_interrupted", pressed)
    with pytest.raises(mm.InterruptProcessingException):
        write("Write.", "a ball", 5000)
    assert time.monotonic() - begun < 20
    assert len(seen) == 30


def test_a_clip_that_only_reads_is_told_what_writes(writer, comfyui, pack, monkeypatch):
    import comfy.sd

    monkeypatch.setattr(comfy.sd.CLIP, "generate", lambda *_: None, raising=False)
    reads = pack.load.load_text_encoder("nano (built in)")
    with pytest.raises(InputError, match="only reads: connect one that writes .*Gemma"):
        writer.check_writes(reads)


def test_a_clip_that_was_cut_down_is_refused(writer):
    cut = Answers()
    cut.cond_stage_model.model = SimpleNamespace(config=SimpleNamespace(final_norm=False))
    with pytest.raises(InputError, match="cut down to reading, as MiniMax H3's is"):
        writer.check_writes(cut)
    headless = Answers()
    headless.cond_stage_model = type("Qwen25_7BVLI", (Speaker,), {})()
    with pytest.raises(InputError, match="cut down to reading"):
        writer.check_writes(headless)
    writer.check_writes(Answers())


def test_an_older_host_is_told_as_that(writer, monkeypatch):
    import comfy.sd

    monkeypatch.delattr(comfy.sd.CLIP, "generate", raising=False)
    with pytest.raises(InputError, match="no text encoder that writes: update it"):
        writer.check_writes(SimpleNamespace())
