"""The tiny models as a node, for graphs: `{"class_type": NODE, "inputs": {"name": "ltxv"}}`."""

from collections.abc import Callable
from pathlib import Path

from environment import link_pack
from tests.host_models.build import HostModel

NODE = "TinyHostModel"


def node_of(models: dict[str, Callable[[], HostModel]]) -> type:
    """Its outputs: MODEL, CLIP, VAE of the pictures, VAE of the sound; the same at every run."""
    made: dict[str, HostModel] = {}

    class TinyHostModel:
        RETURN_TYPES = ("MODEL", "CLIP", "VAE", "VAE")
        FUNCTION = "load"
        CATEGORY = "tests"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"name": (list(models),)}}

        def load(self, name: str) -> tuple:
            if name not in made:
                made[name] = models[name]()
            tiny = made[name]
            return tiny.model, tiny.clip, tiny.vae, tiny.audio_vae

    return TinyHostModel


INTO_A_SERVER = """
import sys

sys.path.insert(0, {root!r})
import pack

pack.register()
from tests.host_models import register_tiny_models

register_tiny_models()
NODE_CLASS_MAPPINGS = {{}}
"""


def install_tiny_models(custom_nodes: Path) -> None:
    """Put them into a folder of custom nodes, beside the pack."""
    link_pack(custom_nodes)
    root = Path(__file__).resolve().parents[2]
    file = custom_nodes / "tiny_host_models.py"
    file.write_text(INTO_A_SERVER.format(root=str(root)), encoding="utf-8")
