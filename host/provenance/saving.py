"""A VIDEO saved with what is known of its origin: its graph, credentials and mark."""

from dataclasses import replace
from typing import Any

from comfy_api.latest import Input

from ...engine.sampling.host_presets import duties_of
from ..comfyui.graph import fill_in_values, graph_metadata
from ..video.save import SavedVideo, SaveOptions, save_video
from .credentials import Signing
from .ledger import enter_ledger
from .lineage import weights_in
from .mark import mark_stage


def save_with_origin(
    video: Input.Video,
    prefix: str,
    options: SaveOptions,
    credentials: str,
    mark: bool,
    hidden: Any,
    *,
    into_ledger: bool = False,
) -> SavedVideo:
    """Put a VIDEO into ComfyUI's output folder, with its graph in it.

    Args:
        video: from any node.
        prefix: the beginning of its name; values of the graph's widgets are filled in.
        options: how it is saved.
        credentials: one of `credentials.CHOICES`.
        mark: whether its frames get the invisible mark.
        hidden: a node's `hidden`, with `prompt`, `extra_pnginfo` and `unique_id`.
        into_ledger: whether its fingerprints are kept.

    Raises:
        InputError: for a name that is not allowed, or a VIDEO that cannot be read.
        OutputError: if it cannot be written.
        LongtakeError: if credentials are required and it cannot be signed.
    """
    if mark:
        options = replace(options, mark=mark_stage(hidden))
    signing = Signing(credentials, hidden)
    prefix = fill_in_values(prefix, hidden.prompt)
    saved = save_video(video, prefix, graph_metadata(hidden), options, signing)
    signing.saved(saved.path)
    kept = enter_ledger(video, str(saved.name), options.sound, hidden) if into_ledger else ""
    first = ", ".join(filter(None, (saved.path.name, signing.note)))
    asked = duties_of(weights_in(hidden.prompt, getattr(hidden, "unique_id", None)))
    return saved._replace(summary="\n".join(filter(None, (first, *asked, saved.summary, kept))))
