"""Names in menus, and what is said of names and files that will not do."""

import mmap
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from longtake.models import checkpoint
from longtake.models.errors import CheckpointError, InputError
from tests.host.conftest import write_dit, write_vae
from tests.host.runs import ksampler


@pytest.fixture
def models(comfyui):
    """ComfyUI's folder for video models, with the files that a test puts there."""
    folder = comfyui.base / "models" / "diffusion_models"
    (folder / "wan").mkdir(parents=True, exist_ok=True)
    yield folder
    for file in folder.rglob("*.*"):
        file.unlink()


@pytest.fixture(autouse=True)
def no_weights(request, pack, monkeypatch):
    """Refusals must come before any weight is read."""
    if "refus" in request.node.name:

        def read(*_, **__):
            raise AssertionError("weights were read")

        monkeypatch.setattr(pack.load, "read_for_host", read)
        monkeypatch.setattr(pack.dtypes, "read_for_host", read)


def test_menus(pack, models):
    write_dit(models / "wan" / "small.safetensors")
    (models / "old.ckpt").write_bytes(b"x")
    offered = pack.folders.weights_menu("dit")
    assert offered[0] == "nano (built in)"
    assert [name.replace("\\", "/") for name in offered[1:]] == ["wan/small.safetensors"]


def test_a_file_in_a_subfolder(pack, models):
    write_dit(models / "wan" / "small.safetensors")
    model = pack.load.load_model(pack.folders.weights_menu("dit")[1])
    assert ksampler(model, steps=1).isfinite().all()
    assert pack.transformer.config_of(model).width == 32


def test_config_of_others(pack):
    from types import SimpleNamespace

    assert pack.transformer.config_of(SimpleNamespace(model=torch.nn.Linear(1, 1))) is None


def test_refuses_names_that_are_not_there(pack, models):
    write_dit(models / "wan2.1_t2v_1.3B.safetensors")
    with pytest.raises(InputError, match=r"Nearest: 'wan2\.1_t2v_1\.3B\.safetensors'"):
        pack.load.load_model("wan2.1_t2v_1.3.safetensors")
    with pytest.raises(InputError, match=r"Only \.safetensors files are read"):
        pack.load.load_model("wan.ckpt")
    with pytest.raises(InputError, match="there is no ''"):
        pack.load.load_model("")


@pytest.mark.parametrize("up", ["../{}", "wan/../../{}", "..\\{}", "/{}"])
def test_refuses_names_that_lead_out(pack, models, up):
    outside = write_dit(models.parent / "outside.safetensors")
    write_dit(models / "outside.safetensors")  # which core would take any of these for
    with pytest.raises(InputError, match="there is no"):
        pack.load.load_model(up.format("outside.safetensors"))
    with pytest.raises(InputError, match="there is no"):
        pack.load.load_model(str(outside))


def test_refuses_dtypes_that_are_none(pack):
    with pytest.raises(InputError, match="choose from auto, bf16"):
        pack.load.load_model(pack.folders.BUILT_IN, "int4")
    with pytest.raises(InputError, match="choose from auto, bf16, fp16, fp32"):
        pack.load.load_vae(pack.folders.BUILT_IN, "fp8_e4m3fn")


def test_refuses_other_networks(pack, models):
    write_vae(models / "vae.safetensors")
    with pytest.raises(CheckpointError, match=r"a VAE .*LoadVAE"):
        pack.load.load_model("vae.safetensors")


def test_refuses_files_cut_short(pack, models):
    path = write_dit(models / "cut.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut short"):
        pack.load.load_model("cut.safetensors")


def test_refuses_an_incomplete_installation(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(pack.folders, "NANO", tmp_path)
    with pytest.raises(CheckpointError, match=r"'dit\.safetensors' is not in"):
        pack.load.load_model(pack.folders.BUILT_IN)


def test_broken_numbers_are_named(pack, models):
    from longtake.models.checkpoint import load_weights
    from longtake.models.weights_file import read_header

    path = write_dit(models / "nan.safetensors")
    header = read_header(path)
    weights = load_weights(header)
    weights["blocks.1.ffn.0.bias"] = torch.full((48,), torch.nan)
    save_file(weights, path, dict(header.metadata))
    with pytest.raises(CheckpointError, match=r"blocks\.1\.ffn\.0\.bias"):
        pack.load.load_model("nan.safetensors")


def test_messages_are_one_line(pack, models):
    for name in ("", "x", "../x", "a\nb.safetensors"):
        with pytest.raises(InputError) as caught:
            pack.load.load_model(name)
        assert "\n" not in str(caught.value)


def test_previews_take_their_colours_from_the_file(pack, models):
    from longtake.models.wan.dit import WanDiT
    from tests.host.conftest import DIT, random_weights, write

    note = {"factors": [[i / 7, 0.0, -i / 7] for i in range(6)], "bias": [0.25, 0.0, -0.5]}
    weights = random_weights(WanDiT(DIT), 1)
    write(models / "rgb.safetensors", "dit", DIT.to_json(), weights, preview=note)
    latent_format = pack.load.load_model("rgb.safetensors").model.latent_format
    assert latent_format.latent_rgb_factors == note["factors"]
    assert latent_format.latent_rgb_factors_bias == note["bias"]


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="a list of mappings is Linux's own"
)
def test_built_in_weights_are_not_left_mapped(pack, nano):
    """On Windows no update could replace them while ComfyUI runs."""
    model = pack.load.load_model(pack.folders.BUILT_IN, "bf16")
    vae = pack.load.load_vae(pack.folders.BUILT_IN, "bf16")
    assert model
    assert vae
    assert str(nano) not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("disabled", [False, True])
def test_disable_mmap_is_honoured(pack, models, disabled, monkeypatch):
    write_dit(models / "small.safetensors")
    monkeypatch.setattr(checkpoint, "READ", 0)
    monkeypatch.setattr(import_module("comfy.utils"), "DISABLE_MMAP", disabled)
    made, real = [], mmap.mmap
    monkeypatch.setattr(checkpoint.mmap, "mmap", lambda *_, **kw: made.append(kw) or real(*_, **kw))
    pack.load.load_model("small.safetensors")
    assert bool(made) is not disabled
