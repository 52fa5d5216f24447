"""Video models as core's loaders give them, tiny and of random weights.

Each function makes MODEL, VAE and CONDITIONING of core's own classes, with the sizes that other
code may count on (latent channels, strides, class names) and all others as small as they go:

    tiny = ltxv()
    frames = nodes.VAEDecode().decode(tiny.vae, nodes.KSampler().sample(tiny.model, …)[0])

In a graph they come from a node, after `register_tiny_models()`:

    {"class_type": NODE, "inputs": {"name": "ltxv"}}  # MODEL, CLIP, VAE, VAE of the sound

`import comfy` must work where they are called; the fixture `comfyui` sees to that.
"""

from tests.host_models.build import HostModel
from tests.host_models.hunyuan import (
    hunyuan_video,
    hunyuan_video_15,
    hunyuan_video_15_upscaler,
    hunyuan_video_from_an_image,
)
from tests.host_models.ltx import ltxav, ltxav_latent, ltxv
from tests.host_models.minimax import minimax_h3, minimax_is_here, minimax_latent
from tests.host_models.node import NODE, node_of
from tests.host_models.wan import (
    scail_2,
    wan21,
    wan21_from_an_image,
    wan21_vace,
    wan22,
    wan_animate,
    wan_animate_2,
)

__all__ = [
    "NODE",
    "HostModel",
    "hunyuan_video",
    "hunyuan_video_15",
    "hunyuan_video_15_upscaler",
    "hunyuan_video_from_an_image",
    "ltxav",
    "ltxav_latent",
    "ltxv",
    "minimax_h3",
    "minimax_is_here",
    "minimax_latent",
    "register_tiny_models",
    "scail_2",
    "wan21",
    "wan21_from_an_image",
    "wan21_vace",
    "wan22",
    "wan_animate",
    "wan_animate_2",
]

MODELS = (
    *(ltxv, ltxav, minimax_h3, hunyuan_video, hunyuan_video_from_an_image, hunyuan_video_15),
    *(wan21, wan21_vace, wan21_from_an_image, wan22, wan_animate, wan_animate_2, scail_2),
)


def register_tiny_models() -> None:
    import nodes

    models = {make.__name__: make for make in MODELS}
    nodes.NODE_CLASS_MAPPINGS.setdefault(NODE, node_of(models))
