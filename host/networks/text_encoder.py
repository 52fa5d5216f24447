"""The text encoder as ComfyUI's CLIP: core's T5 and tokenizer, at the sizes of the file."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Any

import comfy.sd
import folder_paths
import torch
import torch.nn.functional as F
from comfy import sd1_clip
from comfy.supported_models_base import ClipTarget
from comfy.text_encoders.spiece_tokenizer import SPieceTokenizer
from comfy.text_encoders.t5 import T5
from torch import Tensor, nn

from ...engine.take.cut_prompts import shots_of
from ...models.checkpoint import refuse_zeros
from ...models.errors import CheckpointError, InputError
from ...models.weights_file import one_line
from ..comfyui.conditioning import of_cuts
from ..comfyui.progress import cancel_within_networks

NAME, SHOT = "longtake_umt5", "longtake_umt5_shot_"
VOCABULARY = "spiece_model"  # the tensor with the tokenizer, named as in ComfyUI's UMT5 files
UMT5: Mapping[str, Any] = {  # what the shapes in a file do not show
    "dense_act_fn": "gelu_pytorch_tanh",
    "is_gated_act": True,
    "model_type": "umt5",
}
WORDS = 4096  # at most in a vocabulary of whole words
WORD = re.compile(r"[^\W\d_]{1,40}")
NAMED = 4  # unknown words that are named
BRACKET = re.compile(r"\\.|[()]", re.DOTALL)
DEEPEST = 32  # brackets within brackets
MOST_TOKENS = 2048  # encoded at a time; UMT5-XXL's attention takes 1 GiB of that
PADDED_TO = 64  # tokens; as the built-in model was trained


def build_clip(
    sizes: Mapping[str, Any], weights: Mapping[str, Tensor], source: str, dynamic: bool = True
) -> comfy.sd.CLIP:
    """A CLIP from a UMT5 encoder of any size.

    Args:
        sizes: UMT5's d_model, d_kv, d_ff, num_heads, num_layers, vocab_size.
        weights: by transformers' names, including the tokenizer. Their dtype is kept.
        source: the file's name, for messages.
        dynamic: see `patching.patcher_for`.

    Raises:
        CheckpointError: if weights or the tokenizer are missing.
    """
    weights = dict(weights)
    vocabulary = weights.pop(VOCABULARY, None)
    if vocabulary is None:
        raise CheckpointError(
            f"'{source}' holds no tokenizer (a tensor '{VOCABULARY}'): get the version of this "
            f"text encoder that was made for ComfyUI."
        )
    refuse_zeros(weights, source)
    try:
        clip = comfy.sd.CLIP(
            _target_for({**UMT5, **sizes}, weights["shared.weight"].dtype),
            embedding_directory=folder_paths.get_folder_paths("embeddings"),
            tokenizer_data={VOCABULARY: vocabulary},
            parameters=sum(weight.numel() for weight in weights.values()),
            **({} if dynamic else {"disable_dynamic": True}),  # only newer hosts ask for that
        )
        missing, unexpected = clip.load_sd(weights)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"'{source}' is a text encoder whose weights or vocabulary are damaged "
            f"({one_line(error)}). Get another copy of it."
        ) from None
    if missing or unexpected:
        raise CheckpointError(
            f"'{source}' does not fit a UMT5 of its sizes: missing {sorted(missing) or 'none'}, "
            f"unexpected {sorted(unexpected) or 'none'}."
        )
    return _without_padding(clip)


def _target_for(sizes: Mapping[str, Any], dtype: torch.dtype) -> ClipTarget:
    """Tokenizer and network classes for core's CLIP, which instantiates them itself."""
    return ClipTarget(_tokenizer_for(sizes["d_model"]), _network_for(sizes, dtype))


def _network_for(sizes: Mapping[str, Any], stored: torch.dtype) -> type[sd1_clip.SD1ClipModel]:
    class Encoder(sd1_clip.SDClipModel):
        def __init__(self, device, dtype, model_options):
            super().__init__(
                device=device,
                dtype=dtype,
                textmodel_json_config=dict(sizes),
                model_class=T5,
                special_tokens={"end": 1, "pad": 0},
                enable_attention_masks=True,
                zero_out_masked=True,
                model_options=model_options,
            )

    class Network(sd1_clip.SD1ClipModel):
        def __init__(self, device, dtype, model_options):
            # The file's own dtype, not core's choice, which is fp16 on most cards.
            super().__init__(device, stored, model_options, name=NAME, clip_model=Encoder)

        def encode_token_weights(self, tokens):
            encode = super().encode_token_weights
            text, pooled, *extras = encode(tokens)
            parts = [tokens[key] for key in _shot_keys(tokens)]
            shots = of_cuts(text, [encode({NAME: part})[0] for part in parts]) if parts else {}
            return text, pooled, {**(extras[0] if extras else {}), **shots}

    return Network


