"""Longtake's nodes, in the order a video passes through them.

A class ends in Node where the thing itself (a Canvas, a Shot) has a class of its own.
"""

from comfy_api.latest import ComfyExtension, io

from .beat import Beat
from .cache import ModelCacheNode
from .canvas import CanvasNode
from .credentials import ReadCredentials, ReadMark
from .decode import Decode, DecodeFrames
from .encode import Encode
from .experts import ExpertsNode
from .extend import ExtendVideo
from .forcing import DiffusionForcing
from .interpolate import Interpolate
from .join import Bridge, FillGap, Loop
from .load import LoadModel, LoadTextEncoder, LoadVAE
from .long_take import LongTake
from .lora import LoadLora
from .pin import PinImage, PinVideo
from .preset import Preset
from .prompt import PromptNode
from .remix import Remix
from .sample import Sample
from .save import SaveVideo
from .schedule import Schedule
from .storyboard import ShotNode, Storyboard

NODES: list[type[io.ComfyNode]] = [
    LoadModel,
    LoadTextEncoder,
    LoadVAE,
    LoadLora,
    Preset,
    PromptNode,
    ShotNode,
    Storyboard,
    Beat,
    CanvasNode,
    PinImage,
    PinVideo,
    ExtendVideo,
    FillGap,
    Loop,
    Bridge,
    Remix,
    Encode,
    Schedule,
    ExpertsNode,
    DiffusionForcing,
    Sample,
    LongTake,
    Decode,
    DecodeFrames,
    Interpolate,
    SaveVideo,
    ReadCredentials,
    ReadMark,
    ModelCacheNode,
]


class Extension(ComfyExtension):
    """What ComfyUI gets from the pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
