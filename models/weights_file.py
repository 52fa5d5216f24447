"""What a safetensors file contains, read without touching the weights.

Only safetensors is read. PyTorch's older .pt and .ckpt files are pickles, which can run any
program when opened; this module recognises them by their first bytes and never unpickles one.

The safetensors library does not say at which byte a tensor lies, nor what is wrong with a file in
words that help its owner, so the header is read here.

Source: the format as described in huggingface/safetensors, README.md#format: eight bytes of
header length, a JSON header of that length, then the tensors back to back.
"""

import difflib
import json
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice, pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .errors import CheckpointError

INDEX = ".safetensors.index.json"
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d+)-of-(?P<count>\d+)\.safetensors")
SHOWN = 6  # names in a message
HEADER_LIMIT = 100_000_000  # bytes; the reference implementation's own limit

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    # mxfp8's scales, from torch 2.7 on
    **({"F8_E8M0": torch.float8_e8m0fnu} if hasattr(torch, "float8_e8m0fnu") else {}),
}

# First bytes of what is most often found in place of a safetensors file.
IMPOSTORS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a PyTorch pickle (.pt, .pth, .ckpt) or a zip archive"),
    (b"\x80\x02", "a PyTorch pickle (.pt, .pth, .ckpt)"),
    (b"\x80\x04", "a Python pickle"),
    (b"GGUF", "a GGUF file"),
    (b"version https://git-lfs", "a Git LFS pointer, a few lines of text that stand for the file"),
    (b"<", "a web page, saved in place of the file it links to"),
    (b"{", "a JSON text"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
)
REMEDIES: Mapping[str, str] = {
    "a GGUF": "Use a GGUF loader, or the .safetensors file of the same model.",
    "a Git": "Run `git lfs pull` where it was cloned, or download the file itself.",
    "a web": "Download it again with the page's download button; some need a login first.",
}