def _tokenizer_for(width: int) -> type[sd1_clip.SD1Tokenizer]:
    class Tokens(sd1_clip.SDTokenizer):
        def __init__(self, embedding_directory, tokenizer_data):
            super().__init__(
                tokenizer_data[VOCABULARY],
                tokenizer_class=SPieceTokenizer,
                embedding_directory=embedding_directory,
                embedding_size=width,
                embedding_key=NAME,
                has_start_token=False,
                pad_with_end=False,
                pad_to_max_length=False,
                pad_token=0,
                max_length=99_999_999,
                min_length=PADDED_TO,
                tokenizer_data=tokenizer_data,
            )

        def state_dict(self):
            return {VOCABULARY: self.tokenizer.serialize_model()}

    class Tokenizer(sd1_clip.SD1Tokenizer):
        def __init__(self, embedding_directory, tokenizer_data):
            super().__init__(embedding_directory, tokenizer_data, name=NAME, tokenizer=Tokens)

        def tokenize_with_weights(self, text, return_word_ids=False, **kwargs):
            """The tokens of a prompt and, if it has cuts, of each of its shots."""
            tokenize = partial(
                getattr(self, NAME).tokenize_with_weights, return_word_ids=return_word_ids, **kwargs
            )
            shots = shots_of(text)
            parts = {f"{SHOT}{i}": tokenize(shot) for i, shot in enumerate(shots)}
            return {NAME: tokenize(text)} | (parts if len(shots) > 1 else {})

    return Tokenizer


def looks(clip: comfy.sd.CLIP) -> bool:
    """Whether a text encoder looks at pictures in a prompt, as MiniMax H3's does."""
    encode = getattr(clip.tokenizer, "tokenize_with_weights", None)
    return encode is not None and "minimax_ref_items" in signature(encode).parameters


def tokenized(clip: comfy.sd.CLIP, text: str, image: Tensor | None = None) -> Mapping[str, Any]:
    """The tokens of a text that can be encoded.

    Args:
        image: (1, h, w, 3) in [0, 1], for an encoder that `looks`.

    Raises:
        InputError: for more tokens than memory should be spent on, which goes with their square,
            and for brackets in brackets that core takes apart for minutes.
    """
    if (depth := _depth(text)) > DEEPEST:
        raise InputError(
            f"the text has brackets {depth} deep: weights are written as (word:1.3), at most "
            f"{DEEPEST} within one another; write \\( for a bracket that means itself."
        )
    tokens = clip.tokenize(text) if image is None else clip.tokenize(text, images=[image])
    if (count := tokens_in(tokens)) > MOST_TOKENS:
        raise InputError(
            f"the text is {count:,} tokens long: a model reads 64 to 512 of them, and at most "
            f"{MOST_TOKENS:,} are encoded. Shorten it to about {MOST_TOKENS * 3 // 4:,} words."
        )
    return tokens


def tokens_in(tokens: Mapping[str, Any]) -> int:
    """How many tokens are encoded at a time, without the padding at their end."""
    return max((_length(batch) for batches in tokens.values() for batch in batches), default=0)


def _length(batch: Sequence[tuple]) -> int:
    """batch: (token, weight, ...) each; padding is one token again and again."""
    ids = [token[0] if isinstance(token[0], int) else None for token in batch]
    length = len(ids)
    while length > 1 and ids[length - 1] is not None and ids[length - 1] == ids[length - 2]:
        length -= 1
    return length


def encode_text(clip: comfy.sd.CLIP, tokens: Mapping[str, Any]) -> Any:
    """CONDITIONING of tokens; Cancel is looked at before each layer."""
    with cancel_within_networks():
        return clip.encode_from_tokens_scheduled(tokens)


