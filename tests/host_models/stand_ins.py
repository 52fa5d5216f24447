"""What stands in for models of pictures and sound on hosts that do not have them."""

from typing import Any

import comfy.conds
import comfy.model_base
import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn


class JointNetwork(nn.Module):
    """Tells noise from pictures and sound by everything that the real network is shown.

    Each latent is mixed in its channels and hears of the means of both streams, of the text, of
    the guides and of its own noise level.
    """

    dtype = torch.float32

    def __init__(self, text_dim: int, channels: tuple = (), axes: tuple = (), **_: Any):
        super().__init__()
        width = 24
        self.axes = axes
        self.into = nn.ModuleList(nn.Linear(c, width) for c in channels)
        self.out = nn.ModuleList(nn.Linear(width, c) for c in channels)
        self.text = nn.Linear(text_dim, width)
        self.level = nn.Linear(1, width)
        self.rate = nn.Linear(1, width)
        self.place = nn.Linear(1, width)

    def forward(self, x: list, timestep: Tensor, context: Tensor, **shown: Any) -> list:
        heard = self.text(context).mean(1) + sum(map(self._mean, self.into, x))
        heard = heard + sum(self._mean(self.into[0], guide) for guide in shown.get("guides", ()))
        heard = heard + self.rate(torch.full((1, 1), shown.get("frame_rate", 25) / 25))
        masks = (shown.get(name) for name in ("denoise_mask", "audio_denoise_mask"))
        return [
            self._forecast(n, stream, timestep / 1000, mask, heard)
            for n, (stream, mask) in enumerate(zip(x, masks, strict=True))
        ]

    @staticmethod
    def _mean(into: nn.Module, stream: Tensor) -> Tensor:
        return into(stream.movedim(1, -1)).flatten(1, -2).mean(1)

    def _forecast(self, n: int, stream: Tensor, level: Tensor, mask, heard: Tensor) -> Tensor:
        """What is taken off one stream, of pictures or of sound, for its noise to go."""
        ones = [1] * (stream.ndim - 2)
        of_each = level.view(-1, 1, *ones) * (1.0 if mask is None else mask)
        axis = self.axes[n]
        time = torch.linspace(0, 1, stream.shape[axis]).view(-1, *[1] * (stream.ndim - axis))
        h = self.into[n](stream.movedim(1, -1)) + heard.view(len(heard), *ones, -1)
        h = h + self.level(of_each.movedim(1, -1)) + self.place(time)
        return self.out[n](torch.tanh(h)).movedim(-1, 1)


class JointModel(comfy.model_base.BaseModel):
    """Around the network, both streams travel as one row of numbers."""

    def __init__(self, config: Any):
        flow = comfy.model_base.ModelType.FLOW
        super().__init__(config, flow, unet_model=JointNetwork)

    def extra_conds(self, **given: Any) -> dict:
        out = super().extra_conds(**given)
        out["c_crossattn"] = comfy.conds.CONDRegular(given["cross_attn"])
        shapes, packed = given["latent_shapes"], given.get("denoise_mask")
        out["latent_shapes"] = comfy.conds.CONDConstant(shapes)
        out["frame_rate"] = comfy.conds.CONDConstant(given.get("frame_rate", 25))
        if packed is not None:
            masks = comfy.utils.unpack_latents(packed, shapes)
            for name, mask in zip(("denoise_mask", "audio_denoise_mask"), masks, strict=True):
                out[name] = comfy.conds.CONDRegular(mask[:, :1])
        if guides := given.get("minimax_keyframes"):
            out["guides"] = comfy.conds.CONDList([guide["latent"] for guide in guides])
        return out

    def scale_latent_inpaint(self, latent_image: Tensor, **_: Any) -> Tensor:
        return latent_image


def vae_around(network: nn.Module, **attributes: Any) -> Any:
    """VAE of core's class around a network that core's loader does not know."""
    vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(0.0)}, dtype=torch.float32)
    cpu = torch.device("cpu")
    vae.first_stage_model = network.eval()
    vae.patcher = ModelPatcher(network, load_device=cpu, offload_device=cpu)
    vae.memory_used_encode = vae.memory_used_decode = lambda shape, dtype: 1_000_000
    for name, value in attributes.items():
        setattr(vae, name, value)
    return vae
