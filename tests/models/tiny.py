"""Small configs and small files for the tests of models/."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from longtake.models.wan.config import DiTConfig, VAEConfig
from longtake.models.wan.keys import BLOCK, DIT_BLOCK, rename_stem
from longtake.models.wan.keys import DIT as DIT_KEYS
from longtake.models.weights_file import Header, TensorInfo

# 128 channels per head, as all real ones, so that a file of these is recognised.
REAL_HEADS = DiTConfig(width=256, depth=2, heads=2, mlp_width=96, text_width=40, freq_width=16)
# Two heads of 22: split 10, 6, 6 over the axes, which no swap of axes survives.
DIT = DiTConfig(
    width=44,
    depth=2,
    heads=2,
    mlp_width=29,
    in_channels=5,
    out_channels=5,
    text_width=13,
    text_length=7,
    freq_width=14,
)
VAE_21 = VAEConfig(width=4, decoder_width=6, latent_channels=3)
VAE_22 = VAEConfig(width=4, decoder_width=6, latent_channels=5, patch=2, residual=True)
NANO_LIKE = VAEConfig(
    width=6,
    decoder_width=4,
    latent_channels=3,
    multipliers=(1, 2, 2),
    res_blocks=1,
    temporal=(True, True),
    patch=4,
    residual=True,
)


def header_of(module: nn.Module, dtype: str = "BF16", prefix: str = "") -> Header:
    """The header that a file of this module would have; the module may be on the meta device."""
    path = Path("weights.safetensors")
    tensors = {
        prefix + name: TensorInfo(tuple(tensor.shape), dtype, path)
        for name, tensor in module.state_dict().items()
    }
    return Header(path, tensors)


def dit_to_diffusers(name: str) -> str:
    """The inverse of `dit_from_diffusers`: `head.head.weight` -> `proj_out.weight`."""
    if match := BLOCK.fullmatch(name):
        return match[1] + rename_stem(match[2], {new: old for old, new in DIT_BLOCK.items()})
    return rename_stem(name, {new: old for old, new in DIT_KEYS.items()})


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def randomised(module: nn.Module, rng: torch.Generator, scale: float = 1.0) -> nn.Module:
    """Every parameter drawn anew, so that no term is hidden by a zero, a one or a symmetry.

    Norms' scales stay near one and matrices keep the size of what passes through them.
    """
    for name, p in module.named_parameters():
        noise = torch.randn(p.shape, generator=rng, dtype=p.dtype)
        fan_in = p[0].numel() if p.ndim > 1 else 1
        is_scale = name.endswith("gamma") or (p.ndim == 1 and name.endswith("weight"))
        new = 1 + 0.1 * noise if is_scale else scale * noise / max(fan_in, 4) ** 0.5
        p.data.copy_(new)
    return module.eval().requires_grad_(False)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Length of the difference over the length of `theirs`, in float64."""
    ours, theirs = ours.double(), theirs.double()
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} against {tuple(theirs.shape)}"
    return ((ours - theirs).norm() / theirs.norm()).item()


def counted_layers(*names: str) -> tuple[SimpleNamespace, Counter]:
    """Operations of torch's layers of these names, and how many of each have been made of them."""
    made = Counter()

    def counted(base: type) -> type:
        class Layer(base):
            def __init__(self, *args, **kw):
                made[base.__name__] += 1
                super().__init__(*args, **kw)

        return Layer

    return SimpleNamespace(**{name: counted(getattr(nn, name)) for name in names}), made
