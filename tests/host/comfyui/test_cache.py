"""One copy of a file's weights, for exactly as long as somebody uses it."""

import gc
import os
import shutil
import threading

import pytest
import torch

from tests.host.conftest import write_dit
from tests.host.networks.test_lora import MODULATION
from tests.host.runs import ksampler


@pytest.fixture
def cache(pack):
    """The pack's own cache, with nothing in it that another test left."""
    import comfy.model_management as mm

    mm.unload_all_models()
    gc.collect()
    assert pack.cache.models.entries() == []
    yield pack.cache.models
    pack.cache.models.retain(0)


@pytest.fixture
def reads(pack, monkeypatch):
    """Names of the files whose weights were read."""
    names = []
    real = pack.load.read_for_host

    def counted(header, *args, **kwargs):
        names.append(header.name)
        return real(header, *args, **kwargs)

    monkeypatch.setattr(pack.load, "read_for_host", counted)
    monkeypatch.setattr(pack.dtypes, "read_for_host", counted)
    return names


@pytest.fixture
def own(pack, nano, tmp_path, monkeypatch):
    """A copy of the built-in folder that a test may change."""
    folder = tmp_path / "nano"
    shutil.copytree(nano, folder)
    monkeypatch.setattr(pack.folders, "NANO", folder)
    return folder


def load(pack, dtype="auto"):
    return pack.load.load_model(pack.folders.BUILT_IN, dtype)


def test_two_loaders_read_the_file_once(pack, cache, reads):
    a, b = load(pack), load(pack)
    assert a is not b
    assert a.model is b.model
    assert reads == ["dit.safetensors"]


def test_vae_and_text_encoder_are_shared_too(pack, cache, reads):
    name = pack.folders.BUILT_IN
    assert pack.load.load_vae(name) is pack.load.load_vae(name)
    a, b = pack.load.load_text_encoder(name), pack.load.load_text_encoder(name)
    assert a is not b
    assert a.cond_stage_model is b.cond_stage_model
    assert reads == ["vae.safetensors", "text_encoder.safetensors"]


def test_a_clone_of_a_clip_keeps_it_shared(pack, cache, reads):
    import nodes

    name = pack.folders.BUILT_IN
    far = nodes.CLIPSetLastLayer().set_last_layer(pack.load.load_text_encoder(name), -2)[0]
    gc.collect()
    assert pack.load.load_text_encoder(name).cond_stage_model is far.cond_stage_model
    assert reads == ["text_encoder.safetensors"]


def test_two_threads_at_once_read_once(pack, cache, reads):
    made = []
    threads = [threading.Thread(target=lambda: made.append(load(pack))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(model.model) for model in made}) == 1
    assert reads == ["dit.safetensors"]


def test_other_dtypes_are_other_weights(pack, cache, reads):
    a, b = load(pack, "fp32"), load(pack, "bf16")
    assert a.model is not b.model
    assert load(pack, "auto").model is a.model  # which is fp32 on a CPU
    assert len(reads) == 2


def test_a_file_written_anew_is_read_anew(pack, cache, own, reads):
    old = load(pack)
    write_dit(own / "dit.safetensors", seed=5)
    os.utime(own / "dit.safetensors", ns=(1, 1))
    new = load(pack)
    assert old.model is not new.model
    assert len(reads) == 2


@pytest.mark.usefixtures("links")
def test_one_file_under_two_names_is_one(pack, cache, own, reads):
    (own / "real").mkdir()
    (own / "dit.safetensors").rename(own / "real" / "x.safetensors")
    (own / "dit.safetensors").symlink_to(own / "real" / "x.safetensors")
    a = load(pack)
    (own / "dit.safetensors").unlink()
    shutil.move(own / "real" / "x.safetensors", own / "dit.safetensors")
    assert a.model is not load(pack).model  # another real path: moved, so another file
    assert len(reads) == 2


def test_models_go_when_nobody_holds_them(pack, cache, reads):
    model = load(pack)
    ksampler(model, steps=1)
    del model
    gc.collect()
    assert cache.entries() == []
    load(pack)
    assert len(reads) == 2


