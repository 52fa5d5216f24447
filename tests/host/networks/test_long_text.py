"""Texts that no model reads: told before they are encoded; and Cancel while one is."""

import importlib
import time
from fractions import Fraction

import pytest
import torch

from longtake.engine.take.storyboard import Shot, StoryboardError
from longtake.models.errors import InputError


@pytest.fixture
def boards(comfyui):
    return importlib.import_module("longtake.host.take.storyboards")


@pytest.fixture
def encoded(clip, monkeypatch):
    """What the encoder is given: tokens of each text."""
    given, real = [], clip.encode_from_tokens_scheduled

    def encode(tokens, *args, **kwargs):
        given.append(max(len(batch) for part in tokens.values() for batch in part))
        return real(tokens, *args, **kwargs)

    monkeypatch.setattr(clip, "encode_from_tokens_scheduled", encode)
    return given


def board(boards, clip, prompts):
    shots = tuple(Shot(Fraction(i), text, where=f"line {i + 1}") for i, text in enumerate(prompts))
    return boards.board_of(clip, shots, Fraction(len(shots) + 1), Fraction(8), meet=1.0, snap=0.0)


def test_a_text_longer_than_any_model_reads_is_not_encoded(pack, clip, encoded):
    with pytest.raises(InputError, match=r"the text is \d+,\d+ tokens long: .* at most 2,048"):
        pack.text_encoder.tokenized(clip, "a " * 9_000)
    tokens = pack.text_encoder.tokenized(clip, "a red ball " * 150)
    assert pack.text_encoder.encode_text(clip, tokens)
    assert len(encoded) == 1


def test_padding_is_no_text(pack, clip):
    assert pack.text_encoder.tokens_in(clip.tokenize("a red ball")) < 16
    assert pack.text_encoder.tokens_in({"l": [[(5, 1.0), (7, 1.0)], [(torch.ones(3), 1.0)]]}) == 2


@pytest.mark.parametrize("text", ["(" * 5000, "(" * 5000 + ")" * 5000, "a (b " * 40])
def test_brackets_in_brackets_are_not_taken_apart_for_minutes(pack, clip, text):
    started = time.perf_counter()
    with pytest.raises(InputError, match=r"the text has brackets \d+ deep"):
        pack.text_encoder.tokenized(clip, text)
    assert time.perf_counter() - started < 1
    pack.text_encoder.tokenized(clip, "((a (red:1.3) ball)) " + "\\(" * 50 + "() " * 50)


@pytest.mark.parametrize("text", ["a " * 9_000, "a " * 10_001, "(" * 100])
def test_each_shot_has_its_limit_and_none_is_encoded_before_all_are_known(
    boards, clip, encoded, text
):
    with pytest.raises(StoryboardError, match=r"^line 3: "):
        board(boards, clip, ["a ball", "a cube", text])
    assert not encoded


def test_the_sentence_for_all_shots_stays_as_long_as_a_model_reads(boards, clip, encoded):
    """300 shots of twenty words used to take more than 7 GB."""
    words = "a big red ball rolls over the grass at sunset while a blue cube spins in the snow"
    board(boards, clip, [f"{words} {i}" for i in range(300)])
    assert len(encoded) == 301
    assert max(encoded) <= 1100
    assert encoded[-1] > 256


def test_of_a_few_shots_it_is_all_of_them(boards, clip, encoded):
    prompts = ["a red ball", "a blue cube", "a cone"]
    made, _ = board(boards, clip, prompts)
    whole = clip.encode_from_tokens_scheduled(clip.tokenize(", then cut to ".join(prompts)))
    assert torch.equal(made.joint[0][0], boards.as_one(whole)[0][0])
    alone, _ = board(boards, clip, ["a red ball"])
    assert alone.joint is alone.prompts[0]  # nothing is encoded twice


def test_cancel_ends_encoding_between_two_layers(pack, clip):
    import comfy.model_management as mm
    from comfy.text_encoders.t5 import T5LayerFF

    ran = []
    layers = [m for m in clip.cond_stage_model.modules() if isinstance(m, T5LayerFF)]
    hooks = [
        layer.register_forward_hook(
            lambda *_: (ran.append(1), mm.interrupt_current_processing(True))
        )
        for layer in layers
    ]
    try:
        with pytest.raises(mm.InterruptProcessingException):
            pack.text_encoder.encode_text(clip, pack.text_encoder.tokenized(clip, "a red ball"))
    finally:
        mm.interrupt_current_processing(False)
        for hook in hooks:
            hook.remove()
    assert len(layers) > 1
    assert len(ran) == 1
