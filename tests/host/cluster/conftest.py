"""Real Ray, real servers: workers as `dev.py worker` runs them, and a ComfyUI that drives them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from environment import ROOT, comfyui_folder, link_pack
from headless import Server, failure
from tests.workflows.conftest import load

THREADS = {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "token"}
FILM = "film.safetensors"  # the built-in network, as a file of one's own


@pytest.fixture(scope="session")
def slow(request) -> None:
    if not request.config.getoption("--slow"):
        pytest.skip("takes minutes: --slow")


@pytest.fixture(scope="session")
def token(tmp_path_factory) -> Path:
    """The file of the token of all clusters: Ray, imported later, reads the environment once."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed, or not for this system: pip install ray==2.60.0")
    return tmp_path_factory.mktemp("token") / "auth_token"


def base_folder(base: Path, weights: bool = False) -> Path:
    """What a ComfyUI needs under --base-directory: its folders, and the pack.

    Args:
        weights: whether it has FILM.
    """
    for part in ("custom_nodes", "input", "output", "models/diffusion_models"):
        (base / part).mkdir(parents=True, exist_ok=True)
    link_pack(base / "custom_nodes")
    if weights:
        shutil.copy(ROOT / "models/nano/dit.safetensors", base / "models/diffusion_models" / FILM)
    return base


class Machine:
    """A worker, as `dev.py worker` runs it."""

    def __init__(self, folder: Path, name: str, *words: object):
        self.name, self.folder = name, folder / name
        self.base = base_folder(self.folder / "base", weights=True)
        own = ["--comfyui", comfyui_folder(), "--name", name, "--folder", self.folder]
        rest = ["--", "--cpu", "--base-directory", self.base]
        command = [sys.executable, ROOT / "worker.py", *own, *words, *rest]
        self.process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, text=True
        )

    @property
    def weights(self) -> Path:
        return self.base / "models/diffusion_models" / FILM

    def ready(self) -> str:
        """The address of the cluster that it is part of, once it waits for work."""
        address = self.process.stdout.readline().strip()
        assert address, f"the worker {self.name} ended"
        return address

    def working(self) -> bool:
        """Whether it is in the middle of a clip."""
        file = self.folder / "output/longtake/clip.json"
        try:
            if time.time() - file.stat().st_mtime > 3:  # of an earlier one
                return False
            told = json.loads(file.read_text())
        except (OSError, ValueError):
            return False
        return 0 < told["done"] < told["windows"] * told["steps"]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def cluster(token, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """Two workers of one cluster, and how to speak to their actors."""
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in {**THREADS, "RAY_AUTH_TOKEN_PATH": str(token)}.items():
            patch.setenv(name, value)
        one = Machine(folder, "one", "--head", "--ip", "127.0.0.1", "--port", free_port())
        stack.callback(one.end)
        address = one.ready()
        two = Machine(folder, "two", "--address", address)
        stack.callback(two.end)
        two.ready()
        ask = stack.enter_context(connected(address))
        yield SimpleNamespace(folder=folder, address=address, ask=ask, one=one, two=two)


@contextmanager
def connected(address: str) -> Iterator[Callable]:
    """How to speak to the actors of a cluster: ask(worker, method, …)."""
    import ray

    connect(address)

    def ask(name: str, method: str, *arguments):
        return ray.get(getattr(ray.get_actor(f"worker {name}"), method).remote(*arguments))

    try:
        yield ask
    finally:
        ray.shutdown()


def connect(address: str, **more: object) -> None:
    """Connect this process to a cluster.

    Without Ray's own answer to a kill, which would end the tests and leave their servers behind.
    """
    import ray

    kill = signal.getsignal(signal.SIGTERM)
    quiet = {"log_to_driver": False, "configure_logging": False}
    ray.init(address=address, namespace="longtake", **quiet, **more)
    signal.signal(signal.SIGTERM, kill)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Driver:
    """The ComfyUI at which somebody sits."""

    def __init__(self, base: Path):
        self.base = base_folder(base, weights=True)
        self.windows = base / "output" / "longtake" / "windows"
        words, log = ["--cpu", "--base-directory", base], base / "log.txt"
        # It asks for the token by itself.
        own = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
        self.server = Server(Path(sys.executable), comfyui_folder(), words, log, environment=own)

    def stored(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.windows.glob("*.safetensors")}

    @property
    def log(self) -> str:
        return (self.base / "log.txt").read_text(encoding="utf-8")

    def run(self, graph: dict, meanwhile: Callable[[], None] = lambda: None) -> dict[str, bytes]:
        """The windows that a graph makes, from none."""
        shutil.rmtree(self.windows, ignore_errors=True)
        queued = self.server.queue(graph)
        meanwhile()
        entry = self.server.wait(queued)
        assert failure(entry, graph) is None
        return self.stored()

    def alone(self, seed: int, **more) -> dict[str, bytes]:
        """What a machine makes by itself."""
        return self.run(take("this ComfyUI", seed, **more))

    def told(self, graph: dict, meanwhile: Callable[[], None] = lambda: None) -> tuple[dict, str]:
        """The windows, and what was logged on the way."""
        before = len(self.log)
        windows = self.run(graph, meanwhile)
        return windows, self.log[before:]


@contextmanager
def driving(base: Path) -> Iterator[Driver]:
    driver = Driver(base)
    with driver.server:
        yield driver


@pytest.fixture(scope="module")
def driver(cluster, tmp_path_factory) -> Iterator[Driver]:
    with driving(tmp_path_factory.mktemp("driver")) as driver:
        yield driver


def take(workers: str, seed: int = 12, steps: int = 12, file: str | None = None) -> dict:
    """Three shots; a window takes a second or two."""
    graph = load("api/storyboard.json")
    for node in graph.values():
        if node["class_type"] == "LongtakeLongTake":
            node["inputs"] |= {"workers": workers, "seed": seed}
        if node["class_type"] == "LongtakeSchedule":
            node["inputs"]["steps"] = steps
        if node["class_type"] == "LongtakeLoadModel" and file:
            node["inputs"]["file"] = file
    return graph


def until(true: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def restart_child(cluster: SimpleNamespace, machine: Machine) -> None:
    """A worker has another ComfyUI, which sees what has changed on its disk."""
    child = cluster.ask(machine.name, "pid")[1]
    os.kill(child, signal.SIGKILL)

    def another() -> bool:
        with suppress(Exception):  # it begins with a ComfyUI, and then has nothing to do
            cluster.ask(machine.name, "begin", "nothing", "{}", {})
        return cluster.ask(machine.name, "pid")[1] != child

    until(another)