def _depth(text: str) -> int:
    """How deep brackets stand within brackets."""
    depth = deepest = 0
    for bracket in BRACKET.findall(text):
        depth = max(0, depth + (bracket == "(") - (bracket == ")"))
        deepest = max(deepest, depth)
    return deepest


def unknown_words(clip: comfy.sd.CLIP, *texts: str) -> list[str]:
    """The words of texts that a small encoder was not trained on; of others none is known.

    The vocabulary of such an encoder is the words of its captions: it takes any other one apart.
    """
    tokens = getattr(clip.tokenizer, NAME, None)
    if tokens is None or len(tokens.tokenizer.get_vocab()) > WORDS:
        return []
    pieces = partial(tokens.tokenizer.tokenizer.encode, add_bos=False, add_eos=False)
    words = dict.fromkeys(word for text in texts for word in WORD.findall(text.lower()))
    return [word for word in words if len(pieces(word)) > 1]


def unknown_in_words(clip: comfy.sd.CLIP, *texts: str) -> str:
    """What to show of them, in a line: "unknown here: dog, forest"; nothing if there are none."""
    unknown = unknown_words(clip, *texts)
    more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
    return f"unknown here: {', '.join(unknown[:NAMED])}{more}" if unknown else ""


def _shot_keys(tokens: Mapping[str, Any]) -> list[str]:
    """The keys of a prompt's shots, in order; none for a prompt without cuts."""
    return [key for key in tokens if key.startswith(SHOT)]


def load_umt5_xxl(path: str, dynamic: bool = True) -> comfy.sd.CLIP:
    """Wan's own text encoder through core, which reads its scaled fp8 versions too."""
    with weights_taken_over():
        clip = comfy.sd.load_clip(
            [path],
            embedding_directory=folder_paths.get_folder_paths("embeddings"),
            clip_type=comfy.sd.CLIPType.WAN,
            **({} if dynamic else {"disable_dynamic": True}),
        )
    return _without_padding(clip)


@contextmanager
def weights_taken_over() -> Iterator[None]:
    """While it lasts, core's T5 uses the weights that it loads where they are, without copying.

    Core would copy them into weights of its own, which takes memory of twice the file's size.
    What belongs in another dtype is still copied; and where core has made a T5 on a GPU, all is
    copied into that one, for two would not fit.
    """

    def take(
        network: T5,
        weights: Mapping[str, Tensor],
        strict: bool = True,
        assign: bool | None = None,
    ):
        load = partial(nn.Module.load_state_dict, network, strict=strict)
        # Newer hosts leave layers without parameters, and embeddings on meta, until this is done.
        real = {name: w for name, w in network.state_dict().items() if not w.is_meta}
        if any(w.device.type != "cpu" for w in real.values()):
            return load(weights, assign=bool(assign))
        alike = {name: w.to(real[name]) if name in real else w for name, w in weights.items()}
        return load(alike, assign=assign is not False)

    T5.load_state_dict = take
    try:
        yield
    finally:
        del T5.load_state_dict


def _without_padding(clip: comfy.sd.CLIP) -> comfy.sd.CLIP:
    """Makes a CLIP compute no tokens past the end of the prompt, which come out as zeros anyway.

    Core pads a prompt to 512 tokens and computes all of them, masked.
    """
    for encoder in clip.cond_stage_model.modules():
        masks = getattr(encoder, "enable_attention_masks", False)
        if masks and encoder.zero_out_masked and isinstance(encoder.transformer, T5):
            encoder.transformer.forward = up_to_the_last_token(encoder.transformer.forward)
    return clip


def up_to_the_last_token(forward: Callable[..., tuple]) -> Callable[..., tuple]:
    """A T5's forward that computes no padding, and appends zeros in its place."""

    def shorter(input_ids, attention_mask, embeds=None, **kwargs: Any) -> tuple:
        if embeds is None or attention_mask is None:
            return forward(input_ids, attention_mask, embeds=embeds, **kwargs)
        length = int(attention_mask.any(dim=0).nonzero().max()) + 1 if attention_mask.any() else 1
        padding = embeds.shape[1] - length
        mask, embeds = attention_mask[:, :length], embeds[:, :length]
        outputs = forward(input_ids, mask, embeds=embeds, **kwargs)
        return tuple(out if out is None else F.pad(out, (0, 0, 0, padding)) for out in outputs)

    return shorter
