"""A genuine ComfyUI process with the pack in it, for tests over HTTP and websocket.

def test_it(server):
    run = server.run(prompt)  # an API-format workflow
    assert run.error is None
    assert run.files[0].suffix == ".mp4"
"""

import asyncio
import json
import os
import struct
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from environment import comfyui_folder, link_pack
from headless import Server, failure, saved_files

PREVIEW, PREVIEW_WITH_METADATA = 1, 4  # kinds of binary message in ComfyUI's protocol.py
# Root may write into any folder; without CAP_DAC_OVERRIDE it may do what others may.
AS_ANYBODY = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP; in force from the next line on
os.execv(sys.argv[1], sys.argv[1:])
"""


class Event(NamedTuple):
    """A message on the websocket.

    Attributes:
        type: "preview" for a picture, else as ComfyUI calls it.
        data: of a preview the encoded picture under "image" and, where the node sent it, the
            metadata beside it.
    """

    type: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What became of one prompt.

    Attributes:
        prompt: as it was queued.
        history: the server's own record: prompt, outputs, status.
        events: in order.
        files: what it saved in the output folder.
    """

    prompt: dict
    history: dict
    events: list[Event]
    files: list[Path]

    @property
    def outputs(self) -> dict[str, dict]:
        """What each output node showed: {node id: {"images": [...], ...}}."""
        return self.history["outputs"]

    @property
    def error(self) -> str | None:
        """ "Node title: message", or None where all went well."""
        return failure(self.history, self.prompt)

    @property
    def executed(self) -> set[str]:
        """Ids of the nodes that ran, as against those whose output was still cached."""
        return {event.data["node"] for event in self.of("executing")} - {None}

    def of(self, type: str) -> list[Event]:
        return [event for event in self.events if event.type == type]


class ComfyUI(Server):
    """The server of a test session; its folders are its own."""

    def __init__(self, comfyui: Path, base: Path, *options: str, install=link_pack):
        for folder in ("custom_nodes", "input", "output", "models"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        install(base / "custom_nodes")
        self.input, self.output, self.models = base / "input", base / "output", base / "models"
        words = ["--cpu", "--base-directory", base, *options]
        super().__init__(Path(sys.executable), comfyui, words, base / "comfyui.log")
        if os.name == "posix":
            self.command = [sys.executable, "-c", AS_ANYBODY, *self.command]

    def run(
        self,
        prompt: dict,
        *,
        workflow: dict | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
        timeout: float = 300,
    ) -> Run:
        """Queue `prompt` and wait until it has been dealt with, for better or worse.

        Args:
            prompt: in the API format.
            workflow: in the UI format, as the browser sends it along to be embedded in files.
            on_event: called with each event as it comes; it may interrupt.
            timeout: seconds.

        Raises:
            Stop: if the server refuses the prompt.
        """
        prompt_id, events = asyncio.run(
            asyncio.wait_for(self._follow(prompt, workflow, on_event), timeout)
        )
        history = self.ask(f"/history/{prompt_id}")[prompt_id]
        return Run(prompt, history, events, saved_files(history, self.output))

    async def _follow(self, prompt, workflow, on_event) -> tuple[str, list[Event]]:
        client, events = uuid.uuid4().hex, []
        extra = {} if workflow is None else {"extra_pnginfo": {"workflow": workflow}}
        address = f"http://{self.address}/ws?clientId={client}"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, max_msg_size=0) as socket,
        ):
            hello = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
            await socket.send_json(hello)
            prompt_id = self.queue(prompt, client_id=client, extra_data=extra)
            async for message in socket:
                events.append(parse(message))
                on_event(events[-1])
                if is_last(events[-1], prompt_id):
                    return prompt_id, events
        self.check_alive()
        raise ConnectionError("ComfyUI closed the websocket")

    def check_loaded(self) -> None:
        """Fails the test if the pack could not be loaded."""
        log = self.log.read_text(encoding="utf-8")
        if "(IMPORT FAILED)" in log:  # "IMPORT FAILED:" is one of core's own, which can be missed
            pytest.fail(f"ComfyUI could not load the pack:\n{log}")

    def interrupt(self) -> None:
        self.ask("/interrupt", {})

    def free(self) -> None:
        """Drop cached outputs and unload models, as the browser's button does."""
        self.ask("/free", {"unload_models": True, "free_memory": True})
        time.sleep(1)  # its worker does this when it gets to it, and tells nobody

    def info(self, node: str) -> dict:
        """A node's definition as the browser sees it."""
        return self.ask(f"/object_info/{node}")[node]


def is_last(event: Event, prompt_id: str) -> bool:
    if event.type != "executing" or event.data["node"] is not None:
        return False
    return event.data.get("prompt_id") == prompt_id


def parse(message: aiohttp.WSMessage) -> Event:
    if message.type == aiohttp.WSMsgType.TEXT:
        fields = json.loads(message.data)
        return Event(fields["type"], fields["data"])
    kind, size = struct.unpack_from(">II", message.data)
    if kind == PREVIEW_WITH_METADATA:  # size of the metadata, metadata, picture
        metadata = json.loads(message.data[8 : 8 + size])
        return Event("preview", {**metadata, "image": message.data[8 + size :]})
    if kind == PREVIEW:  # number of the picture's format, picture
        return Event("preview", {"image": message.data[8:]})
    return Event(f"binary {kind}", {"bytes": message.data[4:]})


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[ComfyUI]:
    """One server for all tests, because it takes ten seconds to start."""
    with ComfyUI(comfyui_folder(), tmp_path_factory.mktemp("server")) as running:
        running.check_loaded()
        yield running
