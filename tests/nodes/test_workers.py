"""Long Take with workers: worker.py's class and the real nodes, in one process and without Ray."""

import errno
import importlib
import json
import os
import re
import threading
from pathlib import Path

import pytest

from longtake.engine.cluster.crowd import FailedCallError, LostWorkerError, UnreachableError
from tests.host.cluster.crowd import Answer, Hands, register_worker_nodes
from tests.nodes.test_long_take import BOARD, STORYBOARD

ADDRESS = "10.0.0.7:6379"


@pytest.fixture
def windows(host) -> Path:
    """The folder of finished windows, empty."""
    folder = host.base / "output" / "longtake" / "windows"
    for path in folder.glob("*.safetensors"):
        path.unlink()
    return folder


@pytest.fixture
def take(graph):
    """Three shots of a second, a tiny model, workers somewhere."""
    given = {**BOARD, "workers": ADDRESS}
    nodes = {"board": ("LongtakeStoryboard", STORYBOARD), "take": ("LongtakeLongTake", given)}
    return graph.add(**nodes).but(save={"video": ["take", 0]})


@pytest.fixture
def hands(host, windows, tmp_path, monkeypatch) -> Hands:
    """Two workers; the driver begins to decode once they have done what they will do."""
    crew = importlib.import_module("longtake.host.cluster.crew")
    shift = importlib.import_module("longtake.host.cluster.shift")
    register_worker_nodes(host, monkeypatch)
    crowd = Hands(host, tmp_path, ["gpu1", "gpu2"])
    monkeypatch.setattr(crew, "ray_crowd", lambda address: crowd)
    for name in ("TURN", "POLL", "BUSY"):
        monkeypatch.setattr(shift, name, 0.001)
    settled = crew.Crew._wait_until_settled

    def all_done(self) -> None:
        settled(self)
        rota = self._shift.rota
        with self._shift.changed:
            self._shift.changed.wait_for(
                lambda: not rota.workers or not (rota.waiting or rota.given), timeout=60
            )

    monkeypatch.setattr(crew.Crew, "_wait_until_settled", all_done)
    crowd.settled = settled
    return crowd


def stored(windows: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in windows.glob("*.safetensors")}


def emptied(windows: Path) -> dict[str, bytes]:
    """What was stored, which is there no more."""
    made = stored(windows)
    for name in made:
        (windows / name).unlink()
    return made


ALONE: dict[str, bytes] = {}


@pytest.fixture
def at_home(host, take, windows) -> dict[str, bytes]:
    """The windows of the take as this process makes them alone, which it does once."""
    if not ALONE:
        run = host.run(take.but(take={"workers": "this ComfyUI"}))
        assert run.error is None
        ALONE.update(emptied(windows))
    return ALONE


def test_workers_make_the_same_windows_to_the_bit(host, take, hands, windows, at_home, shown):
    run = host.run(take)
    assert run.error is None
    assert stored(windows) == at_home
    assert sorted(hands.clips("gpu1") + hands.clips("gpu2")) == [0, 1, 2]
    assert "sampled by gpu1, gpu2" in "\n".join(shown)


def test_what_is_at_home_is_not_asked_for(host, take, hands, windows, at_home):
    assert host.run(take).error is None
    hands.asked.clear()
    assert host.run(take.but(take={"cfg": 4.0, "keep": "delete when done"})).error is None
    assert not hands.asked


def test_a_lost_worker_s_clip_goes_elsewhere(host, take, hands, windows, at_home, shown):
    def lose(name, method):
        if name == "gpu2" and method == "window":
            raise LostWorkerError("node died")

    hands.spoil = lose
    assert host.run(take).error is None
    assert stored(windows) == at_home
    assert "gpu2 was lost; clip 2 goes elsewhere" in "\n".join(shown)
    assert sorted(hands.clips("gpu1")) == [0, 1, 2]


def test_a_worker_that_is_started_again_while_it_compares_is_asked_again(
    host, take, hands, windows, at_home, shown
):
    again = []

    def restart(name, method):
        if name == "gpu2" and method == "state" and not again:
            again.append(name)
            hands.hands[name].job = ""

    hands.spoil = restart
    assert host.run(take).error is None
    assert stored(windows) == at_home
    assert "sampled by gpu1, gpu2" in "\n".join(shown)


