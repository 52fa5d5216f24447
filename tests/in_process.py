"""ComfyUI inside the test's own process: quick, and every object within reach.

    def test_it(host):
        run = host.run(prompt, want=["3"])  # an API-format workflow; these nodes' outputs
        latent = run.values["3"][0]

`comfyui` alone makes `import comfy`, `import nodes` and so on work, without the pack's nodes.
"""

import asyncio
import importlib
import sys
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import longtake
from environment import comfyui_folder


@dataclass
class Run:
    """What became of one prompt.

    Attributes:
        success: whether every node ran.
        error: why not, in the node's words.
        values: the outputs of each node by its id; one of several values is a list.
        ui: what an output node showed, by its id.
        executed: ids of the nodes that ran, as against those still cached.
        events: what was sent to the browser, in order.
    """

    success: bool
    error: str | None
    values: dict[str, list]
    ui: dict[str, dict]
    executed: set[str]
    events: list[tuple[str, Any]]


@dataclass
class Listener:
    """Stands where the executor expects the server."""

    events: list = field(default_factory=list)
    client_id: str | None = "test"
    last_node_id: str | None = None
    last_prompt_id: str | None = None
    sockets_metadata: dict = field(
        default_factory=lambda: {"test": {"feature_flags": {"supports_preview_metadata": True}}}
    )

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:
        self.events.append((event, data))


class Host:
    """ComfyUI's modules and an executor for prompts.

    The pack's nodes are those of the package `longtake` as the tests import it, not a second
    copy, so that isinstance and monkeypatch mean what they say.
    """

    def __init__(self, base: Path):
        self.base = base
        self.nodes: ModuleType = importlib.import_module("nodes")
        self.execution: ModuleType = importlib.import_module("execution")

    def executor(self, **cache) -> Any:
        """A PromptExecutor. Its cache lives as long as it does: `run(prompt, executor=…)`."""
        kind = cache.pop("cache_type", self.execution.CacheType.CLASSIC)
        args = {"lru": 0, "ram": 0, "ram_inactive": 0, **cache}
        return self.execution.PromptExecutor(Listener(), cache_type=kind, cache_args=args)

    def refusal(self, prompt: dict) -> str | None:
        """Why ComfyUI would not queue this prompt; None where it would."""
        valid, error, _, node_errors = self._validate(prompt)
        if valid:
            return None
        found = [e for entry in node_errors.values() for e in entry["errors"]] or [error]
        return "; ".join(f"{e['message']}: {e['details']}" for e in found)

    def run(self, prompt: dict, want: list[str] | None = None, executor: Any = None) -> Run:
        """Execute a prompt as the server's worker does.

        Args:
            prompt: in the API format.
            want: ids of nodes to execute with all that they need; without it, the output nodes,
                after validation.
            executor: to share a cache with earlier runs; by default a fresh one.
        """
        if want is None:
            valid, error, want, node_errors = self._validate(prompt)
            assert valid, (error, node_errors)
        executor = executor or self.executor()
        executor.server.events.clear()
        executor.execute(prompt, str(uuid.uuid4()), {"client_id": "test"}, want)
        return self._result(executor, prompt)

    def _validate(self, prompt: dict) -> tuple:
        return asyncio.run(self.execution.validate_prompt(str(uuid.uuid4()), prompt, None))

    @staticmethod
    def _result(executor: Any, prompt: dict) -> Run:
        outputs = executor.caches.outputs
        look = getattr(outputs, "get_local", outputs.get)  # in newer hosts `get` is a coroutine
        cached = {node: look(node) for node in prompt}
        messages = [data["exception_message"] for event, data in executor.status_messages
                    if event == "execution_error"]  # fmt: skip
        events = list(executor.server.events)
        return Run(
            success=executor.success,
            error=messages[0].strip() if messages else None,
            values={
                node: [v[0] if len(v) == 1 else v for v in entry.outputs]
                for node, entry in cached.items()
                if entry
            },
            ui=executor.history_result["outputs"],
            executed={data["node"] for event, data in events if event == "executing"} - {None},
            events=events,
        )


def import_comfyui(folder: Path, base: Path, options: Sequence[str] = ("--cpu",)) -> None:
    """Import ComfyUI's modules with the command line of a server; core's nodes as well."""
    sys.path.insert(0, str(folder))
    words = ["main.py", *options, "--base-directory", str(base)]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own and its libraries'
        patch.setattr(sys, "argv", [*words, "--database-url", "sqlite:///:memory:"])
        importlib.import_module("comfy.options").enable_args_parsing()
        # before `nodes`, which puts ComfyUI/comfy first on sys.path, where `utils` is another one
        importlib.import_module("utils.extra_config")
        importlib.import_module("nodes")
        asyncio.run(load_core_nodes())


async def load_core_nodes() -> None:
    nodes, server = importlib.import_module("nodes"), importlib.import_module("server")
    server.PromptServer(asyncio.get_running_loop())  # some nodes reach for its instance
    # Its loop ends here; what prompts send goes to a Listener.
    server.PromptServer.instance.send_sync = lambda event, data, sid=None: None
    await nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False)


def load_pack() -> None:
    """What nodes.load_custom_node does, but with the package that the tests import."""
    nodes = importlib.import_module("nodes")
    extension = asyncio.run(longtake.comfy_entrypoint())
    for node in asyncio.run(extension.get_node_list()):
        schema = node.GET_SCHEMA()
        nodes.NODE_CLASS_MAPPINGS[schema.node_id] = node
        nodes.NODE_DISPLAY_NAME_MAPPINGS[schema.node_id] = schema.display_name
        node.RELATIVE_PYTHON_MODULE = "custom_nodes.longtake"


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory) -> Host:
    """ComfyUI and its core nodes, importable from here on. Its folders lie under `.base`."""
    base = tmp_path_factory.mktemp("comfyui")
    for folder in ("custom_nodes", "input", "output", "models"):
        (base / folder).mkdir()
    import_comfyui(comfyui_folder(), base)
    return Host(base)


@pytest.fixture(scope="session")
def host(comfyui) -> Host:
    """ComfyUI with the pack's nodes."""
    load_pack()
    return comfyui
