"""The one entry to working on Longtake. Each command first sets up what it needs.

    python dev.py demo [run's options]      a prompt becomes an mp4 and a contact sheet
    python dev.py run NAME [--set "Title.input=value"]... [--out DIR]
                                            any workflow in workflows/api/
    python dev.py comfy [ComfyUI's options] ComfyUI with the pack, for the browser
    python dev.py test [pytest's options]
    python dev.py matrix [SET]... [pytest's options]
                                            tests with older PyAVs, and the oldest of everything
    python dev.py bench [NAME [options]]    the last line is one JSON document
    python dev.py card [--dry]              all there is to find out on a card, as a page to paste
    python dev.py worker [--head | --address HOST:PORT] [--name NAME] [-- ComfyUI's options]
                                            samples clips of takes of other machines, over Ray
    python dev.py salvage [FILE [--out OUT]] what a crash left of a video becomes a video
    python dev.py check                     ruff format --check, ruff check
    python dev.py archive [FILE]            what the registry would ship, as a zip
    python dev.py freeze                    what saved graphs rely on, kept for a release

Results go to stdout, everything else to stderr. All of them take --comfyui: the folder of a ComfyUI
of your own (as COMFYUI_PATH does), a version to clone (v0.38.1) or "newest", instead of the 0.3.75
that is unpacked into .host/.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from archive import write_archive
from environment import (
    ROOT,
    call,
    choose_comfyui,
    device_options,
    python,
    say,
    set_up_comfyui,
    set_up_python,
)
from headless import Server, Stop, failure, known_names, saved_files, set_input, stop_process
from matrix import matrix as run_matrix

WORKFLOWS = ROOT / "workflows" / "api"
BENCHMARKS = ROOT / "benchmarks"


class Progress:
    """Passes on every tenth part of the progress bars that ComfyUI prints."""

    bar = re.compile(r"(\d+)%\|.*?\| *(\d+/\d+) \[([\d:]+)")

    def __init__(self):
        self.shown = 0

    def __call__(self, line: str) -> None:
        if not (found := self.bar.search(line)):
            return
        tenths = int(found[1]) // 10
        if tenths != self.shown:
            say(f"  {found[1]:>3} %  step {found[2]}  {found[3]}")
        self.shown = tenths


def load_workflow(name: str) -> dict:
    path = WORKFLOWS / f"{name}.json"
    if not path.is_file():
        known = [file.stem for file in WORKFLOWS.glob("*.json")]
        raise Stop(f"no workflow {name!r}; {known_names(name, known)}")
    return json.loads(path.read_text(encoding="utf-8"))


def run_workflow(workflow: dict, out: Path) -> list[Path]:
    """The files that the workflow makes under `out`."""
    set_up_python()
    comfyui, pack = set_up_comfyui()
    out.mkdir(parents=True, exist_ok=True)
    start, scratch = time.monotonic(), Path(tempfile.mkdtemp(prefix="longtake-"))
    log = scratch / "comfyui.log"
    options = [
        *device_options(),
        *("--output-directory", out),
        *("--temp-directory", scratch, "--user-directory", scratch),
        *("--disable-all-custom-nodes", "--whitelist-custom-nodes", pack),
    ]
    say(f"starting ComfyUI; it writes to {log}")
    with Server(python(), comfyui, options, log, Progress()) as server:
        say(f"ComfyUI answers after {time.monotonic() - start:.0f} s; running the workflow")
        entry = server.wait(server.queue(workflow))
    if reason := failure(entry, workflow):
        raise Stop(f"{reason} (more in {log})")
    shutil.rmtree(scratch, ignore_errors=True)
    files = saved_files(entry, out)
    say(f"made {len(files)} file{'s' * (len(files) != 1)} in {time.monotonic() - start:.0f} s")
    return files


def workflow_options(prog: str, argv: list[str], name: str | None = None) -> tuple[dict, Path]:
    """(workflow with its inputs set, output folder) from the command line of run or demo."""
    parser = argparse.ArgumentParser(prog, description="Runs a workflow from workflows/api/.")
    if name is None:
        parser.add_argument("name")
    parser.add_argument("--set", action="append", default=[], metavar="'Node Title.input=value'")
    parser.add_argument("--out", type=Path, default=ROOT / "output", metavar="DIR")
    options = parser.parse_args(argv)
    workflow = load_workflow(name or options.name)
    for setting in options.set:
        set_input(workflow, setting)
    return workflow, options.out.expanduser().resolve()


def run(argv: list[str]) -> int:
    for file in run_workflow(*workflow_options("dev.py run", argv)):
        print(file)
    return 0


def demo(argv: list[str]) -> int:
    files = run_workflow(*workflow_options("dev.py demo", argv, "text_to_video"))
    video = next(file for file in files if file.suffix == ".mp4")
    sheet = video.with_suffix(".png")
    if call(program("engine.media.contact_sheet", video, sheet)):
        raise Stop(f"{video} could not be read back; the reason is above")
    print(sheet)
    print(video)
    return 0


def salvage(argv: list[str]) -> int:
    set_up_python()
    return call([python(), "-I", ROOT / "salvage.py", *argv])


def program(module: str, *words: object) -> list:
    """The command that runs a module of the pack as a program."""
    return [python(), "-I", ROOT / "pack.py", f"longtake.{module}", *words]


def comfy(argv: list[str]) -> int:
    set_up_python()
    comfyui, _ = set_up_comfyui()
    device = [] if "--cpu" in argv else device_options()
    return call([python(), comfyui / "main.py", *device, *argv])


def worker(argv: list[str]) -> int:
    set_up_python()
    comfyui, _ = set_up_comfyui()
    words = argv if "--" in argv else [*argv, "--"]
    device = [] if "--cpu" in words else device_options()
    return call([python(), ROOT / "worker.py", "--comfyui", comfyui, *words, *device])


def test(argv: list[str]) -> int:
    set_up_python()
    set_up_comfyui()
    pytest = [python(), "-m", "pytest"]
    return call([*pytest, *argv], cwd=ROOT) if argv else all_tests(pytest)


def all_tests(pytest: list) -> int:
    """The tests in the browser beside all others: they wait for pages most of the time."""
    with tempfile.TemporaryFile() as said, ThreadPoolExecutor(1) as pool:
        browser = [*pytest, "tests/browser"]
        options = {"cwd": ROOT, "stdout": said, "stderr": subprocess.STDOUT}
        pages = pool.submit(call, browser, **options)
        others = call([*pytest, "--ignore=tests/browser"], cwd=ROOT)
        code = pages.result()
        said.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(said, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    return others or code


def matrix(argv: list[str]) -> int:
    set_up_python()
    set_up_comfyui()
    return run_matrix(argv)


def check(argv: list[str]) -> int:
    set_up_python()
    formatted = call([python(), "-m", "ruff", "format", "--check", *argv], cwd=ROOT)
    return call([python(), "-m", "ruff", "check", *argv], cwd=ROOT) or formatted


def bench(argv: list[str]) -> int:
    known = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem[0] != "_")
    if argv and argv[0] not in known:
        raise Stop(f"no benchmark {argv[0]!r}; {known_names(argv[0], known)}")
    set_up_python()
    set_up_comfyui()
    if {"-h", "--help"} & set(argv):  # for people; no JSON follows
        return call([python(), BENCHMARKS / f"{argv[0]}.py", "--help"], cwd=ROOT)
    results = {name: measure(name, argv[1:]) for name in argv[:1] or known}
    print(json.dumps(results), flush=True)
    return 0


def card(argv: list[str]) -> int:
    return bench(["card", *argv])


def measure(name: str, options: list[str]) -> dict:
    """The JSON document on the last line of a benchmark's output; the lines before it are shown."""
    say(f"benchmark {name}")
    command = [str(python()), str(BENCHMARKS / f"{name}.py"), *options]
    last = ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                print(last, end="", flush=True)
                last = line
        except KeyboardInterrupt:
            stop_process(process)
            raise
    if process.returncode:
        raise Stop(f"benchmark {name} failed; the reason is above")
    return json.loads(last)


