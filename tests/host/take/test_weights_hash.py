"""Kept windows are used again where they would come out the same."""

import pytest
import torch

CARDS = {
    "cuda:0": "cuda:0 NVIDIA GeForce RTX 3060 : cudaMallocAsync",
    "cuda:1": "cuda:1 NVIDIA GeForce RTX 3060 : cudaMallocAsync",
    "cuda:2": "cuda:2 NVIDIA H100 : cudaMallocAsync",
}


@pytest.fixture
def computed_on(comfyui, monkeypatch):
    import comfy.model_management as mm

    from longtake.host.take.weights_hash import computed_on

    monkeypatch.setattr(mm, "get_torch_device_name", lambda device: CARDS[str(device)])
    return lambda name: computed_on(torch.device(name))


def test_the_kind_of_card_counts_and_not_its_number(computed_on):
    assert computed_on("cuda:0") == computed_on("cuda:1") != computed_on("cuda:2")
    assert computed_on("cpu") not in (computed_on("cuda:0"), computed_on("cuda:2"))


def test_fast_counts_on_a_card(computed_on, monkeypatch):
    from comfy.cli_args import PerformanceFeature as Feature
    from comfy.cli_args import args

    found = {computed_on("cuda:0")}
    for fast in ({Feature.Fp8MatrixMultiplication}, set(Feature), {Feature.Fp16Accumulation}):
        monkeypatch.setattr(args, "fast", fast)
        found.add(computed_on("cuda:0"))
        assert computed_on("cuda:0") == computed_on("cuda:1")
    assert len(found) == 4


def test_threads_count_on_a_cpu(computed_on):
    before, one = torch.get_num_threads(), computed_on("cpu")
    try:
        torch.set_num_threads(before + 1)
        assert computed_on("cpu") != one
    finally:
        torch.set_num_threads(before)
