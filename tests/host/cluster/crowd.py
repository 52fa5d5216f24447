"""Workers in the test's own process: worker.py's own class, with an executor for a ComfyUI."""

import contextlib
import importlib
import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from longtake.engine.cluster.crowd import FailedCallError, LostWorkerError
from worker import Worker


class Child:
    """What `Worker` needs of a ComfyUI; a graph has been run when it is queued."""

    def __init__(self, host: Any, output: Path):
        self.host, self.output, self.history = host, output, {}
        self.executor = host.executor()
        self.process = SimpleNamespace(poll=lambda: None, pid=0)
        self.ran: list[dict] = []

    def check_alive(self) -> None:
        pass

    def queue(self, graph: dict) -> str:
        import folder_paths

        self.ran.append(graph)
        before = folder_paths.get_output_directory()
        folder_paths.set_output_directory(str(self.output))
        try:
            run = self.host.run(graph, executor=self.executor)
        finally:
            folder_paths.set_output_directory(before)
        error = {"node_id": next(iter(graph)), "exception_message": run.error}
        messages = [] if run.error is None else [["execution_error", error]]
        entry = {"status": {"messages": messages}, "outputs": run.ui}
        self.history[name := str(len(self.history))] = entry
        return name

    def ask(self, path: str, body: dict | None = None) -> dict:
        return self.history


class Hand(Worker):
    """A worker whose child is in this process."""

    def __init__(self, host: Any, folder: Path):
        self.host = host
        super().__init__("python", "comfyui", [], str(folder), {})

    def _start(self) -> None:
        if self.child is None:
            self.child = Child(self.host, self.folder / "output")


class Answer:
    """A call that has been answered."""

    def __init__(self, call: Any):
        self._call = call

    def ready(self) -> bool:
        return True

    def result(self) -> Any:
        return self._call()


class Hands:
    """A crowd of such workers. Tests say what goes wrong.

    Attributes:
        asked: every call, as (worker, method).
        spoil: called before each call with (worker, method); may raise.
    """

    def __init__(self, host: Any, folder: Path, names: list[str]):
        self.hands = {name: Hand(host, folder / name) for name in names}
        self.asked: list[tuple[str, str]] = []
        self.spoil = lambda name, method: None

    def names(self) -> list[str]:
        return list(self.hands)

    def call(self, name: str, method: str, *arguments: Any) -> Answer:
        def answer() -> Any:
            self.asked.append((name, method))
            try:
                self.spoil(name, method)
            except LostWorkerError:
                self.hands.pop(name, None)
                raise
            try:
                return getattr(self.hands[name], method)(*arguments)
            except KeyError:
                raise LostWorkerError(name) from None
            except (ValueError, OSError) as error:
                raise FailedCallError(str(error)) from None

        return Answer(answer)

    def close(self) -> None:
        pass

    def clips(self, name: str) -> list[int]:
        """The clips that a worker was given, by number."""
        with contextlib.suppress(KeyError):
            jobs = [node["inputs"].get("job") for graph in self.hands[name].child.ran
                    for node in graph.values()]  # fmt: skip
            return [json.loads(job)["clip"] for job in jobs if job]
        return []


@cache
def worker_nodes() -> list[Any]:
    """The nodes that only workers have, guarded as the pack guards all of its own."""
    clip = importlib.import_module("longtake.nodes.sample.clip")
    sockets = importlib.import_module("longtake.nodes.inputs.sockets")
    return [sockets.guarded(node) for node in clip.WORKER_NODES]


def register_worker_nodes(host: Any, monkeypatch: Any) -> None:
    for node in worker_nodes():
        schema = node.GET_SCHEMA()
        monkeypatch.setitem(host.nodes.NODE_CLASS_MAPPINGS, schema.node_id, node)
        monkeypatch.setitem(
            host.nodes.NODE_DISPLAY_NAME_MAPPINGS, schema.node_id, schema.display_name
        )
        node.RELATIVE_PYTHON_MODULE = "custom_nodes.longtake"
