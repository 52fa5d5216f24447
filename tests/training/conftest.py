"""What the tests of training share."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torchvision's compiled half may be missing
    from transformers import UMT5EncoderModel  # noqa: F401 - here, for elsewhere it would fail
