"""Small videos with Content Credentials, and what tests and benchmarks do to them."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import c2pa
import numpy as np

from longtake.engine.media.writer import write_video
from longtake.engine.provenance import signing
from longtake.engine.provenance.signing import Statement

WORKFLOW = "5a" * 32


def clip(path: Path, frames: int = 7, seed: int = 3) -> Path:
    """A video of noise, in which every byte of the media matters."""
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 46, 62, 3), dtype=np.uint8)
    write_video(path, [pixels], Fraction(7))
    return path


def sign(path: Path, certificate, *sources, generated: bool = True) -> Path:
    """The clip signed, in its place."""
    statement = Statement(generated, WORKFLOW, (("dit", "7b" * 32),), sources)
    signing.sign(path, statement, certificate).replace(path)
    return path


def flip(path: Path, byte: int, bit: int = 0) -> Path:
    """A copy with one bit changed."""
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    changed = path.with_name(f"{path.stem}.{byte}.{bit}{path.suffix}")
    changed.write_bytes(data)
    return changed


def boxes(path: Path) -> dict[str, tuple[int, int]]:
    """The boxes at the top of an mp4: name -> (first byte, byte after the last)."""
    data, at, found = path.read_bytes(), 0, {}
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        found.setdefault(data[at + 4 : at + 8].decode("latin1"), (at, at + size))
        at += size or len(data)
    return found


def elsewhere(source: Path, address: str, certificate, *, embed: bool) -> Path:
    """A video that names an address for its credentials; a hostile one may."""
    path = source.with_name(f"elsewhere_{embed}.mp4")
    info = c2pa.C2paSignerInfo(
        alg=c2pa.C2paSigningAlg.ES256,
        sign_cert=certificate.chain.encode(),
        private_key=certificate.key.encode(),
        ta_url=None,
    )
    definition = signing.manifest(Statement(generated=True))
    with (
        signing.offline_context() as context,
        c2pa.Builder(definition, context=context) as builder,
        c2pa.Signer.from_info(info) as signer,
        source.open("rb") as old,
        path.open("w+b") as new,
    ):
        builder.set_remote_url(address)
        if not embed:
            builder.set_no_embed()
        builder.sign(signer, "video/mp4", old, new)
    return path


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """An address on this computer, and what anybody asked it for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
