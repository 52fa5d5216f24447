"""What has to be alike on two machines, before one of them works for the other."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Terms:
    """What a machine would sample with.

    Attributes:
        pack: version and hash of the pack's programs.
        comfyui: its version.
        kind: the device and what computes on it; numbers are rounded alike where it is the same.
        files: SHA-256 of weights by "folder/name"; "" for a file that is not there.
        unknown: classes of nodes of the graph that are not there.
    """

    pack: str
    comfyui: str
    kind: str
    files: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Terms":
        """What another machine told. Raises ValueError or KeyError if that is something else."""
        files = {str(name): str(value) for name, value in dict(told["files"]).items()}
        words = (str(told[name]) for name in ("pack", "comfyui", "kind"))
        return cls(*words, files, tuple(map(str, told["unknown"])))


def why_not(ours: Terms, theirs: Terms, name: str) -> str:
    """Why a worker must not sample for us, in a line; "" if it may."""
    if theirs.pack != ours.pack:
        return f"{name} has Longtake {theirs.pack}, and this ComfyUI {ours.pack}"
    if theirs.comfyui != ours.comfyui:
        return f"{name} runs ComfyUI {theirs.comfyui}, and this is {ours.comfyui}"
    if theirs.unknown:
        return f"{name} has no node {', '.join(theirs.unknown)}"
    for file, digest in ours.files.items():
        found = theirs.files.get(file, "")
        if not found:
            return f"{name} has no {file}"
        if found != digest:
            return f"{file} on {name} is another file (SHA-256 {found[:8]}… for {digest[:8]}…)"
    return ""


def what_differs(ours: Terms, theirs: Terms, name: str) -> str:
    """What to say of a worker that rounds otherwise; "" if it does not."""
    if theirs.kind == ours.kind:
        return ""
    return (
        f"{name} rounds differently ({theirs.kind}; here {ours.kind}): alike, but not the same bits"
    )
