"""torch.compile as core's nodes set it up: the same video, with LoRAs and at other sizes.

Traced and not turned into machine code, which takes minutes; what could go wrong is in the tracing.
"""

import pytest
import torch
from torch._dynamo.utils import counters

from tests.host.networks.test_lora import deltas, with_lora  # noqa: F401
from tests.host.runs import SHAPE, ksampler

WHOLE = ["diffusion_model"]  # as core's TorchCompileModel
BLOCKS = ["diffusion_model.blocks.0", "diffusion_model.blocks.1"]  # as nodes for large models do


@pytest.fixture(autouse=True)
def untraced():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def compiled(model, keys):
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    clone = model.clone()
    set_torch_compile_wrapper(clone, backend="eager", keys=keys)
    return clone


def check(model, keys, shape=SHAPE) -> int:
    """The compiled MODEL's video is the other's; returns how many graphs were made so far."""
    given = {"latent_image": {"samples": torch.zeros(shape)}, "steps": 2}
    expected = ksampler(model, **given)
    video = ksampler(compiled(model, keys), **given)
    torch.testing.assert_close(video, expected, rtol=1e-4, atol=1e-5)
    return counters["stats"]["unique_graphs"]


def test_blocks_share_a_graph_which_no_lora_and_only_a_first_new_size_makes_anew(
    model,
    deltas,  # noqa: F811
):
    patched = with_lora(model, deltas)
    assert check(model, BLOCKS) == 1
    assert check(patched, BLOCKS) == 1
    assert check(patched, BLOCKS, (1, 6, 5, 6, 4)) == 2  # from here on sizes are variables
    assert not counters["graph_break"]


def test_the_whole_model_with_loras(model, deltas):  # noqa: F811
    check(with_lora(model, deltas), WHOLE)
