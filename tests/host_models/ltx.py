"""LTX-Video: 1 + 8·n frames in 1 + n latent frames of 128 channels, cells of 32 × 32 pixels."""

import json
from importlib.util import find_spec

import torch

from tests.host_models.build import HostModel, conditioning, model_of, smaller, vae_of

TEXT = 24
AUDIO_LAYOUT = {
    "audio_vae": {
        "model": {
            "params": {
                "ddconfig": {
                    "double_z": True,
                    "mel_bins": 64,
                    "z_channels": 8,
                    "resolution": 256,
                    "downsample_time": False,
                    "in_channels": 2,
                    "out_ch": 2,
                    "ch": 8,
                    "ch_mult": [1, 1, 1],
                    "num_res_blocks": 1,
                    "attn_resolutions": [],
                    "dropout": 0.0,
                    "mid_block_add_attention": False,
                    "norm_type": "pixel",
                    "causality_axis": "height",
                },
                "sampling_rate": 16000,
            }
        },
        "preprocessing": {"stft": {"filter_length": 1024, "hop_length": 160}},
    },
    "vocoder": {
        "upsample_rates": [6, 5, 2, 2, 2],
        "upsample_kernel_sizes": [16, 15, 8, 4, 4],
        "upsample_initial_channel": 32,
    },
}
VAE_LAYOUT = {
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "blocks": [["res_x", 1], *[["compress_all", 1]] * 3, ["res_x", 1]],
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "causal_decoder": False,
}
VAE_WIDTH = {"base_channels": 8}
DIFFUSION_LAYOUT = {
    "dims": 3,
    "model_output_type": "x0",
    "encoder": {
        "in_channels": 3,
        "out_channels": 128,
        "blocks": [
            ["res_x", 1],
            ["compress_space_res", {"multiplier": 2}],
            ["compress_time_res", {"multiplier": 1}],
            ["compress_all_res", {"multiplier": 1}],
            ["compress_all_res", {"multiplier": 1}],
            ["res_x", 1],
        ],
        "patch_size": 4,
        "latent_log_var": "constant",
        "norm_layer": "pixel_norm",
        "base_channels": 8,
    },
    "decoder": {
        "in_channels": 128,
        "out_channels": 3,
        "patch_size": 4,
        "head_dim": 16,
        "stage_channels": [32, 32, 16, 16, 16],
        "stage_depths": [1, 1, 1, 1, 1],
        "stage_kernels": [[3, 3, 3]] * 5,
        "upsamples": [[[1, 2, 2], 1], [[2, 1, 1], 2], [[2, 2, 2], 1], [[2, 2, 2], 1]],
        "stage5_kernel": [3, 3, 3],
        "t_emb_dim": 24,
    },
}


def ltxv() -> HostModel:
    """LTXV: latents (b, 128, t, H/32, W/32), 8·t - 7 frames.

    CONDITIONING carries the attention mask of the text, without which 0.3.75 fails.
    """
    from comfy.supported_models import LTXV

    sizes = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16}
    widths = {"cross_attention_dim": 32, "caption_channels": TEXT}
    config = LTXV({"image_model": "ltxv", **sizes, **widths})
    mask = torch.ones(1, 5, dtype=torch.long)
    positive, negative = (conditioning(seed, TEXT, attention_mask=mask) for seed in (3, 4))
    return HostModel(model_of(config), ltxv_vae(), positive, negative)


def ltxav() -> HostModel:
    """LTXAV (LTX-2): latents of pictures as those of `ltxv`, nested with those of sound,
    (b, 8, a, 16), 25 a second. CONDITIONING has the text twice, side by side.

    Hosts that have no such model get one that stands in for it.
    """
    texts = (conditioning(seed, 2 * TEXT) for seed in (3, 4))
    return HostModel(_ltxav_model(), ltxv_vae(), *texts, ltxav_audio_vae())


