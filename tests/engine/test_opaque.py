"""Pictures of every kind of IMAGE, laid over black."""

import pytest
import torch

from longtake.engine.opaque import opaque
from longtake.models.errors import InputError, NotFiniteError


def test_what_is_transparent_becomes_black():
    out = opaque(torch.tensor([[[[1.0, 0.5, 0.2, 0.5], [1, 1, 1, 0]]]]))
    assert out.tolist() == [[[[0.5, 0.25, pytest.approx(0.1)], [0, 0, 0]]]]
    assert opaque(torch.ones(1, 2, 2, 1)).shape == (1, 2, 2, 3)


@pytest.mark.parametrize("shape", [(4, 4, 3), (1, 4, 4, 2), (1, 0, 4, 3)])
def test_what_is_no_picture(shape):
    with pytest.raises(InputError, match="not an IMAGE"):
        opaque(torch.zeros(shape))


def test_not_a_number_is_named():
    with pytest.raises(NotFiniteError):
        opaque(torch.full((1, 2, 2, 3), torch.nan))
