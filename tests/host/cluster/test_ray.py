"""Workers over real Ray are killed, lost and cancelled in the middle of a take, and so are drivers.

python -m pytest tests/host/cluster --slow     (needs `pip install ray==2.60.0`)
"""

import os
import re
import shutil
import signal
import time
from pathlib import Path

import av
import pytest

from headless import failure
from tests.host.cluster.conftest import Driver, Machine, driving, ended, take, until

pytestmark = pytest.mark.usefixtures("slow")


def test_a_worker_is_killed_in_the_middle_of_a_window(cluster, driver):
    def kill() -> None:
        until(cluster.two.working)
        actor, child = cluster.ask("two", "pid")
        os.kill(actor, signal.SIGKILL)
        until(lambda: ended(child), 10)  # it ends with its parent

    expected = driver.alone(13)
    assert driver.run(take(cluster.address, 13), kill) == expected


def test_a_worker_s_comfyui_is_killed(cluster, driver):
    def kill() -> None:
        until(cluster.one.working)
        os.kill(cluster.ask("one", "pid")[1], signal.SIGKILL)

    expected = driver.alone(14)
    windows, log = driver.told(take(cluster.address, 14), kill)
    assert windows == expected
    assert "one failed on clip" in log


def test_a_driver_is_killed_and_goes_on(cluster, driver, tmp_path):
    expected, graph = driver.alone(15), take(cluster.address, 15)
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


def test_cancel_reaches_all_within_five_seconds_and_leaves_a_video(cluster, driver):
    """Pressed when the first shot is there, and decoded."""
    shutil.rmtree(driver.windows, ignore_errors=True)
    graph = take(cluster.address, 16, steps=100)
    queued = driver.server.queue(graph)
    until(driver.stored)
    time.sleep(2)
    until(lambda: cluster.one.working() or cluster.two.working())
    pressed = time.monotonic()
    driver.server.ask("/interrupt", {})
    entry = driver.server.wait(queued)
    assert "interrupted" in failure(entry, graph)
    for name in ("one", "two"):
        until(lambda name=name: cluster.ask(name, "idle"), 30)
    assert time.monotonic() - pressed < 5
    (saved,) = (driver.base / "output/longtake").glob("stopped_*.mp4")
    with av.open(saved) as video:
        assert list(video.decode(video=0))


def with_shots(graph: dict, shots: int) -> dict:
    """A take of so many shots of two seconds, 384 × 384 pixels."""
    for node in graph.values():
        if node["class_type"] == "LongtakeStoryboard":
            text = "\n".join(f"[{2 * n}s{' cut' * (n > 0)}] a red ball" for n in range(shots))
            node["inputs"] |= {"text": text, "seconds": 2.0 * shots}
        if node["class_type"] == "LongtakeLongTake":
            node["inputs"] |= {"width": 384, "height": 384}
    return graph


def test_a_driver_s_memory_is_the_same_for_more_clips(cluster, driver):
    """All frames of eight more clips are 240 MB as numbers, 60 MB as bytes."""
    process, peaks = driver.server.process.pid, []
    for n, shots in enumerate((4, 4, 12)):  # the first one loads what stays
        Path(f"/proc/{process}/clear_refs").write_text("5")  # the peak is what there is now
        assert driver.run(with_shots(take(cluster.address, 41 + n, steps=2), shots))
        status = Path(f"/proc/{process}/status").read_text()
        peaks.append(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3)
    print(f"peak memory of the driver after 4, 4 and 12 clips, in MB: {peaks}")
    assert peaks[2] < peaks[1] + 40


def test_a_worker_ends_and_another_joins(cluster, driver):
    more: list[Machine] = []

    def change() -> None:
        until(lambda: cluster.two.working() or cluster.one.working())
        cluster.two.end()
        more.append(Machine(cluster.folder, "three", "--address", cluster.address))
        more[0].ready()

    expected = driver.alone(17)
    try:
        assert driver.run(take(cluster.address, 17), change) == expected
    finally:
        more[0].end()