def test_a_lora_clone_keeps_the_weights_shared(pack, cache, reads):
    model = load(pack)
    patched = model.clone()
    patched.add_patches({MODULATION: ("diff", (torch.ones(1, 6, 32),))}, 1.0)
    del model
    gc.collect()
    assert load(pack).model is patched.model
    assert len(reads) == 1


def test_entries_say_what_is_where(pack, cache):
    held = [load(pack), pack.load.load_vae(pack.folders.BUILT_IN)]
    ksampler(held[0], steps=1)
    large, small = cache.entries()
    assert (large.key.kind, small.key.kind) == ("vae", "dit")
    assert small.key.file.name == "dit.safetensors"
    assert small.key.dtype == "float32"
    weights = held[0].model.diffusion_model.parameters()
    assert small.bytes >= sum(w.numel() * 4 for w in weights)
    assert small.where == "cpu"
    assert not small.retained


@pytest.mark.parametrize(
    ("on_device", "where"), [(0, "cpu"), (40, "cuda:0 40 %, cpu 60 %"), (100, "cuda:0")]
)
def test_where(pack, on_device, where):
    entry = pack.cache.Entry(None, 100, on_device, "cuda:0", retained=False)
    assert entry.where == where


def test_dropped_models_are_read_anew(pack, cache, reads):
    import comfy.model_management as mm

    model = load(pack)
    ksampler(model, steps=1)
    key = cache.entries()[0].key
    assert cache.drop(key)
    assert not cache.drop(key)
    assert cache.entries() == []
    assert not any(loaded.model.is_clone(model) for loaded in mm.current_loaded_models)
    assert load(pack).model is not model.model
    assert len(reads) == 2
    ksampler(model, steps=1)  # whoever still holds it can go on


def test_retention_is_a_choice_with_a_limit(pack, cache, reads):
    size = load(pack).model_size()
    cache.retain(size)
    load(pack)
    gc.collect()
    assert [entry.retained for entry in cache.entries()] == [True]

    pack.load.load_vae(pack.folders.BUILT_IN)  # larger than the limit allows beside the other
    gc.collect()
    assert not any(entry.retained for entry in cache.entries())

    load(pack)
    cache.retain(0)
    gc.collect()
    assert cache.entries() == []


class Loader:
    """Stands for a loader node. Core has no idea that two of these share anything."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "load"
    CATEGORY = ""
    pack = None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"note": ("STRING", {})}}

    def load(self, note):
        return (load(self.pack),)


class Show:
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "show"
    CATEGORY = ""

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    def show(self, model):
        return {"ui": {"weights": [str(id(model.model))]}}


@pytest.fixture
def graph(pack, comfyui, monkeypatch):
    """Makes workflows that differ, as two browser tabs would have them."""
    mappings = comfyui.nodes.NODE_CLASS_MAPPINGS
    monkeypatch.setattr(Loader, "pack", pack)
    monkeypatch.setitem(mappings, "TestLoader", Loader)
    monkeypatch.setitem(mappings, "TestShow", Show)
    return lambda note: {
        "1": {"class_type": "TestLoader", "inputs": {"note": note}},
        "2": {"class_type": "TestShow", "inputs": {"model": ["1", 0]}},
    }


def test_two_workflows_in_one_server_read_the_file_once(comfyui, cache, reads, graph):
    tabs = [comfyui.executor(), comfyui.executor()]  # each with its own cache of outputs
    shown = [
        comfyui.run(graph(note), executor=tab).ui["2"]["weights"]
        for tab, note in zip(tabs, "ab", strict=True)
    ]
    assert shown[0] == shown[1]
    assert reads == ["dit.safetensors"]


def test_free_frees(comfyui, cache, reads, graph):
    """What the server's worker does after POST /free."""
    import comfy.model_management as mm

    executor = comfyui.executor()
    comfyui.run(graph("a"), executor=executor)
    gc.collect()
    assert len(cache.entries()) == 1
    mm.unload_all_models()
    executor.reset()
    gc.collect()
    assert cache.entries() == []
    comfyui.run(graph("a"), executor=executor)
    assert len(reads) == 2
