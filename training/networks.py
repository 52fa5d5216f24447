"""The transformer and the text encoder of the built-in model, untrained."""

from torch import nn

from longtake.models.attention import exact
from longtake.models.wan.config import DIT_PRESETS
from longtake.models.wan.dit import WanDiT

from .shipped import RUNS
from .text import TextEncoder, train_tokenizer

TOKENIZER = RUNS / "tokenizer.model"
# Parts of the names of matrices that Adam trains; all others are Muon's.
ADAM = ("patch_embedding", "head.head", "shared", "relative_attention_bias", "time_embedding.0")


def build_networks() -> nn.ModuleDict:
    """Transformer ("dit") and text encoder ("text") with random weights, in float32.

    The tokenizer is trained the first time.
    """
    if not TOKENIZER.exists():
        TOKENIZER.parent.mkdir(parents=True, exist_ok=True)
        TOKENIZER.write_bytes(train_tokenizer())
    dit = WanDiT(DIT_PRESETS["nano"], attention=exact)
    nn.init.zeros_(dit.head.head.weight)
    nn.init.zeros_(dit.head.head.bias)
    return nn.ModuleDict({"dit": dit, "text": TextEncoder(TOKENIZER.read_bytes())})
