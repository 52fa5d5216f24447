"""Longtake: text to video, and everything around it, for ComfyUI.

Nothing is imported here until ComfyUI asks for the nodes, so that the networks in `models/` and
the tests can be used where there is no ComfyUI.
"""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """ComfyUI calls this once, after finding the pack in custom_nodes.

    The gate of the owner's policy goes up first: it stands, should a node fail to load.
    """
    from .host.comfyui.owner import policy_choice, refuse_every_prompt

    if (choice := policy_choice()) is not None:
        try:
            from .host.policy.put_up import put_up_gate  # which most servers never import

            put_up_gate(choice)
        except Exception as error:  # noqa: BLE001 - core's prompts must not pass because of it
            refuse_every_prompt(error)
    from .nodes import Extension

    return Extension()
