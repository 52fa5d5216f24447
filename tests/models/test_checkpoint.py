import errno
import json
import math
import mmap
import os
import struct
import tracemalloc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from longtake.models import checkpoint
from longtake.models.checkpoint import is_finite, load_into, load_weights, refuse_broken_numbers
from longtake.models.errors import CheckpointError
from longtake.models.wan.config import VAEConfig
from longtake.models.wan.detect import detect
from longtake.models.wan.dit import WanDiT
from longtake.models.wan.vae import WanVAE
from longtake.models.weights_file import read_header
from tests.models.tiny import NANO_LIKE, REAL_HEADS, VAE_21, randomised

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)  # the first has no infinity


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def message(call, *args, **kw) -> str:
    with pytest.raises(CheckpointError) as caught:
        call(*args, **kw)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2, bias=False))


def test_a_transformer_comes_back_from_a_file_bit_by_bit(tmp_path, rng):
    written = randomised(WanDiT(REAL_HEADS), rng)
    prefix = "model.diffusion_model."
    save_file({prefix + k: v for k, v in written.state_dict().items()}, tmp_path / "a.safetensors")

    header = read_header(tmp_path / "a.safetensors")
    found = detect(header, "dit")
    network = WanDiT(found.config, device="meta")
    load_into(network, load_weights(header, found.names), header.name)

    assert all(torch.equal(network.state_dict()[k], v) for k, v in written.state_dict().items())
    x = torch.randn(1, 16, 3, 4, 6, generator=rng)
    context = torch.randn(1, 5, 40, generator=rng)
    a, b = (m(x, torch.tensor([400.0]), m.read_text(context)) for m in (written, network))
    assert torch.equal(a, b)  # nothing of it was left on the meta device


@pytest.mark.parametrize("config", [VAE_21, NANO_LIKE], ids=["2.1", "nano-like"])
def test_a_vae_comes_back_from_shards(tmp_path, rng, config: VAEConfig):
    written = randomised(WanVAE(config), rng)
    state = list(written.state_dict().items())
    names = [f"vae-{i:05}-of-00002.safetensors" for i in (1, 2)]
    for name, part in zip(names, (state[::2], state[1::2]), strict=True):
        save_file(dict(part), tmp_path / name)

    header = read_header(tmp_path / names[0])
    found = detect(header, "vae")
    network = WanVAE(found.config, device="meta")
    load_into(network, load_weights(header, found.names), header.name)

    assert found.config == config
    assert all(torch.equal(network.state_dict()[k], v) for k, v in state)


def test_weights_are_mapped_and_not_copied(tmp_path):
    save_file({"a": torch.zeros(64, 2**18)}, tmp_path / "big.safetensors")  # 64 MiB
    before = resident()
    weights = load_weights(tmp_path / "big.safetensors")
    module = nn.Linear(2**18, 64, bias=False, device="meta")
    load_into(module, {"weight": weights["a"]})
    assert module.weight.data_ptr() == weights["a"].data_ptr()
    private = resident() - before
    assert private < 16 * 2**20, "a second copy of the weights lies in memory"


def mapped_lengths(monkeypatch) -> list[int]:
    """The bytes of each mapping that is made from now on."""
    lengths = []

    class Mapped(mmap.mmap):
        def __new__(cls, fileno, length, **kw):
            lengths.append(length)
            return super().__new__(cls, fileno, length, **kw)

    monkeypatch.setattr(mmap, "mmap", Mapped)
    return lengths


