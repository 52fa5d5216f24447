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
