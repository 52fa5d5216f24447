"""What is said before the first step of workers that must not sample, and of no clusters.

Over real Ray; `tests/nodes/test_workers.py` has the same without it.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from environment import ROOT
from longtake.engine.cluster.crowd import UnreachableError
from tests.host.cluster.conftest import FILM, Machine, connect, free_port, restart_child, take

pytestmark = pytest.mark.usefixtures("slow")
NAME = f"diffusion_models/{FILM}"


def plan_in(log: str) -> str:
    """What the node said before the first step, as it is logged."""
    return next(line for line in log.split("\n") if line.startswith("longtake: 6.12 s"))


@pytest.fixture
def weights(cluster) -> Iterator[None]:
    """Both workers have theirs again afterwards."""
    yield
    for machine in (cluster.one, cluster.two):
        shutil.copy(ROOT / "models/nano/dit.safetensors", machine.weights)


def spoil(file: Path) -> None:
    """The same size and the same names; the last number of the last weight is another one."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_wrong_weights_on_a_worker(cluster, driver, weights):
    expected = driver.alone(21, file=FILM)
    spoil(cluster.two.weights)
    windows, log = driver.told(take(cluster.address, 21, file=FILM))
    assert windows == expected
    assert f"{NAME} on two is another file (SHA-256 " in plan_in(log)
    assert "sampled by one;" in plan_in(log)


def test_no_worker_has_the_model(cluster, driver, weights):
    expected = driver.alone(22, file=FILM)
    cluster.one.weights.unlink()
    cluster.two.weights.unlink()
    windows, log = driver.told(take(cluster.address, 22, file=FILM))
    assert windows == expected
    for name in ("one", "two"):
        assert f"{name} has no {NAME}: it does not take part" in plan_in(log)


def test_another_version_of_the_pack_on_a_worker(cluster, driver):
    """A copy of it with one line more."""
    link = cluster.two.base / "custom_nodes" / "longtake"
    target = link.resolve()
    link.unlink()
    left_out = shutil.ignore_patterns(".*", "tests", "training", "*.mp4")
    shutil.copytree(target, link, ignore=left_out)
    with (link / "engine" / "rates.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    expected = driver.alone(23)
    try:
        restart_child(cluster, cluster.two)
        windows, log = driver.told(take(cluster.address, 23))
    finally:
        shutil.rmtree(link)
        link.symlink_to(target)
        restart_child(cluster, cluster.two)
    assert windows == expected
    assert "two has Longtake " in plan_in(log)
    assert "sampled by one;" in plan_in(log)


@contextmanager
def full_disk(machine: Machine) -> Iterator[None]:
    """No window fits where a worker keeps them."""
    folder = machine.folder / "output/longtake/windows"
    options = ["-t", "tmpfs", "-o", "size=16k", "none"]
    if subprocess.run(
        ["mount", *options, str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("this user cannot mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_worker_s_disk_is_full(cluster, driver):
    expected = driver.alone(24)
    with full_disk(cluster.two):
        windows, log = driver.told(take(cluster.address, 24))
    assert windows == expected
    assert "two failed on clip" in log
    assert "is the worker's disk full?" in log


def test_all_workers_disks_are_full(cluster, driver):
    """After three failures of a clip it is sampled at home."""
    expected = driver.alone(25)
    with full_disk(cluster.one), full_disk(cluster.two):
        windows, log = driver.told(take(cluster.address, 25))
    assert windows == expected
    for name in ("one", "two"):
        assert f"{name} failed on clip" in log


def test_no_cluster_answers(cluster, driver):
    expected = driver.alone(26)
    address = f"127.0.0.1:{free_port()}"
    windows, log = driver.told(take(address, 26))
    assert windows == expected
    told = f"no cluster answers at {address} (Connection refused): the take is sampled here"
    assert told in plan_in(log)


@pytest.mark.parametrize("other", [{"ray_version": "2.9.0"}, {"python_version": "3.9.1"}])
def test_another_ray_or_python_in_the_cluster(cluster, other):
    """The head says that it has another one."""
    import ray

    from longtake.host.cluster.ray_workers import RayWorkers

    key, space = b"CLUSTER_METADATA", b"cluster"
    head = ray._raylet.GcsClient(address=cluster.address)
    says = head.internal_kv_get(key, namespace=space)
    ray.shutdown()
    changed = json.dumps({**json.loads(says), **other}).encode()
    head.internal_kv_put(key, changed, True, namespace=space)
    try:
        with pytest.raises(UnreachableError, match="has another Ray or Python") as caught:
            RayWorkers(cluster.address)
    finally:
        head.internal_kv_put(key, says, True, namespace=space)
        connect(cluster.address)
    (version,) = other.values()
    assert version in str(caught.value)
    assert "\n" not in str(caught.value)