def ltxav_latent(width: int, height: int, length: int, rate: float = 25.0) -> dict:
    """The empty LATENT of so many frames, a number of the grid, at so many a second."""
    from comfy.nested_tensor import NestedTensor
    from comfy_extras.nodes_lt import EmptyLTXVLatentVideo

    pictures = EmptyLTXVLatentVideo.execute(width, height, length)[0]
    if ltxav_is_here():
        from comfy_extras.nodes_lt import LTXVConcatAVLatent
        from comfy_extras.nodes_lt_audio import LTXVEmptyLatentAudio

        sound = LTXVEmptyLatentAudio.execute(length, rate, 1, ltxav_audio_vae())[0]
        return LTXVConcatAVLatent.execute(pictures, sound)[0]
    sound = torch.zeros(1, 8, round(length / rate * 25), 16)
    return {**pictures, "samples": NestedTensor((pictures["samples"], sound))}


def ltxav_is_here() -> bool:
    """Whether this host has the model itself."""
    return find_spec("comfy.ldm.lightricks.av_model") is not None


def ltxav_audio_vae():
    """VAE of sound around core's AudioVAE: (b, 8, a, 16) and (b, 960·a - 720, 2) at 24 kHz."""
    if not ltxav_is_here():
        from tests.host_models import stand_in_ltxav

        return stand_in_ltxav.ltxav_audio_vae()
    from comfy.ldm.lightricks.vae.audio_vae import AudioVAE

    metadata = {"config": json.dumps(AUDIO_LAYOUT)}
    network = AudioVAE(metadata)
    statistics = network.autoencoder.per_channel_statistics
    statistics.get_buffer("std-of-means").fill_(1.3)
    statistics.get_buffer("mean-of-means").fill_(0.2)
    return vae_of(network, metadata=metadata)


def _ltxav_model():
    if not ltxav_is_here():
        from tests.host_models.stand_in_ltxav import Config

        return model_of(Config({"text_dim": 2 * TEXT, **Config.unet_config}))
    from comfy.supported_models import LTXAV

    sizes = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16}
    audio = {"audio_num_attention_heads": 2, "audio_attention_head_dim": 8}
    widths = {"cross_attention_dim": 32, "audio_cross_attention_dim": 16, "caption_channels": TEXT}
    connector = {"connector_num_attention_heads": 2, "connector_attention_head_dim": 12}
    return model_of(LTXAV({"image_model": "ltxav", **sizes, **audio, **widths, **connector}))


def ltx_diffusion_vae():
    """VAE around core's CausalDiffusionVAE, which came with LTX 2.4, on newer hosts; (b, 128, t,
    h, w) and (b, 8·t - 7, 32·h, 32·w, 3). It decodes in one step from noise of a fixed seed."""
    from comfy.ldm.lightricks.vae.na_diffusion_decoder import CausalDiffusionVAE

    network = CausalDiffusionVAE(config=DIFFUSION_LAYOUT)
    statistics = network.per_channel_statistics
    statistics.get_buffer("std-of-means").fill_(1.3)
    statistics.get_buffer("mean-of-means").fill_(0.2)
    return vae_of(network, metadata={"config": json.dumps({"vae": DIFFUSION_LAYOUT})})


def ltxv_vae():
    """VAE around core's VideoVAE, whose decoder adds no noise: (b, 128, t, h, w) and
    (b, 8·t - 7, 32·h, 32·w, 3)."""
    import comfy.ldm.lightricks.vae.causal_video_autoencoder as core

    with smaller(core, Encoder=VAE_WIDTH, Decoder=VAE_WIDTH):
        network = core.VideoVAE(config=VAE_LAYOUT)
        statistics = network.per_channel_statistics
        statistics.get_buffer("std-of-means").fill_(1.3)
        statistics.get_buffer("mean-of-means").fill_(0.2)
        return vae_of(network, metadata={"config": json.dumps({"vae": VAE_LAYOUT})})
