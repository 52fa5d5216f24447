"""CLIPs that write: core's own, tiny and random; and one that answers given texts."""

from typing import Any

import torch
from torch import nn


def tiny_writer(**sizes: Any):
    """Core's Qwen3 with its own tokenizer, three layers, and no sense in what it writes."""
    import comfy.sd
    from comfy import sd1_clip
    from comfy.supported_models_base import ClipTarget
    from comfy.text_encoders import llama, z_image

    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    small |= {"num_attention_heads": 2, "num_key_value_heads": 1, **sizes}

    class Encoder(sd1_clip.SDClipModel):
        def __init__(self, device="cpu", dtype=None, model_options=None):
            super().__init__(
                device=device,
                layer="hidden",
                layer_idx=-2,
                textmodel_json_config=small,
                dtype=dtype,
                special_tokens={"pad": 151643},
                layer_norm_hidden_state=False,
                model_class=llama.Qwen3_06B,
                model_options=model_options or {},
            )

    class Network(sd1_clip.SD1ClipModel):
        def __init__(self, device="cpu", dtype=None, model_options=None):
            super().__init__(
                device, torch.float32, model_options or {}, name="qwen3_4b", clip_model=Encoder
            )

    clip = comfy.sd.CLIP(ClipTarget(z_image.ZImageTokenizer, Network), parameters=1000)
    generator = torch.Generator().manual_seed(5)
    for weight in clip.cond_stage_model.parameters():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    clip.cond_stage_model.requires_grad_(False)
    return clip


class Speaker(nn.Module):
    """Stands for the network of a CLIP that writes."""

    def sample_token(self) -> None: ...


class Answers:
    """A CLIP that writes what it was given, one text after another.

    Attributes:
        asked: the texts and options with which it was asked.
    """

    def __init__(self, *texts: str):
        self.cond_stage_model = Speaker()
        self.asked: list[tuple[str, dict]] = []
        self._texts = list(texts)

    def tokenize(self, text: str, **options: Any) -> str:
        return text

    def encode_from_tokens_scheduled(self, *_: Any) -> None:
        raise AssertionError("it is there to write")

    def generate(self, tokens: str, **options: Any) -> str:
        self.asked.append((tokens, options))
        return self._texts[len(self.asked) - 1]

    def decode(self, made: str) -> str:
        return made
