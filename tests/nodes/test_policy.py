"""The gate in the test's process: its modes, its log, files before their names, and its absence."""

import asyncio
import errno
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import longtake
from environment import ROOT, comfyui_folder
from longtake.models.errors import InputError

QUIET = """
import asyncio, sys, tempfile
from pathlib import Path
sys.path.insert(0, {root!r})
from pack import register
register()
from tests.in_process import import_comfyui
import_comfyui(Path({comfyui!r}), Path({base!r}))
import longtake
asyncio.run(asyncio.run(longtake.comfy_entrypoint()).get_node_list())
print("\\n".join(name for name in sys.modules if name.startswith("longtake") and ".policy" in name))
"""


@pytest.fixture
def gate(host, tmp_path, monkeypatch):
    """Makes a gate of a policy; its files are in a folder of the test's own."""
    from longtake.engine.policy.policy import parsed
    from longtake.host.policy import frames, gate

    monkeypatch.setattr(gate, "owners_folder", lambda: tmp_path)
    monkeypatch.setattr(frames, "owners_folder", lambda: tmp_path)
    return lambda **policy: gate.Gate(parsed(policy))


def noted(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "policy_log.jsonl").read_text().splitlines()
    return [(line["rule"], line["done"]) for line in map(json.loads, lines)]


def test_logging_lets_everything_pass_but_one_rule(gate, tmp_path):
    lax = gate(mode="log")
    assert lax.refusal(["a nude woman"], "prompt") is None
    assert "(rule: minors)" in lax.refusal(["a nude child"], "prompt")
    assert noted(tmp_path) == [("sexual", "logged"), ("minors", "refused")]


def test_off_is_no_gate(host, caplog):
    from longtake.host.policy.gate import Gate

    assert Gate.from_choice("off") is None
    assert not caplog.records


def test_a_log_that_cannot_be_written_lets_nothing_through(gate, tmp_path, caplog):
    strict = gate()
    strict.file.mkdir()
    assert strict.refusal(["a nude woman"], "prompt")
    assert "log cannot be written" in caplog.text


def test_lists_that_are_gone_close_the_gate(host, monkeypatch, caplog):
    from longtake.host.policy import gate

    def gone(policy):
        raise FileNotFoundError("words.json")

    monkeypatch.setattr(gate, "Rules", gone)
    found = gate.Gate.from_choice("refuse")
    assert "until its owner mends" in found.refusal(["a ball"], "prompt")
    assert "the policy is broken" in caplog.text


def test_every_node_of_ours_asks_the_gate(graph, host, gate):
    from longtake.host.comfyui import owner

    strict = gate()
    owner.TEXT_CHECKS.append(strict.check_text)
    try:
        board = {"clip": ["encoder", 0], "text": "[0s] a ball\n[1s] gore", "seconds": 2.0,
                 "fps": 8.0, "snap": 0.5, "meet": 0.35}  # fmt: skip
        for name, inputs in {
            "LongtakePrompt": {"clip": ["encoder", 0], "text": "gore"},
            "LongtakeStoryboard": board,
        }.items():
            run = host.run(graph.add(ask=(name, inputs)), want=["ask"])
            assert "(rule: violence)" in run.error
    finally:
        owner.TEXT_CHECKS.clear()


@pytest.fixture
def app(host, monkeypatch):
    """A server's application, as far as the gate touches it."""
    import server

    app = types.SimpleNamespace(middlewares=[])
    monkeypatch.setattr(
        server.PromptServer, "instance", types.SimpleNamespace(app=app), raising=False
    )
    return app


def asked(middleware, method: str = "POST", path: str = "/prompt") -> int:
    """The status that a middleware answers a request with; 200 where it lets it through."""

    async def handler(request):
        return types.SimpleNamespace(status=200)

    route = types.SimpleNamespace(resource=types.SimpleNamespace(canonical=path))
    request = types.SimpleNamespace(method=method, match_info=types.SimpleNamespace(route=route))
    return asyncio.run(middleware(request, handler)).status


def test_a_gate_that_cannot_be_loaded_closes_the_server(app, monkeypatch, caplog):
    monkeypatch.setenv("LONGTAKE_POLICY", "refuse")
    monkeypatch.setitem(sys.modules, "longtake.host.policy.put_up", None)
    asyncio.run(longtake.comfy_entrypoint())
    (closed,) = app.middlewares
    answers = [asked(closed), asked(closed, path="/api/prompt"), asked(closed, path="/queue")]
    assert [*answers, asked(closed, "GET")] == [400, 400, 200, 200]
    assert "every prompt is refused until Longtake is installed anew" in caplog.text


