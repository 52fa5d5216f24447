"""Longtake's nodes, in the order a video passes through them."""

from comfy_api.latest import ComfyExtension, io

from .cache import ModelCache
from .canvas import Canvas
from .decode import Decode, DecodeFrames
from .encode import Encode
from .load import LoadModel, LoadTextEncoder, LoadVAE
from .prompt import Prompt
from .sample import Sample
from .save import SaveVideo
from .schedule import Schedule

NODES: list[type[io.ComfyNode]] = [
    LoadModel,
    LoadTextEncoder,
    LoadVAE,
    Prompt,
    Canvas,
    Encode,
    Schedule,
    Sample,
    Decode,
    DecodeFrames,
    SaveVideo,
    ModelCache,
]


class Extension(ComfyExtension):
    """What ComfyUI gets from the pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
