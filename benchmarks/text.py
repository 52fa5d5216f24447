"""A prompt of 77 tokens in core's window of 512: our text encoder and core's, of the same weights.

Core fills the window up and computes it whole, masked; ours is core's own network, run up to the
prompt's end. Sizes are UMT5's at a quarter of its width and three of its layers. The error is the
relative L2 between both over the whole window.
"""

import torch
from _measure import DTYPES, compare, device, medians, row
from torch import Tensor

from tests.models.tiny import randomised, relative_error

WINDOW = 512
SIZES = {
    "d_model": 1024,
    "d_kv": 64,
    "d_ff": 2560,
    "num_heads": 16,
    "num_layers": 3,
    "vocab_size": 256,
    "model_type": "umt5",
    "dense_act_fn": "gelu_pytorch_tanh",
    "is_gated_act": True,
}
CASES = {"text, 77 of 512 tokens": 77, "text, 32 of 512 tokens": 32}


def measure(name: str, real: int, dtype_name: str, options) -> dict:
    encoder = core_encoder(DTYPES[dtype_name])
    rng = torch.Generator().manual_seed(1)
    words = torch.randint(2, SIZES["vocab_size"], (real - 1,), generator=rng).tolist()
    tokens = [words + [1] + [0] * (WINDOW - real)]
    from longtake.host.networks.text_encoder import up_to_the_last_token

    whole = encoder.transformer.forward
    trimmed = up_to_the_last_token(whole)

    def run(forward) -> Tensor:
        encoder.transformer.forward = forward
        return encoder(tokens)[0]

    calls = {"ours": lambda: run(trimmed), "core": lambda: run(whole)}
    error = relative_error(calls["ours"](), calls["core"]())
    return row(name, dtype_name, medians(calls, options.rounds, options.clock), error)


def core_encoder(dtype: torch.dtype):
    """Core's UMT5 with random weights, as it stands in its CLIP."""
    from comfy import sd1_clip
    from comfy.text_encoders.t5 import T5

    encoder = sd1_clip.SDClipModel(
        device=device(),
        dtype=dtype,
        textmodel_json_config=SIZES,
        model_class=T5,
        special_tokens={"end": 1, "pad": 0},
        enable_attention_masks=True,
        zero_out_masked=True,
    )
    randomised(encoder.transformer, torch.Generator().manual_seed(0), scale=0.5)
    return encoder


if __name__ == "__main__":
    compare(__doc__, ("float32",), CASES, measure)
