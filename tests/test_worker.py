"""What a worker does on its own: names that it takes, files that come, its token, its options."""

import hashlib
import json
import os
import time
from types import SimpleNamespace

import pytest

import worker
from headless import Stop
from worker import Worker, check_token, first_line, free_name, options_of

KEY = "a" * 64


class Idle(Worker):
    """A worker whose ComfyUI runs a graph for ever."""

    def _start(self) -> None:
        self.told: list[str] = []
        self.history: dict = {}
        self.child = SimpleNamespace(
            process=SimpleNamespace(poll=lambda: None, pid=7),
            check_alive=lambda: None,
            queue=lambda graph: "1",
            ask=lambda path, body=None: self.told.append(path) or self.history,
        )


@pytest.fixture
def idle(tmp_path) -> Idle:
    return Idle("python", "comfyui", [], str(tmp_path), {})


@pytest.mark.parametrize("name", ["", "../x", "a" * 63, "A" * 64, f"{KEY}/../x", f"{KEY}.png\0"])
def test_only_hashes_are_names_of_files(idle, name):
    for call in (
        lambda: idle.window(name),
        lambda: idle.begin("job", "{}", {name: b""}),
        lambda: idle.lacks([name]),
        lambda: idle.put(name, 0, b"", True),
    ):
        with pytest.raises(ValueError, match="is not the name of a file"):
            call()


def test_an_input_file_comes_in_pieces_and_is_what_its_name_says(idle):
    data = bytes(range(256)) * 5
    name = f"{hashlib.sha256(data).hexdigest()}.png"
    assert idle.lacks([name]) == [name]
    idle.put(name, 0, data[:700], False)
    assert idle.lacks([name]) == [name]
    idle.put(name, 700, data[700:], True)
    assert idle.lacks([name]) == []
    assert (idle.folder / "input" / name).read_bytes() == data
    with pytest.raises(ValueError, match="came damaged"):
        idle.put(f"{KEY}.png", 0, data, True)
    assert idle.lacks([f"{KEY}.png"]) == [f"{KEY}.png"]


def test_the_oldest_input_files_go_and_the_newest_stays(tmp_path):
    files = [tmp_path / f"{letter * 64}.png" for letter in "abc"]
    for age, file in enumerate([*files, tmp_path / "mine.png"]):
        file.write_bytes(bytes(100))
        os.utime(file, (age, age))
    worker.keep_newest(tmp_path, 250)
    assert [file.exists() for file in files] == [False, True, True]
    worker.keep_newest(tmp_path, 10)
    assert [file.exists() for file in files] == [False, False, True]
    assert (tmp_path / "mine.png").exists()


def test_it_does_one_thing_at_a_time_and_the_same_again_is_no_other(idle):
    assert idle.begin("first", "{}", {KEY: b"window"}) == ""
    assert idle.window(KEY) == b"window"
    assert idle.begin("first", "{}", {}) == ""
    assert idle.begin("second", "{}", {}) == "busy with another take"
    assert json.loads(idle.state("first"))["status"] == "running"
    assert json.loads(idle.state("second"))["status"] == "unknown"
    idle.cancel("second")
    assert "/interrupt" not in idle.told
    idle.cancel("first")
    assert "/interrupt" in idle.told


def test_a_graph_that_its_comfyui_refuses_leaves_it_free(idle):
    """The work before it was another child's, of which this one's history says nothing."""

    def refuse(graph):
        raise Stop("refused")

    idle.begin("job", "{}", {})
    idle.child.process.poll = lambda: 1  # it has crashed, and another takes its place
    idle._start = lambda: setattr(idle.child, "process", SimpleNamespace(poll=lambda: None))
    idle.child.queue = refuse
    with pytest.raises(Stop):
        idle.begin("other", "{}", {})
    assert idle.idle()
    assert json.loads(idle.state("other")) == {"status": "unknown"}


def test_what_nobody_asks_for_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "LEASE", 0.05)
    idle = Idle("python", "comfyui", [], str(tmp_path), {})
    idle.begin("job", "{}", {})
    deadline = time.monotonic() + 10
    while "/interrupt" not in idle.told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "/interrupt" in idle.told


def test_a_failure_is_told_in_the_node_s_words(idle):
    idle.begin("job", json.dumps({"4": {"class_type": "LongtakeClip", "inputs": {}}}), {})
    error = {"node_id": "4", "exception_message": "no room"}
    idle.history = {"1": {"status": {"messages": [["execution_error", error]]}, "outputs": {}}}
    told = json.loads(idle.state("job"))
    assert (told["status"], told["error"]) == ("failed", "LongtakeClip: no room")


def test_a_token_is_made_for_a_head_alone_and_only_its_owner_reads_it(tmp_path, monkeypatch):
    file = tmp_path / "ray" / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with pytest.raises(Stop, match="no token: copy the head's"):
        check_token(make=False)
    check_token(make=True)
    made = file.read_text()
    assert len(made) == 64
    if os.name == "posix":
        assert file.stat().st_mode & 0o077 == 0
    check_token(make=True)
    assert file.read_text() == made


def test_options_after_two_dashes_are_comfyui_s(capsys):
    found = options_of(["--comfyui", "c", "--address", "h:1", "--", "--cpu", "--name"])
    assert (found.address, found.options, found.name) == ("h:1", ["--cpu", "--name"], None)
    with pytest.raises(SystemExit):
        options_of(["--comfyui", "c", "--address", "h:1", "--head"])
    assert "one of the two" in capsys.readouterr().err


def test_each_worker_has_a_name_of_its_own(monkeypatch):
    ray = SimpleNamespace(util=SimpleNamespace(list_named_actors=lambda: ["worker box"]))
    monkeypatch.setattr(worker.socket, "gethostname", lambda: "box.lan")
    assert free_name(ray, None) == "box-2"
    with pytest.raises(Stop, match="give another --name"):
        free_name(ray, "box")
    assert first_line(ValueError("a\n  b")) == "a b"
