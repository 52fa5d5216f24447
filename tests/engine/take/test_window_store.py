"""Windows come back to the bit, or not at all."""

import errno
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.engine.files import TRIES
from longtake.engine.take.window_store import Limits, WindowStore, packed, unpacked

SHAPE = (1, 3, 2, 5, 7)
KEY, OTHER = "ab" * 32, "cd" * 32


def window(seed=0):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def store(tmp_path):
    return WindowStore(tmp_path / "windows")


def test_a_window_comes_back_to_the_bit(store):
    assert store.load(KEY, SHAPE) is None
    store.save(KEY, window())
    assert store.has(KEY)
    assert torch.equal(store.load(KEY, SHAPE), window())
    assert store.load(OTHER, SHAPE) is None
    assert sorted(p.name for p in store.folder.iterdir()) == ["README.txt", f"{KEY}.safetensors"]


def test_it_knows_with_which_seeds_the_same_is_there(store):
    assert store.seeds("alike") == []
    store.save(KEY, window(), "alike", 7)
    store.save(OTHER, window(), "different", 8)
    (store.folder / "of another program.safetensors").write_bytes(b"12345678{}")
    assert store.seeds("alike") == [7]


@given(st.data())
def test_no_damage_goes_unseen(data):
    whole = bytearray(packed(KEY, window()))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
    else:
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    try:
        latents = unpacked(bytes(whole), KEY, SHAPE)
    except ValueError:
        return
    assert torch.equal(latents, window())  # a byte between header and numbers, say


def test_what_is_damaged_or_anothers_is_deleted(store):
    for spoil in (
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(packed(OTHER, window())),
        lambda path: path.write_bytes(packed(KEY, window()[:, :2])),
        lambda path: path.write_bytes(packed(KEY, window() * float("nan"))),
    ):
        store.save(KEY, window())
        spoil(store.path(KEY))
        assert store.load(KEY, SHAPE) is None
        assert not store.has(KEY)


def test_the_oldest_go_first_and_never_those_in_use(tmp_path):
    keys = [f"{n:064x}" for n in range(6)]
    first = WindowStore(tmp_path)
    for age, key in enumerate(keys):
        first.save(key, window())
        os.utime(first.path(key), (1e9 - age, 1e9 - age))
    store = WindowStore(tmp_path, Limits(files=3))
    assert store.load(keys[5], SHAPE) is not None  # now the latest, and in use
    store.tidy()
    assert [key for key in keys if store.has(key)] == [keys[0], keys[1], keys[5]]
    size = store.path(keys[0]).stat().st_size
    WindowStore(tmp_path, Limits(bytes=size)).tidy()
    assert [key for key in keys if store.has(key)] == [keys[5]]
    store.tidy()
    store.forget()
    assert not store.has(keys[5])


def test_what_a_crash_left_goes_after_an_hour(store):
    store.save(KEY, window())
    part, others = store.folder / f".{KEY[:16]}.0123abcd.part", store.folder / ".abc.part"
    for file in (part, others):
        file.write_bytes(b"x")
    store.tidy()
    assert part.exists()
    store.tidy(now=lambda: part.stat().st_mtime + 4000)
    assert not part.exists()
    assert others.exists()


def test_a_disk_that_takes_nothing_does_not_stop_the_take(tmp_path, caplog):
    (tmp_path / "windows").write_text("a file where the folder should be")
    store = WindowStore(tmp_path / "windows")
    store.save(KEY, window())
    store.save(OTHER, window())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "would be sampled again" in caplog.text


def test_a_window_that_another_program_holds_is_waited_for(store, held):
    held("replace", times=3)
    store.save(KEY, window())
    assert store.has(KEY)


def test_one_window_that_cannot_be_kept_costs_no_other(store, held, caplog):
    held("replace", times=TRIES + 1)
    store.save(KEY, window())
    store.save(OTHER, window())
    assert not store.has(KEY)
    assert torch.equal(store.load(OTHER, SHAPE), window())
    assert len(caplog.records) == 1


def test_a_window_that_cannot_be_read_now_stays(store, held):
    store.save(KEY, window())
    held("read_bytes", times=3)
    assert torch.equal(store.load(KEY, SHAPE), window())
    held("read_bytes")
    assert store.load(KEY, SHAPE) is None
    assert store.has(KEY)


def test_another_users_window_is_used_and_stays(store, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    store.save(KEY, window())
    monkeypatch.setattr(os, "utime", refused)
    assert torch.equal(store.load(KEY, SHAPE), window())
    assert store.has(KEY)


def test_what_cannot_be_deleted_now_ends_no_take(tmp_path, held):
    store = WindowStore(tmp_path, Limits(files=0))
    store.save(KEY, window())
    WindowStore(tmp_path).save(OTHER, window())
    part = tmp_path / f".{KEY[:16]}.0123abcd.part"
    part.write_bytes(b"x")
    held("unlink")
    store.tidy(now=lambda: 9e9)
    store.forget()
    assert {path.name for path in tmp_path.iterdir()} >= {part.name, f"{KEY}.safetensors"}


def test_what_it_did_not_name_stays(tmp_path):
    """Somebody's models, or a folder that was there before."""
    store = WindowStore(tmp_path, Limits(files=0, bytes=0))
    for name in ("model.safetensors", "AB" * 32 + ".safetensors", "ab" * 31 + ".safetensors"):
        (tmp_path / name).write_bytes(b"12345678{}")
    (tmp_path / f"{KEY}.safetensors").write_bytes(b"12345678{}")
    store.tidy()
    assert len(list(tmp_path.iterdir())) == 3
    assert not store.has(KEY)