class TensorInfo(NamedTuple):
    """One tensor, not loaded.

    Attributes:
        shape: of the tensor.
        dtype: as the file spells it, a key of DTYPES.
        file: the file or shard that it is in.
        offset: of its first byte in that file.
    """

    shape: tuple[int, ...]
    dtype: str
    file: Path
    offset: int = 0

    @property
    def bytes(self) -> int:
        return prod(self.shape) * DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Header:
    """What a checkpoint contains, in one file or in several shards.

    Attributes:
        path: the file that was asked for.
        tensors: every tensor by its name in the file.
        metadata: text by key, as the program that wrote the file left it.
    """

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor. Raises CheckpointError if the file has none of that name."""
        if name not in self.tensors:
            raise CheckpointError(f"'{self.name}' has no tensor '{name}': the file is incomplete.")
        return self.tensors[name].shape


def read_header(path: Path | str) -> Header:
    """Names, shapes, dtypes and metadata of a .safetensors file; no weights are read.

    A `*.safetensors.index.json` stands for all of its shards, and so does each shard of a set
    named `NAME-00001-of-00003.safetensors`.

    Raises:
        CheckpointError: missing, damaged, cut short, or not a safetensors file.
    """
    path = Path(path)
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, str] = {}
    for shard in shards(path):
        new, notes = _read_one(shard)
        if twice := sorted(new.keys() & tensors.keys()):
            raise CheckpointError(
                f"'{path.name}' is damaged: {shortened(twice)} in more than one of its shards."
            )
        tensors |= new
        metadata |= notes
    if not tensors:
        raise CheckpointError(f"'{path.name}' holds no tensors at all; get another copy of it.")
    return Header(path, tensors, metadata)


def under(header: Header, landmark: str) -> dict[str, str] | None:
    """Tensors with the same prefix as `landmark` -> their names without it; None if it is absent.

    Files put `model.`, `model.diffusion_model.`, `vae.` and the like before a network's names; in
    a file of several networks each has its own prefix.
    """
    hits = [name for name in header.tensors if f".{name}".endswith(f".{landmark}")]
    if not hits:
        return None
    # Of a running average of the weights, `generator_ema`, and the weights, the average is better.
    best = min(hits, key=lambda name: ("_ema." not in name, len(name)))
    prefix = best.removesuffix(landmark)
    return {name: name.removeprefix(prefix) for name in header.tensors if name.startswith(prefix)}


def shards(path: Path) -> list[Path]:
    """The files that make up the checkpoint at `path`; most often that file alone."""
    _check_exists(path)
    if path.name.endswith(INDEX):
        names = _index_entries(path)
        count = len(names)
    elif match := SHARD.fullmatch(path.name):
        stem, digits, count = match["stem"], len(match["number"]), int(match["count"])
        names = (
            f"{stem}-{i:0{digits}}-of-{match['count']}.safetensors" for i in range(1, count + 1)
        )
    else:
        return [path]
    # Names are written down only as far as there are files, whatever number a name claims.
    there = {file.name for file in path.parent.iterdir() if file.is_file()}
    found = list(islice(names, len(there) + SHOWN))
    if absent := [name for name in found if name not in there]:
        lacking = count - (len(found) - len(absent))
        more = f" and {lacking - SHOWN} more" if lacking > SHOWN else ""
        raise CheckpointError(
            f"'{path.name}' is one part of a checkpoint of {count} files, but "
            f"{shortened(absent[:SHOWN])}{more} {'are' if lacking > 1 else 'is'} not in "
            f"{path.parent}. Put all of them into that folder."
        )
    return [path.parent / name for name in found]


def _check_exists(path: Path) -> None:
    if path.is_file():
        return
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.safetensors*"))
        hint = f"it holds {shortened(inside)}" if inside else "it holds no .safetensors file"
        raise CheckpointError(f"'{path}' is a folder; choose a .safetensors file: {hint}.")
    beside = sorted(p.name for p in path.parent.glob("*.safetensors"))
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0)
    hint = f"Nearest in that folder: '{near[0]}'." if near else "That folder has no .safetensors."
    raise CheckpointError(f"There is no file '{path}'. {hint}")


def _index_entries(path: Path) -> list[str]:
    """File names that an index lists, sorted; each must be a plain name in the same folder."""
    try:
        index = json.loads(path.read_text("utf-8"))
        names = sorted(set(index["weight_map"].values()))
        plain = all(Path(name).name == name and name.endswith(".safetensors") for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        plain = False
    if not plain or not names:
        raise CheckpointError(
            f"'{path.name}' is not the index of a checkpoint: it should be JSON with a "
            f"'weight_map' from tensors to .safetensors files beside it. Get another copy of it."
        )
    return names


def _read_one(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """The header of one file: its tensors by name, and its metadata."""
    header, room = _parse(path)
    metadata = header.pop("__metadata__", {})
    if not _is_text_map(metadata):
        raise _damaged(path, "its metadata is not text")
    spans = []
    tensors = {}
    first = path.stat().st_size - room
    for name, entry in header.items():
        info, span = _read_entry(path, name, entry)
        tensors[name] = info._replace(offset=first + span[0])
        spans.append(span)
    _check_layout(path, spans, room)
    return tensors, metadata


def _parse(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON header of the file at `path`, and how many bytes of tensors follow it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
            length = struct.unpack("<Q", start[:8])[0] if size >= 8 else 0
            _refuse_impostor(path, start, size, length)
            file.seek(8)
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read: {error.strerror or error}.") from None
    try:
        header = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not valid JSON ({one_line(error)})") from None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a table of tensors")
    return header, size - 8 - length


def _refuse_impostor(path: Path, start: bytes, size: int, length: int) -> None:
    """Raises CheckpointError, saying what it is, for a file that is no safetensors file.

    Args:
        path: of the file.
        start: its first 64 bytes.
        size: its bytes.
        length: of the header, as the first eight bytes give it.
    """
    if not size:
        raise CheckpointError(
            f"'{path.name}' is empty (0 bytes): its download never began. Download it again."
        )
    if size >= 10 and start[8:9] == b"{" and 2 <= length <= HEADER_LIMIT:
        if length <= size - 8:
            return
        raise _cut_short(path, size, 8 + length)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")  # a byte order mark or blank lines before text
    for magic, what in IMPOSTORS:
        if start.startswith(magic) or text.startswith(magic):
            remedy = next((r for key, r in REMEDIES.items() if what.startswith(key)), None)
            raise CheckpointError(
                f"'{path.name}' is {what}, not a safetensors file; only .safetensors is read. "
                f"{remedy or 'Get the .safetensors version of the model.'}"
            )
    raise CheckpointError(
        f"'{path.name}' is not a safetensors file: it begins with {start[:8].hex(' ')}. "
        f"Only .safetensors is read; get that version of the model, or another copy."
    )


def _read_entry(path: Path, name: str, entry: Any) -> tuple[TensorInfo, tuple[int, int]]:
    """One entry of the header: the tensor, and its first and last byte among the tensors."""
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, f"its entry for '{name}' is incomplete") from None
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise CheckpointError(
            f"'{path.name}' holds '{name}' in the number format {dtype!r}, which cannot be read "
            f"here; those that can are {', '.join(DTYPES)}. Use the bf16 or fp16 version of the "
            f"model."
        )
    counts = (*shape, begin, end)
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in counts):
        raise _damaged(path, f"the size of '{name}' is not made of whole numbers")
    if end - begin != prod(shape) * DTYPES[dtype].itemsize:
        raise _damaged(path, f"'{name}' does not have the bytes that its shape needs")
    return TensorInfo(shape, dtype, path), (begin, end)


def _check_layout(path: Path, spans: Iterable[tuple[int, int]], room: int) -> None:
    """Raises CheckpointError unless the tensors lie back to back and fill the file.

    They do in every file that was downloaded completely.
    """
    spans = sorted(spans)
    end = max((end for _, end in spans), default=0)
    if end > room:
        size = path.stat().st_size
        raise _cut_short(path, size, size - room + end)
    whole = [(0, 0), *spans, (room, room)]
    if any(a_end != b_begin for (_, a_end), (b_begin, _) in pairwise(whole)):
        raise _damaged(path, "its tensors overlap or leave gaps")


def _cut_short(path: Path, size: int, needed: int) -> CheckpointError:
    return CheckpointError(
        f"'{path.name}' is cut short: it holds {_megabytes(size)} of {_megabytes(needed)}. "
        f"Its download or copy did not finish; get the file again."
    )


def _damaged(path: Path, how: str) -> CheckpointError:
    return CheckpointError(f"'{path.name}' is damaged: {how}. Get another copy of it.")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name appears twice")
    return table


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes"


def one_line(value: object) -> str:
    """Text for the middle of a message, without line breaks and of limited length."""
    text = " ".join(str(value).split())
    return text if len(text) <= 120 else text[:119] + "…"


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key that puts block 2 before block 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def shortened(names: Iterable[str], limit: int = SHOWN) -> str:
    """The first names in order, and how many more there are."""
    names = sorted(names, key=_natural)
    shown = ", ".join(one_line(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
