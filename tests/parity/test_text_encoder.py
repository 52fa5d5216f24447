"""ComfyUI's T5, in which the built-in text encoder runs, against transformers' UMT5.

The built-in encoder is trained in the one and used in the other.
"""

import pytest
import torch
from torch import nn

from tests.models.reference import UMT5Config, UMT5EncoderModel
from tests.models.tiny import randomised

NANO = {"d_model": 192, "d_kv": 32, "d_ff": 512, "num_heads": 6, "num_layers": 3,
        "vocab_size": 448}  # fmt: skip
ODD = {"d_model": 26, "d_kv": 7, "d_ff": 37, "num_heads": 3, "num_layers": 2, "vocab_size": 53}
LENGTHS = (5, 29, 1)  # of the prompts in a batch; with 160 below also beyond the last bias bucket


def transformers_umt5(sizes: dict, rng) -> nn.Module:
    config = UMT5Config(**sizes, dropout_rate=0.0, feed_forward_proj="gated-gelu")
    return randomised(UMT5EncoderModel(config), rng, scale=0.5)


def core_t5(sizes: dict, weights: dict) -> nn.Module:
    import comfy.ops
    from comfy.text_encoders.t5 import T5

    fixed = {"model_type": "umt5", "dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True}
    network = T5({**sizes, **fixed}, torch.float32, "cpu", comfy.ops.manual_cast)
    network.load_state_dict(weights, strict=True)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("sizes", [NANO, ODD], ids=["nano", "odd sizes"])
@pytest.mark.parametrize("lengths", [LENGTHS, (160,)], ids=["a batch", "a long prompt"])
def test_cores_t5_is_transformers_umt5(sizes, lengths, rng, same, comfyui):
    theirs = transformers_umt5(sizes, rng)
    weights = theirs.state_dict()
    weights.pop("encoder.embed_tokens.weight")  # the same tensor as shared.weight
    core = core_t5(sizes, weights)

    longest = max(lengths)
    tokens = torch.randint(sizes["vocab_size"], (len(lengths), longest), generator=rng)
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    expected = theirs(input_ids=tokens, attention_mask=mask).last_hidden_state
    ours, _ = core(tokens, attention_mask=mask, dtype=torch.float32)
    same(ours * mask[..., None], expected * mask[..., None])
