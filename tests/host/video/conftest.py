"""A VIDEO decoded by the tiny VAE, and what lies in a folder."""

import importlib
from fractions import Fraction

import pytest
import torch


def files(folder) -> set:
    return set(folder.rglob("*")) if folder.is_dir() else set()


@pytest.fixture
def latents():
    return torch.randn(1, 6, 3, 4, 4, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def decode(pack):
    return importlib.import_module("longtake.host.video.decode").decode_to_video


@pytest.fixture
def made(decode, vae, latents):
    return decode(vae, latents, Fraction(8))
