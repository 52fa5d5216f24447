"""Longtake's nodes, in the order a video passes through them."""

from comfy_api.latest import ComfyExtension, io

from .beat import Beat
from .cache import ModelCache
from .canvas import Canvas
from .credentials import ReadCredentials, ReadMark
from .decode import Decode, DecodeFrames
from .encode import Encode
from .experts import Experts
from .extend import ExtendVideo
from .forcing import DiffusionForcing
from .interpolate import Interpolate
from .join import Bridge, FillGap, Loop
from .load import LoadModel, LoadTextEncoder, LoadVAE
from .long_take import LongTake
from .lora import LoadLora
from .pin import PinImage, PinVideo
from .preset import Preset
from .prompt import Prompt
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
    Prompt,
    ShotNode,
    Storyboard,
    Beat,
    Canvas,
    PinImage,
    PinVideo,
    ExtendVideo,
    FillGap,
    Loop,
    Bridge,
    Remix,
    Encode,
    Schedule,
    Experts,
    DiffusionForcing,
    Sample,
    LongTake,
    Decode,
    DecodeFrames,
    Interpolate,
    SaveVideo,
    ReadCredentials,
    ReadMark,
    ModelCache,
]


class Extension(ComfyExtension):
    """What ComfyUI gets from the pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
