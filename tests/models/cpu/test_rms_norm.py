import pytest
import torch
import torch.nn.functional as F

from longtake.models.cpu import rms_norm as module
from longtake.models.cpu.rms_norm import rms_norm
from tests.models.tiny import relative_error

EPS = 1e-6


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("block", [1, 90, module.BLOCK])
def test_it_is_torchs_in_pieces_of_any_size(dtype, block, rng, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    x, weight = torch.randn(2, 3, 5, 30, generator=rng), torch.randn(30, generator=rng)
    x[0, 0] *= 1e-4  # where eps counts
    x[1, 0, 0] = 0
    x, weight = x.to(dtype), weight.to(dtype)
    before = x.clone()
    expected = F.rms_norm(x.double(), (30,), weight.double(), EPS)
    out = rms_norm(x, weight, EPS)
    assert out.dtype is dtype
    assert torch.equal(x, before), "it is not the norm's to change"
    ours, torchs = (relative_error(y, expected) for y in (out, F.rms_norm(x, (30,), weight, EPS)))
    assert ours < max(1e-6, 1.01 * torchs)


def test_how_the_numbers_lie_does_not_matter(rng):
    x, weight = torch.randn(1, 30, 3, 5, generator=rng), torch.randn(30, generator=rng)
    view = x.permute(0, 2, 3, 1)
    out = rms_norm(view, weight, EPS)
    assert out.is_contiguous()
    assert torch.equal(out, rms_norm(view.contiguous(), weight, EPS))
