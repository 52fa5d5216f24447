"""A worker: samples clips of takes that run on other machines of a Ray cluster.

    python dev.py worker --head [--ip ADDRESS]      begins a cluster on this machine
    python dev.py worker --address HOST:PORT        joins one
    python dev.py worker                            is one more worker of this machine's cluster

A Ray actor that keeps a headless ComfyUI as its child, so that a crash costs a child. It is known
by its name, one for each process of this program, and ends with it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from headless import Server, Stop, failure

NAMESPACE, PREFIX = "longtake", "worker "  # host/cluster/ray_workers.py has them, too
PORT = 6379
WINDOWS = Path("longtake", "windows")  # in the output folder
PROGRESS = Path("longtake", "clip.json")
KEY = re.compile(r"[0-9a-f]{64}")
INPUT = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,8}")
INPUTS = 8 * 2**30  # bytes of input files that are kept
LEASE = 60.0  # seconds after which work that nobody asks for is stopped
VERSION = "2.60.0"  # of Ray, with which this was tried


class Worker:
    """What is called over Ray. Each method is quick, but for the start of the child.

    Args:
        python, comfyui: of the child.
        options: of the child.
        folder: for all that it writes.
        environment: for it, but for what Ray says of GPUs.
    """

    def __init__(
        self,
        python: str,
        comfyui: str,
        options: list[str],
        folder: str,
        environment: dict[str, str],
    ):
        self.python, self.comfyui, self.options = Path(python), Path(comfyui), options
        self.folder, self.environment = Path(folder), environment
        self.job, self.prompt, self.graph, self.asked = "", "", {}, 0.0
        self.child: Server | None = None
        for name in ("input", "output", "temp", "user"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "output" / WINDOWS).mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        threading.Thread(target=self._watch, daemon=True).start()
        self._start()

    def _start(self) -> None:
        """The child, unless it runs."""
        if self.child is not None:
            try:
                self.child.check_alive()
                return
            except Stop:
                self.child.__exit__()
                self.child = None
        folders = [
            word
            for name in ("input", "output", "temp", "user")
            for word in (f"--{name}-directory", self.folder / name)
        ]
        log = self.folder / "comfyui.log"
        # Not the actor's: Ray sets OMP_NUM_THREADS there, and rounding depends on threads.
        cards = {k: v for k, v in os.environ.items() if k == "CUDA_VISIBLE_DEVICES"}
        environment = {**self.environment, **cards, "LONGTAKE_WORKER": "1"}
        child = Server(
            self.python,
            self.comfyui,
            [*folders, *self.options],
            log,
            environment=environment,
            stdin=subprocess.PIPE,
        )
        self.child = child.__enter__()

    def pid(self) -> list[int]:
        """Of this process and its child."""
        return [os.getpid(), self.child.process.pid if self.child else 0]

    def begin(self, job: str, graph: str, have: dict[str, bytes]) -> str:
        """Run a graph. Returns "", or why not now.

        Args:
            have: windows that the driver has, by key.
        """
        with self._lock:
            if self.job == job and self._running():
                self.asked = time.monotonic()
                return ""
            if self._running():
                return "busy with another take"
            self._start()
            for key, data in have.items():
                target = self.folder / "output" / WINDOWS / f"{checked(KEY, key)}.safetensors"
                if not target.is_file():
                    write_whole(target, data)
            self.job, self.graph, self.asked = job, json.loads(graph), time.monotonic()
            self.prompt = ""  # of the work before, which a child that was started again never had
            self.prompt = self.child.queue(self.graph)
            return ""

    def idle(self) -> bool:
        with self._lock:
            return not self._running()

    def _running(self) -> bool:
        if not self.prompt or self.child is None or self.child.process.poll() is not None:
            return False
        return self.prompt not in self.child.ask(f"/history/{self.prompt}")

    def state(self, job: str) -> str:
        """How far a job is: JSON with its "status", and what else there is to say."""
        with self._lock:
            self.asked = time.monotonic()
            if job != self.job or not self.prompt:
                return json.dumps({"status": "unknown"})
            try:
                self.child.check_alive()
                history = self.child.ask(f"/history/{self.prompt}")
            except (Stop, OSError) as error:
                self.prompt = ""
                return json.dumps({"status": "failed", "error": str(error)})
            return json.dumps(self._told(history.get(self.prompt)))

    def _told(self, entry: dict | None) -> dict:
        progress = self._progress()
        if entry is None:
            return {"status": "running", **progress}
        if why := failure(entry, self.graph):
            return {"status": "failed", "error": why, **progress}
        said = [said for out in entry["outputs"].values() for said in out.get("longtake", [])]
        return {"status": "done", "said": said[0] if said else None, **progress}

    def _progress(self) -> dict:
        """What the child wrote of the clip at hand."""
        output = self.folder / "output"
        try:
            told = json.loads((output / PROGRESS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if told.get("job") != self.job:
            return {}
        finished = [k for k in told["keys"] if (output / WINDOWS / f"{k}.safetensors").is_file()]
        return {"keys": told["keys"], "finished": finished, "steps": told["done"]}

    def window(self, key: str) -> bytes:
        return (self.folder / "output" / WINDOWS / f"{checked(KEY, key)}.safetensors").read_bytes()

    def lacks(self, names: list[str]) -> list[str]:
        """Which of these input files are not here."""
        files = {name: self.folder / "input" / checked(INPUT, name) for name in names}
        for file in files.values():
            with contextlib.suppress(OSError):
                os.utime(file)  # what was used last goes last
        return [name for name, file in files.items() if not file.is_file()]

    def put(self, name: str, at: int, data: bytes, last: bool) -> None:
        """A piece of an input file, whose name is its SHA-256."""
        target = self.folder / "input" / checked(INPUT, name)
        part = target.with_suffix(".part")
        with part.open("r+b" if at else "wb") as file:
            file.seek(at)
            file.write(data)
        if not last:
            return
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != target.stem:
            part.unlink()
            raise ValueError(f"{name[:12]}… came damaged")
        part.replace(target)
        keep_newest(self.folder / "input", INPUTS)

    def cancel(self, job: str) -> None:
        with self._lock:
            if job == self.job and self._running():
                self.child.ask("/interrupt", {})

    def _watch(self) -> None:
        """Stop work that nobody asks for any more: its driver is gone."""
        while True:
            time.sleep(LEASE / 10)
            with self._lock:
                if self.job and time.monotonic() - self.asked > LEASE:
                    try:
                        self.cancel(self.job)
                    except OSError:
                        continue
                    self.asked = time.monotonic()


def checked(pattern: re.Pattern, name: str) -> str:
    """A name that can only be of a file in its own folder."""
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise ValueError(f"{str(name)[:80]!r} is not the name of a file")
    return name


def keep_newest(folder: Path, limit: int) -> None:
    """Delete the oldest input files beyond so many bytes, but never the newest."""
    files = [file for file in folder.iterdir() if INPUT.fullmatch(file.name)]
    total = 0
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        total += file.stat().st_size
        if total > limit and total > file.stat().st_size:
            file.unlink(missing_ok=True)


def write_whole(target: Path, data: bytes) -> None:
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    part.write_bytes(data)
    part.replace(target)


# The program


def say(text: str) -> None:
    print(f"[worker] {text}", file=sys.stderr, flush=True)


def options_of(argv: list[str]) -> argparse.Namespace:
    """Of the command line; what follows "--" is for ComfyUI."""
    at = argv.index("--") if "--" in argv else len(argv)
    own, rest = argv[:at], argv[at + 1 :]
    parser = argparse.ArgumentParser("dev.py worker", description=__doc__.partition("\n")[0])
    parser.add_argument("--address", metavar="HOST:PORT", help="of the head of a cluster to join")
    parser.add_argument("--head", action="store_true", help="begin a cluster on this machine")
    parser.add_argument("--ip", help="this machine's address in the cluster (a private one)")
    parser.add_argument("--port", type=int, default=PORT, help="of the head that is begun")
    parser.add_argument("--name", help="of this worker; by default the machine's")
    parser.add_argument("--folder", type=Path, help="for what it keeps")
    parser.add_argument("--comfyui", type=Path, required=True, help=argparse.SUPPRESS)
    found = parser.parse_args(own)
    if found.head and found.address:
        parser.error("--head begins a cluster, --address joins one: one of the two")
    found.options = rest
    return found


def import_ray():
    """Ray, told to ask for a token unless its owner says otherwise."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_gcs_server_request_timeout_seconds", "15")
    os.environ.setdefault(
        "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL", "minor"
    )  # not 3.11.7 for 3.11.9
    try:
        import ray
    except ImportError:
        raise Stop(
            f"workers need Ray: run `{sys.executable} -m pip install ray=={VERSION}` "
            f"(the same version on every machine)"
        ) from None
    return ray


