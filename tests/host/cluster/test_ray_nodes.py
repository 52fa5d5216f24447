"""A cluster of simulated nodes, each with a worker: one is removed, another joins."""

import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from environment import ROOT, comfyui_folder
from tests.host.cluster.conftest import THREADS, Machine, base_folder, connect, driving, take, until
from worker import begin_worker, import_ray

pytestmark = pytest.mark.usefixtures("slow")


class Node(Machine):
    """A node of `ray.cluster_utils.Cluster` with a worker on it."""

    def __init__(self, nodes, folder, name):
        import ray

        self.name, self.folder, self.nodes = name, folder / name, nodes
        self.node = nodes.add_node(num_cpus=1)
        base = base_folder(self.folder / "base")
        words = ["--cpu", "--base-directory", str(base)]
        options = SimpleNamespace(comfyui=comfyui_folder(), options=words, folder=self.folder)
        self.actor = begin_worker(ray, name, options, self.node.node_id)

    def end(self) -> None:
        """As a machine ends whose plug is pulled."""
        self.nodes.remove_node(self.node, allow_graceful=False)


@pytest.fixture
def nodes(token, monkeypatch) -> Iterator:
    """A cluster with a head and nothing else."""
    token.touch()
    token.write_text(token.read_text() or os.urandom(32).hex())
    for name, value in {**THREADS, "RAY_AUTH_TOKEN_PATH": str(token)}.items():
        monkeypatch.setenv(name, value)
    ray = import_ray()
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    connect(cluster.address, runtime_env=environment)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_node_is_removed_in_the_middle_of_a_clip_and_another_joins(nodes, tmp_path):
    one, two = (Node(nodes, tmp_path, name) for name in ("one", "two"))
    more: list[Node] = []

    def change() -> None:
        until(lambda: one.working() and two.working())
        one.end()
        more.append(Node(nodes, tmp_path, "three"))

    with driving(tmp_path / "driver") as driver:
        expected = driver.alone(31, steps=100)
        windows, log = driver.told(take(nodes.address, 31, steps=100), change)
    assert windows == expected
    assert "sampled by one, two" in log
    assert "one was lost; clip " in log
    kept = more[0].folder / "output/longtake/windows"
    assert list(kept.glob("*.safetensors")), "it has sampled"
