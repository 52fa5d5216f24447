"""What several rooms of the engine need of a file system."""

import errno
import os
from pathlib import Path

import pytest

from longtake.engine import files


@pytest.fixture
def held(monkeypatch):
    """held("replace", times=3): refused so often, as while another program holds the file."""
    monkeypatch.setattr(files, "PAUSE", 0)

    def hold(name, times=10**9):
        place = os if name in ("link", "replace", "unlink") else Path
        real, calls = getattr(place, name), iter(range(times))

        def refused(*words, **more):
            if next(calls, None) is not None:
                raise PermissionError(errno.EACCES, "it is being used by another process")
            return real(*words, **more)

        monkeypatch.setattr(place, name, refused)

    return hold
