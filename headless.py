"""A ComfyUI process of our own: start it, queue workflows, learn what came of them.

Standard library only, because dev.py runs before anything is installed; the tests use it too.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

# Past any proxy: the one of the system may catch 127.0.0.1, too.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
OPTIONS = (
    *("--listen", "127.0.0.1", "--disable-auto-launch", "--disable-api-nodes"),
    *("--database-url", "sqlite:///:memory:"),
)


class Stop(Exception):
    """Ends dev.py with one line that says what to do."""


def stop_process(process: subprocess.Popen, patience: float = 10) -> None:
    """Ask a process to end, and after so many seconds make it."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Server:
    """ComfyUI running headless, from `with` to the end of the block.

    Args:
        python: the interpreter that has ComfyUI's requirements.
        comfyui: ComfyUI's folder.
        options: its command line, without what OPTIONS says already.
        log: file for all that it prints.
        on_line: is shown each of these lines as it comes.
        environment: its own, instead of this process's.
        stdin: as subprocess takes it; a pipe ends when this process does.
    """

    def __init__(
        self,
        python: Path,
        comfyui: Path,
        options: list,
        log: Path,
        on_line: Callable[[str], None] = lambda line: None,
        environment: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self.command = [python, comfyui / "main.py", *OPTIONS, "--port", port, *options]
        self.log, self.on_line = log, on_line
        self.environment, self.stdin = environment, stdin

    def __enter__(self) -> Server:
        self.process = subprocess.Popen(
            [str(word) for word in self.command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=self.stdin,
            env=self.environment,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        stop_process(self.process)
        self.reader.join(10)
        self.process.stdout.close()

    def _read(self) -> None:
        with self.log.open("w", encoding="utf-8") as log:
            for line in self.process.stdout:  # a progress bar's "\r" ends a line, too
                log.write(line)
                log.flush()
                self.on_line(line.rstrip())

    def _wait_until_it_answers(self, seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check_alive()
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                return self.ask("/system_stats")
            time.sleep(0.1)
        raise Stop(f"ComfyUI did not answer within {seconds:.0f} s; see {self.log}")

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            self.reader.join(10)
            last = self.log.read_text(encoding="utf-8").strip().rpartition("\n")[2]
            raise Stop(f"ComfyUI ended by itself: {last!r}; see {self.log}")

    def ask(self, path: str, body: dict | None = None):
        """The JSON answer to GET, or to POST where there is a body; None where it is empty."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{self.address}{path}", data, headers)
        with DIRECT.open(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def queue(self, workflow: dict, **more) -> str:
        """Hand in an API-format workflow and return its prompt id."""
        try:
            return self.ask("/prompt", {"prompt": workflow, **more})["prompt_id"]
        except urllib.error.HTTPError as refusal:
            why = reasons(refusal, workflow)
            raise Stop(f"ComfyUI refused the workflow: {why} (more in {self.log})") from None

    def wait(self, prompt_id: str) -> dict:
        """That prompt's entry in the history, once it has been run."""
        while True:
            self.check_alive()
            history = self.ask(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            time.sleep(0.2)


def reasons(refusal: urllib.error.HTTPError, workflow: dict) -> str:
    """What ComfyUI's answer says is wrong, node by node."""
    answer = json.loads(refusal.read())
    found = [
        f"{title(workflow, node)}: {error_in_words(error)}"
        for node, entry in (answer.get("node_errors") or {}).items()
        for error in entry["errors"]
    ]
    return "; ".join(dict.fromkeys(found)) or answer["error"]["message"]


def error_in_words(error: dict) -> str:
    if error.get("type") == "exception_during_inner_validation":  # the node's own words
        return error["details"]
    if error.get("type") == "custom_validation_failed":  # too, once for each input looked at
        return error["details"].partition(" - ")[2] or error["details"]
    return f"{error['message']} ({error['details']})"


def failure(entry: dict, workflow: dict) -> str | None:
    """Why a prompt did not succeed, from its entry in the history."""
    for event, detail in entry["status"]["messages"]:
        if event == "execution_error":
            return f"{title(workflow, detail['node_id'])}: {detail['exception_message'].strip()}"
        if event == "execution_interrupted":
            return f"interrupted at {title(workflow, detail['node_id'])}"
    return None


def saved_files(entry: dict, out: Path) -> list[Path]:
    """The files that a prompt saved under `out`, in the order of its nodes."""
    files = [
        out / file["subfolder"] / file["filename"]
        for output in entry["outputs"].values()
        for files in output.values()
        for file in files
        if isinstance(file, dict) and file.get("type") == "output"
    ]
    return list(dict.fromkeys(files))


# Workflows in the API format: {id: {class_type, inputs, _meta: {title}}}


def title(workflow: dict, node: str) -> str:
    return workflow[node].get("_meta", {}).get("title", workflow[node]["class_type"])


def known_names(name: str, known) -> str:
    """Ends an error about an unknown name: what there is, and what may have been meant."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, 1, cutoff=0.5)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return f"there are: {', '.join(known) or 'none'}{meant}"


def set_input(workflow: dict, setting: str) -> None:
    """Carry out one "Node Title.input=value"; the value takes the type it has in the workflow."""
    target, equals, value = setting.partition("=")
    name, dot, key = target.strip().rpartition(".")
    if not equals or not dot:
        raise Stop(f"--set {setting!r} is not of the form 'Node Title.input=value'")
    nodes = [node for node in workflow if title(workflow, node) == name]
    if len(nodes) != 1:
        titles = {title(workflow, node) for node in workflow}
        count = f"{len(nodes)} nodes" if nodes else "no node"
        raise Stop(f"--set {setting!r}: {count} titled {name!r}; {known_names(name, titles)}")
    inputs = workflow[nodes[0]]["inputs"]
    free = [known for known, held in inputs.items() if not isinstance(held, list)]
    if key in inputs and key not in free:
        source = title(workflow, inputs[key][0])
        raise Stop(f"--set {setting!r}: {key} comes from the node {source!r}; set that one")
    if key not in inputs:
        raise Stop(f"--set {setting!r}: {name!r} has no input {key!r}; {known_names(key, free)}")
    inputs[key] = converted(value, inputs[key], setting)


def converted(value: str, like, setting: str):
    """`value` as the type of `like`; a whole number in JSON may stand for any number."""
    kinds = {bool: (as_bool,), int: (int, float), float: (float,)}.get(type(like), (str,))
    for kind in kinds:
        with contextlib.suppress(ValueError):
            return kind(value)
    wanted = "true or false" if isinstance(like, bool) else "a number"
    raise Stop(f"--set {setting!r}: {value!r} is not {wanted} (it is {json.dumps(like)} now)")


def as_bool(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError
    return value.lower() == "true"
