"""A sentencepiece vocabulary of a few dozen pieces."""

from pathlib import Path

import sentencepiece

SENTENCES = (
    "a red ball rolls left over grass at sunset",
    "a blue cube bounces on snow, then cut to a cone that spins",
    "(a big yellow ball:1.5) grows on the road at night, zoom in",
)


def train_vocabulary(folder: Path) -> bytes:
    """The tokenizer as a protobuf, with UMT5's special tokens: 0 pads, 1 ends."""
    text = folder / "text.txt"
    text.write_text("\n".join(SENTENCES * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "spm"),
        vocab_size=64,
        model_type="bpe",
        normalization_rule_name="identity",  # the default one is a table of 240 kB
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return (folder / "spm.model").read_bytes()
