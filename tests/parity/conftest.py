"""How far our networks are from their originals, with the same weights and inputs."""

import pytest
import torch
from torch import Tensor

from tests.models.tiny import relative_error

LIMIT = 1e-5  # float32; rounding alone gives 1e-7 to 3e-6 through this many layers
MEASURED: list[tuple[str, float]] = []


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(11)


@pytest.fixture
def same(request, record_property):
    """Asserts that two tensors agree to LIMIT in relative L2, and keeps the number."""

    def check(ours: Tensor, theirs: Tensor, what: str = "") -> None:
        assert ours.isfinite().all()
        error = relative_error(ours, theirs)
        name = f"{request.node.name} {what}".strip()
        MEASURED.append((name, error))
        record_property(name, error)
        assert error < LIMIT

    return check


def pytest_terminal_summary(terminalreporter):
    if not MEASURED:
        return
    terminalreporter.section(f"relative L2 error against the originals (limit {LIMIT:g})")
    for name, error in MEASURED:
        terminalreporter.write_line(f"{error:8.1e}  {name}")