def resident() -> int:
    """Bytes of memory that are this process's own, so less what is mapped from files."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123  a kernel interface
            _, total, shared, *_ = map(int, file.read().split())
    except FileNotFoundError:  # not Linux: the pointers above must do
        return 0
    return (total - shared) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("size", "mapped"), [(4, True), (64 * 2**18, False)])
def test_small_weights_and_any_on_demand_are_read_and_not_mapped(
    tmp_path, size, mapped, monkeypatch
):
    """Windows does not let a mapped file be replaced, as an update of the pack must."""
    save_file({"a": torch.arange(size)}, tmp_path / "a.safetensors")
    monkeypatch.setattr(mmap, "mmap", None)
    loaded = load_weights(tmp_path / "a.safetensors", mapped=mapped)
    assert torch.equal(loaded["a"], torch.arange(size))


def test_of_a_large_sparse_file_no_more_is_mapped_than_it_has(tmp_path, monkeypatch):
    """3 GiB of fp8 in portions; Windows reserves memory for all that is mapped privately."""
    path, count, side = tmp_path / "a.safetensors", 48, 8192
    entries = {
        f"blocks.{i}": {
            "dtype": "F8_E4M3",
            "shape": [side, side],
            "data_offsets": [i * side**2, (i + 1) * side**2],
        }
        for i in range(count)
    }
    text = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + count * side**2)
    lengths = mapped_lengths(monkeypatch)
    weights = load_weights(path)
    assert len(weights) == count
    assert len(lengths) > 10
    assert sum(lengths) <= 1.1 * path.stat().st_size


def test_of_a_large_file_only_what_is_asked_for_is_read(tmp_path):
    path, between = tmp_path / "a.safetensors", 2**26
    spans = {"first": (0, 4), "large": (4, 4 + between), "last": (4 + between, 8 + between)}
    entries = {
        name: {"dtype": "U8", "shape": [stop - start], "data_offsets": [start, stop]}
        for name, (start, stop) in spans.items()
    }
    text = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + 8 + between)
    tracemalloc.start()
    try:
        loaded = load_weights(path, {"first": "a", "last": "b"})
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert [tuple(w.shape) for w in loaded.values()] == [(4,), (4,)]


def test_changing_loaded_weights_leaves_the_file_alone(tmp_path):
    save_file({"a": torch.ones(4)}, tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    load_weights(tmp_path / "a.safetensors")["a"].zero_()
    assert (tmp_path / "a.safetensors").read_bytes() == content


def test_only_named_tensors_are_read_and_cast(tmp_path):
    tensors = {"x.a": torch.ones(2).bfloat16(), "x.n": torch.arange(3), "y.b": torch.ones(4)}
    save_file(tensors, tmp_path / "a.safetensors")
    loaded = load_weights(tmp_path / "a.safetensors", {"x.a": "a", "x.n": "n"}, dtype=torch.float64)
    assert {k: (v.dtype, tuple(v.shape)) for k, v in loaded.items()} == {
        "a": (torch.float64, (2,)),
        "n": (torch.int64, (3,)),
    }


def test_a_file_that_shrank_after_its_header_was_read_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(4000)}, path)
    header = read_header(path)
    path.write_bytes(path.read_bytes()[:1000])
    assert "'a.safetensors' cannot be read" in message(load_weights, header)
    path.unlink()
    assert "'a.safetensors' cannot be read" in message(load_weights, header)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_broken_numbers_are_refused_by_name(tmp_path, dtype, bad):
    weights = torch.ones(3, 5)
    weights[2, 3] = bad
    save_file(
        {"good": torch.ones(2), "blocks.3.bad": weights.to(dtype)}, tmp_path / "a.safetensors"
    )
    text = message(load_weights, tmp_path / "a.safetensors")
    assert "NaN or infinite in 1 of 2 tensors: blocks.3.bad." in text


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("at", [0, 4095, "middle", -1024, -1])
def test_of_a_large_checkpoint_both_ends_and_the_middle_are_checked(
    tmp_path, dtype, at, monkeypatch
):
    monkeypatch.setattr(checkpoint, "SMALL_MODEL", 0)
    large = torch.ones(checkpoint.SMALL_TENSOR // dtype.itemsize + 7, dtype=dtype)
    at = len(large) // 2 if at == "middle" else at if at != 4095 else 4096 // dtype.itemsize - 1
    large[at] = math.nan
    save_file({"good": torch.ones(3), "blocks.3.bad": large}, tmp_path / "a.safetensors")
    text = message(load_weights, tmp_path / "a.safetensors")
    assert "NaN or infinite in 1 of 2 tensors: blocks.3.bad." in text


@pytest.mark.parametrize("at", [0, 20_000, -1])
def test_of_a_large_checkpoint_every_number_of_a_small_tensor_is_checked(tmp_path, at, monkeypatch):
    monkeypatch.setattr(checkpoint, "SMALL_MODEL", 0)
    small = torch.ones(40_001)
    small[at] = math.inf
    save_file({"a": torch.ones(3), "b": small}, tmp_path / "a.safetensors")
    assert "in 1 of 2 tensors: b." in message(load_weights, tmp_path / "a.safetensors")


def test_up_to_a_size_every_number_of_a_checkpoint_is_checked(tmp_path):
    large = torch.ones(checkpoint.SMALL_TENSOR)
    large[1234] = math.nan  # between the samples
    save_file({"a": large}, tmp_path / "a.safetensors")
    assert "in 1 of 1 tensors: a." in message(load_weights, tmp_path / "a.safetensors")


def test_a_file_is_mapped_once_however_many_portions_it_has(tmp_path, monkeypatch):
    """Windows reserves memory for all that is mapped privately, whether it is read or not."""
    tensors = {name: torch.randn(40_000) for name in "cabfed"}
    save_file(tensors, tmp_path / "a.safetensors")
    lengths = mapped_lengths(monkeypatch)
    monkeypatch.setattr(checkpoint, "READ", 0)
    monkeypatch.setattr(checkpoint, "PORTION", 200_000)
    weights = load_weights(tmp_path / "a.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in tensors.items())
    assert len(lengths) == 3
    size = (tmp_path / "a.safetensors").stat().st_size
    assert sum(lengths) <= size + 3 * mmap.ALLOCATIONGRANULARITY


def test_a_file_too_large_for_memory_is_not_called_damaged(tmp_path, monkeypatch):
    save_file({"a": torch.ones(4)}, tmp_path / "a.safetensors")

    def full(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(checkpoint, "READ", 0)
    monkeypatch.setattr(mmap, "mmap", full)
    text = message(load_weights, tmp_path / "a.safetensors")
    assert "Cannot allocate memory. Close other programs" in text


@given(
    values=st.lists(st.floats(width=16), max_size=20),
    dtype=st.sampled_from((torch.float64, torch.float32, torch.float16)),
)
def test_finite_means_every_single_number(values, dtype):
    assert is_finite(torch.tensor(values, dtype=dtype)) == all(map(math.isfinite, values))


@pytest.mark.parametrize("dtype", FP8)
def test_every_fp8_number_is_judged_rightly(dtype):
    every = torch.arange(256, dtype=torch.uint8).view(dtype)
    for one in every.split(1):
        assert is_finite(one) == math.isfinite(one.float().item())


def test_many_broken_tensors_are_counted():
    weights = {f"blocks.{i}.w": torch.tensor(math.nan) for i in range(40)}
    text = message(refuse_broken_numbers, weights, "a.safetensors")
    assert "in 40 of 40 tensors: blocks.0.w, blocks.1.w" in text
    assert "and 34 more" in text


def test_what_does_not_fit_is_named_in_one_message():
    weights = {"0.weight": torch.ones(5, 4), "0.bias": torch.ones(5), "2.b": torch.ones(1)}
    weights["10.a"] = torch.ones(1)
    assert message(load_into, small(), weights, "a.safetensors") == (
        "'a.safetensors' does not fit a Sequential of 3 tensors: 1 missing (1.weight); "
        "2 unexpected (2.b, 10.a); 1 of another shape (0.weight is (5, 4) and should be (5, 3)). "
        "Choose a checkpoint of this kind, or an undamaged copy."
    )


def test_a_refused_load_changes_nothing():
    module = small()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    weights = {k: torch.zeros_like(v) for k, v in before.items()}
    message(load_into, module, {**weights, "extra": torch.ones(1)})
    message(load_into, module, dict(list(weights.items())[1:]))
    assert all(torch.equal(module.state_dict()[k], v) for k, v in before.items())


@given(
    dropped=st.sets(st.sampled_from(sorted(small().state_dict()))),
    added=st.sets(st.text(min_size=1, max_size=5)),
)
def test_only_exactly_the_right_names_load(dropped, added):
    module = small()
    right = module.state_dict()
    added -= right.keys()
    weights = {k: v for k, v in right.items() if k not in dropped}
    weights |= {k: torch.ones(1) for k in added}
    if dropped or added:
        text = message(load_into, module, weights)
        assert all(name in text for name in dropped)
    else:
        load_into(module, weights)


def test_metadata_is_there_before_any_weight_is_read(tmp_path, monkeypatch):
    note = {"longtake": json.dumps({"kind": "vae", "config": NANO_LIKE.to_json()})}
    save_file(WanVAE(NANO_LIKE).state_dict(), tmp_path / "a.safetensors", note)
    monkeypatch.setattr("longtake.models.checkpoint.read_portion", None)
    assert detect(read_header(tmp_path / "a.safetensors"), "vae").config == NANO_LIKE