def test_after_three_failures_the_driver_samples(host, take, hands, windows, at_home, shown):
    def fail(name, method):
        if method == "window":
            raise FailedCallError("no space left on device")

    hands.spoil = fail
    assert host.run(take).error is None
    assert stored(windows) == at_home
    text = "\n".join(shown)
    assert "gpu1 failed on clip 1: no space left on device" in text
    assert "gpu1 failed 3 times and gets no more" in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"files": {"dit/nano (built in)": "0" * 64}}, "nano (built in) on gpu1 is another file"),
        ({"pack": "0.1.0 (x)"}, "gpu1 has Longtake 0.1.0 (x)"),
        ({"comfyui": "0.1"}, "gpu1 runs ComfyUI 0.1"),
        ({"unknown": ("Strange",)}, "gpu1 has no node Strange"),
    ],
)
def test_a_worker_with_something_else_gets_nothing(
    host, take, hands, windows, at_home, shown, monkeypatch, change, says
):
    from dataclasses import replace

    clip = importlib.import_module("longtake.nodes.sample.clip")
    real = clip.terms_of

    def other(graph, files):
        terms = real(graph, files)
        merged = {k: {**terms.files, **v} if k == "files" else v for k, v in change.items()}
        return replace(terms, **merged)

    monkeypatch.setattr(clip, "terms_of", other)
    assert host.run(take).error is None
    assert says in "\n".join(shown)
    assert not hands.clips("gpu1") + hands.clips("gpu2")
    assert stored(windows) == at_home


def test_a_worker_whose_comfyui_has_no_longtake_gets_nothing(
    host, take, hands, windows, at_home, shown
):
    def refuse(name, method):
        if method == "begin":
            raise FailedCallError("ComfyUI refused the workflow: node LongtakeTerms does not exist")

    hands.spoil = refuse
    assert host.run(take).error is None
    assert "gpu1: its ComfyUI has no Longtake like ours: ComfyUI refused" in "\n".join(shown)
    assert stored(windows) == at_home


@pytest.mark.parametrize("full", [{"gpu2"}, {"gpu1", "gpu2"}])
def test_a_worker_s_disk_is_full(host, take, hands, windows, at_home, shown, monkeypatch, full):
    """The clip goes elsewhere; where all disks are full, it is sampled here."""
    store = importlib.import_module("longtake.engine.take.window_store").WindowStore
    folders = {hands.hands[name].folder / "output/longtake/windows" for name in full}
    real = store._write

    def write(self, path, data):
        if path.parent in folders:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, path, data)

    monkeypatch.setattr(store, "_write", write)
    assert host.run(take).error is None
    assert stored(windows) == at_home
    text = "\n".join(shown)
    for name in full:
        assert re.search(rf"{name} failed on clip \d: .*a window cannot be kept in .*full\?", text)


def test_windows_of_another_device_are_used_and_never_taken_for_our_own(
    host, take, hands, windows, at_home, shown, monkeypatch
):
    crew = importlib.import_module("longtake.host.cluster.crew")
    terms = importlib.import_module("longtake.host.cluster.graph_terms")
    monkeypatch.setattr(crew, "kind_of_device", lambda: "another card")
    real = crew.terms_of
    from dataclasses import replace

    monkeypatch.setattr(crew, "terms_of", lambda *a: replace(real(*a), kind="another card"))
    assert host.run(take).error is None
    assert not set(stored(windows)) & set(at_home)
    assert len(stored(windows)) == len(at_home)
    assert "gpu1 rounds differently" in "\n".join(shown)
    hands.asked.clear()
    assert host.run(take.but(take={"aspect": "free", "keep": "delete when done"})).error is None
    assert ("gpu1", "window") not in hands.asked, "found under their own keys"
    assert terms.kind_of_device() != "another card"


def test_without_ray_a_take_is_sampled_here_and_says_so(host, take, windows, shown, monkeypatch):
    crew = importlib.import_module("longtake.host.cluster.crew")

    def none(address):
        raise UnreachableError("workers need Ray, which is not installed")

    monkeypatch.setattr(crew, "ray_crowd", none)
    assert host.run(take).error is None
    assert "workers need Ray, which is not installed: the take is sampled here" in "\n".join(shown)
    assert stored(windows)


def test_an_address_that_is_no_private_one_is_refused_when_queued(host, take):
    assert "not on a private network" in host.refusal(take.but(take={"workers": "8.8.8.8:1"}))


def test_later_seeds_of_variations_are_sampled_meanwhile(host, take, hands, windows, shown):
    many = take.add(seeds=("LongtakeVariations", {"seed": 7, "count": 2}))
    run = host.run(many.but(take={"seed": ["seeds", 0]}))
    assert run.error is None
    assert sorted(hands.clips("gpu1") + hands.clips("gpu2")) == [0, 0, 1, 1, 2, 2]
    graph = hands.hands["gpu1"].child.ran[-1]
    assert "seeds" not in graph, "only what a take needs travels"


def test_variations_has_workers_for_the_take_that_it_gives_seeds(host, take, hands, windows):
    """The largest seed that there is, and the next one, which is 0."""
    seeds = {"seed": 2**64 - 1, "count": 2, "workers": ADDRESS}
    many = take.add(seeds=("LongtakeVariations", seeds)).but(
        take={"seed": ["seeds", 0], "workers": "this ComfyUI"}
    )
    assert host.run(many.but(seeds={"workers": "this ComfyUI"})).error is None
    assert not hands.asked
    alone = emptied(windows)
    assert host.run(many).error is None
    assert stored(windows) == alone
    jobs = hands.hands["gpu1"].child.ran + hands.hands["gpu2"].child.ran
    seeds = [graph["take"]["inputs"]["seed"] for graph in jobs if "take" in graph]
    assert sorted(seeds) == [*[0] * 3, *[2**64 - 1] * 3]
    assert "not on a private network" in host.refusal(many.but(seeds={"workers": "8.8.8.8:1"}))


