"""Longtake: text to video, and everything around it, for ComfyUI.

Nothing is imported here until ComfyUI asks for the nodes, so that the networks in `models/` and
the tests can be used where there is no ComfyUI.
"""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """ComfyUI calls this once, after finding the pack in custom_nodes."""
    from .nodes import Extension

    return Extension()
