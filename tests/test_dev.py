"""dev.py and headless.py, without network and without a server."""

import io
import json
import runpy
import subprocess
import sys
import threading
import urllib.error
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import dev
import environment
import headless
from headless import Stop


def workflow() -> dict:
    return {
        "1": {
            "class_type": "LongtakePrompt",
            "inputs": {"text": "a red ball", "clip": ["9", 1]},
            "_meta": {"title": "Prompt"},
        },
        "2": {
            "class_type": "LongtakeSample",
            "inputs": {"seed": 1, "cfg": 4.5, "fast": True, "name": "euler", "prompt": ["1", 0]},
            "_meta": {"title": "v1.5 Sample"},
        },
        "9": {"class_type": "LongtakeLoad", "inputs": {}},
    }


@pytest.mark.parametrize(
    ("setting", "node", "key", "value"),
    [
        ("Prompt.text=a = b, then c.d", "1", "text", "a = b, then c.d"),
        ("Prompt.text=", "1", "text", ""),
        ("Prompt.text=7", "1", "text", "7"),
        ("v1.5 Sample.seed=18446744073709551615", "2", "seed", 2**64 - 1),
        ("v1.5 Sample.seed=2.5", "2", "seed", 2.5),
        ("v1.5 Sample.cfg=3", "2", "cfg", 3.0),
        ("v1.5 Sample.fast=False", "2", "fast", False),
        ("v1.5 Sample.name=heun", "2", "name", "heun"),
    ],
)
def test_set_replaces_an_input_and_keeps_its_type(setting, node, key, value):
    changed = workflow()
    headless.set_input(changed, setting)
    assert changed[node]["inputs"].pop(key) == value
    rest = workflow()
    del rest[node]["inputs"][key]
    assert changed == rest


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("Prompt", "not of the form 'Node Title.input=value'"),
        ("text=red", "not of the form"),
        ("Promt.text=red", "no node titled 'Promt'; .*did you mean 'Prompt'"),
        ("Prompt.txt=red", "no input 'txt'; there are: text; did you mean 'text'"),
        ("Prompt.clip=red", "clip comes from the node 'LongtakeLoad'"),
        ("v1.5 Sample.seed=red", "'red' is not a number"),
        ("v1.5 Sample.fast=1", "'1' is not true or false"),
        ("LongtakeLoad.x=1", "no input 'x'; there are: none"),
    ],
)
def test_set_says_what_is_wrong(setting, message):
    with pytest.raises(Stop, match=message):
        headless.set_input(workflow(), setting)


def test_set_refuses_to_guess_between_two_nodes():
    twins = workflow()
    twins["3"] = twins["1"]
    with pytest.raises(Stop, match="2 nodes titled 'Prompt'"):
        headless.set_input(twins, "Prompt.text=red")


def entry(*messages, outputs=None) -> dict:
    return {"status": {"messages": list(messages)}, "outputs": outputs or {}}


def test_a_failure_names_the_node_by_its_title():
    detail = {"node_id": "2", "exception_message": "80 frames do not fit\n"}
    told = headless.failure(entry(["execution_error", detail]), workflow())
    assert told == "v1.5 Sample: 80 frames do not fit"
    stopped = entry(["execution_interrupted", {"node_id": "1"}])
    assert headless.failure(stopped, workflow()) == "interrupted at Prompt"
    assert headless.failure(entry(["execution_success", {}]), workflow()) is None


def test_made_lists_saved_files_once_and_no_previews(tmp_path):
    file = {"filename": "a.mp4", "subfolder": "video", "type": "output"}
    preview = {"filename": "b.png", "subfolder": "", "type": "temp"}
    outputs = {"1": {"images": [preview, file], "animated": [True]}, "2": {"images": [file]}}
    assert headless.saved_files(entry(outputs=outputs), tmp_path) == [tmp_path / "video" / "a.mp4"]


def test_a_refusal_gives_every_reason_once():
    error = {"message": "Value too small", "details": "steps"}
    own = [
        {"type": "custom_validation_failed", "message": "…", "details": f"{name} - no such shot"}
        for name in ("text", "seconds")
    ]
    inner = "exception_during_inner_validation"
    own += [{"type": inner, "message": "…", "details": "80 frames - too many"}]
    body = {"error": {"message": "invalid"}, "node_errors": {"2": {"errors": [error, *own]}}}
    reasons = (
        "v1.5 Sample: Value too small (steps)",
        "v1.5 Sample: no such shot",
        "v1.5 Sample: 80 frames - too many",
    )
    for answer, told in [
        (body, "; ".join(reasons)),
        ({**body, "node_errors": {}}, "invalid"),
    ]:
        file = io.BytesIO(json.dumps(answer).encode())
        with urllib.error.HTTPError("http://x", 400, "", {}, file) as refusal:
            assert headless.reasons(refusal, workflow()) == told


