import json
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from longtake.models.errors import CheckpointError
from longtake.models.weights_file import read_header, shortened

TENSORS = {
    "blocks.10.weight": torch.arange(6.0).reshape(2, 3),
    "blocks.2.weight": torch.ones(5, dtype=torch.bfloat16),
    "scalar": torch.tensor(7, dtype=torch.int64),
    "empty": torch.zeros(0, 3),
}
WHOLE = save(TENSORS, {"note": "made by a test"})


def packed(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def file(tmp_path):
    def write(content: bytes, name: str = "model.safetensors") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_names_shapes_dtypes_and_metadata(file):
    header = read_header(file(WHOLE))
    assert {k: (v.shape, v.dtype) for k, v in header.tensors.items()} == {
        "blocks.10.weight": ((2, 3), "F32"),
        "blocks.2.weight": ((5,), "BF16"),
        "scalar": ((), "I64"),
        "empty": ((0, 3), "F32"),
    }
    assert header.metadata == {"note": "made by a test"}
    assert header.shape("blocks.2.weight") == (5,)
    with pytest.raises(CheckpointError, match="no tensor 'absent'"):
        header.shape("absent")


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (b"", "empty (0 bytes)", "Download it again"),
        (b"PK\x03\x04" + bytes(99), "PyTorch pickle (.pt, .pth, .ckpt) or a zip", ".safetensors"),
        (b"\x80\x02}q\x00." + bytes(99), "PyTorch pickle", ".safetensors"),
        (b"GGUF\x03\x00\x00\x00" + bytes(99), "a GGUF file", "GGUF loader"),
        (b"<!DOCTYPE html><html>" + bytes(99), "a web page", "download button"),
        (b"\n\n <html><body>Sign in</body></html>", "a web page", "download button"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS", "git lfs pull"),
        (b'{"error": "Repository not found"}', "a JSON text", ".safetensors"),
        (b"\x1f\x8b\x08\x00" + bytes(99), "a gzip archive", ".safetensors"),
        (b"\x07\x00\x01", "it begins with 07 00 01", "another copy"),
        (bytes(range(200, 250)), "not a safetensors file", "another copy"),
        (packed(b"[1, 2, 3]"), "not a safetensors file", "another copy"),
        (packed(b'{"a": '), "not valid JSON", "another copy"),
        (packed(b'{"a": \xff\xfe}'), "not valid JSON", "another copy"),
        (packed(b'{"a":' * 20_000), "not valid JSON", "another copy"),
        (packed(b'{"a": 1, "a": 2}'), "a name appears twice", "another copy"),
        (packed({}), "no tensors at all", "another copy"),
        (packed({"__metadata__": {"a": 1}}), "metadata is not text", "another copy"),
        (packed({"a": {"dtype": "F32"}}), "'a' is incomplete", "another copy"),
        (packed({"a": entry("F4")}, bytes(4)), "number format 'F4'", "bf16 or fp16"),
        (packed({"a": entry(shape=(2,))}, bytes(4)), "the bytes that its shape needs", "copy"),
        (packed({"a": entry(shape=(-1,))}, bytes(4)), "not made of whole numbers", "copy"),
        (packed({"a": entry(shape=(True,))}, bytes(4)), "not made of whole numbers", "copy"),
        (packed({"a": entry(offsets=(0.0, 4))}, bytes(4)), "not made of whole numbers", "copy"),
        (packed({"a": entry()}, bytes(5)), "overlap or leave gaps", "another copy"),
        (packed({"a": entry(), "b": entry()}, bytes(4)), "overlap or leave gaps", "another copy"),
        (packed({"a": entry(offsets=(4, 8))}, bytes(8)), "overlap or leave gaps", "another copy"),
    ],
)
def test_what_is_no_safetensors_file_is_refused_by_what_it_is(file, content, what, remedy):
    message = refusal(file(content))
    assert message.startswith("'model.safetensors' ")
    assert what in message
    assert remedy in message


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"a": Trap()}, tmp_path / "model.safetensors")
    assert "PyTorch pickle" in refusal(tmp_path / "model.safetensors")
    assert not (tmp_path / "ran").exists()


