"""The forecast's arithmetic; how near it comes is benchmarks/forecast.py's to say."""

from dataclasses import replace

import pytest

from longtake.engine.sampling.memory import ALIVE, kept_tokens, peak_bytes, text_bytes
from longtake.models.wan.config import DIT_PRESETS

SMALL, LARGE = DIT_PRESETS["1.3b"], DIT_PRESETS["14b-t2v"]
SHAPE = (1, 16, 21, 60, 104)


@pytest.mark.parametrize("size", [2, 4])
def test_tokens_and_videos_count_in_proportion(size):
    one = peak_bytes(SMALL, SHAPE, size)
    assert peak_bytes(SMALL, (2, *SHAPE[1:]), size) == pytest.approx(2 * one, abs=1)
    assert peak_bytes(SMALL, (1, 16, 42, 60, 104), size) == pytest.approx(2 * one, abs=1)
    assert peak_bytes(SMALL, (1, 16, 21, 59, 103), size) == one  # filled up to whole tokens


def test_it_is_the_larger_of_attention_and_mlp():
    tokens = 21 * 30 * 52
    attending, in_mlp = ALIVE[4]
    narrow = replace(LARGE, mlp_width=LARGE.width)
    assert peak_bytes(narrow, SHAPE, 4) == pytest.approx(
        4 * tokens * narrow.width * attending, abs=1
    )
    wide = replace(LARGE, mlp_width=8 * LARGE.width)
    assert peak_bytes(wide, SHAPE, 4) == pytest.approx(
        4 * tokens * wide.width * (in_mlp + 8), abs=1
    )


def test_text_is_keys_and_values_of_every_block():
    assert text_bytes(SMALL, 2 * 512, 2) == 2 * 2 * 30 * 512 * 1536 * 2


def test_a_prompt_is_filled_up_and_an_image_comes_with_it():
    assert [kept_tokens(SMALL, words) for words in (7, 512, 600)] == [512, 512, 600]
    assert kept_tokens(SMALL, 7, 257) == 512  # which it would not read
    image = DIT_PRESETS["14b-i2v"]
    assert [kept_tokens(image, 7, seen) for seen in (None, 257, 514, 0)] == [769, 769, 1026, 512]
    assert kept_tokens(replace(image, image_positions=514), 7) == 1026