def ray_command(*words: object) -> list[str]:
    return [sys.executable, "-m", "ray.scripts.scripts", *map(str, words)]


def check_token(make: bool) -> None:
    """Have the token that all machines of a cluster share."""
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if os.environ["RAY_AUTH_MODE"] != "token":
        say("RAY_AUTH_MODE is not token: whoever reaches this cluster can run programs on it")
        return
    if os.environ.get("RAY_AUTH_TOKEN") or file.is_file():
        return
    if not make:
        raise Stop(f"no token: copy the head's {file} to this machine, and keep it secret")
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(secrets.token_hex(32))
    say(f"made {file}: copy it to every machine of the cluster, and keep it secret")


@contextlib.contextmanager
def ray_node(*words: object):
    """Ray's processes on this machine, for the time of a block."""
    more = ("--block", "--disable-usage-stats")
    process = subprocess.Popen(ray_command("start", *words, *more), stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def join(ray, options: argparse.Namespace, stack: contextlib.ExitStack) -> None:
    """Be connected to the cluster, with this machine a part of it."""
    address = options.address or "auto"
    ip = ("--node-ip-address", options.ip) if options.ip else ()
    if options.head:
        words = ("--head", "--port", options.port, "--include-dashboard=false", *ip)
        process = stack.enter_context(ray_node(*words))
        address = f"{options.ip or '127.0.0.1'}:{options.port}"
        if not options.ip:
            address = "auto"
    else:
        try:
            return connect(ray, address)
        except Exception as error:
            if not options.address:
                raise Stop(
                    f"this machine is part of no cluster ({first_line(error)}): begin one with "
                    f"--head, or join one with --address HOST:PORT"
                ) from None
        process = stack.enter_context(ray_node("--address", address, *ip))
    deadline = time.monotonic() + 120
    while True:
        try:
            return connect(ray, address)
        except Exception as error:  # noqa: PERF203 - it waits for another process
            if process.poll() is not None or time.monotonic() > deadline:
                raise Stop(f"cannot join the cluster at {address}: {first_line(error)}") from None
            time.sleep(1)


def connect(ray, address: str) -> None:
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")


def first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def free_name(ray, asked: str | None) -> str:
    """The name of this worker: the machine's, with a number where others run on it."""
    taken = set(ray.util.list_named_actors())
    base = asked or socket.gethostname().partition(".")[0] or "worker"
    names = [base] if asked else [base, *(f"{base}-{n}" for n in range(2, 65))]
    for name in names:
        if f"{PREFIX}{name}" not in taken:
            return name
    raise Stop(f"there is a worker {base!r} in this cluster already: give another --name")


def begin_worker(ray, name: str, options: argparse.Namespace, node_id: str | None = None):
    """The actor, with a GPU of its own if there are any; on this machine, or another node."""
    here = node_id or ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == here)
    gpus = 1 if node["Resources"].get("GPU") and "--cpu" not in options.options else 0
    place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
    folder = options.folder or Path(__file__).resolve().parent / ".host" / f"worker-{name}"
    actor_class = ray.remote(
        num_cpus=0, num_gpus=gpus, max_restarts=-1, max_task_retries=3, scheduling_strategy=place
    )(Worker)
    words = sys.executable, str(options.comfyui), options.options, str(folder), dict(os.environ)
    actor = actor_class.options(name=f"{PREFIX}{name}").remote(*words)
    try:
        ray.get(actor.pid.remote(), timeout=600)
    except ray.exceptions.GetTimeoutError:
        raise Stop("the worker did not begin: all GPUs of this machine are taken") from None
    except ray.exceptions.RayError as error:
        raise Stop(f"the worker did not begin: {first_line(error)}") from None
    return actor


