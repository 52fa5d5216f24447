"""The built-in text encoder, as training uses it: a small UMT5 with its own vocabulary.

In ComfyUI the same weights run in the host's own T5; here transformers' does the work.
"""

import io
import tempfile
from pathlib import Path
from random import Random

import sentencepiece
import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from .shipped import read_config
from .world.captions import all_words, caption, sample_scene

LENGTH = 64  # tokens; shorter texts are zero up to here
VOCABULARY = 448
SIZES = {
    "d_model": 192,
    "d_kv": 32,
    "d_ff": 512,
    "num_heads": 6,
    "num_layers": 3,
    "vocab_size": VOCABULARY,
}


def train_tokenizer(captions: int = 20_000) -> bytes:
    """A sentencepiece model of captions; upper case is read as lower case."""
    rng = Random(0)
    lines = [caption(sample_scene(rng), rng) for _ in range(captions)] + all_words()
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        # The stock normalizers take 240 kB; 26 rules of our own take nothing.
        rules = Path(folder) / "lower_case.tsv"
        rules.write_text("".join(f"{up:X}\t{up + 32:X}\n" for up in range(ord("A"), ord("Z") + 1)))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=VOCABULARY,
            normalization_rule_tsv=str(rules),
            required_chars="abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"()-",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
    return model.getvalue()


class TextEncoder(nn.Module):
    """Prompts -> context (b, m, 192), zero past each prompt's end."""

    def __init__(self, tokenizer: bytes, sizes: dict[str, int] = SIZES):
        super().__init__()
        self.spiece_model = tokenizer
        self.tokenizer = sentencepiece.SentencePieceProcessor(model_proto=tokenizer, add_eos=True)
        self.sizes = dict(sizes)
        config = UMT5Config(**sizes, dropout_rate=0.0, feed_forward_proj="gated-gelu")
        self.t5 = UMT5EncoderModel(config)

    def forward(self, prompts: list[str]) -> Tensor:
        ids = [self.tokenizer.encode(prompt) for prompt in prompts]
        longest = max(map(len, ids))
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
        out = self.t5(input_ids=tokens, attention_mask=mask).last_hidden_state
        return out * mask.unsqueeze(-1)


def shipped_text_encoder(path: Path) -> TextEncoder:
    """The text encoder, from a file that `training.export` wrote."""
    with safe_open(path, "pt") as file:
        weights = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - no mapping
    tokenizer = weights.pop("spiece_model").numpy().tobytes()
    encoder = TextEncoder(tokenizer, read_config(path))
    weights["encoder.embed_tokens.weight"] = weights["shared.weight"]
    encoder.t5.load_state_dict(weights)
    return encoder
