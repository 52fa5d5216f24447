"""Our transformer as ComfyUI's MODEL.

It stands in for core's network inside core's own Wan model classes, so that everything they do to
a video's conditioning (image channels, CLIP tokens, references, noise levels per frame) and all
that nodes do to a MODEL (LoRA, offloading, hooks, other samplings) goes on working.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import comfy.model_management as mm
import comfy.model_patcher
import torch
import torch.nn.functional as F
from comfy import conds, latent_formats, model_base, supported_models
from torch import Tensor, nn

from ...engine.canvas.known import concat_known
from ...engine.canvas.masked import tells_places_apart
from ...engine.sampling.memory import kept_tokens, peak_bytes, text_bytes
from ...engine.sampling.presets import Family, family_of
from ...models.checkpoint import refuse_broken_numbers
from ...models.errors import InputError, NotFiniteError
from ...models.wan.config import DiTConfig, Layout
from ...models.weights_file import shortened
from ..comfyui.conditioning import shot_conds, shot_texts, texts_read
from ..comfyui.offers import offered
from . import dtypes, home, patching, quantised
from .forward import ComfyDiT, attends_in_parts

KEPT = "longtake_text"
TOKEN_MASK = "token_mask"  # of FrameLevels: an argument of process_timestep
# In CONDITIONING, beside core's vace_frames, vace_mask and vace_strength: for each of those, how
# much each latent frame of it counts (t,); and how many of its frames are references.
FRAME_STRENGTHS, LEAD = "longtake_vace_strengths", "longtake_vace_lead"


class OurNetwork:
    """What both model classes below add to core's, which they name second.

    Attributes:
        family: what kind of checkpoint it is.
        evidence: what its family was recognised by, as `family_of` words it.
        source: the file's name.
    """

    family: Family
    evidence: str
    source: str

    def __init__(self, config: DiTConfig, model_config: supported_models.WAN21_T2V):
        def network(dtype=None, operations=None, **_core_sizes: Any) -> ComfyDiT:
            # On the meta device it takes over the file's weights instead of copying them, as the
            # host's quantised layers do by themselves.
            device = "cpu" if getattr(model_config, "quant_config", None) else "meta"
            return ComfyDiT(config, operations=operations, device=device, dtype=dtype)

        flow = model_base.ModelType.FLOW
        # Skips WAN21's own __init__, which would build core's network, as core's variants do.
        super(model_base.WAN21, self).__init__(model_config, flow, unet_model=network)
        self.image_to_video = config.in_channels > config.out_channels

    def to(self, *args: Any, **more: Any) -> nn.Module:
        return home.moving(self, super().to, *args, **more)

    @property
    def sizes(self) -> DiTConfig:
        return self.diffusion_model.config

    def get_dynamic_vram__units(self) -> tuple[list[Any], list[Any]]:
        """For newer hosts' dynamic VRAM: whose weights stay on the card first, and whose last."""
        network = self.diffusion_model
        each_step = network.layers_of_a_step()
        often = {id(layer) for layers in each_step for root in layers for layer in root.modules()}
        once = [network.text_embedding, *(block.cross_attn for block in network.all_blocks)]
        rarely = [
            m for root in once for m in root.modules() if m._parameters and id(m) not in often
        ]
        return each_step, rarely

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        """Conditioning for a run; the first place that sees text, latents and model together."""
        check_text(kwargs.get("cross_attn"), self.sizes)
        if (noise := kwargs.get("noise")) is not None:
            check_channels(noise.shape[1], self.sizes)
        for text in shot_texts(kwargs):
            check_text(text, self.sizes)
        out = super().extra_conds(**kwargs) | shot_conds(kwargs)
        if self.sizes.frame_rates and (rate := kwargs.get("frame_rate")) is not None:
            out["fps"] = conds.CONDConstant(float(rate))  # as core's LTXVConditioning names it
        return out

    def concat_cond(self, **kwargs: Any) -> Tensor | None:
        """An I2V checkpoint's channels beside the latents; from the canvas if no node set any."""
        latents, mask = kwargs.get("latent_image"), kwargs.get("denoise_mask")
        if (
            not self.image_to_video
            or "concat_latent_image" in kwargs
            or latents is None
            or mask is None
        ):
            return super().concat_cond(**kwargs)
        extra = self.sizes.in_channels - self.sizes.out_channels
        return concat_known(latents.to(kwargs["device"]), mask, extra)

    def _apply_model(
        self,
        x,
        t,
        c_concat=None,
        c_crossattn=None,
        control=None,
        transformer_options=None,
        **kwargs,
    ):
        options = {} if transformer_options is None else transformer_options
        # ComfyUI 0.3.75's context windows cut x, but not conditioning with five axes. References
        # follow the video in time, and are the same for every window.
        window = options.get("context_window")
        kwargs = {
            name: value if name == "time_dim_concat" else _in_window(value, window, x.shape[2])
            for name, value in kwargs.items()
        }
        c_concat = _in_window(c_concat, window, x.shape[2])
        return super()._apply_model(x, t, c_concat, c_crossattn, control, options, **kwargs)

    def extra_conds_shapes(self, **kwargs: Any) -> dict[Any, Any]:
        """What core predicts memory from before a run: each text that is kept, by itself.

        The least memory of a run counts the largest only of what has one name.
        """
        vision = kwargs.get("clip_vision_output")
        seen = () if vision is None else vision.penultimate_hidden_states.shape[1:2]
        kept = {
            (KEPT, id(text), id(vision), start): [*text.shape[:2], *seen]
            for text, start in texts_read(kwargs)
        }
        return super().extra_conds_shapes(**kwargs) | kept

    def memory_required(self, input_shape, cond_shapes=None, **more: Any) -> float:
        """Bytes that a step needs besides the weights and the text that is kept already.

        Args:
            input_shape: (b, c, t, h, w) of latents.
            cond_shapes: of conditioning, by name; references add their frames.
            more: what newer hosts tell, such as whether the attention chosen for this MODEL is
                `memory_efficient_attention`.
        """
        cond_shapes = cond_shapes or {}
        in_parts = more.get("memory_efficient_attention")
        if not (attends_in_parts(mm.get_torch_device()) if in_parts is None else in_parts):
            estimate = super().memory_required
            return estimate(input_shape, cond_shapes, **offered(estimate, **more))
        b, c, t, h, w = input_shape
        t += max((shape[2] for shape in cond_shapes.get("time_dim_concat", ())), default=0)
        computing = self.manual_cast_dtype or self.get_dtype()
        size = mm.dtype_size(computing)
        texts = text_bytes(self.sizes, self._text_tokens(cond_shapes, input_shape[2]), size)
        still_to_read = max(0, texts - self.diffusion_model.texts.bytes)
        contexts = max((shape[1] for shape in cond_shapes.get("vace_context", ())), default=1)
        by_token = TOKEN_MASK in cond_shapes
        peak = peak_bytes(self.sizes, (b, c, t, h, w), size, contexts, by_token=by_token)
        return peak + still_to_read

    def _text_tokens(self, cond_shapes: Mapping[Any, Any], frames: int) -> int:
        """Tokens of text and images whose keys and values are kept.

        Args:
            cond_shapes: from `extra_conds_shapes` before a run; of what goes into one call in it;
                or without either, which stands for two prompts.
            frames: latent frames of the video; shots that begin after them are not read.
        """
        tokens = partial(kept_tokens, self.sizes)
        kept = {key: shapes[0] for key, shapes in cond_shapes.items() if key[0] == KEPT}
        if kept:
            read = [shape for (*_, start), shape in kept.items() if start < frames]
            return sum(rows * tokens(words, *seen or (0,)) for rows, words, *seen in read)
        images = max((shape[1] for shape in cond_shapes.get("clip_fea", ())), default=None)
        texts, shots = (cond_shapes.get(name, ()) for name in ("c_crossattn", "shot_texts"))
        if not texts:
            return 2 * tokens(0, images)
        words = max(shape[1] for shape in (*texts, *shots))
        # A storyboard's own text, one for all shots, is not read.
        prompts = len(texts) - len(shots) + sum(shape[0] for shape in shots)
        return prompts * tokens(words, images or 0)


