"""In an ASCII locale prompts keep their letters; names of files are used, or refused in a line."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from dev import ROOT
from environment import comfyui_folder
from headless import Stop, set_input
from tests.engine.clips import clip
from tests.server import ComfyUI
from tests.workflows.conftest import load

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere names of files are UTF-8 in every locale"
)


@pytest.fixture(scope="module")
def ascii_server(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ASCII.items():
            patch.setenv(name, value)
        with ComfyUI(comfyui_folder(), tmp_path_factory.mktemp("ascii")) as running:
            yield running


def graph(*settings: str) -> dict:
    found = load("api/text_to_video.json")
    for setting in ("Schedule.steps=1", "Canvas.seconds=1", *settings):
        set_input(found, setting)
    return found


def test_a_prompt_and_its_embedded_graph_keep_their_letters(ascii_server):
    text = "a red ball, été 日本 🎈"
    run = ascii_server.run(graph(f"Prompt.text={text}", "Save.picture=poster"))
    assert run.error is None
    (video,) = (file for file in run.files if file.suffix == ".mp4")
    assert json.dumps(text)[1:-1].encode() in video.read_bytes() or text.encode() in (
        video.read_bytes()
    )
    assert "Logging error" not in ascii_server.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("prefix", ["été/a", "日本", "%Prompt.text%"])
def test_a_name_that_the_locale_cannot_hold_is_refused_before_anything_runs(ascii_server, prefix):
    with pytest.raises(Stop, match="names of files are ascii, which has no .*PYTHONUTF8=1"):
        ascii_server.run(graph("Prompt.text=été", f"Save.filename_prefix={prefix}"))


def test_files_with_such_names_are_read(ascii_server, tmp_path):
    source = clip(tmp_path / "x.mp4", range(9))
    name = "café.mp4".encode().decode("ascii", "surrogateescape")  # as that server reads it
    shutil.copyfile(source, os.fsencode(ascii_server.input) + b"/" + "café.mp4".encode())
    prompt = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": name}},
        "2": {"class_type": "LongtakeSaveVideo",
              "inputs": {"video": ["1", 0], "filename_prefix": "copy"}},
        "3": {"class_type": "LongtakeReadCredentials", "inputs": {"file": name}},
    }  # fmt: skip
    run = ascii_server.run(prompt)
    assert run.error is None
    assert run.files


@pytest.mark.parametrize("program", ["salvage.py", "dev.py"])
def test_programs_print_names_that_the_locale_has_not(tmp_path, program):
    folder = os.fsencode(tmp_path) + "/été".encode()
    os.mkdir(folder)  # noqa: PTH102, a Path cannot hold bytes
    words = [folder] if program == "salvage.py" else ["run", "été".encode()]
    done = subprocess.run(
        [sys.executable, ROOT / program, *words],
        env={**os.environ, **ASCII},
        capture_output=True,
        check=False,
    )
    said = (done.stdout + done.stderr).decode("ascii")
    assert "Traceback" not in said
    assert "\\udcc3\\udca9t" in said