def main(argv: list[str]) -> None:
    options = options_of(argv)
    ray = import_ray()
    check_token(make=options.head)
    with contextlib.ExitStack() as stack:
        join(ray, options, stack)
        stack.callback(ray.shutdown)
        name = free_name(ray, options.name)
        say(f"starting ComfyUI for {name!r}")
        actor = begin_worker(ray, name, options)
        stack.callback(ray.kill, actor, no_restart=True)
        address = ray.get_runtime_context().gcs_address
        print(address, flush=True)
        say(f"{name!r} waits for clips. In Long Take, workers: {address}")
        while is_alive(ray, actor):
            time.sleep(5)
        raise Stop("the worker is gone, or the cluster's head is")


def is_alive(ray, actor) -> bool:
    """Whether an actor is there; one that is busy or is being started again is."""
    try:
        ray.get(actor.pid.remote(), timeout=300)
    except (ray.exceptions.GetTimeoutError, ray.exceptions.ActorUnavailableError):
        return True
    except ray.exceptions.RayError:
        return False
    return True


def run_as_program() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(sys.argv[1:])
    except Stop as stop:
        sys.exit(f"worker: {stop}")
    except KeyboardInterrupt:
        sys.exit("worker: ended")


if __name__ == "__main__":
    run_as_program()
