"""Loaders in a graph that is run again: only what changed on the disk is read anew."""

import os

import pytest
import torch
from safetensors.torch import save_file

from longtake.models.wan.dit import WanDiT
from tests.host.conftest import DIT, random_weights, write_dit
from tests.nodes.conftest import Graph


@pytest.fixture
def folder(host):
    """Of ComfyUI's models; emptied afterwards."""
    base = host.base / "models"
    for name in ("diffusion_models", "loras"):
        (base / name).mkdir(exist_ok=True)
    yield base
    for file in base.glob("*/mine.*"):
        file.unlink()


def lora(path, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    layer = "diffusion_model.blocks.0.self_attn.q"
    width = DIT.width
    save_file(
        {
            f"{layer}.lora_A.weight": torch.randn(2, width, generator=rng),
            f"{layer}.lora_B.weight": torch.randn(width, 2, generator=rng),
        },
        path,
    )
    os.utime(path, ns=(seed, seed))


def model(path, seed: int) -> None:
    write_dit(path, seed=seed)
    os.utime(path, ns=(seed, seed))


def test_a_file_replaced_between_two_runs_is_noticed(graph, folder, host):
    file = "mine.safetensors"
    model(folder / "diffusion_models" / file, 1)
    lora(folder / "loras" / file, 1)
    loaders = Graph().add(
        model=("LongtakeLoadModel", {"file": file, "dtype": "auto"}),
        lora=("LongtakeLoadLora", {"model": ["model", 0], "file": file, "strength": 1.0}),
    )
    executor = host.executor()

    def run() -> tuple[set, torch.Tensor]:
        done = host.run(loaders.but(), want=["lora"], executor=executor)
        assert done.success, done.error
        (loaded,) = done.values["lora"]
        return done.executed, loaded.model.diffusion_model.blocks[0].ffn[0].weight

    assert run()[0] == {"model", "lora"}
    assert run()[0] == set()
    lora(folder / "loras" / file, 2)
    assert run()[0] == {"lora"}
    model(folder / "diffusion_models" / file, 2)
    executed, weight = run()
    assert executed == {"model", "lora"}
    expected = random_weights(WanDiT(DIT), 2)["blocks.0.ffn.0.weight"]
    torch.testing.assert_close(weight, expected.bfloat16().to(weight), rtol=0, atol=0)


@pytest.mark.parametrize("strength", [0.5, -2.0])
def test_a_lora_is_as_strong_as_asked(graph, folder, host, strength):
    lora(folder / "loras" / "mine.safetensors", 3)
    inputs = {"model": ["model", 0], "file": "mine.safetensors", "strength": strength}
    run = host.run(graph.add(lora=("LongtakeLoadLora", inputs)), want=["lora"])
    assert run.success, run.error
    (patched,) = run.values["lora"]
    assert {patch[0][0] for patch in patched.patches.values()} == {strength}


def test_loaders_give_the_dtype_and_the_family_that_were_chosen(graph, host):
    dtypes = {"model": "fp16", "vae": "bf16"}
    chosen = graph.but(model={"family": "Longtake nano-fast"})
    chosen = chosen.but(**{node: {"dtype": dtype} for node, dtype in dtypes.items()})
    run = host.run(chosen, want=list(dtypes))
    assert run.success, run.error
    (model,), (vae,) = run.values["model"], run.values["vae"]
    assert model.model.family.title == "Longtake nano-fast"
    assert next(model.model.diffusion_model.parameters()).dtype == torch.float16
    assert next(vae.first_stage_model.parameters()).dtype == torch.bfloat16


def test_presets_outputs_are_what_they_are_called(graph, host):
    run = host.run(graph.add(preset=("LongtakePreset", {"model": ["model", 0]})), want=["preset"])
    assert run.values["preset"] == [24, 3.0, 4.0, 8.0, 17 / 8, 128, 128, ""]


def test_any_replaced_file_is_noticed(graph, folder, host, pack):
    """Their fingerprint is the file's size and time."""
    from longtake.host.networks.rife import find_rife

    nodes = host.nodes.NODE_CLASS_MAPPINGS
    for kind, name, more in (
        ("vae", "LongtakeLoadVAE", {"dtype": "auto"}),
        ("text_encoder", "LongtakeLoadTextEncoder", {}),
    ):
        file = pack.folders.NANO / f"{kind}.safetensors"
        size, time = file.stat().st_size, file.stat().st_mtime_ns
        print_of = nodes[name].fingerprint_inputs(file="nano (built in)", **more)
        assert print_of == f"{size} bytes, {time}"
    file = find_rife("RIFE 4.0 (built in)").stat()
    print_of = nodes["LongtakeInterpolate"].fingerprint_inputs(file="RIFE 4.0 (built in)")
    assert print_of.startswith(f"{file.st_size} bytes, {file.st_mtime_ns}, ")