def test_a_server_that_dies_is_reported_with_its_last_words(tmp_path):
    (tmp_path / "main.py").write_text("print('first'); raise SystemExit('no such option: --x')")
    server = headless.Server(sys.executable, tmp_path, [], tmp_path / "log")
    with pytest.raises(Stop, match="no such option: --x"), server:
        pass
    assert server.process.poll() is not None


COMFYUI = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

asked = []

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        done = {"1": {"outputs": {}}} if asked.count("/history/1") > 1 else {}
        self.answer({} if self.path == "/system_stats" else done)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print("queued", json.dumps(body), flush=True)
        self.answer({"prompt_id": "1"})

    def answer(self, document):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

port = int(sys.argv[sys.argv.index("--port") + 1])
HTTPServer(("127.0.0.1", port), Answers).serve_forever()
"""


def test_a_server_takes_a_workflow_and_is_asked_until_it_has_run(tmp_path):
    (tmp_path / "main.py").write_text(COMFYUI)
    lines = []
    server = headless.Server(sys.executable, tmp_path, [], tmp_path / "log", lines.append)
    with server as running:
        assert running is server
        assert running.queue(workflow(), client_id="me") == "1"
        assert running.wait("1") == {"outputs": {}}
    (queued,) = [line for line in lines if line.startswith("queued")]
    assert json.loads(queued[7:]) == {"prompt": workflow(), "client_id": "me"}
    assert queued in (tmp_path / "log").read_text()


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(tmp_path):
    (tmp_path / "main.py").write_text("import time; time.sleep(60)")
    server = headless.Server(sys.executable, tmp_path, [], tmp_path / "log")
    wait = server._wait_until_it_answers
    server._wait_until_it_answers = lambda: wait(seconds=0.3)
    with pytest.raises(Stop, match="did not answer within 0 s; see .*log"), server:
        pass
    assert server.process.poll() is not None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
@pytest.mark.parametrize(("on_term", "code"), [("sys.exit(3)", 3), ("None", -9)])
def test_a_process_is_asked_to_end_and_then_made_to(on_term, code):
    program = (
        f"import signal, sys, time\ndef ended(*_):\n    {on_term}\n"
        "signal.signal(signal.SIGTERM, ended)\nprint(flush=True)\n"
        "while True:\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        headless.stop_process(process, patience=0.5 if code == -9 else 10)
        assert process.returncode == code


def test_a_server_is_gone_after_the_block_whatever_happens(tmp_path, monkeypatch):
    (tmp_path / "main.py").write_text("import time; print('up', flush=True); time.sleep(60)")
    monkeypatch.setattr(headless.Server, "_wait_until_it_answers", lambda self: None)
    server = headless.Server(sys.executable, tmp_path, [], tmp_path / "log")
    with pytest.raises(KeyboardInterrupt), server:
        raise KeyboardInterrupt
    assert server.process.poll() is not None


# The command line


def test_unknown_names_are_answered_with_the_known(tmp_path, monkeypatch):
    (tmp_path / "text_to_video.json").write_text("{}")
    monkeypatch.setattr(dev, "WORKFLOWS", tmp_path)
    monkeypatch.setattr(dev, "BENCHMARKS", tmp_path)
    with pytest.raises(Stop, match="no command 'tset'; .*did you mean 'test'"):
        dev.main(["tset"])
    with pytest.raises(Stop, match="no workflow 'text2video'; there are: text_to_video"):
        dev.main(["run", "text2video"])
    with pytest.raises(Stop, match="no benchmark 'x'; there are: none"):
        dev.main(["bench", "x"])


def test_an_old_python_is_told_so(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 14))
    monkeypatch.setattr(dev, "COMMANDS", {"test": lambda argv: 0})
    with pytest.raises(Stop, match="needs Python 3.11 or newer"):
        dev.main(["test"])


def test_dev_runs_without_anything_installed():
    command = [sys.executable, "-S", "dev.py", "no-such-command"]  # -S hides site-packages
    told = subprocess.run(command, cwd=dev.ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr.startswith("dev.py: no command 'no-such-command'; there are: archive, bench")


def test_a_benchmark_ends_with_one_json_document(tmp_path, monkeypatch, capfd):
    (tmp_path / "a.py").write_text("print('table'); print('{\"speed\": 7}')")
    (tmp_path / "b.py").write_text("import sys; print(len(sys.argv))")
    monkeypatch.setattr(dev, "BENCHMARKS", tmp_path)
    monkeypatch.setattr(dev, "python", lambda: sys.executable)
    monkeypatch.setattr(dev, "set_up_python", lambda: None)
    monkeypatch.setattr(dev, "set_up_comfyui", lambda: None)
    assert dev.main(["bench"]) == 0
    assert capfd.readouterr().out.splitlines() == ["table", '{"a": {"speed": 7}, "b": 1}']
    dev.main(["bench", "b", "--frames", "3"])
    assert capfd.readouterr().out == '{"b": 3}\n'


def test_a_benchmark_explains_its_options(tmp_path, monkeypatch, capfd):
    (tmp_path / "a.py").write_text("import argparse; argparse.ArgumentParser().parse_args()")
    monkeypatch.setattr(dev, "BENCHMARKS", tmp_path)
    monkeypatch.setattr(dev, "python", lambda: sys.executable)
    monkeypatch.setattr(dev, "set_up_python", lambda: None)
    monkeypatch.setattr(dev, "set_up_comfyui", lambda: None)
    assert dev.main(["bench", "a", "--help"]) == 0
    assert capfd.readouterr().out.startswith("usage: a.py")


def test_progress_is_told_in_tenths(capsys):
    progress = dev.Progress()
    for step in range(25):
        progress(f"{step * 4:3}%|███   | {step}/25 [00:0{step // 3}<00:09,  1.2it/s]")
    progress("got prompt")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 9
    assert told[-1] == "[dev]    92 %  step 23/25  00:07"


# Exit codes: what fails inside must fail outside, or CI is green on red


@pytest.fixture
def commands(monkeypatch):
    """Every set-up is done; each child process is recorded and ends with the code set for it."""
    seen, codes = [], {}

    def call(command, **options):
        words = [str(word) for word in command]
        seen.append(words)
        return next((code for word, code in codes.items() if word in words), 0)

    monkeypatch.setattr(dev, "call", call)
    monkeypatch.setattr(dev, "set_up_python", lambda: None)
    monkeypatch.setattr(dev, "set_up_comfyui", lambda: (Path("comfyui"), "longtake"))
    monkeypatch.setattr(dev, "device_options", lambda: ["--cpu"])
    return seen, codes


@pytest.mark.parametrize(
    ("fails", "code"),
    [({}, 0), ({"format": 1}, 1), ({"check": 2}, 2), ({"format": 1, "check": 2}, 2)],
)
def test_check_fails_for_the_format_and_for_the_rules_and_looks_at_both(commands, fails, code):
    seen, codes = commands
    codes |= fails
    assert dev.main(["check"]) == code
    assert [words[3] for words in seen] == ["format", "check"]


@pytest.mark.parametrize(
    ("words", "child"),
    [(["test"], "pytest"), (["comfy"], "--cpu"), (["salvage"], "-I"), (["worker"], "--cpu")],
)
def test_a_command_ends_with_the_code_of_what_it_runs(commands, words, child):
    assert dev.main(words) == 0
    commands[1][child] = 7
    assert dev.main(words) == 7


def test_a_worker_s_own_options_come_before_those_of_its_comfyui(commands):
    assert dev.main(["worker", "--head", "--", "--fast"]) == 0
    (words,) = commands[0]
    own, theirs = words[: words.index("--")], words[words.index("--") + 1 :]
    assert own[-3:] == ["--comfyui", "comfyui", "--head"]
    assert theirs == ["--fast", "--cpu"]


def test_a_video_that_cannot_be_read_back_fails_the_demo(commands, monkeypatch, tmp_path, capsys):
    video = tmp_path / "a.mp4"
    monkeypatch.setattr(dev, "run_workflow", lambda workflow, out: [video])
    assert dev.main(["demo"]) == 0
    assert capsys.readouterr().out == f"{video.with_suffix('.png')}\n{video}\n"
    commands[1]["-I"] = 1
    with pytest.raises(Stop, match="a.mp4 could not be read back"):
        dev.main(["demo"])


def test_a_workflow_that_fails_fails_the_run(commands, monkeypatch, tmp_path):
    class Failing:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def queue(self, workflow):
            return "1"

        def wait(self, prompt_id):
            detail = {"node_id": "2", "exception_message": "no memory"}
            return entry(["execution_error", detail])

    monkeypatch.setattr(dev, "Server", Failing)
    with pytest.raises(Stop, match="v1.5 Sample: no memory"):
        dev.run_workflow(workflow(), tmp_path)


def test_a_benchmark_that_fails_fails_the_command(commands, tmp_path, monkeypatch, capfd):
    (tmp_path / "a.py").write_text("import sys; print('{}'); sys.exit('out of memory')")
    monkeypatch.setattr(dev, "BENCHMARKS", tmp_path)
    monkeypatch.setattr(dev, "python", lambda: sys.executable)
    with pytest.raises(Stop, match="benchmark a failed"):
        dev.main(["bench", "a"])
    out, err = capfd.readouterr()
    assert not out
    assert "out of memory" in err


def test_a_call_gives_back_the_code_of_the_process():
    assert dev.call([sys.executable, "-c", "raise SystemExit(5)"]) == 5


def test_a_pip_that_fails_ends_the_set_up(monkeypatch):
    monkeypatch.setattr(environment, "call", lambda command, **options: 1)
    with pytest.raises(Stop, match="pip install failed"):
        environment.pip("install", "torch")
    with pytest.raises(Stop, match=r"could not make \.venv"):
        environment.make_venv(environment.VENV)


@pytest.mark.parametrize(
    ("ending", "code", "told"),
    [
        ("return 0", 0, ""),
        ("return 3", 3, ""),
        ("raise dev.Stop('there is no such thing')", 1, "dev.py: there is no such thing\n"),
        ("raise KeyboardInterrupt", 1, "dev.py: interrupted\n"),
        pytest.param(
            *("os.kill(os.getpid(), signal.SIGTERM)", 1, "dev.py: interrupted\n"),
            marks=pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals"),
        ),
    ],
)
def test_the_process_ends_with_the_code_of_its_command(ending, code, told):
    program = (
        "import os, signal, sys, dev\n"
        f"def test(argv):\n    {ending}\n"
        "dev.COMMANDS['test'] = test\n"
        "sys.argv = ['dev.py', 'test']\n"
        "dev.run_as_program()\n"
    )
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, cwd=dev.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, told)


@pytest.mark.parametrize(
    "words",
    [["--comfyui", "X", "test", "-k", "a"], ["test", "-k", "a", "--comfyui", "X"],
     ["test", "--comfyui=X", "-k", "a"]],
)  # fmt: skip
def test_the_comfyui_is_chosen_before_anything_is_set_up(words, monkeypatch):
    seen = []
    monkeypatch.setattr(dev, "choose_comfyui", seen.append)
    monkeypatch.setitem(dev.COMMANDS, "test", lambda argv: seen.append(argv) or 0)
    assert dev.main(words) == 0
    assert seen == ["X", ["-k", "a"]]


def test_without_the_option_no_comfyui_is_chosen(monkeypatch):
    monkeypatch.setattr(dev, "choose_comfyui", pytest.fail)
    monkeypatch.setitem(dev.COMMANDS, "test", len)
    assert dev.main(["test", "--comfyuix", "a"]) == 2
    with pytest.raises(Stop, match="--comfyui needs a folder or a version"):
        dev.main(["test", "--comfyui"])


def test_a_proxy_does_not_catch_this_machine(monkeypatch):
    """As with http_proxy set, or the proxy of the system: nothing answers at it."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"there": true}')

        def log_message(self, *_):
            pass

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    fresh = runpy.run_path(headless.__file__)  # proxies are read when it is imported
    server = object.__new__(fresh["Server"])
    with HTTPServer(("127.0.0.1", 0), Answer) as local:
        server.address = f"127.0.0.1:{local.server_port}"
        threading.Thread(target=local.handle_request, daemon=True).start()
        assert server.ask("/system_stats") == {"there": True}


@pytest.mark.parametrize(("others", "pages"), [(0, 0), (1, 0), (0, 1)])
def test_the_browser_s_tests_run_beside_the_others_and_both_count(tmp_path, capfd, others, pages):
    script = tmp_path / "pytest.py"
    script.write_text(
        "import sys\n"
        "browser = sys.argv[1:] == ['tests/browser']\n"
        "assert browser or sys.argv[1:] == ['--ignore=tests/browser']\n"
        "print('pages' if browser else 'others')\n"
        f"sys.exit({pages} if browser else {others})\n",
        encoding="utf-8",
    )
    assert bool(dev.all_tests([sys.executable, script])) == bool(others or pages)
    assert capfd.readouterr().out.split() == ["others", "pages"]
