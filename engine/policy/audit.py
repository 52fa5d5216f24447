"""What the gate did: a line for each broken rule, without a word of what was asked."""

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path

from ..files import append_line


def hash_of(texts: Iterable[str]) -> str:
    """SHA-256 of texts. Whoever suspects what a short one is can find out by trying."""
    joined = "\0".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()


def note(file: Path, rule: str, what: str, where: str, done: str) -> None:
    """Add a line to the log.

    Args:
        file: the log.
        rule: that was broken.
        what: `hash_of` the prompt.
        where: "prompt", a node's class, or "frames".
        done: "logged", "refused" or "withheld".

    Raises:
        OSError: if it cannot be written.
    """
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields = {"at": at, "rule": rule, "prompt": what, "where": where, "done": done}
    file.parent.mkdir(parents=True, exist_ok=True)
    append_line(file, json.dumps(fields).encode())
