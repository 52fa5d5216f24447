"""The tiny models as a node, for graphs: `{"class_type": NODE, "inputs": {"name": "ltxv"}}`."""

from collections.abc import Callable

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