def test_the_gate_is_up_before_any_node_is_loaded(app, monkeypatch):
    from longtake.host.comfyui import owner

    monkeypatch.setenv("LONGTAKE_POLICY", "refuse")
    monkeypatch.setitem(sys.modules, "longtake.nodes", None)
    try:
        with pytest.raises(ImportError):
            asyncio.run(longtake.comfy_entrypoint())
        assert [one.__name__ for one in app.middlewares] == ["guard"]
    finally:
        owner.TEXT_CHECKS.clear()


def test_without_a_server_a_gate_that_cannot_be_loaded_stops_the_pack(host, monkeypatch):
    import server

    monkeypatch.setattr(server.PromptServer, "instance", None, raising=False)
    monkeypatch.setenv("LONGTAKE_POLICY", "refuse")
    monkeypatch.setitem(sys.modules, "longtake.host.policy.put_up", None)
    with pytest.raises(RuntimeError, match="could not be loaded"):
        asyncio.run(longtake.comfy_entrypoint())


@pytest.fixture
def nudenet(monkeypatch):
    """A package of that name whose network sees what a picture's colour says."""

    class NudeDetector:
        def detect(self, picture):
            label = "BUTTOCKS_EXPOSED" if picture[..., 2].mean() > 200 else "FACE_FEMALE"
            return [{"class": label, "score": 0.9, "box": [0, 0, 1, 1]}]

    package = types.ModuleType("nudenet")
    package.NudeDetector = NudeDetector
    monkeypatch.setitem(sys.modules, "nudenet", package)


def colours(graph, colour: int):
    return graph.add(
        clip=("EmptyImage", {"width": 32, "height": 48, "batch_size": 9, "color": colour}),
        video=("CreateVideo", {"images": ["clip", 0], "fps": 8.0}),
    ).but(save={"video": ["video", 0], "filename_prefix": "looked/at", "picture": "poster"})


@pytest.mark.parametrize("mode", ["log", "refuse", "withhold"])
def test_frames_are_looked_at_before_a_file_has_its_name(
    graph, host, gate, nudenet, tmp_path, monkeypatch, mode
):
    from longtake.host.comfyui import owner
    from longtake.host.policy.frames import FramesGate

    held, move = [PermissionError(errno.EACCES, "held")] * 3, shutil.move

    def patient_move(*names):
        if held:
            raise held.pop()
        return move(*names)

    monkeypatch.setattr("longtake.engine.files.PAUSE", 0)
    monkeypatch.setattr(shutil, "move", patient_move)
    folder = host.base / "output" / "looked"
    owner.FILE_CHECKS.append(FramesGate(gate(mode=mode, frames={})))
    try:
        before = set(folder.glob("*")) if folder.is_dir() else set()
        bad = host.run(colours(graph, 0xFF2020), want=["save"])
        after = set(folder.glob("*")) - before
        good = host.run(colours(graph, 0x2020FF), want=["save"])
    finally:
        owner.FILE_CHECKS.clear()
    assert good.success, good.error
    done = {"log": "logged", "refuse": "refused", "withhold": "withheld"}[mode]
    assert noted(tmp_path) == [("frames: BUTTOCKS_EXPOSED", done)]
    kept = list((tmp_path / "withheld").glob("*")) if mode == "withhold" else []
    if mode == "log":
        assert bad.success
        return
    assert "(rule: frames)" in bad.error
    assert not after
    assert [file.suffix for file in kept] == [".mp4"] * (mode == "withhold")


def test_without_its_detector_nothing_is_saved(gate, monkeypatch, tmp_path):
    from longtake.host.policy.frames import FramesGate

    monkeypatch.setitem(sys.modules, "nudenet", None)
    with pytest.raises(InputError, match="nudenet is not installed"):
        FramesGate(gate(frames={}))(tmp_path / "x.mp4")


def test_without_a_policy_none_of_it_is_imported(tmp_path):
    """In a process of its own."""
    program = QUIET.format(root=str(ROOT), comfyui=str(comfyui_folder()), base=str(tmp_path))
    told = {k: v for k, v in os.environ.items() if k != "LONGTAKE_POLICY"}
    run = subprocess.run(
        [sys.executable, "-c", program], env=told, capture_output=True, text=True, timeout=300,
        check=True,
    )  # fmt: skip
    assert run.stdout.split() == []