@given(kept=st.integers(1, len(WHOLE) - 1))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory, kept):
    path = tmp_path_factory.mktemp("cut") / "model.safetensors"
    path.write_bytes(WHOLE[:kept])
    message = refusal(path)
    if kept >= 10:  # from there on it is recognised
        assert "cut short" in message
        assert f"{kept:,} bytes of" in message


def test_a_cut_download_says_how_much_is_there(file):
    whole = save({"a": torch.zeros(500_000)})
    assert "holds 1.5 MB of 2.0 MB" in refusal(file(whole[:1_500_000]))


@given(
    place=st.integers(0, len(WHOLE) - 1),
    new=st.binary(min_size=1, max_size=9),
)
def test_damage_anywhere_gives_one_line_or_the_same_layout(tmp_path_factory, place, new):
    path = tmp_path_factory.mktemp("damage") / "model.safetensors"
    path.write_bytes(WHOLE[:place] + new + WHOLE[place + len(new) :])
    try:
        message = "" if read_header(path).tensors else "nothing was read"
    except CheckpointError as error:
        message = str(error)
    assert "\n" not in message


@given(content=st.binary(max_size=300))
def test_no_bytes_do_more_than_a_refusal(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("noise") / "model.safetensors"
    path.write_bytes(content)
    refusal(path)


def test_missing_files_name_the_nearest(tmp_path):
    assert "has no .safetensors" in refusal(tmp_path / "wan2.1_t2v.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "wan2.1_t2v_1.3B.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "umt5.safetensors")
    message = refusal(tmp_path / "wan2.1_t2v.safetensors")
    assert "Nearest in that folder: 'wan2.1_t2v_1.3B.safetensors'" in message


def test_a_folder_is_refused_and_its_files_named(tmp_path):
    assert "no .safetensors file" in refusal(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "one.safetensors")
    assert "is a folder; choose a .safetensors file: it holds one.safetensors" in refusal(tmp_path)


def shard_names(count: int) -> list[str]:
    return [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]


@pytest.fixture
def sharded(tmp_path):
    names = shard_names(3)
    for i, name in enumerate(names):
        save_file({f"t.{i}": torch.full((i + 1,), float(i))}, tmp_path / name)
    index = {"weight_map": {f"t.{i}": name for i, name in enumerate(names)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


@pytest.mark.parametrize("name", ["model.safetensors.index.json", *shard_names(3)])
def test_an_index_or_any_shard_stands_for_all(sharded, name):
    header = read_header(sharded / name)
    assert {k: (v.shape, v.file.name) for k, v in header.tensors.items()} == {
        f"t.{i}": ((i + 1,), shard) for i, shard in enumerate(shard_names(3))
    }


@pytest.mark.parametrize("name", ["model.safetensors.index.json", shard_names(3)[0]])
def test_absent_shards_are_named(sharded, name):
    (sharded / shard_names(3)[1]).unlink()
    message = refusal(sharded / name)
    assert "one part of a checkpoint of 3 files, but model-00002-of-00003" in message


def test_a_tensor_in_two_shards_is_refused(sharded):
    save_file({"t.0": torch.zeros(1)}, sharded / shard_names(3)[2])
    assert "t.0 in more than one of its shards" in refusal(sharded / shard_names(3)[0])


@pytest.mark.parametrize(
    "index",
    [
        "",
        "[]",
        "{}",
        '{"weight_map": []}',
        '{"weight_map": {}}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": "../../elsewhere.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": "model.pt"}}',
    ],
)
def test_an_index_must_be_one_and_stay_in_its_folder(file, index):
    path = file(index.encode(), "model.safetensors.index.json")
    assert "is not the index of a checkpoint" in refusal(path)


def test_long_lists_are_in_order_and_counted():
    assert shortened(["b.10", "b.9", "a"]) == "a, b.9, b.10"
    assert shortened([f"b.{i}" for i in range(40)], limit=2) == "b.0, b.1 and 38 more"


def test_a_number_of_shards_is_believed_as_far_as_there_are_files(tmp_path):
    for i in (1, 3):
        save_file({f"t.{i}": torch.ones(i)}, tmp_path / f"big-{i:05}-of-99999999.safetensors")
    tracemalloc.start()
    started = time.perf_counter()
    try:
        message = refusal(tmp_path / "big-00001-of-99999999.safetensors")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - started < 1
    assert "of 99999999 files, but big-00002-of-99999999.safetensors, big-00004" in message
    assert "and 99999991 more are not in" in message
