"""Real Ray, real servers: workers killed, drivers killed, cancelled, lost, with other weights.

python -m pytest tests/host/cluster/test_ray.py --slow     (three minutes; needs `pip install ray`)
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from environment import ROOT, comfyui_folder, link_pack
from headless import Server, failure
from tests.workflows.conftest import load

THREADS = {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "token"}


@pytest.fixture(scope="module")
def slow(request) -> None:
    if not request.config.getoption("--slow"):
        pytest.skip("takes minutes: --slow")
    if find_spec("ray") is None:  # imported later: it reads the environment once
        pytest.skip("Ray is not installed")


class Machine:
    """A worker, as `dev.py worker` runs it."""

    def __init__(self, folder: Path, name: str, *words: object):
        self.name, self.folder = name, folder / name
        for part in ("custom_nodes", "models"):
            (self.folder / "base" / part).mkdir(parents=True, exist_ok=True)
        link_pack(self.folder / "base" / "custom_nodes")
        own = ["--comfyui", comfyui_folder(), "--name", name, "--folder", self.folder]
        rest = ["--", "--cpu", "--base-directory", self.folder / "base"]
        command = [sys.executable, ROOT / "worker.py", *own, *words, *rest]
        self.process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, text=True
        )

    def ready(self) -> str:
        """The address of the cluster that it is part of, once it waits for work."""
        address = self.process.stdout.readline().strip()
        assert address, f"the worker {self.name} ended"
        return address

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def cluster(slow, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """Two workers of one cluster, and how to speak to their actors."""
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in {**THREADS, "RAY_AUTH_TOKEN_PATH": str(folder / "token")}.items():
            patch.setenv(name, value)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        one = Machine(folder, "one", "--head", "--ip", "127.0.0.1", "--port", port)
        stack.callback(one.end)
        address = one.ready()
        two = Machine(folder, "two", "--address", address)
        stack.callback(two.end)
        two.ready()
        import ray

        ray.init(address=address, namespace="longtake", log_to_driver=False)
        stack.callback(ray.shutdown)

        def ask(name: str, method: str, *arguments):
            return ray.get(getattr(ray.get_actor(f"worker {name}"), method).remote(*arguments))

        yield SimpleNamespace(folder=folder, address=address, ask=ask, one=one, two=two)


class Driver:
    """The ComfyUI at which somebody sits."""

    def __init__(self, base: Path):
        for part in ("custom_nodes", "models", "input", "output"):
            (base / part).mkdir(parents=True, exist_ok=True)
        link_pack(base / "custom_nodes")
        self.base, self.windows = base, base / "output" / "longtake" / "windows"
        words = ["--cpu", "--base-directory", base]
        self.server = Server(Path(sys.executable), comfyui_folder(), words, base / "log.txt")

    def stored(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.windows.glob("*.safetensors")}

    @property
    def log(self) -> str:
        return (self.base / "log.txt").read_text(encoding="utf-8")


@contextmanager
def driving(base: Path) -> Iterator[Driver]:
    driver = Driver(base)
    with driver.server:
        yield driver


def take(workers: str, seed: int = 12, steps: int = 12) -> dict:
    """Three shots; a window takes a second or two."""
    graph = load("api/storyboard.json")
    for node in graph.values():
        if node["class_type"] == "LongtakeLongTake":
            node["inputs"] |= {"workers": workers, "seed": seed}
        if node["class_type"] == "LongtakeSchedule":
            node["inputs"]["steps"] = steps
    return graph


def until(true: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def driver(cluster, tmp_path_factory) -> Iterator[Driver]:
    with driving(tmp_path_factory.mktemp("driver")) as driver:
        yield driver


def alone(driver: Driver, seed: int) -> dict[str, bytes]:
    """What a machine makes by itself."""
    return run(driver, take("this ComfyUI", seed))


def run(driver: Driver, graph: dict, meanwhile: Callable[[], None] = lambda: None) -> dict:
    shutil.rmtree(driver.windows, ignore_errors=True)
    queued = driver.server.queue(graph)
    meanwhile()
    entry = driver.server.wait(queued)
    assert failure(entry, graph) is None
    return driver.stored()


def working(cluster, name: str) -> bool:
    """Whether a worker is in the middle of a clip."""
    file = cluster.folder / name / "output/longtake/clip.json"
    try:
        if time.time() - file.stat().st_mtime > 3:  # of an earlier one
            return False
        told = json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return 0 < told["done"] < told["windows"] * told["steps"]


def test_two_workers_make_the_take_to_the_bit(cluster, driver):
    expected = alone(driver, 12)
    assert run(driver, take(cluster.address)) == expected
    assert "sampled by one, two" in driver.log


def test_a_worker_is_killed_in_the_middle_of_a_window(cluster, driver):
    def kill() -> None:
        until(lambda: working(cluster, "two"))
        actor, child = cluster.ask("two", "pid")
        os.kill(actor, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{child}").exists(), 10)  # it ends with its parent

    expected = alone(driver, 13)
    assert run(driver, take(cluster.address, 13), kill) == expected


def test_a_worker_s_comfyui_is_killed(cluster, driver):
    def kill() -> None:
        until(lambda: working(cluster, "one"))
        os.kill(cluster.ask("one", "pid")[1], signal.SIGKILL)

    expected = alone(driver, 14)
    assert run(driver, take(cluster.address, 14), kill) == expected
    assert "one failed on clip" in driver.log


def test_a_driver_is_killed_and_goes_on(cluster, driver, tmp_path):
    expected, graph = alone(driver, 15), take(cluster.address, 15)
    first = Driver(tmp_path / "driver")
    with first.server as server:
        server.queue(graph)
        until(first.stored)
        server.process.kill()
    with driving(tmp_path / "driver") as second:
        there = {path: path.stat().st_ino for path in second.windows.glob("*.safetensors")}
        assert there
        entry = second.server.wait(second.server.queue(graph))
        assert failure(entry, graph) is None
        assert second.stored() == expected
        assert {path: path.stat().st_ino for path in there} == there, "used as they are"


def test_cancel_reaches_all_within_five_seconds(cluster, driver):
    shutil.rmtree(driver.windows, ignore_errors=True)
    graph = take(cluster.address, 16, steps=200)
    queued = driver.server.queue(graph)
    until(lambda: working(cluster, "one") or working(cluster, "two"))
    pressed = time.monotonic()
    driver.server.ask("/interrupt", {})
    entry = driver.server.wait(queued)
    assert "interrupted" in failure(entry, graph)
    for name in ("one", "two"):
        until(lambda name=name: cluster.ask(name, "idle"), 30)
    assert time.monotonic() - pressed < 5


def test_a_node_is_lost_and_another_joins(cluster, driver):
    more: list[Machine] = []

    def change() -> None:
        until(lambda: working(cluster, "two") or working(cluster, "one"))
        cluster.two.end()
        more.append(Machine(cluster.folder, "three", "--address", cluster.address))
        more[0].ready()

    expected = alone(driver, 17)
    try:
        assert run(driver, take(cluster.address, 17), change) == expected
    finally:
        more[0].end()
