"""What the tests of training share."""

import warnings

import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torchvision's compiled half may be missing
    from transformers import UMT5EncoderModel  # noqa: F401 - here, for elsewhere it would fail


@pytest.fixture
def one_thread():
    """For small operations, which pay for waking a second thread more than it gives."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
