"""The languages of the nodes: every text is there, none of an input that is gone."""

import json
import re

import pytest

from tests.nodes.locales import LOCALES, SYNTAX, english, leaves, written

LANGUAGES = ("en", "zh")
CHINESE = re.compile("[\u4e00-\u9fff]")
NAMES = {"CLIP", "VAE", "CFG", "CRF", "JSON", "Latent", "Sigmas"}  # that are not translated
# Left to the nodes in English for their signs, and told without these elsewhere.
IN_OTHER_WORDS = {"LongtakePrompt.inputs.text.tooltip"}
NUMBER = re.compile(r"\d+(?:\.\d+)*")


@pytest.fixture(scope="module")
def known(host) -> dict[str, str]:
    return leaves(english())


def test_english_is_what_the_schemas_say(known):
    """`python tests/nodes/locales.py` writes it anew."""
    assert leaves(written("en")) == known


def test_chinese_has_every_text_and_no_other(known):
    has = leaves(written("zh"))
    assert not set(known) - set(has), "not translated"
    assert set(has) - set(known) == IN_OTHER_WORDS, "of inputs that are gone"


def test_chinese_is_chinese_and_keeps_numbers_and_words_of_menus(known):
    has = leaves(written("zh"))
    for path, text in known.items():
        told = has[path]
        assert CHINESE.search(told) or told in NAMES, path
        assert set(NUMBER.findall(text)) <= set(NUMBER.findall(told)), path
        for word in re.findall(r"(?:^|[.:] )([a-z_0-9]+(?: [a-z]+)*): ", text):
            assert path.endswith("negative.tooltip") or word in told, (path, word)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_has_signs_that_the_pages_read_as_their_own(language):
    for file in (LOCALES / language).iterdir():
        for path, text in leaves(json.loads(file.read_text(encoding="utf-8"))).items():
            assert not set(SYNTAX) & set(text), path
