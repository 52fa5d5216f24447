"""A CLIP for models whose own text encoders are too large for tests."""

import zlib
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.host_models.build import random_numbers

PROMPT = "text"  # the key of the tokens, where core's have the name of an encoder


class Words:
    """Encodes each word, and each picture of the prompt, as random numbers of its own.

    What a model wants with its text it gets from the CONDITIONING that this takes after.

    Attributes:
        asked: every text that was tokenised, with what was given beside it.
    """

    def __init__(self, like: list):
        self.width, self.extras = like[0][0].shape[-1], like[0][1]
        self.asked: list[tuple[str, dict]] = []
        self.tokenizer = SimpleNamespace()  # one of no vocabulary

    def clone(self) -> "Words":
        return self

    def tokenize(self, text: str, return_word_ids: bool = False, **given: Any) -> dict:
        self.asked.append((text, given))
        pictures = [*given.get("images", ())]
        pictures += [
            item["data"] for item in given.get("minimax_ref_items") or () if "data" in item
        ]
        seen = [f"picture {picture.double().sum():.4f}" for picture in pictures]
        tokens = [zlib.crc32(word.encode()) for word in [*seen, *text.split()]]
        return {PROMPT: [[(token, 1.0) for token in tokens or [0]]]}

    def encode_from_tokens_scheduled(
        self, tokens: dict, unprojected: bool = False, add_dict: Any = (), show_pbar: bool = True
    ) -> list:
        text, extras = self._encode(tokens)
        return [[text, {**extras, **dict(add_dict)}]]

    def encode_from_tokens(
        self, tokens: dict, return_pooled: Any = False, return_dict: bool = False
    ) -> Any:
        text, extras = self._encode(tokens)
        if return_dict:
            return {"cond": text, **extras}
        return (text, extras.get("pooled_output")) if return_pooled else text

    def _encode(self, tokens: dict) -> tuple[Tensor, dict]:
        numbers = [token for token, _ in tokens[PROMPT][0]]
        text = torch.cat([random_numbers(n, 1, 1, self.width) for n in numbers], 1)
        extras = {"pooled_output": None}
        for name, value in self.extras.items():
            if value is None:
                continue
            if name == "pooled_output":
                extras[name] = random_numbers(sum(numbers) % 2**31, *value.shape)
            else:  # a mask or a tag for each token
                extras[name] = value[:, :1].expand(1, len(numbers)).clone()
        return text, extras
