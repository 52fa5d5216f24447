"""The built-in text encoder as training uses it."""

from random import Random

import pytest
import sentencepiece
import torch

from training.shipped import WEIGHTS
from training.text import LENGTH, VOCABULARY, TextEncoder, shipped_text_encoder, train_tokenizer
from training.world.captions import all_words, caption, sample_scene


@pytest.fixture(scope="module")
def encoder():
    return shipped_text_encoder(WEIGHTS / "text_encoder.safetensors").eval()


@pytest.fixture(scope="module")
def encode(encoder):
    return torch.inference_mode()(encoder.forward)


def test_a_prompt_is_read_alike_in_any_company(encode):
    prompts = ["a red ball", "a big blue cube moves left over the sand while a small ball spins"]
    together = encode(prompts)
    for i, prompt in enumerate(prompts):
        alone = encode([prompt])[0]
        torch.testing.assert_close(together[i, : len(alone)], alone, rtol=1e-4, atol=1e-5)
        assert together[i, len(alone) :].eq(0).all()


def test_case_does_not_matter_and_order_does(encode):
    assert torch.equal(encode(["A RED Ball"]), encode(["a red ball"]))
    assert not torch.equal(encode(["red ball"]), encode(["ball red"]))


def test_an_empty_prompt_is_an_end_alone(encode):
    assert encode([""]).shape == (1, 1, 192)


def test_every_caption_fits(encoder):
    rng = Random(7)
    for _ in range(300):
        assert len(encoder.tokenizer.encode(caption(sample_scene(rng), rng))) <= LENGTH


def test_weights_survive_a_round_trip(encoder):
    again = TextEncoder(encoder.spiece_model, encoder.sizes)
    again.t5.load_state_dict(encoder.t5.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(["a red ball"]), encoder(["a red ball"]))
    tied = encoder.t5.shared.weight, encoder.t5.encoder.embed_tokens.weight
    assert torch.equal(*tied)


def test_a_tokenizer_knows_every_word_in_either_case():
    model = train_tokenizer(captions=400)
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model, add_eos=True)
    assert tokenizer.vocab_size() == VOCABULARY
    assert (tokenizer.pad_id(), tokenizer.eos_id(), tokenizer.unk_id()) == (0, 1, 2)
    for word in all_words():
        ids = tokenizer.encode(word)
        assert tokenizer.unk_id() not in ids, word
        assert ids == tokenizer.encode(word.upper())
        assert ids[-1] == 1
    assert len(model) < 20_000  # the stock normalisers alone weigh 240 kB