def archive(argv: list[str]) -> int:
    target = Path(argv[0] if argv else ROOT / "output" / "longtake.zip").expanduser().resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    write_archive(target)
    print(target)
    return 0


def freeze(argv: list[str]) -> int:
    set_up_python()
    set_up_comfyui()
    return call([python(), ROOT / "tests" / "released" / "freeze.py", *argv], cwd=ROOT)


COMMANDS = {
    "demo": demo,
    "run": run,
    "comfy": comfy,
    "worker": worker,
    "salvage": salvage,
    "test": test,
    "matrix": matrix,
    "bench": bench,
    "card": card,
    "check": check,
    "archive": archive,
    "freeze": freeze,
}


def without_option(name: str, argv: list[str]) -> tuple[str | None, list[str]]:
    """(value of an option, the other words), wherever among them it stands."""
    value, rest, words = None, [], iter(argv)
    for word in words:
        if word == name:
            value = next(words, "")
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
        else:
            rest.append(word)
    return value, rest


def main(argv: list[str]) -> int:
    if sys.version_info < (3, 11):
        raise Stop(
            f"dev.py needs Python 3.11 or newer, for which its packages are made; this is "
            f"{sys.version.split()[0]}. The pack itself runs in a ComfyUI with 3.10, too."
        )
    comfyui, argv = without_option("--comfyui", argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if argv[0] not in COMMANDS:
        raise Stop(f"no command {argv[0]!r}; {known_names(argv[0], COMMANDS)}")
    if comfyui is not None:
        if not comfyui:
            raise Stop("--comfyui needs a folder or a version")
        choose_comfyui(comfyui)
    return COMMANDS[argv[0]](argv[1:])


def run_as_program() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill cleans up like Ctrl-C
    for stream in (sys.stdout, sys.stderr):  # which in an ASCII locale would refuse a name
        stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(main(sys.argv[1:]))
    except Stop as stop:
        sys.exit(f"dev.py: {stop}")
    except KeyboardInterrupt:
        sys.exit("dev.py: interrupted")


if __name__ == "__main__":
    run_as_program()
