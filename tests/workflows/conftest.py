"""The workflows that the pack ships."""

import json

import pytest

from dev import ROOT
from tests.host.conftest import nano, one_thread, pack  # noqa: F401

FOLDER = ROOT / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def load(path: str) -> dict:
    return json.loads((FOLDER / path).read_text(encoding="utf-8"))


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param
