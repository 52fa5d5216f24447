"""Gives the tests the names they import by, and the fixtures they share."""

import os
import signal
import sys
from pathlib import Path

# For networks as small as these, and the servers that run them: two threads spend their time
# waiting for one another, by spinning, and on a busy machine ten times the time. Before torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pack import register

register()
pytest_plugins = ["tests.server", "tests.in_process", "tests.windows_rules"]

# A kill ends the tests as Ctrl-C does: with their fixtures torn down and no server left behind.
signal.signal(signal.SIGTERM, signal.default_int_handler)

# The same examples on every run: a test that fails today fails tomorrow. Time limits per example
# would only measure how busy the machine is.
hypothesis.settings.register_profile(
    "longtake", derandomize=True, deadline=None, max_examples=25, print_blob=True
)
hypothesis.settings.load_profile("longtake")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also tests that take minutes")


@pytest.fixture
def links(tmp_path_factory) -> None:
    """For tests that make symbolic links, which takes rights on Windows that few have."""
    folder = tmp_path_factory.mktemp("links")
    try:
        (folder / "link").symlink_to(folder)
    except OSError:
        pytest.skip("this system makes no symbolic links here")