def test_workers_of_variations_that_come_over_a_wire_are_told(host, take, hands):
    word = ("PrimitiveString", {"value": ADDRESS})
    seeds = {"seed": 7, "count": 2, "workers": ["word", 0]}
    many = take.add(word=word, seeds=("LongtakeVariations", seeds)).but(take={"seed": ["seeds", 0]})
    refused = host.run(many.but(take={"workers": "this ComfyUI"})).error
    assert "workers of Variations comes from another node" in refused


def test_a_node_counts_the_steps_of_all_workers_names_them_and_says_one_time(
    host, take, hands, at_home, shown, monkeypatch
):
    """Both workers are in the middle of a clip when the node is looked at."""
    progress = importlib.import_module("longtake.host.take.progress")
    crew = importlib.import_module("longtake.host.cluster.crew")
    monkeypatch.setattr(progress, "TELL", 0.0)
    monkeypatch.setattr(crew, "LOOK", 0.001)
    monkeypatch.setattr(crew.Crew, "_wait_until_settled", hands.settled)
    looked, real, told = threading.Event(), hands.call, []

    def call(name, method, *arguments):
        if method == "state" and not arguments[0].startswith("terms") and not looked.is_set():
            return Answer(lambda: json.dumps({"status": "running", "steps": 1, "keys": []}))
        return real(name, method, *arguments)

    def elsewhere(self, steps, what, at_work):
        told.append((steps, self.clock.steps))
        real_elsewhere(self, steps, what, at_work)
        if steps == 2:
            looked.set()

    real_elsewhere = progress.TakeProgress.elsewhere
    monkeypatch.setattr(progress.TakeProgress, "elsewhere", elsewhere)
    hands.call = call
    assert host.run(take).error is None
    assert looked.is_set(), "one step of each"
    assert (2, 8) in told
    said = [text.split("\n") for text in shown if "is sampled elsewhere" in text]
    both = next(lines for lines in said if len(lines) == 3)
    assert re.fullmatch(r"clip 1 is sampled elsewhere; about \d+ s left, and decoding", both[0])
    assert both[1:] == ["gpu1: clip 1", "gpu2: clip 2"]


def test_either_side_of_a_pinned_middle_goes_out_by_itself(
    host, take, hands, windows, at_home, shown
):
    """One shot, one window to the left of a known second and one to its right."""
    pin = {"image": ["image", 0], "vae": ["vae", 0], "fit": "crop", "latent": ["canvas", 0]}
    pinned = take.add(
        image=("EmptyImage", {"width": 32, "height": 48, "batch_size": 1, "color": 0xC86432}),
        pin=("LongtakePinImage", {**pin, "at": 1.0}),
    ).but(
        canvas={"seconds": 2.0},
        board={"text": "a red ball", "seconds": 2.0},
        take={"canvas": ["pin", 0], "seconds": 2.0},
    )
    assert host.run(pinned.but(take={"workers": "this ComfyUI"})).error is None
    alone = emptied(windows)
    assert len(alone) == 2
    assert host.run(pinned).error is None
    assert stored(windows) == alone
    assert (hands.clips("gpu1"), hands.clips("gpu2")) == ([0], [0])
    assert "sampled by gpu1, gpu2" in "\n".join(shown)


def test_a_list_in_the_graph_stays_at_home(host, take, hands, shown):
    many = take.add(seeds=("LongtakeVariations", {"seed": 7, "count": 1}))
    run = host.run(many.but(schedule={"steps": ["seeds", 0]}))
    assert run.error is None
    assert "makes a list, and a worker one take: the take is sampled here" in "\n".join(shown)
    assert not hands.asked


def test_cancel_reaches_the_workers(host, take, hands, monkeypatch):
    import comfy.model_management as mm

    crew = importlib.import_module("longtake.host.cluster.crew")
    busy, cancelled = threading.Event(), []

    class Endless:
        def ready(self):
            return False

        def result(self):
            raise AssertionError

    real = hands.call

    def call(name, method, *arguments):
        if method == "cancel":
            cancelled.append(name)
        if method == "begin" and not arguments[0].startswith("terms"):
            if busy.is_set():
                return Answer(lambda: "busy")
            begun = real(name, method, *arguments).result()  # its executor forgets a Cancel
            busy.set()
            return Answer(lambda: begun)
        if method == "state" and busy.is_set():
            return Endless()
        return real(name, method, *arguments)

    def then_cancel(self):
        assert busy.wait(20)
        mm.interrupt_current_processing()

    hands.call = call
    monkeypatch.setattr(crew.Crew, "_wait_until_settled", then_cancel)
    run = host.run(take)
    assert not run.success
    assert set(cancelled) & {"gpu1", "gpu2"}
