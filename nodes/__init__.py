"""Longtake's nodes, in the order a video passes through them.

A class ends in Node where the thing itself (a Canvas, a Shot) has a class of its own.
"""

from typing import Any

from comfy_api.latest import ComfyExtension, io

from ..host.comfyui.graph import watch_queue
from ..host.comfyui.media_folders import put_samples
from ..host.comfyui.offers import offer_replacements
from ..host.comfyui.owner import is_worker
from .inputs.sockets import guarded
from .load.cache import ModelCacheNode
from .load.loaders import LoadModel, LoadTextEncoder, LoadVAE
from .load.lora import LoadLora
from .load.preset import Preset
from .motion.camera_path import CameraPathNode
from .motion.drive import Drive
from .motion.motion_brush import MotionBrushNode
from .output.credentials import ReadCredentials, ReadMark
from .output.decode import Decode, DecodeFrames
from .output.interpolate import Interpolate
from .output.made_here import MadeHere
from .output.salvage import SalvageNode
from .output.save import SaveVideo
from .output.side_by_side import SideBySide
from .prompt.audio import LoadAudio
from .prompt.beat import Beat
from .prompt.expand import ExpandPrompt
from .prompt.looks import CameraAndMotion, StyleNode
from .prompt.prompt import PromptNode
from .prompt.storyboard import ShotNode, Storyboard
from .sample.experts import ExpertsNode
from .sample.forcing import DiffusionForcing
from .sample.long_take import LongTake
from .sample.sample import Sample
from .sample.schedule import Schedule
from .sample.variations import Variations
from .timeline.canvas import CanvasNode
from .timeline.encode import Encode
from .timeline.extend import ExtendVideo
from .timeline.guidance import ControlVideo, ReferenceImages
from .timeline.join import Bridge, FillGap, Loop
from .timeline.pin import PinImage, PinVideo
from .timeline.pin_audio import PinAudio
from .timeline.region import ExpandCanvas, Region
from .timeline.remix import Remix

NODES: list[type[io.ComfyNode]] = [
    guarded(node)
    for node in (
        LoadModel,
        LoadTextEncoder,
        LoadVAE,
        LoadLora,
        Preset,
        ExpandPrompt,
        StyleNode,
        CameraAndMotion,
        PromptNode,
        ShotNode,
        Storyboard,
        LoadAudio,
        Beat,
        CanvasNode,
        PinImage,
        PinVideo,
        PinAudio,
        ControlVideo,
        ReferenceImages,
        ExtendVideo,
        FillGap,
        Loop,
        Bridge,
        Region,
        ExpandCanvas,
        Remix,
        Encode,
        Schedule,
        ExpertsNode,
        DiffusionForcing,
        CameraPathNode,
        MotionBrushNode,
        Drive,
        Variations,
        Sample,
        LongTake,
        Decode,
        DecodeFrames,
        Interpolate,
        SideBySide,
        SaveVideo,
        SalvageNode,
        ReadCredentials,
        ReadMark,
        MadeHere,
        ModelCacheNode,
    )
]

# Ids are for ever. Should one have to change all the same: old id -> new_node_id, old_widget_ids
# and input_mapping, which hosts need even where the inputs are alike.
REPLACED: dict[str, dict[str, Any]] = {}


class Extension(ComfyExtension):
    """What ComfyUI gets from the pack."""

    async def on_load(self) -> None:
        await offer_replacements(REPLACED)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        put_samples()  # older hosts do not call on_load
        watch_queue()
        if is_worker():
            from .sample.clip import WORKER_NODES, end_with_parent

            end_with_parent()
            return [*NODES, *map(guarded, WORKER_NODES)]
        return NODES