class FrameLevels(OurNetwork, model_base.WAN22):
    """Checkpoints that take a noise level for each latent frame: known frames are at 0.

    Where a mask tells apart places within a frame, core would give the frame their mean, which is
    no level that any of it has. Here each token gets its own, as in `textimage2video.py` of
    Wan-Video/Wan2.2@42bf4cf.
    """

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        out, mask = super().extra_conds(**kwargs), kwargs.get("denoise_mask")
        if mask is not None and tells_places_apart(mask):  # once in a run
            del out["denoise_mask"]  # each frame's level would be the mean over it
            out[TOKEN_MASK] = conds.CONDRegular(token_mask(mask, self.sizes.patch))
        return out

    def process_timestep(self, timestep, x, token_mask=None, **kwargs):
        if token_mask is None:
            return super().process_timestep(timestep, x=x, **kwargs)
        return token_mask[:, 0] * timestep.view(-1, 1, 1, 1)


class OneLevel(OurNetwork, model_base.WAN21):
    """Checkpoints with one noise level for the whole video."""


class Vace(OurNetwork, model_base.WAN21_Vace):
    """Checkpoints that are shown what of a video is to be kept, and what it is to follow."""

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        """As core's, which reads what its WanVaceToVideo sets; and FRAME_STRENGTHS."""
        check_contexts(kwargs)
        out = super().extra_conds(**kwargs)
        if (strengths := kwargs.get(FRAME_STRENGTHS)) is not None:
            rows = torch.stack([row.float() for row in strengths])
            out["vace_frame_strength"] = conds.CONDRegular(rows[None, :, None, :, None, None])
            out["vace_lead"] = conds.CONDConstant(int(kwargs.get(LEAD, 0)))
        return out


