"""Content Credentials (C2PA): a signed statement in the file of how its video came about.

c2pa-python does the signing and is optional: `why_unavailable` says what it lacks. It is kept off
the network, where by default it would fetch addresses that strangers write into their videos.
"""

import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...models.errors import InputError, OutputError
from ..files import discard
from .certificate import Certificate

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"  # which has the version
IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MIME = {
    ".mp4": "video/mp4", ".m4v": "video/x-m4v", ".mov": "video/quicktime", ".avi": "video/avi",
    ".gif": "image/gif", ".webp": "image/webp", ".png": "image/png", ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg", ".avif": "image/avif", ".tif": "image/tiff", ".tiff": "image/tiff",
    ".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".m4a": "audio/mp4",
}  # fmt: skip
SIGNABLE = (".mp4", ".gif", ".webp")  # of the video formats written here
STILL = ".png"  # the picture that may be written beside a video
# A Merkle tree of 1 MiB blocks, and files for buffers: by default c2pa holds the video in memory
# twice.
SETTINGS: Mapping[str, Any] = {
    "version": 1,
    "verify": {"verify_after_sign": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    "core": {
        "allowed_network_hosts": [],
        "merkle_tree_chunk_size_in_kb": 1024,
        "backing_store_memory_threshold_in_mb": 16,
    },
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True)
class SourceFile:
    """A file that went into a video.

    Attributes:
        path: of the file.
        sha256: hex digest of its bytes.
        role: "parent" for the video that is continued, of which there is one at most, or "input".
    """

    path: Path
    sha256: str
    role: str


@dataclass(frozen=True)
class Statement:
    """What is to be signed: hashes, and nothing that could identify a person.

    Attributes:
        generated: whether a model made any of its frames.
        workflow: SHA-256 of the graph.
        models: kind and SHA-256 of each weights file.
        sources: the files that went into it, in the order in which they are numbered.
    """

    generated: bool
    workflow: str | None = None
    models: tuple[tuple[str, str], ...] = ()
    sources: tuple[SourceFile, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to declare."""
        return not self.generated and not self.sources


def why_unavailable() -> str | None:
    """Why credentials can be neither signed nor read on this computer; None if they can."""
    try:
        import c2pa  # noqa: F401
        import cryptography  # noqa: F401
    except ImportError as error:
        return (
            f"the Python package {error.name or 'c2pa-python'} is missing. To install it: "
            f'"{sys.executable}" -m pip install {_extra()}'
        )
    except Exception as error:  # noqa: BLE001 - its native library may raise anything
        return f"c2pa-python is installed but does not load: {_line(error)}"
    return None


def offline_context(anchors: str = "") -> Any:
    """A c2pa.Context that stays off the network and trusts the roots in `anchors` (PEM)."""
    import c2pa

    trust = {"trust": {"user_anchors": anchors}} if anchors else {}
    return c2pa.Context.from_dict({**SETTINGS, **trust})


def sign(file: Path, statement: Statement, certificate: Certificate, anchors: str = "") -> Path:
    """A copy of a file with a signed statement in it. Its bytes must not change after that.

    Args:
        file: a finished video or picture with a suffix in SIGNABLE, or STILL; left as it is.
        statement: what to sign.
        certificate: what to sign it with.
        anchors: PEM of the roots to trust when the sources' own credentials are read.

    Returns:
        The signed file, beside the original.

    Raises:
        InputError: for a kind of file that cannot carry credentials.
        OutputError: if signing fails; no copy is left behind.
    """
    import c2pa

    if file.suffix.lower() not in (*SIGNABLE, STILL):
        raise InputError(
            f"{file.suffix} files cannot carry Content Credentials; {', '.join(SIGNABLE)} can."
        )
    signed = file.with_name(f"{file.stem}.signed{file.suffix}")
    try:
        _sign(file, signed, statement, certificate, anchors)
    except c2pa.C2paError as error:
        discard(signed)
        raise OutputError(
            f"the video could not be signed with the certificate from {certificate.source}: "
            f"{_line(error)}. Set credentials to off to save it unsigned."
        ) from error
    except BaseException:
        discard(signed)
        raise
    return signed


def _sign(
    file: Path, signed: Path, statement: Statement, certificate: Certificate, anchors: str
) -> None:
    import c2pa

    info = c2pa.C2paSignerInfo(
        alg=getattr(c2pa.C2paSigningAlg, certificate.algorithm),
        sign_cert=certificate.chain.encode(),
        private_key=certificate.key.encode(),
        ta_url=None,  # no timestamp: it would come from a server
    )
    with ExitStack() as stack:
        builder = _builder(stack, statement, anchors)
        signer = stack.enter_context(c2pa.Signer.from_info(info))
        source = stack.enter_context(file.open("rb"))
        target = stack.enter_context(signed.open("w+b"))
        builder.sign(signer, MIME[file.suffix.lower()], source, target)


def _builder(stack: ExitStack, statement: Statement, anchors: str) -> Any:
    """A c2pa.Builder with the statement and the sources' own credentials.

    A source that c2pa cannot read (mkv, or damaged) is only named.
    """
    import c2pa

    bare: set[int] = set()
    while True:
        settings = stack.enter_context(offline_context(anchors))
        builder = c2pa.Builder(manifest(statement, bare), context=settings)
        stack.enter_context(builder)
        failed = _add_sources(builder, statement, bare)
        if failed is None:
            return builder
        bare.add(failed)


def _add_sources(builder: Any, statement: Statement, bare: set[int]) -> int | None:
    """The number of the first source that c2pa cannot read, or None."""
    import c2pa

    for number, source in enumerate(statement.sources):
        mime = MIME.get(source.path.suffix.lower())
        if number in bare:
            continue
        if mime is None:
            return number
        try:
            with source.path.open("rb") as opened:
                builder.add_ingredient(_ingredient(number, source), mime, opened)
        except (c2pa.C2paError, OSError):
            return number
    return None


def _ingredient(number: int, source: SourceFile) -> dict[str, str]:
    # Not by the file's name, which may say more than its owner means to publish.
    return {
        "title": f"source {number + 1}",
        "relationship": "parentOf" if source.role == "parent" else "inputTo",
        "label": f"source{number + 1}",
    }


def manifest(statement: Statement, bare: set[int] = frozenset()) -> dict[str, Any]:
    """The manifest definition that c2pa signs; `bare`: numbers of the sources to only name."""
    named = [
        {
            **_ingredient(number, statement.sources[number]),
            "format": MIME.get(statement.sources[number].path.suffix.lower(), "video/x-matroska"),
            "instance_id": f"sha256:{statement.sources[number].sha256}",
        }
        for number in sorted(bare)
    ]
    return {
        "claim_generator_info": [_agent()],
        "ingredients": named,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": _actions(statement)}}],
    }


def _actions(statement: Statement) -> list[dict[str, Any]]:
    labels: dict[str, list[str]] = {"parent": [], "input": []}
    for number, source in enumerate(statement.sources):
        labels[source.role].append(_ingredient(number, source)["label"])
    parameters: dict[str, Any] = {
        "longtake.workflow_sha256": statement.workflow,
        "longtake.models": [{"kind": k, "sha256": sha} for k, sha in statement.models],
        "longtake.sources": [{"sha256": source.sha256} for source in statement.sources],
        "ingredientIds": labels["input"],
    }
    made = {"softwareAgent": _agent(), "parameters": {k: v for k, v in parameters.items() if v}}
    if not labels["parent"]:
        return [{"action": "c2pa.created", **_kind("trainedAlgorithmicMedia"), **made}]
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": labels["parent"]}}
    if not statement.generated:
        return [opened, {"action": "c2pa.edited", **made}]
    kind = _kind("compositeWithTrainedAlgorithmicMedia")
    return [opened, {"action": "c2pa.edited", **kind, **made}]


def _kind(name: str) -> dict[str, str]:
    return {"digitalSourceType": IPTC + name}


@cache
def version() -> str:
    """Of the pack."""
    return _project(r'version = "(.+)"')


def _extra() -> str:
    """The packages, with the versions that are known to work, as pip takes them."""
    return _project(r"credentials = \[(.+)\]").replace('", "', '" "')


def _project(line: str) -> str:
    """What a line of pyproject.toml says. Python 3.10, which people have, cannot read TOML."""
    found = re.search(f"^{line}$", PROJECT.read_text("utf-8"), re.MULTILINE)
    return found[1] if found else "unknown"


def _agent() -> dict[str, str]:
    return {"name": "Longtake", "version": version()}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
