"""MiniMax H3: 17·k + 5 frames in 5·k + 2 latent frames, and sound in 40 latents a second.

LATENT is nested: (1, 24, t, H/16, W/16) and (1, 32, 2, a). Hosts that have no such model get
one that stands in for it.
"""

from importlib.util import find_spec

import torch

from tests.host_models.build import (
    HostModel,
    conditioning,
    model_of,
    random_numbers,
    smaller,
    vae_of,
)

TEXT = 20
SIZES = {
    "image_model": "minimax_h3",
    "hidden_size": 32,
    "num_layers": 2,
    "token_refiner_num_layers": 1,
    "num_attention_heads": 2,
    "attention_head_dim": 32,
    "ffn_hidden_size": 40,
    "text_dim": TEXT,
    "timestep_input_dim": 16,
    "time_embed_hidden_size": 24,
    "time_embed_dim": 24,
    "rope_inv_freq_len": 4,
}
ENCODER = {"ch": 32, "ch_mult": (1, 1, 1, 1, 1, 1), "num_res_blocks": 1}
DECODER = {"num_layers": 1, "heads": 2, "dim_head": 16}
AUDIO_ENCODER = {"encoder_dim": 2, "latent_dim": 64, "decoder_dim": 128}
AUDIO_DECODER = {"resblock_kernel_sizes": (3,), "resblock_dilation_sizes": ((1,),)}


def minimax_h3() -> HostModel:
    """MiniMaxH3 with the VAEs of its pictures and of its sound.

    CONDITIONING carries a modality tag for each token of the text, as core's CLIP gives them.
    """
    tags = torch.ones(1, 5, dtype=torch.long)
    positive, negative = (conditioning(s, TEXT, minimax_token_tags=tags) for s in (3, 4))
    return HostModel(_model(), minimax_vae(), positive, negative, minimax_audio_vae())


def minimax_latent(width: int, height: int, length: int) -> dict:
    """The empty LATENT of so many frames, a number of the grid."""
    if minimax_is_here():
        from comfy_extras.nodes_minimax_h3 import EmptyMiniMaxH3LatentAV

        return EmptyMiniMaxH3LatentAV.execute(width, height, length)[0]
    from comfy.nested_tensor import NestedTensor

    pictures = torch.zeros(1, 24, (length - 5) // 17 * 5 + 2, height // 16, width // 16)
    sound = torch.zeros(1, 32, 2, round(length / 24 * 40))
    return {"samples": NestedTensor((pictures, sound))}


def minimax_is_here() -> bool:
    """Whether this host has the model itself."""
    return find_spec("comfy.ldm.minimax") is not None


def minimax_vae():
    """VAE of pictures around core's MiniMaxH3VideoVAE."""
    if not minimax_is_here():
        from tests.host_models import stand_in_minimax

        return stand_in_minimax.minimax_vae()
    import comfy.ldm.minimax.vae as core

    with smaller(core, MiniMaxH3VideoVAE=ENCODER, ViT3DDecoder=DECODER):
        network = core.MiniMaxH3VideoVAE()
        network.decoder.mask_token.zero_()
        return vae_of(network)


def minimax_audio_vae():
    """VAE of sound around core's MiniMaxH3AudioVAE: (1, 32, 2, a) and (1, 800·a, 2) at 32 kHz."""
    if not minimax_is_here():
        from tests.host_models import stand_in_minimax

        return stand_in_minimax.minimax_audio_vae()
    import comfy.ldm.minimax.audio_vae as core

    with smaller(core, MiniMaxH3AudioVAE=AUDIO_ENCODER, BigVGAN=AUDIO_DECODER):
        network = core.MiniMaxH3AudioVAE()
        network.pre_block.attn.zero_k_bias.zero_()
        network.latents_mean.copy_(0.1 * random_numbers(7, 32))
        network.latents_std.fill_(1.2)
        return vae_of(network)


def _model():
    if not minimax_is_here():
        from tests.host_models.stand_in_minimax import Config

        return model_of(Config({"text_dim": TEXT, **Config.unet_config}))
    from comfy.supported_models import MiniMaxH3

    model = model_of(MiniMaxH3(SIZES))
    frequencies = model.model.diffusion_model.rope.inv_freq
    frequencies.copy_(100.0 ** -torch.linspace(0, 1, len(frequencies)))
    return model