def check_contexts(kwargs: Mapping[str, Any]) -> None:
    """Refuse what core's WanVaceToVideo made for a video of another length or size."""
    noise, contexts = kwargs.get("noise"), kwargs.get("vace_frames") or ()
    for context in contexts if noise is not None else ():
        if context.shape[2:] != noise.shape[2:]:
            t, h, w = context.shape[2:]
            raise InputError(
                f"VACE is shown {t} latent frames of {h}×{w}, and the LATENT has "
                f"{noise.shape[2]} of {noise.shape[3]}×{noise.shape[4]}: sample the LATENT of the "
                f"same WanVaceToVideo, or give both the same length, width and height."
            )


def takes_token_levels(model: comfy.model_patcher.ModelPatcher) -> bool:
    """Whether a MODEL of ours takes a noise level for each token."""
    return isinstance(model.model, FrameLevels)


def token_mask(mask: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """mask: (b, ., t, h, w) -> (b, 1, t, y, x): 1 where any part of a token is to be sampled."""
    return F.max_pool3d(mask[:, :1].float(), (1, *patch[1:]), ceil_mode=True)


def _in_window(value: Any, window: Any, frames: int) -> Any:
    """Conditioning by latent frame cut to those of a context window, unless it already is.

    They are on its third axis; of VACE's, which has six, on its fourth.
    """
    if window is None or not torch.is_tensor(value) or value.ndim not in (5, 6):
        return value
    axis = value.ndim - 3
    if value.shape[axis] == frames:
        return value
    wanted = torch.as_tensor(window.index_list, device=value.device)
    return value.index_select(axis, wanted)


def check_text(text: Tensor | None, config: DiTConfig) -> None:
    if text is None or text.shape[-1] == config.text_width:
        return
    encoder = "UMT5-XXL" if config.text_width == 4096 else "the built-in one, nano"
    raise InputError(
        f"the conditioning is {text.shape[-1]} channels wide, but this model reads text of "
        f"{config.text_width}: encode the prompt with the text encoder it was made for ({encoder})."
    )


def check_channels(channels: int, config: DiTConfig) -> None:
    if channels == config.out_channels:
        return
    raise InputError(
        f"the latents have {channels} channels, but this model generates "
        f"{config.out_channels}: make the canvas, or encode, with the VAE that belongs to it."
    )


def build_model(
    config: DiTConfig,
    weights: Mapping[str, Tensor],
    latent_format: latent_formats.LatentFormat,
    dtype: torch.dtype,
    source: str,
    *,
    family: Family | None = None,
    evidence: str = "its tensors",
    storage: quantised.Storage = "plain",
    dynamic: bool = True,
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL from the weights of one of our transformers.

    Args:
        config: its sizes.
        weights: by official name, on the CPU. They are taken over.
        latent_format: see `latent_format.format_for`.
        dtype: of the weights; arithmetic is in what the device can do.
        source: the file's name, for messages.
        family, evidence: from `family_of`; None goes by the sizes.
        storage: from `quantised.storage_for`; unless it is "plain", dtype is that of what is
            not packed.
        dynamic: see `patching.patcher_for`.
    """
    kind, network_class = _classes(config)
    settings = kind({"image_model": "wan2.1", "dim": config.width})
    settings.latent_format = latent_format
    family = family or family_of(config)[0]
    if family.layout is Layout.NANO:
        # The others keep core's shift, so that a graph made for core's loader stays as it was.
        settings.sampling_settings["shift"] = family.settings.shift
    device, offload = mm.get_torch_device(), mm.unet_offload_device()
    casts_from = None if storage == "quantised" else dtype  # quantised weights are cast at any rate
    computing = mm.unet_manual_cast(casts_from, device, settings.supported_inference_dtypes)
    settings.set_inference_dtype(dtype, computing)
    if storage == "quantised":
        settings.quant_config = {"mixed_ops": True}
    elif storage == "scaled":
        settings.scaled_fp8 = torch.float8_e4m3fn
    else:
        weights = dtypes.stored_as(weights, dtype)
    model = network_class(config, settings)
    model.family, model.evidence, model.source = family, evidence, source
    network = model.diffusion_model
    if storage == "quantised":
        quantised.load_quantised(network, weights, source)
        patching.loaded(network)
    else:
        patching.take_over(network, quantised.with_all_scales(weights, network), source)
    if offload.type != "cpu":  # where the weights are already
        network.to(offload)
    patcher = patching.patcher_for(model, device, offload, dynamic)
    patching.watch(patcher)
    return patcher


def _classes(config: DiTConfig) -> tuple[type, type[OurNetwork]]:
    """Core's class of settings, and ours of the MODEL."""
    if config.vace_blocks:
        return supported_models.WAN21_Vace, Vace
    if config.frame_levels:
        return supported_models.WAN22_T2V, FrameLevels
    return supported_models.WAN21_T2V, OneLevel


def config_of(model: comfy.model_patcher.ModelPatcher) -> DiTConfig | None:
    """The sizes of a MODEL that is one of ours; None for any other."""
    return model.model.sizes if isinstance(model.model, OurNetwork) else None


def network_of(model: comfy.model_patcher.ModelPatcher) -> OurNetwork | None:
    """Our network in a MODEL, with its family and source; None in any other."""
    return model.model if isinstance(model.model, OurNetwork) else None


def refuse_broken_weights(model: comfy.model_patcher.ModelPatcher) -> None:
    """Check every weight of a MODEL of ours, after it has given NaN or infinity.

    Raises:
        CheckpointError: naming the file and its weights that are NaN or infinite.
        NotFiniteError: naming those that only a LoRA or another patch made so.
    """
    if broken := patching.broken_by_patches(model):
        raise NotFiniteError(
            f"a LoRA or another patch of weights made {len(broken)} of {len(model.patches)} that "
            f"it changes NaN or infinite: {shortened(broken)}. Take it off, or lower its strength."
        )
    if (network := network_of(model)) is not None:
        refuse_broken_numbers(patching.weights_of_file(model), network.source)
