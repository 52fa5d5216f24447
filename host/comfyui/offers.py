"""What newer hosts take, in a node's definition or a call, passed only to those that do."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from comfy_api.latest import ComfyAPI, io


def offered(takes: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those of some options that a class or function of the host at hand takes."""
    known = inspect.signature(takes).parameters
    return {name: value for name, value in options.items() if name in known}


async def offer_replacements(replaced: Mapping[str, Mapping[str, Any]]) -> None:
    """Have hosts that can put newer nodes in the place of older ones in what people saved.

    Args:
        replaced: of each older id what the host's NodeReplace is to be told.
    """
    kind, registry = getattr(io, "NodeReplace", None), getattr(ComfyAPI(), "node_replacement", None)
    for old, by in replaced.items() if kind and registry else ():
        await registry.register(kind(old_node_id=old, **by))
