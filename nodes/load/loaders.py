"""Weights file -> MODEL, CLIP, VAE."""

from functools import partial

from comfy_api.latest import io

from ...engine.sampling.presets import AUTO, TITLES
from ...host.comfyui import folders
from ...host.comfyui.node_text import show_text
from ...host.networks import load
from ...host.networks.settings import described
from ..inputs.kinds import Choice, File, verdict
from ..inputs.shared import found_by

CATEGORY = "Longtake/Load"
SHARED = (
    " Loaded once, however many nodes and open workflows use the same file. Choose "
    "'nano (built in)' to start right away: it ships with the pack."
)
DTYPE_TIP = (
    "How weights are stored. auto: what ComfyUI finds best for this machine and file. "
    "bf16 takes half the memory of fp32; fp8_e4m3fn half of that, at some loss of quality."
)


def _weights_file(kind: str) -> File:
    """The menu of weights files for a kind of network, one of `folders.FOLDERS`."""
    return File(
        "file",
        partial(folders.weights_menu, kind),
        partial(folders.find_weights, kind),
        folders.BUILT_IN,
    )


MODEL_FILE = _weights_file("dit")
TEXT_ENCODER_FILE = _weights_file("text_encoder")
VAE_FILE = _weights_file("vae")
DTYPE = Choice("dtype", tuple(load.DTYPES), default="auto", advanced=True)
VAE_DTYPE = Choice("dtype", load.VAE_DTYPES, default="auto", advanced=True)
FAMILY = Choice("family", TITLES, default=AUTO, optional=True, advanced=True)


class LoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadModel",
            display_name="Load Model (Longtake)",
            category=CATEGORY,
            **found_by("load diffusion model, unet loader, checkpoint loader, wan, skyreels"),
            description="Loads a video model of the Wan family as MODEL, and shows what it is and "
            "what it was trained for." + SHARED,
            inputs=[
                MODEL_FILE.widget(
                    "The built-in model, or a .safetensors file from ComfyUI's "
                    "models/diffusion_models folder."
                ),
                DTYPE.widget(DTYPE_TIP),
                FAMILY.widget(
                    "Which model the checkpoint is: decides shift, cfg, steps and frame rate "
                    "where those are left at 0. auto: recognised by its tensors, or by the file's "
                    "name where tensors are alike (Wan 2.2 T2V A14B and Wan 2.1 T2V 14B). The node "
                    "shows what it found."
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="For Schedule and Sample, or core's KSampler, LoRA loaders and so on.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, file=None, dtype=None, family=None) -> bool | str:
        return verdict((MODEL_FILE.read, file), (DTYPE.read, dtype), (FAMILY.read, family))

    @classmethod
    def fingerprint_inputs(cls, file: str, dtype: str, family: str = FAMILY.default) -> str:
        return MODEL_FILE.version(file)

    @classmethod
    def execute(cls, file: str, dtype: str, family: str = FAMILY.default) -> io.NodeOutput:
        model = load.load_model(MODEL_FILE.read(file), DTYPE.read(dtype), FAMILY.read(family))
        show_text(described(model))
        return io.NodeOutput(model)


class LoadTextEncoder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadTextEncoder",
            display_name="Load Text Encoder (Longtake)",
            category=CATEGORY,
            **found_by("clip loader, load clip, umt5, t5"),
            description="Loads the text encoder of a video model as CLIP." + SHARED,
            inputs=[
                TEXT_ENCODER_FILE.widget(
                    "The built-in one (for the built-in model), or a .safetensors file "
                    "from ComfyUI's models/text_encoders folder: UMT5-XXL for Wan."
                ),
            ],
            outputs=[
                io.Clip.Output(display_name="clip", tooltip="For Prompt, or core's CLIPTextEncode.")
            ],
        )

    @classmethod
    def validate_inputs(cls, file=None) -> bool | str:
        return verdict((TEXT_ENCODER_FILE.read, file))

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        return TEXT_ENCODER_FILE.version(file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load.load_text_encoder(TEXT_ENCODER_FILE.read(file)))


class LoadVAE(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LongtakeLoadVAE",
            display_name="Load VAE (Longtake)",
            category=CATEGORY,
            **found_by("vae loader, wan vae"),
            description="Loads the VAE that decodes a video model's latents into frames and "
            "encodes frames into latents." + SHARED,
            inputs=[
                VAE_FILE.widget(
                    "The built-in one (for the built-in model), or a .safetensors file "
                    "from ComfyUI's models/vae folder: Wan 2.1's, or Wan 2.2's for TI2V-5B."
                ),
                VAE_DTYPE.widget(DTYPE_TIP),
            ],
            outputs=[
                io.Vae.Output(
                    display_name="vae",
                    tooltip="For Canvas, Decode and Encode, or core's VAEDecode and VAEEncode.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, file=None, dtype=None) -> bool | str:
        return verdict((VAE_FILE.read, file), (VAE_DTYPE.read, dtype))

    @classmethod
    def fingerprint_inputs(cls, file: str, dtype: str) -> str:
        return VAE_FILE.version(file)

    @classmethod
    def execute(cls, file: str, dtype: str) -> io.NodeOutput:
        return io.NodeOutput(load.load_vae(VAE_FILE.read(file), VAE_DTYPE.read(dtype)))
